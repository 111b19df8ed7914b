// "Edit" puts a value into the form that replaces it. Without this, one types the key again.
(() => {
  const reveal = () => {
    for (const button of document.querySelectorAll("[data-edit]")) button.hidden = false;
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-edit]");
    if (!button) return;
    const form = document.querySelector("[data-metadata-add]");
    const field = (name) => form.querySelector(`[name="${name}"]`);
    form.open = true;
    field("key").value = button.dataset.key;
    field("type").value = button.dataset.type;
    field("value").value = button.dataset.value ?? button.closest(".metadata-row").querySelector(".value").textContent;
    field("value").focus();
  });
  document.addEventListener("htmx:load", reveal);
  reveal();
})();
