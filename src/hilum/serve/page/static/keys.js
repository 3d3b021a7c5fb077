/** The keys, once: the dialog lists what is dispatched. */

import { make } from "./dom.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const SHARE = 0.1;
const TONES = 8;

/** Keys, the name of the action, what it does. */
export const KEYS = [
  ["j", "next", "Next film"],
  ["k", "previous", "Film before"],
  ["i", "invert", "Invert grey values"],
  ["+", "closer", "Zoom in"],
  ["-", "farther", "Zoom out"],
  ["f", "fit", "Fit the film"],
  ["r", "reset", "Reset window, level, zoom and invert"],
  ["s", "beside", "Original and overlays side by side"],
  ["m", "map", "Saliency map on or off"],
  ["l", "lungs", "Lungs on or off"],
  ["g", "ggo", "Ground glass on or off"],
  ["c", "consolidation", "Consolidation on or off"],
  ["b", "boxes", "Boxes on or off"],
  ["o", "all", "All overlays on or off"],
  ["?", "help", "These keys"],
];
const BY_FOCUS = [
  ["↑ ↓", "In the list of films: film before, next film"],
  ["← ↑ → ↓", "On the film: move it when zoomed in"],
  ["Shift + ← →", "On the film: narrower or wider window"],
  ["Shift + ↑ ↓", "On the film: level up or down"],
];

/** @param {HTMLElement} body of the table */
export function listKeys(body) {
  const rows = [...KEYS.map(([key, , says]) => [key, says]), ...BY_FOCUS];
  const row = ([key, says]) => make("tr", {}, make("th", { scope: "row" }, make("kbd", {}, key)), make("td", {}, says));
  body.replaceChildren(...rows.map(row));
}

/**
 * @param {Record<string, () => void>} actions by name
 * @param {() => boolean} on whether single keys are used
 */
export function dispatchKeys(actions, on) {
  const names = new Map(KEYS.map(([key, name]) => [key, name]));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const typing = event.target instanceof HTMLSelectElement; // it finds its options by their letters
    const name = names.get(event.key === "=" ? "+" : event.key);
    if (typing || !name || !on()) return;
    event.preventDefault();
    actions[name]();
  });
}

/**
 * Arrow keys on the film.
 * @param {HTMLElement} stage
 * @param {import("./viewer.js").Viewer} viewer
 */
export function arrowKeys(stage, viewer) {
  stage.addEventListener("keydown", (event) => {
    const [across, down] = ARROWS[event.key] ?? [0, 0];
    if (!across && !down) return;
    event.preventDefault();
    const { window: width, level } = viewer.state;
    if (event.shiftKey) viewer.set({ window: width + TONES * across, level: level - TONES * down });
    else viewer.move(SHARE * across, SHARE * down);
  });
}
