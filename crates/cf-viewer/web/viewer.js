"use strict";

// What is shown: where the study lies, its slides, the slide, its heatmaps, and the layer that is drawn.
// Attention is drawn by rank and effects by value unless the reader says otherwise.
const state = { root: "", slides: [], slide: null, heat: null, layer: -1, request: 0, scaling: { attention: "rank", effect: "raw" } };
const element = (id) => document.getElementById(id);

function say(text, isError = false) {
  element("status").textContent = text;
  element("status").classList.toggle("error", isError);
}

async function fetchJson(address) {
  const response = await fetch(address);
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new Error(answer.error || `${response.status} ${response.statusText}`);
  }
  return answer;
}

const address = (...parts) => state.root + "/" + parts.map(encodeURIComponent).join("/");

const viewer = OpenSeadragon({
  element: element("viewer"),
  drawer: "canvas",
  showNavigationControl: false,
  showNavigator: true,
  navigatorPosition: "TOP_LEFT",
  animationTime: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 0.6,
  maxZoomPixelRatio: 4,
  visibilityRatio: 0.4,
  imageLoaderLimit: 6,
  gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
});

function tileSource(picture, name) {
  return {
    width: picture.width,
    height: picture.height,
    tileSize: picture.tile,
    tileOverlap: 0,
    minLevel: 0,
    maxLevel: picture.last_level,
    getTileUrl: name,
  };
}

// The slides of the study.

function listSlides() {
  const words = element("find").value.trim().toLowerCase();
  const order = element("order").value;
  // The server lists the highest of each fold first.
  const shown = state.slides.filter(
    (slide) => slide.id.toLowerCase().includes(words) || slide.patient.toLowerCase().includes(words),
  );
  if (order === "lowest") shown.reverse();
  if (order === "name") shown.sort((a, b) => a.id.localeCompare(b.id));
  const by = order === "name" ? "" : ", by rank in their fold as a share of its slides";
  element("found").textContent = `${shown.length} of ${state.slides.length} slides${by}`;
  element("slides").replaceChildren(...shown.map(slideButton));
}

function slideButton(slide) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.slide = slide.id;
  button.setAttribute("aria-current", String(state.slide !== null && state.slide.id === slide.id));
  const about = document.createElement("small");
  about.textContent = `risk ${slide.risk.toFixed(2)}, ${place(slide)}${slide.has_file ? "" : ", no slide file"}`;
  button.append(slide.id, about);
  button.addEventListener("click", () => show(slide.id));
  const item = document.createElement("li");
  item.append(button);
  return item;
}

// Models of other folds give risks on other scales.
const place = (slide) => `rank ${slide.rank_in_fold} of ${slide.slides_in_fold} in fold ${slide.fold}`;

// One slide.

async function show(id) {
  const request = ++state.request;
  const isOld = () => request !== state.request;
  say(`Opening ${id} …`);
  try {
    const slide = await fetchJson(address("api", "slides", id)).catch((error) => {
      if (!isOld()) begin(id, null);
      throw error;
    });
    if (isOld()) return;
    begin(id, slide);
    showPatient(slide);
    if (slide.picture) {
      const name = (level, column, row) =>
        `${address("slides", id, "tiles", String(level))}/${column}_${row}.jpg`;
      viewer.addTiledImage({ tileSource: tileSource(slide.picture, name) });
    }
    say(`Computing the heatmaps of ${id} …`);
    const heat = await fetchJson(address("api", "slides", id, "layers"));
    if (isOld()) return;
    state.heat = heat;
    showScale();
    listLayers();
    const missing = slide.has_file ? "" : " There is no slide file: maps are drawn on an empty canvas.";
    say(`${heat.layers.length} ${heat.layers.length === 1 ? "heatmap" : "heatmaps"}.${missing}`);
  } catch (error) {
    if (!isOld()) say(`${id}: ${error.message}`, true);
  }
}

// The page of a slide, with nothing on it of the one before.
function begin(id, slide) {
  Object.assign(state, { slide, heat: null, layer: -1 });
  history.replaceState(null, "", `#${encodeURIComponent(id)}`);
  document.title = `${id} – heatmaps`;
  element("slide-name").textContent = id;
  for (const button of element("slides").querySelectorAll("button")) {
    button.setAttribute("aria-current", String(button.dataset.slide === id));
  }
  element("patient").hidden = true;
  viewer.close();
  viewer.clearOverlays();
  element("layers").replaceChildren();
  element("patches").replaceChildren();
  element("layer-facts").textContent = "";
  showLegend();
  showScale();
}

function showPatient(slide) {
  const facts = [
    ["Patient", slide.patient],
    ["Predicted risk", `${slide.risk.toFixed(3)}, ${place(slide)} (1 is the highest)`],
    ["Followed", `${slide.months.toFixed(1)} months, ${slide.status}`],
    ["Held out in fold", String(slide.fold)],
  ];
  element("facts").replaceChildren(
    ...facts.flatMap(([name, value]) => {
      const [term, description] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = name;
      description.textContent = value;
      return [term, description];
    }),
  );
  const curve = slide.survival.map((value) => `${Math.round(100 * value)} %`).join(", ");
  const survival = element("survival");
  survival.hidden = slide.survival.length === 0;
  if (!survival.hidden) {
    survival.src = address("slides", slide.id, "figures", "survival.svg");
    survival.alt = `Predicted survival past ${slide.survival_past}: ${curve}`;
  }
  const plot = element("kaplan-meier");
  plot.src = address("slides", slide.id, "figures", "kaplan-meier.svg");
  plot.alt = `Kaplan-Meier curves of the cohort by predicted risk, this patient marked: ${slide.status} at ${slide.months.toFixed(1)} months`;
  element("patient").hidden = false;
}

// Layers.

function listLayers() {
  const choices = [["none", -1], ...state.heat.layers.map((layer, index) => [layer.title, index])];
  const chosen = state.heat.layers.length > 0 ? 0 : -1;
  element("layers").replaceChildren(
    ...choices.map(([title, index]) => {
      const input = document.createElement("input");
      Object.assign(input, { type: "radio", name: "layer", value: String(index), checked: index === chosen });
      input.addEventListener("change", () => choose(index));
      const label = document.createElement("label");
      label.append(input, ` ${title}`);
      return label;
    }),
  );
  choose(chosen);
}

const heatImages = () =>
  Array.from({ length: viewer.world.getItemCount() }, (_, at) => viewer.world.getItemAt(at)).filter(
    (image) => image.source.isHeat,
  );

function draw() {
  const old = heatImages();
  const { slide, heat, layer } = state;
  if (!heat || layer < 0) {
    old.forEach((image) => viewer.world.removeItem(image));
    return;
  }
  const from = Math.round((255 * Number(element("threshold").value)) / 100);
  const query = new URLSearchParams({
    colours: element("colours").value,
    scaling: element("scaling").value,
    from: String(from),
  });
  const name = (level, column, row) =>
    `${address("slides", slide.id, "layers", String(layer), "tiles", String(level))}/${column}_${row}.png?${query}`;
  viewer.addTiledImage({
    tileSource: { ...tileSource(heat.picture, name), isHeat: true },
    opacity: opacity(),
    success: () => old.forEach((image) => viewer.world.removeItem(image)),
  });
}

const opacity = () => Number(element("opacity").value) / 100;

function showSettings() {
  element("opacity-value").textContent = `${element("opacity").value} %`;
  const layer = state.heat && state.heat.layers[state.layer];
  const isEffect = layer && layer.meaning === "effect";
  const unit = element("scaling").value === "rank" ? "% of patches" : isEffect ? "% of the largest effect" : "% of the range";
  element("threshold-value").textContent = `${element("threshold").value} ${unit}`;
}

// What the colours mean, beside the name of the map.
function showLegend() {
  const layer = state.heat && state.heat.layers[state.layer];
  element("legend").hidden = !layer;
  if (!layer) return;
  const isRank = element("scaling").value === "rank";
  const isEffect = layer.meaning === "effect";
  const ends = isRank
    ? ["lowest patch", "highest patch"]
    : isEffect
      ? ["without it the risk is higher", "without it the risk is lower"]
      : layer.ends;
  // Only one of the maps of colours has a middle, which is where an effect is 0.
  const colours = isEffect && !isRank ? "coolwarm" : element("colours").value;
  element("colours").disabled = isEffect && !isRank;
  element("legend-name").textContent = layer.title;
  element("legend-colours").src = `${address("colours", colours)}.png`;
  [element("legend-low").textContent, element("legend-high").textContent] = ends;
  const range = layer.remark ? `${layer.remark}: ${layer.range}` : `scores ${layer.range}`;
  const middle = isEffect && !isRank ? `0 in the middle, \u00b1${layer.farthest} at the ends; ` : "";
  element("legend-range").textContent = middle + range;
}

async function choose(index) {
  state.layer = index;
  const chosen = state.heat.layers[index];
  if (chosen) element("scaling").value = state.scaling[chosen.meaning];
  showSettings();
  showLegend();
  draw();
  element("patches").replaceChildren();
  viewer.clearOverlays();
  const layer = state.heat.layers[index];
  if (!layer) {
    element("layer-facts").textContent = "";
    return;
  }
  const patches = layer.patches === 1 ? "1 patch" : `${layer.patches} patches`;
  element("layer-facts").textContent = `${layer.explanation} ${patches} of ${layer.side} level-0 pixels.`;
  const { slide, request } = { slide: state.slide, request: state.request };
  try {
    const sheet = await fetchJson(address("api", "slides", slide.id, "layers", String(index), "top"));
    if (request === state.request && state.layer === index) {
      element("patches").replaceChildren(...sheet.patches.map((patch, at) => patchButton(slide, index, patch, at + 1)));
    }
  } catch (error) {
    say(`${slide.id}: ${error.message}`, true);
  }
}

function patchButton(slide, layer, patch, rank) {
  const button = document.createElement("button");
  button.type = "button";
  const text = document.createElement("span");
  text.textContent = `${rank}. ${patch.score.toPrecision(3)}`;
  if (slide.has_file) {
    const image = document.createElement("img");
    image.loading = "lazy";
    image.src = `${address("slides", slide.id, "layers", String(layer), "patches")}/${patch.patch}.jpg`;
    image.alt = "";
    button.append(image);
  }
  button.append(text);
  button.setAttribute("aria-label", `Patch ${rank}, score ${patch.score.toPrecision(3)}, at ${patch.x}, ${patch.y}: show on the slide`);
  button.addEventListener("click", () => showPatch(patch, rank));
  const item = document.createElement("li");
  item.append(button);
  return item;
}

function showPatch(patch, rank) {
  const image = viewer.world.getItemAt(0);
  if (!image) return;
  const around = 2 * patch.side;
  const rectangle = (margin) =>
    image.imageToViewportRectangle(patch.x - margin, patch.y - margin, patch.side + 2 * margin, patch.side + 2 * margin);
  viewer.clearOverlays();
  const frame = document.createElement("div");
  frame.className = "chosen-patch";
  viewer.addOverlay({ element: frame, location: rectangle(0) });
  viewer.viewport.fitBounds(rectangle(around));
  say(`Patch ${rank} at ${patch.x}, ${patch.y}, score ${patch.score.toPrecision(3)}`);
}

// The scale bar: the longest of 1, 2 or 5 times a power of ten that takes at most 160 pixels of the screen.

function showScale() {
  const image = viewer.world.getItemAt(0);
  // Features may have been extracted at another resolution than the file states: theirs is right.
  const picture = state.heat ? state.heat.picture : state.slide && state.slide.picture;
  const mpp = picture && picture.mpp;
  element("scale").classList.toggle("unknown", !image || !mpp);
  if (!image || !mpp) return;
  const micrometres = mpp / image.viewportToImageZoom(viewer.viewport.getZoom(true));
  const most = 160 * micrometres;
  const power = 10 ** Math.floor(Math.log10(most));
  const length = [5, 2, 1].map((factor) => factor * power).find((value) => value <= most);
  element("scale-bar").style.width = `${length / micrometres}px`;
  element("scale-text").textContent = length >= 1000 ? `${length / 1000} mm` : `${length} µm`;
}

// OpenSeadragon 5 fits the mini-map to its frame anew, but leaves the tiles in it where they were drawn: setting a clip, be it
// none, has them placed anew.
function placeMiniMap() {
  const { world } = viewer.navigator;
  for (let at = 0; at < world.getItemCount(); at += 1) world.getItemAt(at).setClip(null);
}

viewer.navigator.addHandler("home", placeMiniMap);
viewer.addHandler("viewport-change", showScale);
viewer.addHandler("resize", showScale);
viewer.world.addHandler("add-item", showScale);
viewer.addHandler("tile-load-failed", (event) => say(`A part of the picture cannot be shown: ${event.message || "the server refused"}`, true));

element("find").addEventListener("input", listSlides);
element("order").addEventListener("change", listSlides);
element("opacity").addEventListener("input", () => {
  showSettings();
  heatImages().forEach((image) => image.setOpacity(opacity()));
});
element("threshold").addEventListener("input", showSettings);
for (const id of ["threshold", "scaling", "colours"]) {
  element(id).addEventListener("change", () => {
    const layer = state.heat && state.heat.layers[state.layer];
    if (layer) state.scaling[layer.meaning] = element("scaling").value;
    showSettings();
    showLegend();
    draw();
  });
}
element("enlarge").addEventListener("click", () => {
  const [plot, large] = [element("kaplan-meier"), element("enlarged-plot")];
  [large.src, large.alt] = [plot.src, plot.alt];
  element("enlarged").showModal();
});
element("enlarged-plot").addEventListener("click", () => element("enlarged").close());
element("controls").addEventListener("submit", (event) => event.preventDefault());

// The slide that the address ends with; none where its end is no text that was encoded.
function namedSlide() {
  try {
    const name = decodeURIComponent(location.hash.slice(1));
    return state.slides.find((slide) => slide.id === name);
  } catch {
    return undefined;
  }
}

window.addEventListener("hashchange", () => {
  const named = namedSlide();
  if (!named) {
    say("The address names no slide of this run.", true);
  } else if (element("slide-name").textContent !== named.id) {
    show(named.id);
  }
});

async function start() {
  showSettings();
  showScale();
  try {
    const study = await fetchJson("/api/study");
    Object.assign(state, { root: study.root, slides: study.slides });
    element("title").textContent = study.title;
    document.title = `${study.title} – heatmaps`;
    listSlides();
    const first = namedSlide() || study.slides[0];
    if (first) {
      await show(first.id);
    } else {
      say("This run predicted no slide.", true);
    }
  } catch (error) {
    say(`The study cannot be read: ${error.message}`, true);
  }
}

start();
