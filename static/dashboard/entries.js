// Entries and their shapes: rows and shapes light up together; labels and a score say which are shown.
(() => {
  const rows = [...document.querySelectorAll("tr[data-position]")];
  const list = document.querySelector("[data-entries]");
  const shapes = new Map();
  for (const shape of document.querySelectorAll("path[data-position]")) shapes.set(shape.dataset.position, shape);
  const rowOf = new Map(rows.map((row) => [row.dataset.position, row]));
  const written = document.querySelector(".overlay-words");
  const wordsOf = new Map();
  for (const words of document.querySelectorAll("text[data-position]")) wordsOf.set(words.dataset.position, words);
  const said = document.querySelector("[data-lit-words]");
  let lit = null;

  // --- Words: where the shapes are many, they are written when first needed ---
  const spoken = (row) => {
    const [label, score] = [row.cells[1].textContent.trim(), row.cells[2].textContent.trim()];
    return score === "–" ? label : `${label} ${score}`;
  };
  const short = (text) => (text.length > 28 ? `${text.slice(0, 27)}…` : text);
  const write = (position) => {
    const shape = shapes.get(position);
    const row = rowOf.get(position);
    if (!written || !shape || !row || wordsOf.has(position)) return;
    const box = shape.getBBox();
    const whole = shape.ownerSVGElement.viewBox.baseVal;
    const isRight = box.x > 0.55 * whole.width;
    const text = document.createElementNS("http://www.w3.org/2000/svg", "text");
    text.textContent = short(spoken(row));
    const at = (part, all) => `${Math.max(0, Math.min(97, (100 * part) / all))}%`;
    text.setAttribute("x", at(isRight ? box.x + box.width : box.x, whole.width));
    text.setAttribute("y", at(box.y, whole.height));
    text.setAttribute("dx", isRight ? "-3" : "3");
    text.setAttribute("dy", "14");
    text.setAttribute("text-anchor", isRight ? "end" : "start");
    text.dataset.position = position;
    text.toggleAttribute("hidden", row.hidden);
    written.append(text);
    wordsOf.set(position, text);
  };

  // --- Light ---
  const light = (position) => {
    if (position === lit) return;
    for (const each of [rowOf.get(lit), shapes.get(lit), wordsOf.get(lit)]) each?.classList.remove("is-lit");
    lit = position;
    if (position === null) return;
    write(position);
    for (const each of [rowOf.get(lit), shapes.get(lit), wordsOf.get(lit)]) each?.classList.add("is-lit");
  };
  for (const row of rows) {
    row.addEventListener("pointerenter", () => light(row.dataset.position));
    row.addEventListener("pointerleave", () => light(null));
  }
  for (const [position, shape] of shapes) {
    shape.addEventListener("pointerenter", () => light(position));
    shape.addEventListener("pointerleave", () => light(null));
    shape.addEventListener("click", () => {
      const row = rowOf.get(position);
      if (row && list) list.scrollTop = row.offsetTop - list.clientHeight / 2;
    });
  }
  const steps = { ArrowDown: 1, ArrowUp: -1 };
  list?.addEventListener("keydown", (event) => {
    if (!(event.key in steps) && event.key !== "Home" && event.key !== "End") return;
    const shown = rows.filter((row) => !row.hidden);
    if (!shown.length) return;
    event.preventDefault();
    const at = shown.findIndex((row) => row.dataset.position === lit);
    const wanted = { Home: 0, End: shown.length - 1 }[event.key] ?? Math.max(0, Math.min(shown.length - 1, at + steps[event.key]));
    light(shown[wanted].dataset.position);
    shown[wanted].scrollIntoView({ block: "nearest" });
    said.textContent = `${spoken(shown[wanted])}, ${wanted + 1} of ${shown.length}`;
  });
  list?.addEventListener("blur", () => light(null));

  // --- Which are shown ---
  const tools = document.querySelector("[data-toggles]");
  if (!tools) return;
  const boxes = [...tools.querySelectorAll("[data-toggle]")];
  const least = tools.querySelector("[data-least-score]");
  const leastWords = tools.querySelector("[data-least-words]");
  const all = tools.querySelector("[data-toggle-all]");
  const showWords = tools.querySelector("[data-toggle-words]");
  const showFill = tools.querySelector("[data-toggle-fill]");
  const status = tools.querySelector("[data-shown-words]");

  const show = () => {
    const chosen = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    const bound = least && Number(least.value) > Number(least.min) ? Number(least.value) : -Infinity;
    let count = 0;
    for (const row of rows) {
      const isShown = chosen.has(row.dataset.toggled) && !(Number(row.dataset.score ?? -Infinity) < bound);
      count += isShown;
      row.hidden = !isShown;
      for (const each of [shapes.get(row.dataset.position), wordsOf.get(row.dataset.position)]) each?.toggleAttribute("hidden", !isShown);
    }
    if (leastWords) leastWords.textContent = Number(Number(least.value).toPrecision(3));
    status.textContent = count === rows.length ? "" : `${count} of ${rows.length} shown`;
    if (all) all.textContent = chosen.size ? "None" : "All";
  };
  const applyWords = () => {
    if (showWords.checked) for (const position of shapes.keys()) write(position);
    written?.classList.toggle("crowded", !showWords.checked);
  };

  for (const each of tools.querySelectorAll("[data-scripted], [data-toggle]")) each.hidden = false;
  tools.addEventListener("input", show);
  all?.addEventListener("click", () => {
    const isOn = boxes.some((box) => box.checked);
    for (const box of boxes) box.checked = !isOn;
    show();
  });
  showWords.addEventListener("change", applyWords);
  showFill.addEventListener("change", () => document.querySelector("[data-figure]").classList.toggle("no-fill", !showFill.checked));
  show();
})();
