// Text inputs show their beginning in their tile as soon as it comes into view.
(() => {
  const show = async (tile) => {
    try {
      const answer = await fetch(tile.dataset.excerpt, { credentials: "same-origin" });
      if (answer.status !== 200) return;
      tile.textContent = await answer.text();
    } catch { /* the tile stays as it is */ }
  };

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      seen.unobserve(entry.target);
      show(entry.target);
    }
  }, { rootMargin: "200px" });

  const watch = (root) => {
    for (const tile of root.querySelectorAll("[data-excerpt]")) seen.observe(tile);
  };
  watch(document);
  document.addEventListener("htmx:load", (event) => watch(event.detail.elt));
})();
