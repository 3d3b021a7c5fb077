/** What the server keeps, where it was started with --keep: the newest results, each of which can be deleted. */

import { deleteKept, keptResults } from "./api.js";
import { badge } from "./answer.js";
import { byId, decimal, make, words } from "./dom.js";

const MOST = 100;

/** @typedef {import("./api.js").Kept} Kept */

export class KeptList {
  constructor() {
    Object.assign(this, { list: byId("kept-list"), dialog: byId("forget"), says: byId("forget-says") });
    /** @type {Map<string, HTMLElement>} items by the result's id; one that stays is not drawn anew and keeps the focus */
    this.items = new Map();
    this.asked = 0;
  }

  /** Ask the server what it keeps, and show that. */
  async load() {
    const asked = ++this.asked;
    try {
      const all = await keptResults(MOST);
      if (asked === this.asked) this.draw(all); // else a later list is on its way
    } catch (error) {
      if (asked === this.asked) say(`The kept results could not be listed: ${error.message}`);
    }
  }

  /** @param {Kept[]} all */
  draw(all) {
    const ids = new Set(all.map(({ id }) => id));
    for (const id of [...this.items.keys()].filter((id) => !ids.has(id))) this.drop(id);
    all.forEach((one, place) => {
      const item = this.items.get(one.id) ?? this.item(one);
      const there = this.list.children[place] ?? null;
      if (there !== item) this.list.insertBefore(item, there);
      this.items.set(one.id, item);
    });
    byId("kept-count").textContent =
      all.length === MOST ? `The newest ${MOST}` : all.length ? `${all.length}, the newest first` : "None yet";
  }

  drop(id) {
    this.items.get(id)?.remove();
    this.items.delete(id);
  }

  item(one) {
    const about = aboutOf(one);
    const address = `/api/kept/${encodeURIComponent(one.id)}`;
    const open = (href, name) =>
      make("a", { href, target: "_blank", rel: "noopener", "aria-label": `${name} of ${about}, in a new tab` }, name);
    const forget = make("button", { type: "button", "aria-label": `Delete ${about}` }, "Delete");
    forget.addEventListener("click", () => this.ask(one));
    return make(
      "li",
      {},
      make("time", { datetime: one.kept_at }, timeOf(one)),
      make("span", { class: "what" }, badge(one.outcome, detailOf(one))),
      make("code", {}, one.sha256.slice(0, 12)),
      make("span", { class: "links" }, one.refusal ? null : open(`${address}/picture`, "Picture"), open(address, "JSON")),
      forget,
    );
  }

  /** Delete a result if the person says so once more. */
  async ask(one) {
    this.says.textContent = `${aboutOf(one)}. The result and its picture are deleted on the server for everybody.`;
    this.dialog.returnValue = ""; // it would still say what was chosen last time
    this.dialog.showModal();
    await new Promise((closed) => this.dialog.addEventListener("close", closed, { once: true }));
    if (this.dialog.returnValue === "delete") await this.forget(one);
  }

  async forget(one) {
    const place = [...this.list.children].indexOf(this.items.get(one.id));
    try {
      await deleteKept(one.id);
    } catch (error) {
      say(`Not deleted: ${error.message}`);
      await this.load();
      return;
    }
    this.drop(one.id);
    say(`Deleted: ${aboutOf(one)}.`);
    const next = this.list.children[Math.min(place, this.list.children.length - 1)];
    (next?.querySelector("button") ?? byId("kept-title")).focus();
    await this.load();
  }
}

function say(sentence) {
  byId("kept-says").textContent = sentence;
}

function timeOf({ kept_at: at }) {
  return at ? new Date(at).toLocaleString() : "time unknown";
}

function detailOf({ label, probability, refusal }) {
  if (refusal) return words(refusal.kind.replaceAll("-", " "));
  return [words(label), probability === null ? "" : decimal(probability)].filter(Boolean).join(" ");
}

function aboutOf(one) {
  return `${one.outcome} ${detailOf(one)}, ${timeOf(one)}, SHA-256 ${one.sha256.slice(0, 12)}`;
}
