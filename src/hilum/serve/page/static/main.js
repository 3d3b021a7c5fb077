/** The page: films in, each shown with what was said of it. Without this script the form still works. */

import { pictureOf } from "./api.js";
import { answerOf, badge, inWords } from "./answer.js";
import { byId, make } from "./dom.js";
import { annotated, jsonOf, save } from "./exports.js";
import { KeptList } from "./kept.js";
import { arrowKeys, dispatchKeys, listKeys } from "./keys.js";
import { LAYERS, Overlays } from "./overlays.js";
import { Viewer } from "./viewer.js";
import { Worklist } from "./worklist.js";

const PRINTED_PX = 1000;

const overlays = new Overlays(byId("layers"), () => viewer.redraw());
const viewer = new Viewer(byId("stage"), byId("plain"), byId("drawn"), overlays.paint, tell);
/** What the server keeps; a server that keeps nothing sends a page without a place for it. */
const kept = document.getElementById("kept") && new KeptList();
const worklist = new Worklist(byId("films"), show, say, () => kept?.load());
/** The reading whose picture is on the stage: a film that is only chosen again keeps its window. */
let staged = null;

function say(sentence) {
  byId("status").textContent = sentence;
}

/** @param {import("./worklist.js").Film|null} film */
async function show(film) {
  byId("workplace").hidden = !film;
  document.documentElement.classList.toggle("working", Boolean(film));
  const reading = film?.reading ?? null;
  byId("film-name").textContent = film?.name ?? "";
  byId("film-outcome").replaceChildren(film ? told(film) : "");
  byId("answer").replaceChildren(...(film ? said(film) : []));
  for (const id of ["save-png", "save-json", "print"]) byId(id).disabled = !reading;
  byId("save-png").disabled = !reading?.pictures;
  if (reading && reading === staged) return;
  staged = reading;
  overlays.show(reading);
  viewer.show(null);
  byId("stage-empty").textContent = reading?.pictures ? "" : empty(film);
  const picture = await pictureOf(reading?.pictures?.film);
  if (picture && staged === reading) viewer.show(picture);
}

function empty(film) {
  return { waiting: "Waiting", reading: "Reading" }[film?.state] ?? "No picture of this film";
}

function told({ reading, state }) {
  return reading ? badge(reading.outcome, reading.answers.length ? inWords(reading.answers[0]) : "") : state;
}

function said(film) {
  if (film.reading) return answerOf(film.reading, film.at);
  if (film.state === "reading") return [make("p", {}, "Reading …")];
  if (film.state === "waiting") return [make("p", {}, "Waiting for the films before it.")];
  const again = make("button", { type: "button" }, "Try again");
  again.addEventListener("click", () => worklist.again(film));
  return [make("p", { class: "because" }, `Not read: ${film.says}`), again];
}

/** What the film is seen through, beside the sliders. */
function tell() {
  const { level, window: width, zoom, inverted } = viewer.state;
  byId("level").value = level;
  byId("window").value = width;
  const seen = `Level ${level}, window ${width}, zoom ${zoom.toFixed(1)}${inverted ? ", inverted" : ""}`;
  byId("stage-says").textContent = viewer.grey ? seen : "";
  byId("drawn-says").textContent = overlays.shown().length ? "With overlays" : "No overlay on";
  pressed("invert", inverted);
}

function pressed(name, on) {
  document.querySelector(`[data-do="${name}"]`).setAttribute("aria-pressed", String(on));
}

function beside() {
  viewer.beside = !viewer.beside;
  byId("plain-pane").hidden = !viewer.beside;
  byId("stage").classList.toggle("beside", viewer.beside);
  pressed("beside", viewer.beside);
  viewer.redraw();
}

const actions = {
  next: () => worklist.step(1),
  previous: () => worklist.step(-1),
  invert: viewer.invert,
  closer: viewer.closer,
  farther: viewer.farther,
  fit: viewer.fit,
  reset: viewer.reset,
  beside,
  all: () => overlays.toggleAll(),
  help: () => byId("help").showModal(),
  ...Object.fromEntries(LAYERS.map(({ id }) => [id, () => overlays.toggle(id)])),
};

/** @param {string} selector @param {string} type @param {(element: any) => void} handle */
function onAll(selector, type, handle) {
  for (const element of document.querySelectorAll(selector)) element.addEventListener(type, () => handle(element));
}

function takeFilms() {
  const input = byId("file");
  input.addEventListener("change", () => {
    worklist.add(input.files);
    input.value = ""; // the same film may be chosen again
  });
  byId("intake").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.documentElement.classList.add("dropping");
  });
  const over = () => document.documentElement.classList.remove("dropping");
  document.addEventListener("dragleave", (event) => event.relatedTarget || over());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over();
    worklist.add(event.dataTransfer?.files ?? []);
  });
  onAll("[data-sample]", "click", (button) => takeSample(button.dataset));
}

async function takeSample({ sample, name }) {
  const response = await fetch(sample);
  if (response.ok) worklist.add([new File([await response.blob()], name, { type: "image/png" })]);
  else say("The simulated film could not be loaded.");
}

function takeControls() {
  onAll("[data-do]", "click", (button) => actions[button.dataset.do]());
  onAll("[name=drag]", "change", (radio) => (viewer.drag = radio.value));
  byId("level").addEventListener("input", (event) => viewer.set({ level: Number(event.target.value) }));
  byId("window").addEventListener("input", (event) => viewer.set({ window: Number(event.target.value) }));
  byId("opacity").addEventListener("input", (event) => {
    overlays.opacity = Number(event.target.value) / 100;
    viewer.redraw();
  });
  byId("clear").addEventListener("click", () => {
    worklist.clear();
    say("All films are removed.");
    byId("file").focus();
  });
  dispatchKeys(actions, () => byId("keys-on").checked);
  arrowKeys(byId("stage"), viewer);
  listKeys(byId("keys"));
}

function giveAway() {
  const stem = () => worklist.film.name.replace(/\.[^.]*$/, "");
  byId("save-png").addEventListener("click", () => {
    annotated(viewer, overlays, worklist.film).toBlob((blob) => save(blob, `${stem()}-hilum.png`));
  });
  byId("save-json").addEventListener("click", () => save(jsonOf(worklist.film.reading), `${stem()}-hilum.json`));
  byId("print").addEventListener("click", () => window.print());
  window.addEventListener("beforeprint", () => {
    if (!viewer.grey) return;
    viewer.print(byId("print-plain"), PRINTED_PX, null);
    viewer.print(byId("print-drawn"), PRINTED_PX, overlays.paint);
    byId("print-says").textContent = overlays.shown().map((layer) => layer.words).join(", ") || "No overlay";
  });
}

document.documentElement.classList.add("scripting");
takeFilms();
takeControls();
giveAway();
kept?.load();
