// Swagger UI is dark by a class. After theme.js, which knows what the reader chose, and before the first paint.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    root.classList.toggle("dark-mode", root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  };
  show();
  system.addEventListener("change", show);
})();
