// The explore page: its results swap in place. Everything is a link or a form, and works without this.
(() => {
  const wide = matchMedia("(min-width: 64rem)");
  const panel = () => document.querySelector("[data-filter]");

  const unfold = () => {
    if (wide.matches && panel()) panel().open = true;
  };
  unfold();

  // --- Forms: no empty fields in the address, sorts at once ---
  document.addEventListener("formdata", (event) => {
    if (event.target.method !== "get") return;
    for (const [name, value] of [...event.formData]) {
      if (value === "") event.formData.delete(name);
    }
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submits]")) event.target.form.requestSubmit();
  });
  document.addEventListener("input", (event) => {
    // A key that is known says its own type.
    if (!event.target.matches("[data-metadata-key]")) return;
    const options = [...document.querySelectorAll("#metadata-keys option")];
    const option = options.find((each) => each.value === event.target.value);
    document.querySelector("[data-metadata-type]").value = option?.dataset.type ?? "";
  });

  // A window of time is one more condition beside those that were not applied yet.
  document.addEventListener("click", (event) => {
    const preset = event.target.closest?.("[data-starts]");
    if (!preset || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    event.stopPropagation(); // before it is followed as a link
    const form = document.querySelector("[data-filter-form]");
    form.elements.start.value = preset.dataset.starts;
    form.elements.end.value = "";
    form.requestSubmit();
  }, true);

  // --- Back and forward, pressed before anybody listened: the address is then of another page ---
  const bare = (address) => address.split("#")[0];
  document.addEventListener("htmx:load", () => {
    const [arrival] = performance.getEntriesByType("navigation");
    if (history.state?.htmx && bare(arrival.name) !== bare(location.href)) location.reload();
  }, { once: true });

  // --- Selection: x ticks the current one; all that match leave no single ones to tick ---
  const ticks = () => [...document.querySelectorAll('#explore input[name="id"][form="selection"]')];
  const showSelection = () => {
    const form = document.getElementById("selection");
    if (!form) return;
    const all = form.querySelector("[data-scope]")?.checked ?? false;
    const boxes = ticks();
    const ticked = new Set(boxes.filter((each) => each.checked).map((each) => each.value)).size;
    for (const box of boxes) {
      box.disabled = all;
      box.closest("[data-item]").classList.toggle("is-ticked", all || box.checked);
    }
    const page = form.querySelector("[data-tick-page]"); // a map has none
    if (page) {
      page.hidden = false;
      const pageBox = page.querySelector("input");
      pageBox.disabled = all;
      pageBox.checked = ticked > 0 && boxes.every((each) => each.checked);
      pageBox.indeterminate = ticked > 0 && !pageBox.checked;
    }
    form.querySelector("[data-selected]").textContent = all ? "all that match" : ticked ? `${ticked} selected` : "";
    form.classList.toggle("has-some", all || ticked > 0);
  };
  document.addEventListener("change", (event) => {
    if (event.target.closest("[data-tick-page]")) {
      for (const each of ticks()) each.checked = event.target.checked;
    }
    if (event.target.closest("#selection") || event.target.name === "id") showSelection();
  });
  window.addEventListener("pageshow", showSelection);

  // --- Swaps: only the newest request counts; what was open stays open; the focus is not lost ---
  let current = null;
  let kept = null;
  document.addEventListener("htmx:beforeSend", (event) => {
    if (!event.detail.boosted) return;
    current?.abort();
    current = event.detail.xhr;
    document.getElementById("explore")?.setAttribute("aria-busy", "true");
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (!event.detail.boosted || event.detail.xhr !== current) return;
    current = null;
    document.getElementById("explore")?.removeAttribute("aria-busy");
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target.id !== "explore") return;
    kept = {
      open: [...document.querySelectorAll("#explore details[id][open]:not(.menu)")].map((each) => each.id),
      scrolled: panel()?.scrollTop ?? 0,
    };
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.target?.id !== "explore" || !kept) return;
    for (const id of kept.open) document.getElementById(id)?.setAttribute("open", "");
    if (!wide.matches) panel()?.removeAttribute("open");
    unfold();
    if (panel()) panel().scrollTop = kept.scrolled;
    kept = null;
    showSelection();
    const explore = document.getElementById("explore");
    if (explore.getBoundingClientRect().top < 0) explore.scrollIntoView();
    if (document.activeElement === document.body) document.getElementById("results").focus({ preventScroll: true });
    tell();
  });

  // --- The count is said aloud as soon as it is known ---
  const tell = () => {
    const counted = document.querySelector("#count[data-counted]");
    const news = document.getElementById("news");
    if (counted && news) news.textContent = counted.textContent;
  };
  document.addEventListener("htmx:load", (event) => {
    if (event.detail.elt.id === "count") tell();
  });

  // --- Menus close on Escape and on a click elsewhere ---
  const close = (except) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (menu !== except) menu.open = false;
    }
  };
  document.addEventListener("click", (event) => close(event.target.closest("details.menu")));
  document.addEventListener("keydown", (event) => {
    const menu = event.target.closest?.("details.menu[open]");
    if (event.key !== "Escape" || !menu) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
})();
