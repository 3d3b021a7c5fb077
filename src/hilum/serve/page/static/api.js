/** What the server is asked, and what it answers. */

/**
 * @typedef {{label: string, probability: number, low: number|null, high: number|null, threshold: number|null}} Finding
 * @typedef {{in_lungs: number|null, lungs_area: number|null, no_map: string|null, picture?: string}} SaliencyMap
 * @typedef {{bundle: string, title: string, digest: string, outcome: string, label: string|null, findings: Finding[],
 *   interval: string|null, reasons: string[], verdict: string|null, headline: string|null,
 *   map: SaliencyMap|null}} Answer
 * @typedef {[number, number][]} Outline closed; shares of the film's width and height
 * @typedef {{outlines: Outline[], boxes: [number, number, number, number][], share_of_lungs: number|null}} Lesion
 * @typedef {{value: number, low: number, high: number, lowest: number, highest: number, meaning: string,
 *   zones?: Record<string, number>}} Score
 * @typedef {{film: {name: string, sha256: string|null, height: number|null, width: number|null, format: string|null},
 *   outcome: string, refusal: {kind: string, says: string}|null, notes: string[],
 *   view: {view: string, probability: number}|null,
 *   lungs: {outlines: Record<string, Outline[]>, measures: Record<string, number>, flags: string[]}|null,
 *   lesions: Record<string, Lesion>|null, severity: Record<string, Score>|null, answers: Answer[],
 *   pictures?: {film: string}, seconds: Record<string, number>, disclaimer: string, kept?: string|null}} Reading
 * @typedef {{id: string, kept_at: string|null, film: string, sha256: string, outcome: string, bundle: string|null,
 *   label: string|null, probability: number|null, refusal: {kind: string, says: string}|null}} Kept
 */

const PICTURE = "data:image/png;base64,";
const LONGEST_WAIT_S = 60;
const TRIES = 5;
const GONE = "The server does not answer. Is it still running?";

/** Why there is no answer, in a sentence to show. */
export class NotRead extends Error {}

/**
 * One film read. Films go one at a time, so that each answer shows as soon as it is there.
 * @param {File} file
 * @param {AbortSignal} signal
 * @returns {Promise<Reading>}
 */
export async function readFilm(file, signal) {
  for (let tried = 1; ; tried += 1) {
    const response = await send(file, signal);
    if (response.ok) return firstOf(await response.json());
    if (response.status !== 429 || tried === TRIES) throw new NotRead(await said(response));
    await pause(Math.min(LONGEST_WAIT_S, Number(response.headers.get("Retry-After")) || 1), signal);
  }
}

async function send(file, signal) {
  const form = new FormData();
  form.append("films", file, "film"); // its name may be a patient's: it stays here
  try {
    return await fetch("/api/read?pictures=true", { method: "POST", body: form, signal });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new NotRead(GONE);
  }
}

/** @param {number} most @returns {Promise<Kept[]>} what the server keeps, the newest first */
export async function keptResults(most) {
  return (await answered(`/api/kept?most=${most}`)).json();
}

/** @param {string} id of a kept result */
export async function deleteKept(id) {
  await answered(`/api/kept/${encodeURIComponent(id)}`, { method: "DELETE" });
}

async function answered(address, options = {}) {
  const response = await fetch(address, options).catch(() => null);
  if (!response) throw new NotRead(GONE);
  if (!response.ok) throw new NotRead(await said(response));
  return response;
}

async function said(response) {
  try {
    return (await response.json()).error.says;
  } catch {
    return `The server answered with status ${response.status}.`;
  }
}

/** @returns {Reading} the only answer; it calls the film `film-1`, which helps nobody here */
function firstOf([reading]) {
  const plain = (sentence) => sentence.replaceAll("film-1", "the film");
  const refusal = reading.refusal && { ...reading.refusal, says: plain(reading.refusal.says) };
  return { ...reading, refusal, notes: reading.notes.map(plain) };
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

/**
 * A picture of an answer, decoded; null where there is none.
 * @param {string|undefined} address
 * @returns {Promise<HTMLImageElement|null>}
 */
export async function pictureOf(address) {
  if (!address?.startsWith(PICTURE)) return null;
  const picture = new Image();
  picture.src = address;
  try {
    await picture.decode();
  } catch {
    return null;
  }
  return picture;
}
