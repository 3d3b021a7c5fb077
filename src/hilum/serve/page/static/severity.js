/** How much of the lungs is involved: six zones drawn, three scores with what they can at most be. */

import { make, shape } from "./dom.js";

/** Right lung, as seen on the film at the left: upper, middle and lower zone. The left lung is its mirror image. */
const PATHS = [
  "M84 22C78 10 64 12 54 24 42 38 35 50 32 64H84Z",
  "M32 64C27 82 24 98 22 114H84V64Z",
  "M22 114C20 132 19 148 19 164 38 152 62 152 84 160V114Z",
];
const WIDTH = 200;
const ROWS = [44, 89, 135];
const ZONES = { right: ["A", "B", "C"], left: ["D", "E", "F"] };
const THIRDS = ["upper", "middle", "lower"];
const MOST = 3;
const DARKEST = 0.45;
const NAMES = { brixia: "Brixia score", extent: "Extent", opacity: "Degree of opacity" };

/** @param {Record<string, import("./api.js").Score>|null} severity @returns {HTMLElement|null} */
export function severityOf(severity) {
  if (!severity || !Object.keys(severity).length) return null;
  const zones = severity.brixia?.zones;
  const meanings = Object.values(severity).map((score) => make("p", {}, `${score.meaning}.`));
  return make(
    "section",
    { class: "severity" },
    make("h3", {}, "Severity, estimated"),
    make("div", { class: "pair" }, zones ? schematic(zones) : null, scoresOf(severity)),
    make("details", {}, make("summary", {}, "What the scores mean"), ...meanings),
  );
}

function schematic(zones) {
  const says = [];
  const lungs = Object.entries(ZONES).map(([side, letters]) => {
    const right = side === "right";
    const parts = letters.map((letter, row) => {
      const value = zones[letter];
      says.push(`${side} ${THIRDS[row]} ${value === undefined ? "not told" : value.toFixed(1)}`);
      return zone(row, right, letter, value);
    });
    return shape("g", {}, ...parts);
  });
  const sides = [["R", 8], ["L", WIDTH - 8]].map(([text, x]) => shape("text", { x, y: 18, class: "side" }, text));
  const label = `Brixia zones, 0 to 3 each: ${says.join(", ")}`;
  const drawing = shape("svg", { viewBox: `0 0 ${WIDTH} 172`, role: "img", "aria-label": label }, ...lungs, ...sides);
  return make("figure", {}, drawing, make("figcaption", {}, "Six zones, 0 to 3 each"));
}

function zone(row, right, letter, value) {
  const opacity = ((value ?? 0) / MOST) * DARKEST;
  const mirrored = right ? null : `translate(${WIDTH} 0) scale(-1 1)`;
  const x = right ? 58 : WIDTH - 58;
  const text = shape("text", { x, y: ROWS[row] }, value === undefined ? "–" : value.toFixed(1));
  const name = shape("text", { x, y: ROWS[row] + 13, class: "letter" }, letter);
  return shape("g", {}, shape("path", { d: PATHS[row], "fill-opacity": opacity, transform: mirrored }), text, name);
}

function scoresOf(severity) {
  const rows = Object.entries(severity).map(([name, { value, low, high, lowest, highest }]) => {
    const meter = make("span", { class: "meter", "aria-hidden": "true" });
    const share = (number) => (100 * (number - lowest)) / (highest - lowest);
    const [band, point] = [make("i", { class: "band" }), make("i", { class: "point" })];
    [band.style.left, band.style.width] = [`${share(low)}%`, `${share(high) - share(low)}%`];
    point.style.left = `${share(value)}%`;
    meter.append(band, point);
    const scale = ` of ${highest}, ${low.toFixed(1)} to ${high.toFixed(1)}`;
    const told = make("dd", {}, make("b", {}, value.toFixed(1)), scale, meter);
    return make("div", {}, make("dt", {}, NAMES[name] ?? name), told);
  });
  return make("dl", { class: "scores" }, ...rows);
}
