// "?" and the link to the help open it as a dialog over the page; elsewhere, and without this, it is a page.
(() => {
  const link = document.querySelector("[data-help]");
  const readChoice = () => {
    try { return localStorage.getItem("keys") !== "off"; } catch { return true; }
  };

  const ready = (part) => {
    const box = part.querySelector("[data-keys-toggle]");
    if (!box) return;
    box.checked = readChoice();
    part.querySelector("[data-keys-choice]").hidden = false;
    box.addEventListener("change", () => {
      try { localStorage.setItem("keys", box.checked ? "on" : "off"); } catch { /* private mode: for nothing */ }
    });
  };

  const open = async () => {
    let dialog = document.querySelector("[data-help-dialog]");
    if (!dialog) {
      const answer = await fetch(link.href, { headers: { "HX-Request": "true" } });
      if (!answer.ok) { location.assign(link.href); return; }
      dialog = document.createElement("dialog");
      dialog.className = "surface help-dialog";
      dialog.dataset.helpDialog = "";
      dialog.setAttribute("aria-label", "Help");
      dialog.innerHTML = `<form method="dialog"><button class="quiet" aria-label="Close">×</button></form>${await answer.text()}`;
      dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
      document.body.append(dialog);
      ready(dialog);
    }
    if (!dialog.open) dialog.showModal();
  };

  ready(document);
  if (!link || document.querySelector(".help-page")) return;
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    open();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "?" || event.ctrlKey || event.metaKey || event.altKey || !readChoice()) return;
    if (event.target.closest("input:not([type=checkbox], [type=radio], [type=range]), select, textarea")) return;
    event.preventDefault();
    open();
  });
})();
