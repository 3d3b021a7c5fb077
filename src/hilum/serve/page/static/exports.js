/** What can be taken away: a picture with its answer below, the answer as the server gave it. */

import { inWords } from "./answer.js";

const NARROWEST = 900;
const MARGIN = 18;
const LINE = 24;

/**
 * The film as it is windowed, with the overlays that are on, and what was said of it below.
 * @param {import("./viewer.js").Viewer} viewer
 * @param {import("./overlays.js").Overlays} overlays
 * @param {import("./worklist.js").Film} film
 * @returns {HTMLCanvasElement}
 */
export function annotated(viewer, overlays, film) {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d");
  const width = Math.max(NARROWEST, viewer.film.width);
  const lines = linesOf(film, overlays).flatMap(([text, font]) => wrapped(context, text, font, width - 2 * MARGIN));
  const top = viewer.print(canvas, width, overlays.paint, 2 * MARGIN + LINE * lines.length);
  context.fillStyle = "#16242b";
  context.fillRect(0, top, width, canvas.height - top);
  [context.fillStyle, context.textBaseline] = ["#f4f6f6", "top"];
  lines.forEach(([text, font], row) => {
    context.font = font;
    context.fillText(text, MARGIN, top + MARGIN + row * LINE);
  });
  return canvas;
}

function linesOf({ name, reading }, overlays) {
  const [bold, plain] = ["600 17px sans-serif", "16px sans-serif"];
  const shown = overlays.shown().map((layer) => layer.words.toLowerCase());
  const said = reading.refusal
    ? [[`REFUSED: ${reading.refusal.says}`, bold]]
    : reading.answers.flatMap((one) => [
        [`${one.outcome}: ${inWords(one)} (${one.bundle})`, bold],
        ...one.reasons.map((reason) => [`Why: ${reason}`, plain]),
        [`${one.verdict ? `Audit: ${one.verdict}` : "Not audited"} · ${one.headline ?? ""}`, plain],
      ]);
  const notes = reading.notes.map((note) => [`Note: ${note}`, plain]);
  const overlaid = [`Overlays: ${shown.join(", ") || "none"}`, plain];
  return [[name, bold], ...said, ...notes, overlaid, [reading.disclaimer, bold]];
}

function wrapped(context, text, font, width) {
  context.font = font;
  const lines = [];
  let line = "";
  for (const word of text.split(" ")) {
    const longer = line ? `${line} ${word}` : word;
    const fits = !line || context.measureText(longer).width <= width;
    if (!fits) lines.push(line);
    line = fits ? longer : word;
  }
  return [...lines, line].map((one) => [one, font]);
}

/**
 * @param {Blob} blob
 * @param {string} name of the file to save
 */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** @param {import("./api.js").Reading} reading @returns {Blob} without the pictures, which the PNG has */
export function jsonOf(reading) {
  const answers = reading.answers.map((one) => ({ ...one, map: one.map && { ...one.map, picture: undefined } }));
  const told = { ...reading, answers, pictures: undefined };
  return new Blob([`${JSON.stringify(told, null, 2)}\n`], { type: "application/json" });
}
