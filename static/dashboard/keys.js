// Keys: / goes to the filter, j and k move through the results or from one inference to the other, Enter opens,
// x selects, u goes up to the list. The help turns them off.
(() => {
  let current = -1;
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.target?.id === "explore") current = -1;
  });
  const items = () => [...document.querySelectorAll("[data-item]")];
  const areOn = () => {
    try { return localStorage.getItem("keys") !== "off"; } catch { return true; }
  };

  const move = (step) => {
    const all = items();
    if (!all.length) {
      document.querySelector(step > 0 ? "[data-next]" : "[data-previous]")?.click();
      return;
    }
    document.querySelector("[data-item].is-current")?.classList.remove("is-current");
    current = Math.max(0, Math.min(all.length - 1, current + step));
    all[current].classList.add("is-current");
    all[current].querySelector("a")?.focus({ preventScroll: true });
    all[current].scrollIntoView({ block: "nearest" });
  };

  const focusFilter = () => {
    const panel = document.querySelector("[data-filter]");
    if (panel) panel.open = true;
    (panel?.querySelector("input:not([type=hidden]), select") ?? document.querySelector("[data-search]"))?.focus();
  };

  const actions = {
    "/": focusFilter,
    j: () => move(1),
    k: () => move(-1),
    x: () => {
      const item = document.querySelector("[data-item].is-current") ?? document.activeElement?.closest("[data-item]");
      item?.querySelector('input[name="id"]')?.click();
    },
    u: () => {
      const up = document.querySelector("[data-up]");
      // By the way one came: then the list is as it was, and where.
      if (up && history.length > 1 && document.referrer === up.href) history.back();
      else up?.click();
    },
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !areOn()) return;
    if (event.target.closest("input:not([type=checkbox], [type=radio], [type=range]), select, textarea, dialog")) return;
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
})();
