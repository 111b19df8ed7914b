// The filter panel: unfolded beside the results, sorts at once, sends no empty fields. It works without this.
(() => {
  const panel = document.querySelector("[data-filter]");
  const form = document.querySelector("[data-filter-form]");
  if (!panel || !form) return;

  if (matchMedia("(min-width: 64rem)").matches) panel.open = true;

  form.addEventListener("formdata", (event) => {
    for (const [name, value] of [...event.formData]) {
      if (value === "") event.formData.delete(name);
    }
  });

  for (const select of document.querySelectorAll("[data-submits]")) {
    select.addEventListener("change", () => form.requestSubmit());
  }

  // A key that is known says its own type.
  const key = form.querySelector("[data-metadata-key]");
  const type = form.querySelector("[data-metadata-type]");
  key?.addEventListener("input", () => {
    const option = [...document.querySelectorAll("#metadata-keys option")].find((each) => each.value === key.value);
    type.value = option?.dataset.type ?? "";
  });
})();
