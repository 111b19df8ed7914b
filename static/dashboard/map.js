// The map: draws the rows of its table, asks for those of where one looks, and makes what is drawn the filter.
(() => {
  const ZOOMS = { minZoom: 0, maxZoom: 18 };
  const WORLD = [[-60, -180], [75, 180]];

  const wrapped = (longitude) => ((((longitude + 180) % 360) + 360) % 360) - 180;
  const nearest = (longitude, center) => longitude + 360 * Math.round((center - longitude) / 360);
  const short = (number) => String(+number.toFixed(6));
  const numbers = (text) => text.split(",").map(Number);
  const inner = (value, low, high) => {
    const margin = (high - low) * 0.2;
    return Math.max(low + margin, Math.min(high - margin, value));
  };
  const briefly = (count) => new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(count);

  // The page with those parameters instead, on its first page.
  const address = (changes) => {
    const query = new URLSearchParams(location.search);
    for (const name of ["cursor", "offset"]) query.delete(name);
    for (const [name, text] of Object.entries(changes)) {
      if (text) query.set(name, text); else query.delete(name);
    }
    return `${location.pathname}?${query}`;
  };

  const rings = (polygon, shift) => polygon.map((ring) => {
    let x = 0, y = 0;
    const points = [];
    for (let at = 0; at < ring.length; at += 2) {
      x += ring[at];
      y += ring[at + 1];
      points.push([y / 100, x / 100 + shift]);
    }
    return points;
  });

  const drawLand = async (map, source) => {
    const answer = await fetch(source);
    const land = await answer.json();
    const polygons = [-360, 0, 360].flatMap((shift) => land.polygons.map((each) => rings(each, shift)));
    L.polygon(polygons, { className: "map-land", interactive: false, stroke: false, renderer: L.svg({ padding: 1, pane: "land" }), pane: "land", smoothFactor: 0.5 }).addTo(map);
  };

  const loaded = (kind, attributes) => new Promise((resolve, reject) => {
    const element = Object.assign(document.createElement(kind), attributes, { onload: resolve, onerror: reject });
    document.head.append(element);
  });
  // Once for all maps that a page shows in turn; the page's own styles come after, as they say more.
  let leaflet = null;
  const load = async (place) => {
    const own = document.querySelector('link[href*="dashboard/map"]');
    await Promise.all(place.dataset.styles.split(" ").map((href) => loaded("link", { rel: "stylesheet", href })));
    if (own) document.head.append(own);
    for (const src of place.dataset.scripts.split(" ")) await loaded("script", { src });
  };

  const start = async (place) => {
    place.hidden = false;
    place.dataset.begun = "";
    leaflet ??= load(place);
    await leaflet;
    if (place.isConnected) show(place);
  };

  const show = (place) => {
    const table = document.querySelector("[data-map-table]");
    // Unfolded for whoever sees no map.
    table.querySelector("details")?.removeAttribute("open");
    const map = L.map(place, { ...ZOOMS, attributionControl: false, worldCopyJump: true, zoomSnap: place.dataset.tiles ? 1 : 0.5, maxBounds: [[-89, -720], [89, 720]] });
    L.control.scale({ imperial: false }).addTo(map);
    const marks = L.layerGroup().addTo(map);
    const drawn = L.featureGroup().addTo(map);
    map.createPane("land").style.zIndex = 150;
    if (place.dataset.tiles) L.tileLayer(place.dataset.tiles, { maxZoom: ZOOMS.maxZoom }).addTo(map);
    else drawLand(map, place.dataset.land);

    // --- What lies here ---
    const named = (marker, words) => marker.on("add", () => {
      const element = marker.getElement();
      element.setAttribute("role", "button");
      element.setAttribute("aria-label", words);
      element.title = words;
    });

    const cellMark = (row) => {
      const count = Number(row.dataset.count);
      const [latitude, longitude] = numbers(row.dataset.at);
      const size = 22 + 5 * Number(row.dataset.depth);
      const face = document.createElement("span");
      face.textContent = briefly(count);
      const icon = L.divIcon({ className: `map-cell depth-${row.dataset.depth}`, iconSize: [size, size], html: face });
      const center = map.getCenter().lng;
      const [south, west, north, east] = numbers(row.dataset.cell);
      // Towards the middle of their cells, or neighbours would hide each other.
      const up = inner(latitude, south, north), along = inner(longitude, west, east);
      const mark = L.marker([up, nearest(along, center)], { icon });
      mark.on("click", () => {
        const shift = nearest(longitude, center) - longitude;
        const box = L.latLngBounds([south, west + shift], [north, east + shift]);
        if (map.getZoom() >= ZOOMS.maxZoom) location.assign(row.querySelector("a").href);
        else map.setView([latitude, longitude + shift], Math.max(map.getBoundsZoom(box), map.getZoom() + 1));
      });
      mark.on("add", () => mark.getElement().addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        map.getContainer().focus({ preventScroll: true });
        mark.fire("click");
      }));
      return named(mark, `${row.querySelector("th").textContent}: ${count.toLocaleString("en")} inferences; look closer`);
    };

    const card = (row) => {
      const box = document.createElement("div");
      const picture = document.createElement("img");
      picture.src = row.dataset.picture;
      picture.alt = "";
      box.className = "map-popup";
      box.append(picture, row.querySelector(".map-card").cloneNode(true));
      return box;
    };

    const placeMark = (row) => {
      const count = Number(row.dataset.count);
      const [latitude, longitude] = numbers(row.dataset.at);
      const face = document.createElement("span");
      if (count > 1) face.textContent = count;
      const icon = L.divIcon({ className: `map-point${count > 1 ? " is-many" : ""}`, iconSize: [24, 24], html: face });
      const mark = L.marker([latitude, nearest(longitude, map.getCenter().lng)], { icon });
      mark.bindPopup(() => card(row), { minWidth: 180, maxWidth: 260, autoPanPadding: [20, 20] });
      mark.on("popupopen", (event) => event.popup.getElement().querySelector("a")?.focus());
      return named(mark, count > 1 ? `${count} inferences` : row.querySelector("a").textContent);
    };

    const draw = () => {
      marks.clearLayers();
      for (const row of table.querySelectorAll("tr[data-cell]")) marks.addLayer(cellMark(row));
      for (const row of table.querySelectorAll("tr[data-place]")) marks.addLayer(placeMark(row));
    };

    let asked = null;
    const look = async () => {
      asked?.abort();
      asked = new AbortController();
      const bounds = map.getBounds();
      const all = bounds.getEast() - bounds.getWest() >= 360;
      const [west, east] = all ? [-180, 180] : [wrapped(bounds.getWest()), wrapped(bounds.getEast())];
      const box = [Math.max(-90, bounds.getSouth()), west, Math.min(90, bounds.getNorth()), east].map(short);
      const query = `bounds=${box}&zoom=${Math.round(map.getZoom())}`;
      try {
        if (!place.isConnected) return;
        const answer = await fetch(`${place.dataset.cells}&${query}`, { signal: asked.signal });
        if (answer.headers.get("HX-Refresh")) location.reload();
        if (!answer.ok) return;
        const isOpen = Boolean(table.querySelector("details")?.open);
        const found = new DOMParser().parseFromString(await answer.text(), "text/html");
        table.replaceChildren(...found.body.childNodes);
        table.querySelector("details")?.toggleAttribute("open", isOpen);
        draw();
        place.dataset.shown = query;
      } catch (error) {
        if (error.name !== "AbortError") throw error;
      }
    };

    const remember = () => {
      if (!place.isConnected) return;
      const center = map.getCenter().wrap();
      history.replaceState(history.state, "", address({ viewport: [short(center.lat), short(center.lng), map.getZoom()].join(",") }));
    };

    // --- What is drawn is the filter ---
    const circleText = (circle) => {
      const center = circle.getLatLng();
      return [short(center.lat), short(wrapped(center.lng)), Math.round(circle.getRadius())].join(",");
    };
    const rectangleText = (rectangle) => {
      const bounds = rectangle.getBounds();
      const [west, east] = [wrapped(bounds.getWest()), wrapped(bounds.getEast())];
      const text = [bounds.getSouth(), west, bounds.getNorth(), east].map(short).join(",");
      return west > east ? `${text},crosses` : text;
    };
    const told = (layer) => (layer instanceof L.Circle ? { circle: circleText(layer) } : { rectangle: rectangleText(layer) });

    const style = { className: "map-drawn" };
    const shapes = [];
    let area = null;
    const given = place.dataset.circle;
    if (given.length > 2) {
      const [latitude, longitude, radius] = numbers(given);
      const circle = L.circle([latitude, longitude], { radius, ...style });
      area = L.latLng(latitude, longitude).toBounds(2 * radius);
      // At the rim: what lies in the middle is to be seen.
      const radiusWords = L.tooltip({ permanent: true, direction: "top", className: "map-radius" });
      radiusWords.setLatLng([Math.min(area.getNorth(), 85), longitude]).setContent(`${radius.toLocaleString("en")} m`);
      shapes.push(circle);
      map.on("draw:editstart draw:deletestart", () => radiusWords.remove());
      map.on("draw:editstop draw:deletestop", () => radiusWords.addTo(map));
      map.whenReady(() => radiusWords.addTo(map));
    }
    if (place.dataset.rectangle) {
      const [south, one, north, other] = numbers(place.dataset.rectangle.replace(",crosses", ""));
      const [west, east] = [Math.min(one, other), Math.max(one, other)];
      const crosses = place.dataset.rectangle.endsWith(",crosses");
      const rectangle = L.rectangle(crosses ? [[south, east], [north, west + 360]] : [[south, west], [north, east]], style);
      area = area ?? rectangle.getBounds();
      shapes.push(rectangle);
    }
    map.addControl(new L.Control.Draw({
      draw: {
        circle: { shapeOptions: style, metric: true, feet: false },
        // Leaflet.draw fails where it would tell the area.
        rectangle: { shapeOptions: style, showArea: false },
        polyline: false, polygon: false, marker: false, circlemarker: false,
      },
      edit: { featureGroup: drawn },
    }));
    map.on(L.Draw.Event.CREATED, (event) => location.assign(address(told(event.layer))));
    map.on(L.Draw.Event.EDITED, (event) => {
      let changes = {};
      event.layers.eachLayer((layer) => { changes = { ...changes, ...told(layer) }; });
      if (Object.keys(changes).length) location.assign(address(changes));
    });
    map.on(L.Draw.Event.DELETED, (event) => {
      const changes = {};
      event.layers.eachLayer((layer) => { changes[layer instanceof L.Circle ? "circle" : "rectangle"] = ""; });
      if (Object.keys(changes).length) location.assign(address(changes));
    });

    // --- Where one looks first ---
    const found = () => {
      const boxes = [...table.querySelectorAll("tr[data-cell]")].map((row) => {
        const [latitude, longitude] = numbers(row.dataset.at);
        return [latitude, longitude];
      });
      return boxes.concat([...table.querySelectorAll("tr[data-place]")].map((row) => numbers(row.dataset.at)));
    };
    if (place.dataset.viewport) {
      const [latitude, longitude, zoom] = numbers(place.dataset.viewport);
      map.setView([latitude, longitude], zoom);
    } else {
      const points = found();
      const bounds = area ? area.pad(0.15) : points.length ? L.latLngBounds(points).pad(0.08) : L.latLngBounds(WORLD);
      map.fitBounds(bounds, { maxZoom: 14 });
    }
    for (const shape of shapes) drawn.addLayer(shape);
    look();
    let soon = null;
    map.on("moveend", () => {
      clearTimeout(soon);
      soon = setTimeout(() => { remember(); look(); }, 120);
    });
  };

  const begin = () => { for (const place of document.querySelectorAll("[data-map]:not([data-begun])")) start(place); };
  begin();
  document.addEventListener("htmx:afterSettle", begin);
})();
