// An entry's row and its shape light up together.
(() => {
  const light = (position, on) => {
    for (const each of document.querySelectorAll(`[data-position="${CSS.escape(position)}"]`)) {
      each.classList.toggle("is-lit", on);
    }
  };
  for (const row of document.querySelectorAll("tr[data-position]")) {
    row.addEventListener("pointerenter", () => light(row.dataset.position, true));
    row.addEventListener("pointerleave", () => light(row.dataset.position, false));
  }
})();
