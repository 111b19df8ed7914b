// The picture, looked at closely: zoom by buttons, keys and wheel, moved by dragging and scrolling.
(() => {
  const viewer = document.querySelector("[data-viewer]");
  if (!viewer) return;
  const stage = viewer.querySelector("[data-stage]");
  const figure = viewer.querySelector("[data-figure]");
  const image = figure.querySelector("img");
  const words = viewer.querySelector("[data-zoom-words]");
  const whole = Number(image.getAttribute("width"));
  const STEP = 1.25;
  const TALLEST = 0.72;
  let fitted = 0;
  let lowest = 0;
  let zoom = 1;

  const sharpen = () => {
    const address = image.dataset.large;
    if (!address || fitted * zoom * devicePixelRatio <= image.naturalWidth) return;
    delete image.dataset.large;
    const large = new Image();
    large.addEventListener("load", () => { image.src = large.src; });
    large.src = address;
  };

  // Zoomed so that the point of the stage at (x, y) stays where it is.
  const zoomTo = (wanted, x = stage.clientWidth / 2, y = stage.clientHeight / 2) => {
    if (zoom === 1) {
      fitted = image.getBoundingClientRect().width;
      lowest = stage.getBoundingClientRect().height;
      if (!fitted) return;
    }
    const most = Math.max(8, (4 * whole) / fitted);
    const before = figure.getBoundingClientRect();
    const frame = stage.getBoundingClientRect();
    const across = (frame.left + x - before.left) / before.width;
    const down = (frame.top + y - before.top) / before.height;
    zoom = Math.min(most, Math.max(1, wanted));
    if (zoom < 1.001) {
      zoom = 1;
      stage.style.removeProperty("height");
      figure.style.removeProperty("width");
    } else {
      figure.style.width = `${fitted * zoom}px`;
      // A picture that is wide and low gets more room as it grows.
      const room = Math.min(TALLEST * innerHeight, (before.height * fitted * zoom) / before.width + 32);
      stage.style.height = `${Math.max(lowest, room)}px`;
    }
    stage.classList.toggle("is-zoomed", zoom > 1);
    const after = figure.getBoundingClientRect();
    stage.scrollLeft += after.left + across * after.width - (frame.left + x);
    stage.scrollTop += after.top + down * after.height - (frame.top + y);
    words.textContent = zoom === 1 ? "fit" : `${Math.round((100 * fitted * zoom) / whole)} %`;
    sharpen();
  };

  const actions = {
    in: () => zoomTo(zoom * STEP),
    out: () => zoomTo(zoom / STEP),
    fit: () => zoomTo(1),
    whole: () => zoomTo(whole / (zoom === 1 ? image.getBoundingClientRect().width : fitted)),
  };
  const keys = { "+": "in", "=": "in", "-": "out", _: "out", 0: "fit", 1: "whole" };

  viewer.querySelector("[data-viewer-tools]").hidden = false;
  for (const button of viewer.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => actions[button.dataset.zoom]());
  }
  stage.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    actions[keys[event.key]]();
  });
  // The wheel belongs to the page until the picture is clicked on; with Ctrl, or two fingers, it zooms anyway.
  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && document.activeElement !== stage) return;
    event.preventDefault();
    const frame = stage.getBoundingClientRect();
    const factor = Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002));
    zoomTo(zoom * factor, event.clientX - frame.left, event.clientY - frame.top);
  }, { passive: false });
  stage.addEventListener("dblclick", (event) => {
    const frame = stage.getBoundingClientRect();
    zoomTo(zoom === 1 ? 2.5 : 1, event.clientX - frame.left, event.clientY - frame.top);
  });

  stage.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "mouse" || event.button !== 0 || zoom === 1) return;
    event.preventDefault();
    stage.focus({ preventScroll: true });
    stage.setPointerCapture(event.pointerId);
    stage.classList.add("is-dragged");
    const move = (at) => {
      stage.scrollLeft -= at.movementX;
      stage.scrollTop -= at.movementY;
    };
    const end = () => {
      stage.classList.remove("is-dragged");
      stage.removeEventListener("pointermove", move);
    };
    stage.addEventListener("pointermove", move);
    stage.addEventListener("lostpointercapture", end, { once: true });
  });
  let across = innerWidth; // a phone's bars change the height alone
  addEventListener("resize", () => {
    if (zoom > 1 && innerWidth !== across) zoomTo(1);
    across = innerWidth;
  });
})();
