// The explore page: its results swap in place. Everything is a link or a form, and works without this.
(() => {
  const wide = matchMedia("(min-width: 64rem)");
  const panel = () => document.querySelector("[data-filter]");

  const unfold = () => {
    if (wide.matches && panel()) panel().open = true;
  };
  unfold();

  // --- Forms: no empty fields in the address, sorts at once ---
  document.addEventListener("formdata", (event) => {
    if (event.target.method !== "get") return;
    for (const [name, value] of [...event.formData]) {
      if (value === "") event.formData.delete(name);
    }
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submits]")) event.target.form.requestSubmit();
  });
  document.addEventListener("input", (event) => {
    // A key that is known says its own type.
    if (!event.target.matches("[data-metadata-key]")) return;
    const options = [...document.querySelectorAll("#metadata-keys option")];
    const option = options.find((each) => each.value === event.target.value);
    document.querySelector("[data-metadata-type]").value = option?.dataset.type ?? "";
  });

  // --- Swaps: only the newest request counts; what was open stays open; the focus is not lost ---
  let current = null;
  let kept = null;
  document.addEventListener("htmx:beforeSend", (event) => {
    if (!event.detail.boosted) return;
    current?.abort();
    current = event.detail.xhr;
    document.getElementById("explore")?.setAttribute("aria-busy", "true");
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (!event.detail.boosted || event.detail.xhr !== current) return;
    current = null;
    document.getElementById("explore")?.removeAttribute("aria-busy");
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target.id !== "explore") return;
    kept = {
      open: [...document.querySelectorAll("#explore details[id][open]:not(.menu)")].map((each) => each.id),
      scrolled: panel()?.scrollTop ?? 0,
    };
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.target?.id !== "explore" || !kept) return;
    for (const id of kept.open) document.getElementById(id)?.setAttribute("open", "");
    if (!wide.matches) panel()?.removeAttribute("open");
    unfold();
    if (panel()) panel().scrollTop = kept.scrolled;
    kept = null;
    const explore = document.getElementById("explore");
    if (explore.getBoundingClientRect().top < 0) explore.scrollIntoView();
    if (document.activeElement === document.body) document.getElementById("results").focus({ preventScroll: true });
    tell();
  });

  // --- The count is said aloud as soon as it is known ---
  const tell = () => {
    const counted = document.querySelector("#count[data-counted]");
    const news = document.getElementById("news");
    if (counted && news) news.textContent = counted.textContent;
  };
  document.addEventListener("htmx:load", (event) => {
    if (event.detail.elt.id === "count") tell();
  });

  // --- Menus close on Escape and on a click elsewhere ---
  const close = (except) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (menu !== except) menu.open = false;
    }
  };
  document.addEventListener("click", (event) => close(event.target.closest("details.menu")));
  document.addEventListener("keydown", (event) => {
    const menu = event.target.closest?.("details.menu[open]");
    if (event.key !== "Escape" || !menu) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
})();
