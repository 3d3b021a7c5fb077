/** What is laid over the film: the saliency map, lungs, lesions, boxes; each with its line in the legend. */

import { pictureOf } from "./api.js";
import { make, percent, words } from "./dom.js";

const HALO = "rgb(0 0 0 / 0.6)";
const LUNG = "#ebebeb";
/** Sky blue and orange of Okabe and Ito, which every colour vision tells apart; stripes and dashes tell them too. */
const LESIONS = {
  ggo: { colour: "#56b4e9", dash: [], letter: "G", words: "Ground glass" },
  consolidation: { colour: "#e69f00", dash: [5, 3], letter: "C", words: "Consolidation" },
};
const NONE = { there: false, says: "none drawn" };
const FILL = 0.35;
const STRIPE_PX = 6;

/** @typedef {import("./api.js").Reading} Reading @typedef {import("./viewer.js").Place} Place */

/** In the order they are drawn; the key toggles. */
export const LAYERS = [
  { id: "map", words: "Saliency map", key: "m", first: true },
  { id: "ggo", words: "Ground glass", key: "g", first: true },
  { id: "consolidation", words: "Consolidation", key: "c", first: true },
  { id: "lungs", words: "Lungs", key: "l", first: true },
  { id: "boxes", words: "Boxes around lesions", key: "b", first: false },
];

export class Overlays {
  /**
   * @param {HTMLElement} legend holds the toggles
   * @param {() => void} changed
   */
  constructor(legend, changed) {
    Object.assign(this, { legend, changed });
    this.on = new Set(LAYERS.filter((layer) => layer.first).map((layer) => layer.id));
    this.opacity = 0.55;
    /** @type {Reading|null} */
    this.reading = null;
    /** @type {number} whose map is shown */
    this.chosen = 0;
    /** @type {(HTMLImageElement|null)[]} one an answer */
    this.maps = [];
  }

  /** @param {Reading|null} reading */
  async show(reading) {
    this.reading = reading;
    this.chosen = 0;
    this.maps = [];
    this.fillLegend();
    const maps = await Promise.all((reading?.answers ?? []).map((one) => pictureOf(one.map?.picture)));
    if (this.reading !== reading) return; // another film came meanwhile
    this.maps = maps;
    this.changed();
  }

  /** @param {string} id */
  toggle(id) {
    if (!this.on.delete(id)) this.on.add(id);
    this.fillLegend();
    this.changed();
  }

  /** All off where one is on, else those shown at first. */
  toggleAll() {
    const first = LAYERS.filter((layer) => layer.first).map((layer) => layer.id);
    this.on = new Set(this.on.size ? [] : first);
    this.fillLegend();
    this.changed();
  }

  /** The layers that are on and there, for the caption of a picture. */
  shown() {
    return LAYERS.filter((layer) => this.on.has(layer.id) && this.about(layer.id).there);
  }

  fillLegend() {
    const held = document.activeElement?.id;
    this.legend.replaceChildren(...LAYERS.map((layer) => this.line(layer)), ...this.choice());
    if (held && this.legend.querySelector(`#${CSS.escape(held)}`)) document.getElementById(held)?.focus();
  }

  line({ id, words: name }) {
    const { there, says } = this.about(id);
    const box = make("input", { type: "checkbox", id: `layer-${id}`, disabled: !there });
    box.checked = there && this.on.has(id);
    box.addEventListener("change", () => this.toggle(id));
    const told = make("span", {}, name, make("small", {}, says));
    return make("label", { class: there ? "layer" : "layer missing" }, box, make("i", { class: `swatch ${id}` }), told);
  }

  /** Whether a layer is there, and what its line says. */
  about(id) {
    const { reading } = this;
    if (id === "map") return aboutMap(reading?.answers[this.chosen]);
    if (id === "lungs") return reading?.lungs ? { there: true, says: "as drawn by the network" } : NONE;
    const boxes = Object.values(reading?.lesions ?? {}).reduce((sum, one) => sum + one.boxes.length, 0);
    if (id === "boxes") return boxes ? { there: true, says: `${boxes}; G ground glass, C consolidation` } : NONE;
    const lesion = reading?.lesions?.[id];
    if (!lesion) return NONE;
    const share = lesion.share_of_lungs;
    const says = share === null ? "share not told" : `${percent(share)} of the lungs`;
    return { there: lesion.outlines.length > 0, says };
  }

  /** Whose map, where several classifiers have answered. */
  choice() {
    const answers = this.reading?.answers ?? [];
    if (answers.length < 2) return [];
    const options = answers.map((one, place) => make("option", { value: place }, one.bundle));
    const select = make("select", { id: "map-of" }, ...options);
    select.value = String(this.chosen);
    select.addEventListener("change", () => {
      this.chosen = Number(select.value);
      this.fillLegend();
      this.changed();
    });
    return [make("label", { class: "choice" }, "Map of ", select)];
  }

  /** @param {CanvasRenderingContext2D} context @param {Place} place */
  paint = (context, place) => {
    context.save();
    context.globalAlpha = this.opacity;
    for (const { id } of this.shown()) this[`${id}Layer`](context, place);
    context.restore();
  };

  mapLayer(context, { x, y, width, height }) {
    const map = this.maps[this.chosen];
    if (map) context.drawImage(map, x, y, width, height);
  }

  lungsLayer(context, place) {
    for (const outlines of Object.values(this.reading.lungs.outlines)) {
      stroke(context, pathOf(outlines, place), place.line, LUNG, []);
    }
  }

  ggoLayer = (context, place) => lesionLayer(context, place, this.reading.lesions.ggo, LESIONS.ggo);
  consolidationLayer = (context, place) =>
    lesionLayer(context, place, this.reading.lesions.consolidation, LESIONS.consolidation);

  boxesLayer(context, place) {
    for (const [label, look] of Object.entries(LESIONS)) {
      this.reading.lesions[label]?.boxes.forEach((box) => boxLayer(context, place, box, look));
    }
  }
}

function aboutMap(answer) {
  const map = answer?.map;
  if (!map?.picture) return { there: false, says: map?.no_map ?? "none" };
  const lungs = map.in_lungs === null ? "" : `; ${percent(map.in_lungs)} of it in the lungs`;
  return { there: true, says: `what raises ${words(answer.label)}${lungs}` };
}

function pathOf(outlines, { x, y, width, height }) {
  const path = new Path2D();
  for (const outline of outlines) {
    outline.forEach(([across, down], place) => {
      path[place ? "lineTo" : "moveTo"](x + across * width, y + down * height);
    });
    path.closePath();
  }
  return path;
}

/** A bright line with a dark one under it shows on black and on white. */
function stroke(context, path, line, colour, dash) {
  context.save();
  context.globalAlpha **= 0.5; // lines fade later than what they surround
  context.setLineDash([]);
  context.lineJoin = "round";
  [context.lineWidth, context.strokeStyle] = [3 * line, HALO];
  context.stroke(path);
  context.setLineDash(dash.map((length) => length * line));
  [context.lineWidth, context.strokeStyle] = [1.5 * line, colour];
  context.stroke(path);
  context.restore();
}

function lesionLayer(context, place, lesion, { colour, dash }) {
  const path = pathOf(lesion.outlines, place);
  context.save();
  context.globalAlpha *= FILL;
  context.fillStyle = dash.length ? stripes(context, colour, place.line) : colour;
  context.fill(path, "evenodd"); // outlines of holes are among the others
  context.restore();
  stroke(context, path, place.line, colour, dash);
}

function stripes(context, colour, line) {
  const side = Math.round(STRIPE_PX * line);
  const tile = Object.assign(document.createElement("canvas"), { width: side, height: side });
  const on = tile.getContext("2d");
  [on.strokeStyle, on.lineWidth] = [colour, side / 2];
  for (const shift of [-side, 0, side]) {
    on.beginPath();
    on.moveTo(shift - side, 2 * side);
    on.lineTo(shift + 2 * side, -side);
    on.stroke();
  }
  return context.createPattern(tile, "repeat");
}

function boxLayer(context, place, [left, top, wide, high], { colour, dash, letter }) {
  const [x, y] = [place.x + left * place.width, place.y + top * place.height];
  const path = new Path2D();
  path.rect(x, y, wide * place.width, high * place.height);
  stroke(context, path, place.line, colour, dash);
  const side = 14 * place.line;
  context.fillStyle = HALO;
  context.fillRect(x, y - side, side, side);
  [context.fillStyle, context.font, context.textAlign] = [colour, `600 ${0.8 * side}px sans-serif`, "center"];
  context.fillText(letter, x + side / 2, y - 0.22 * side);
}
