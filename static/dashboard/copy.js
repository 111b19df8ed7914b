// Buttons that copy the text of an element. Without the clipboard (a page that is not secure) it is selected.
(() => {
  const copy = async (button) => {
    const source = document.getElementById(button.dataset.copy);
    const words = button.firstChild;
    const before = words.data;
    try {
      await navigator.clipboard.writeText(source.textContent);
      words.data = "Copied";
    } catch {
      getSelection().selectAllChildren(source);
      words.data = "Selected";
    }
    setTimeout(() => { words.data = before; }, 2000);
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
  });
  for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
})();
