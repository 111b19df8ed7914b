// Charts: unfolded where there is room beside the results; a bar tells its count; dragging over bars narrows.
(() => {
  const wide = matchMedia("(min-width: 100rem)");
  const kept = (value) => {
    try {
      if (value === undefined) return localStorage.getItem("charts");
      localStorage.setItem("charts", value);
    } catch { /* private mode: for this page only */ }
    return null;
  };
  const unfold = () => {
    const panel = document.querySelector("[data-charts]:not([data-begun])");
    if (!panel) return;
    panel.dataset.begun = "";
    delete document.documentElement.dataset.room;
    panel.open = wide.matches ? kept() !== "closed" : kept() === "open";
    panel.querySelector("summary").addEventListener("click", () => kept(panel.open ? "closed" : "open"));
  };
  unfold();
  document.addEventListener("htmx:load", unfold);

  const bars = (chart) => [...chart.querySelectorAll("[data-low]")];
  const told = (chart, words) => { chart.closest("[data-chart]").querySelector("[data-told]").textContent = words; };
  const barAt = (chart, x) => {
    const box = chart.getBoundingClientRect();
    const all = bars(chart);
    const at = Math.floor(((x - box.left) / box.width) * all.length);
    return Math.max(0, Math.min(all.length - 1, at));
  };

  const light = (chart, from, to) => {
    const [first, last] = [Math.min(from, to), Math.max(from, to)];
    bars(chart).forEach((bar, at) => bar.classList.toggle("is-brushed", at >= first && at <= last));
    return [first, last];
  };

  const narrow = (chart, first, last) => {
    const form = chart.closest("[data-chart]").querySelector("[data-range]");
    const all = bars(chart);
    form.elements.low.value = all[first].dataset.low;
    form.elements.high.value = all[last].dataset.high;
    // An end that another bar begins with belongs to that one.
    const next = all[last + 1];
    if (next && next.dataset.low === all[last].dataset.high) form.elements.high.name = "below";
    form.requestSubmit();
  };

  let brush = null;
  const clear = (chart) => {
    for (const bar of bars(chart)) bar.classList.remove("is-brushed");
    told(chart, "");
  };

  document.addEventListener("pointermove", (event) => {
    if (brush) {
      const [first, last] = light(brush.chart, brush.from, barAt(brush.chart, event.clientX));
      if (first !== last) brush.moved = true;
      const all = bars(brush.chart);
      if (brush.moved) told(brush.chart, `${all[first].dataset.low} – ${all[last].dataset.high}`.replaceAll("T", " "));
      return;
    }
    const bar = event.target.closest?.("[data-brush] [data-low]");
    if (bar) told(bar, `${bar.dataset.words}: ${bar.dataset.count}`);
  });
  document.addEventListener("pointerout", (event) => {
    const chart = event.target.closest?.("[data-brush]");
    if (chart && !brush && !chart.contains(event.relatedTarget)) told(chart, "");
  });
  document.addEventListener("pointerdown", (event) => {
    const chart = event.target.closest?.("[data-brush]");
    if (chart && event.button === 0) brush = { chart, from: barAt(chart, event.clientX), moved: false };
  });
  document.addEventListener("pointerup", (event) => {
    if (!brush) return;
    const { chart, from, moved } = brush;
    brush = null;
    if (!moved) return clear(chart);
    const [first, last] = light(chart, from, barAt(chart, event.clientX));
    // The click that follows is the brush's, not a bar's.
    addEventListener("click", (click) => click.preventDefault(), { capture: true, once: true });
    setTimeout(() => narrow(chart, first, last));
  });
  document.addEventListener("pointercancel", () => { if (brush) clear(brush.chart); brush = null; });
  // Links can be dragged by the browser itself.
  document.addEventListener("dragstart", (event) => { if (event.target.closest?.("[data-brush]")) event.preventDefault(); });
})();
