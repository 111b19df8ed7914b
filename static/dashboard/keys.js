// Keys: / goes to the filter, j and k move through the results, Enter opens, u goes up to the list.
(() => {
  let current = -1;
  const items = () => [...document.querySelectorAll("[data-item]")];

  const move = (step) => {
    const all = items();
    if (!all.length) {
      document.querySelector(step > 0 ? "[data-next]" : "[data-previous]")?.click();
      return;
    }
    all[current]?.classList.remove("is-current");
    current = Math.max(0, Math.min(all.length - 1, current + step));
    all[current].classList.add("is-current");
    all[current].querySelector("a")?.focus({ preventScroll: true });
    all[current].scrollIntoView({ block: "nearest" });
  };

  const focusFilter = () => {
    const panel = document.querySelector("[data-filter]");
    if (!panel) return;
    panel.open = true;
    panel.querySelector("input:not([type=hidden]), select")?.focus();
  };

  const actions = {
    "/": focusFilter,
    j: () => move(1),
    k: () => move(-1),
    u: () => document.querySelector("[data-up]")?.click(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input:not([type=checkbox]), select, textarea")) return;
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
})();
