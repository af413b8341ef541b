// Lines over the last ten minutes, as SVG. Lines differ by dashes, not by colour alone, and every value is text too.
import { byId, make, milliseconds, number, percent, svg, text } from "./dom.js";

const WIDTH = 600;
const HEIGHT = 160;
const MOST = 300;

const CHARTS = [
  { title: "Traffic", show: (v) => `${number(v)}/s`, lines: [["queries", "queries"], ["answered", "answered by cache"], ["errors", "errors"]] },
  { title: "Cache hits", show: percent, most: 1, lines: [["hit_ratio", "hit ratio"]] },
  { title: "Latency", show: milliseconds, lines: [["p50", "50 %"], ["p95", "95 %"], ["p99", "99 %"]] },
  { title: "Servers and clients", show: (v) => number(v, 0), lines: [["servers", "servers"], ["active", "active"], ["waiting", "clients waiting"]] },
];

const TILES = [
  ["clients", "Clients", (v) => number(v, 0)], ["queries", "Queries", (v) => `${number(v)}/s`],
  ["hit_ratio", "Cache hits", percent], ["p95", "95 % within", milliseconds],
  ["servers", "Servers", (v) => number(v, 0)], ["waiting", "Waiting", (v) => number(v, 0)], ["errors", "Errors", (v) => `${number(v)}/s`],
];

const points = [];
const drawn = [];

function build() {
  for (const chart of CHARTS) {
    const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    for (const part of [0, 0.5, 1]) {
      const y = 2 + part * (HEIGHT - 4);
      picture.append(svg("line", { x1: 0, x2: WIDTH, y1: y, y2: y, class: "grid" }));
    }
    const paths = chart.lines.map((_, place) => svg("path", { class: `line l${place}` }));
    picture.append(...paths);
    const values = chart.lines.map(() => make("strong", {}, "–"));
    const legend = chart.lines.map(([, name], place) => {
      const dash = svg("svg", { viewBox: "0 0 24 10", "aria-hidden": "true" }, svg("path", { class: `line l${place}`, d: "M0 5H24" }));
      return make("span", { class: "legend" }, dash, `${name} `, values[place]);
    });
    const top = make("span", {}, "");
    const figure = make("figure", {}, make("figcaption", {}, make("h3", {}, chart.title), ...legend), make("div", { class: "scale" }, top, make("span", {}, "last 10 minutes")), picture);
    byId("charts").append(figure);
    drawn.push({ chart, picture, paths, values, top });
  }
  for (const [name, title] of TILES) {
    byId("tiles").append(make("div", {}, make("dt", {}, title), make("dd", { id: `tile-${name}` }, "–")));
  }
}

export const lastNumber = () => (points.length ? points[points.length - 1].number : 0);

export function forget() {
  points.length = 0;
}

export function draw(fresh) {
  if (!drawn.length) build();
  points.push(...fresh);
  points.splice(0, Math.max(0, points.length - MOST));
  const now = points[points.length - 1];
  if (!now) return;
  for (const [name, , show] of TILES) text(byId(`tile-${name}`), show(now[name]));
  for (const { chart, picture, paths, values, top } of drawn) {
    const most = chart.most ?? Math.max(1e-9, ...points.flatMap((each) => chart.lines.map(([name]) => each[name] ?? 0)));
    chart.lines.forEach(([name], place) => {
      paths[place].setAttribute("d", path(name, most));
      text(values[place], chart.show(now[name]));
    });
    text(top, `up to ${chart.show(most)}`);
    picture.setAttribute("aria-label", `${chart.title}, now: ${chart.lines.map(([name, label]) => `${label} ${chart.show(now[name])}`).join(", ")}`);
  }
}

function path(name, most) {
  let d = "";
  let pen = false;
  points.forEach((each, place) => {
    const value = each[name];
    if (value === null || value === undefined) { pen = false; return; }
    const x = WIDTH - (points.length - 1 - place) * (WIDTH / (MOST - 1));
    const y = 2 + (HEIGHT - 4) * (1 - Math.min(1, value / most));
    d += `${pen ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = true;
  });
  return d;
}
