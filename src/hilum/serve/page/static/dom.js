/** Elements out of names, attributes and text. Data only ever becomes text or an attribute's value, never markup. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {string} tag
 * @param {Record<string, string|number|boolean|null>} [attributes] null and false are left out
 * @param {...(Node|string|null)} children null is left out
 * @returns {HTMLElement}
 */
export function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/**
 * The same for SVG.
 * @param {string} tag
 * @param {Record<string, string|number|boolean|null>} [attributes]
 * @param {...(Node|string|null)} children
 * @returns {SVGElement}
 */
export function shape(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/**
 * The element of an id, which the page must have.
 * @param {string} id
 * @returns {any}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element '${id}'`);
  return found;
}

/** @param {number} value in [0, 1] @returns {string} such as `0.42` */
export const decimal = (value) => value.toFixed(2);

/** @param {number} value in [0, 1] @returns {string} such as `42 %` */
export const percent = (value) => `${value > 0 && value < 0.01 ? "under 1" : Math.round(100 * value)} %`;

/** @param {string|null} label @returns {string} a label as it is said */
export const words = (label) => (label ?? "").replaceAll("_", " ");
