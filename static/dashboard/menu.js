// A menu closes when one turns to something else; without this, by its own button.
(() => {
  const opened = () => document.querySelectorAll("[data-menu][open]");
  addEventListener("click", (event) => {
    for (const menu of opened()) if (!menu.contains(event.target)) menu.open = false;
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of opened()) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });
})();
