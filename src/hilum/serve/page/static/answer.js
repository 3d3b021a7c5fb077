/** A reading in words, bars and a schematic. An outcome is always a sign and a word too, never a colour alone. */

import { decimal, make, percent, words } from "./dom.js";
import { severityOf } from "./severity.js";

/** @typedef {import("./api.js").Reading} Reading @typedef {import("./api.js").Answer} Answer */

const SIGNS = { POSITIVE: "+", NEGATIVE: "−", INCONCLUSIVE: "?", REFUSED: "×" };

/** @param {string} outcome @param {string} [after] @returns {HTMLElement} the sign, the word and what stands behind */
export function badge(outcome, after = "") {
  const sign = make("span", { class: "sign", "aria-hidden": "true" }, SIGNS[outcome] ?? "…");
  return make("span", { class: `badge ${outcome.toLowerCase()}` }, sign, make("b", {}, outcome), after && ` ${after}`);
}

/** The finding an outcome rests on: of two labels the first, which has the threshold; else the one decided. */
export function decisive({ findings, label }) {
  return findings.length === 2 ? findings[0] : findings.find((one) => one.label === label);
}

/** @param {Answer} answer @returns {string} such as `covid19 0.61 [0.52, 0.70], threshold 0.47` */
export function inWords(answer) {
  const held = decisive(answer);
  return held ? findingWords(held) : "";
}

function findingWords({ label, probability, low, high, threshold }) {
  const interval = low === null || high === null ? "" : ` [${decimal(low)}, ${decimal(high)}]`;
  const against = threshold === null ? "" : `, threshold ${decimal(threshold)}`;
  return `${words(label)} ${decimal(probability)}${interval}${against}`;
}

/** @param {Reading} reading @param {Date} at when it was read @returns {Node[]} all that is said of a film */
export function answerOf(reading, at) {
  if (reading.refusal) return [refusalOf(reading), factsOf(reading, at)];
  const answers = make("div", { class: "answers" }, ...reading.answers.map(oneAnswer));
  return [answers, notesOf(reading), severityOf(reading.severity), factsOf(reading, at)].filter(Boolean);
}

function refusalOf({ refusal, notes }) {
  return make(
    "article",
    { class: "one refused" },
    make("p", { class: "outcome" }, badge("REFUSED")),
    make("p", {}, "This film is not read, so there are no numbers."),
    make("p", { class: "because" }, `Why: ${refusal.says}.`.replace(/\.+$/, ".")),
    notes.length ? listOf(notes) : null,
  );
}

/** @param {Answer} answer */
function oneAnswer(answer) {
  const { title, outcome, findings, reasons, headline } = answer;
  const shown = findings.length === 2 ? findings.slice(0, 1) : findings;
  return make(
    "article",
    { class: `one ${outcome.toLowerCase()}` },
    make("h3", {}, title),
    make("p", { class: "outcome" }, badge(outcome)),
    auditOf(answer),
    make("p", {}, meaningOf(answer)),
    reasons.length ? listOf(reasons, "because") : null,
    ...shown.map(barOf),
    headline ? make("p", { class: "hint" }, `The bundle: ${headline}`) : null,
    make("details", {}, make("summary", {}, "More of this classifier"), ...moreOf(answer)),
  );
}

function meaningOf({ outcome, label, findings }) {
  if (outcome === "INCONCLUSIVE") return "This classifier does not decide on this film.";
  if (findings.length !== 2) return `Decided on ${words(label)}.`;
  const side = outcome === "POSITIVE" ? "is at or above" : "is below";
  return `${words(findings[0].label)} ${side} its threshold.`;
}

function auditOf({ bundle, verdict }) {
  const card = `/api/card?bundle=${encodeURIComponent(bundle)}`;
  const open = { href: card, target: "_blank", rel: "noopener", "aria-label": `Card of ${bundle}, in a new tab` };
  const told = make("b", {}, verdict ? `Audit of this bundle: ${verdict}` : "This bundle is not audited");
  return make("p", { class: `audit ${(verdict ?? "none").toLowerCase()}` }, told, " · ", make("a", open, "Card"));
}

function moreOf({ bundle, digest, interval, map, label }) {
  const share = map && map.in_lungs !== null && map.lungs_area !== null;
  const lungs = share
    ? `${percent(map.in_lungs)} of it for ${words(label)} lies in the lungs, ` +
      `which are ${percent(map.lungs_area)} of what the network saw.`
    : (map?.no_map ?? null);
  return [
    interval && make("p", {}, `Interval: ${interval}.`),
    lungs && make("p", {}, `Map: ${lungs}`),
    make("p", {}, `Bundle ${bundle}, digest `, make("code", {}, digest)),
  ].filter(Boolean);
}

/** One finding on a scale from 0 to 1: the point, its interval, the threshold. */
function barOf(finding) {
  const { label, probability, low, high, threshold } = finding;
  const at = (name, value) => {
    const mark = make("i", { class: name });
    mark.style.left = `${100 * value}%`;
    return mark;
  };
  const scale = make("span", { class: "scale" });
  if (low !== null && high !== null) {
    const band = at("band", low);
    band.style.width = `${100 * (high - low)}%`;
    scale.append(band);
  }
  if (threshold !== null) scale.append(at("threshold", threshold));
  scale.append(at("point", probability));
  const ends = make("span", { class: "ends" }, ...["0", "probability", "1"].map((one) => make("span", {}, one)));
  const interval = low === null || high === null ? "no interval" : `${decimal(low)} to ${decimal(high)}`;
  const against = threshold === null ? "" : ` · threshold ${decimal(threshold)}`;
  const head = make("p", {}, make("b", {}, `${words(label)} ${decimal(probability)}`), ` ${interval}${against}`);
  const drawn = make("div", { role: "img", "aria-label": findingWords(finding) }, scale, ends);
  return make("div", { class: "bar" }, head, drawn);
}

function notesOf({ notes, lungs, kept }) {
  const all = [...notes, ...(lungs?.flags ?? []).map((flag) => `lungs: ${words(flag)}`)];
  if (kept) all.push("this server keeps this result until it is deleted");
  return all.length ? make("section", { class: "notes" }, make("h3", {}, "Notes"), listOf(all)) : null;
}

function factsOf({ film, view, lungs, seconds }, at) {
  const size = film.width ? `${film.width} × ${film.height} pixels` : null;
  const total = Object.values(seconds).reduce((sum, one) => sum + one, 0);
  const measures = Object.entries(lungs?.measures ?? {}).map(([name, value]) => `${words(name)} ${decimal(value)}`);
  const facts = {
    File: [film.format?.toUpperCase(), size].filter(Boolean).join(", ") || null,
    View: view && `${view.view}, p = ${decimal(view.probability)}`,
    "SHA-256": film.sha256,
    Lungs: measures.join(", "),
    Read: `${at.toLocaleString()}${total ? `, in ${total.toFixed(2)} s` : ""}`,
  };
  const rows = Object.entries(facts).filter(([, value]) => value);
  const list = make("dl", {}, ...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  return make("details", { class: "facts" }, make("summary", {}, "The film"), list);
}

function listOf(sentences, name = null) {
  return make("ul", { class: name }, ...sentences.map((one) => make("li", {}, one)));
}
