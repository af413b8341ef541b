// Elements are made here, and their text is only ever set as text.
export const byId = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === undefined) continue;
    if (name === "class") element.className = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

export function number(value, digits = 1) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  const places = Number.isInteger(value) ? 0 : Math.abs(value) >= 100 ? 0 : digits;
  return value.toLocaleString("en", { maximumFractionDigits: places, minimumFractionDigits: 0 });
}

export const percent = (value) => (value === null || value === undefined ? "–" : `${Math.round(value * 100)} %`);

export const milliseconds = (value) =>
  value === null || value === undefined ? "–" : value >= 1000 ? `${number(value / 1000, 2)} s` : `${number(value, value < 10 ? 2 : 1)} ms`;

let timer;
export function say(words) {
  text(byId("said"), words);
  clearTimeout(timer);
  timer = setTimeout(() => text(byId("said"), ""), 5000);
}
