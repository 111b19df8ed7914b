// Whether charts will stand open beside the results: known before the first paint, so that nothing moves after it.
(() => {
  let kept = null;
  try { kept = localStorage.getItem("charts"); } catch { /* private mode */ }
  if (matchMedia("(min-width: 100rem)").matches && kept !== "closed") document.documentElement.dataset.room = "";
})();
