// Buttons that copy what stands elsewhere on the page; hidden where the browser can't.
(() => {
  if (!navigator.clipboard) return;
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    const words = button.innerHTML;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.innerHTML = words; }, 2000);
    });
  }
})();
