// What the console shows as tables, for those views that are no more than that.
import { ask, Unauthorized } from "./api.js";
import { byId, make, number } from "./dom.js";
import * as orders from "./orders.js";

export const VIEWS = {
  pools: [["waiting", "Who waits"], ["transactions", "In transactions"], ["databases", "Databases"], ["pools", "Pools"], ["clients", "Clients"], ["servers", "Servers"]],
  targets: [["breakers", "Circuit breakers"], ["replicas", "Replicas"]],
  limits: [["limits", "Limits"], ["pins", "Pins"], ["plugins", "Plugins"]],
};
const MOST = 100;
const LONG = 40;

export async function load(view, project) {
  const section = byId(view);
  const blocks = [];
  for (const [name, title] of VIEWS[view]) {
    try {
      const table = await ask(`/v1/tables/${name}`, { parameters: { limit: MOST } });
      blocks.push(block(name, title, table, project));
    } catch (error) {
      if (error instanceof Unauthorized) throw error;
    }
  }
  if (section.contains(document.activeElement) && document.activeElement.tagName === "BUTTON") return;
  const scrolled = [...section.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
  section.replaceChildren(section.querySelector("h2"), ...blocks);
  section.querySelectorAll(".scroll").forEach((each, place) => { each.scrollLeft = scrolled[place] ?? 0; });
}

function block(name, title, { columns, rows, total }, project) {
  const place = columns.findIndex((name) => name === "project");
  const mine = project && place >= 0 ? rows.filter((row) => row[place] === project) : rows;
  const order = orders.of(name, columns);
  const first = order ? [make("th", { scope: "col" }, "order")] : [];
  const head = make("tr", {}, ...first, ...columns.map((each) => make("th", { scope: "col" }, each.replaceAll("_", " "))));
  const body = mine.map((row) => make("tr", {}, ...(order ? [make("td", {}, order(row))] : []), ...row.map(cell)));
  const left = total > rows.length ? `, the first ${rows.length} of ${total}` : "";
  const content = body.length
    ? make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title }, make("table", {}, make("caption", { class: "hidden" }, title), make("thead", {}, head), make("tbody", {}, ...body)))
    : make("p", { class: "quiet" }, "none");
  return make("div", { class: "block" }, make("h3", {}, `${title}${left}`), content);
}

function cell(value) {
  const shown = value === null ? "" : typeof value === "number" ? number(value, 3) : String(value);
  const bad = value === "out" || value === "open" || value === "lagging";
  return make("td", { class: bad ? "bad" : shown.length > LONG ? "long" : typeof value === "number" ? "num" : "" }, shown);
}
