// Light or dark as on the store's own pages: the reader's choice, else the system's. Before the first paint.
(() => {
  let chosen = null;
  try { chosen = localStorage.getItem("theme"); } catch { /* private mode: the system's */ }
  const system = matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    const dark = chosen === "dark" || (chosen !== "light" && system.matches);
    document.documentElement.classList.toggle("dark-mode", dark);
  };
  show();
  system.addEventListener("change", show);
})();
