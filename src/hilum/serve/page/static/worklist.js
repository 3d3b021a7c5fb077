/** Several films: which there are, which is shown, what each came to. They live in this page's memory alone. */

import { NotRead, readFilm } from "./api.js";
import { badge, inWords } from "./answer.js";
import { make } from "./dom.js";

/**
 * @typedef {{file: File, name: string, state: "waiting"|"reading"|"read"|"failed",
 *   reading: import("./api.js").Reading|null, at: Date, says: string}} Film
 * `at` is when it was read, `says` why it failed
 */

export class Worklist {
  /**
   * @param {HTMLElement} list
   * @param {(film: Film|null) => void} chosen called when another film is shown, or the one shown has changed
   * @param {(sentence: string) => void} say
   * @param {() => void} answered called when the server has answered for a film
   */
  constructor(list, chosen, say, answered) {
    Object.assign(this, { list, chosen, say, answered });
    /** @type {Film[]} */
    this.films = [];
    this.place = 0;
    this.busy = false;
    this.stop = new AbortController();
    list.addEventListener("keydown", (event) => this.arrow(event));
  }

  /** @returns {Film|null} */
  get film() {
    return this.films[this.place] ?? null;
  }

  /** @param {Iterable<File>} files */
  add(files) {
    const first = this.films.length;
    for (const file of files) {
      this.films.push({ file, name: file.name, state: "waiting", reading: null, at: new Date(), says: "" });
    }
    if (this.films.length === first) return;
    this.choose(first);
    this.work();
  }

  clear() {
    this.stop.abort();
    this.stop = new AbortController();
    this.films = [];
    this.choose(0);
  }

  /** @param {Film} film that failed */
  again(film) {
    film.state = "waiting";
    this.choose(this.films.indexOf(film));
    this.work();
  }

  choose(place) {
    this.place = Math.max(0, Math.min(this.films.length - 1, place));
    this.draw();
    this.chosen(this.film);
    if (this.film?.reading) this.tell(this.film);
  }

  step(by) {
    if (this.films.length) this.choose(this.place + by);
    this.list.children[this.place]?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  /** Read what waits, one film at a time. */
  async work() {
    if (this.busy) return;
    this.busy = true;
    for (let film = this.next(); film; film = this.next()) await this.read(film, this.stop.signal);
    this.busy = false;
  }

  next() {
    return this.films.find((film) => film.state === "waiting");
  }

  async read(film, signal) {
    film.state = "reading";
    this.say(`Reading ${film.name}, ${this.films.indexOf(film) + 1} of ${this.films.length}`);
    this.changed(film);
    try {
      film.reading = await readFilm(film.file, signal);
      [film.state, film.at] = ["read", new Date()];
      this.answered();
    } catch (error) {
      if (signal.aborted) return;
      film.state = "failed";
      film.says = error instanceof NotRead ? error.message : "This film could not be read.";
    }
    if (signal.aborted) return;
    this.tell(film);
    this.changed(film);
  }

  tell(film) {
    this.say(`${film.name}: ${this.summary(film)}`);
  }

  summary({ reading, says }) {
    if (!reading) return says;
    if (reading.refusal) return `REFUSED, ${reading.refusal.says}`;
    const several = reading.answers.length > 1;
    const one = (answer) => `${answer.outcome}, ${inWords(answer)}${several ? ` (${answer.bundle})` : ""}`;
    return reading.answers.map(one).join("; ");
  }

  changed(film) {
    this.draw();
    if (film === this.film) this.chosen(film);
  }

  draw() {
    const focused = this.list.contains(document.activeElement);
    this.list.replaceChildren(...this.films.map((film, place) => this.item(film, place)));
    if (focused) this.list.children[this.place]?.querySelector("button")?.focus();
  }

  item(film, place) {
    const told = film.reading ? badge(film.reading.outcome) : make("span", { class: "state" }, film.state);
    const name = make("span", { class: "name" }, film.name);
    const current = place === this.place ? "true" : null;
    const button = make("button", { type: "button", "aria-current": current }, name, told);
    button.addEventListener("click", () => this.choose(place));
    return make("li", {}, button);
  }

  arrow(event) {
    const by = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    this.step(by);
  }
}
