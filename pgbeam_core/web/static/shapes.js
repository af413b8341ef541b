// Shapes of queries, their rules, and what a rule would have given.
import { ask } from "./api.js";
import { byId, make, milliseconds, number, percent, say, text } from "./dom.js";

const PAGE = 25;
const rows = new Map();
let offset = 0;
let mayWrite = false;

export function setup(write, refresh) {
  mayWrite = write;
  text(byId("rules-note"), write
    ? "A rule holds for every query of the shape, in its project, at once and across restarts. Removed, the project's default holds again."
    : "This dashboard only shows: set dashboard_write = true in PgBeam's settings to change rules here.");
  if (setup.done) return;
  setup.done = true;
  for (const id of ["search", "sort", "ttl", "swr"]) byId(id).addEventListener("input", () => { offset = 0; refresh(); });
  byId("filter").addEventListener("submit", (event) => event.preventDefault());
  byId("back").addEventListener("click", () => { offset = Math.max(0, offset - PAGE); refresh(); });
  byId("next").addEventListener("click", () => { offset += PAGE; refresh(); });
}

const seconds = (id, otherwise) => {
  const input = byId(id);
  return input.value !== "" && input.validity.valid ? input.value : otherwise;
};

export async function load(project) {
  const told = await ask("/v1/shapes", {
    parameters: { project, search: byId("search").value, sort: byId("sort").value, limit: PAGE, offset, ttl: seconds("ttl", 60), swr: seconds("swr", 30) },
  });
  if (offset && !told.shapes.length) { offset = 0; return load(project); }
  const body = byId("shape-table").tBodies[0];
  const seen = new Set();
  told.shapes.forEach((shape, place) => {
    const key = `${shape.project}/${shape.query_hash}`;
    seen.add(key);
    if (!rows.has(key)) rows.set(key, row(shape));
    const there = rows.get(key);
    there.update(shape);
    if (body.rows[place] !== there.element && !there.element.contains(document.activeElement)) body.insertBefore(there.element, body.rows[place] ?? null);
  });
  for (const [key, there] of rows) {
    if (!seen.has(key)) { there.element.remove(); rows.delete(key); }
  }
  const last = Math.min(offset + PAGE, told.total);
  text(byId("page"), told.total ? `${offset + 1} to ${last} of ${told.total}` : "nothing seen yet");
  byId("back").disabled = offset === 0;
  byId("next").disabled = last >= told.total;
  return told;
}

function row(first) {
  const cells = {};
  const cell = (name, label, kind = "") => (cells[name] = make("td", { class: kind, "data-label": label }));
  const code = make("code", {});
  const where = make("div", { class: "quiet" });
  const controls = rule(first);
  const element = make("tr", {}, make("td", { class: "query" }, code, where),
    cell("calls", "Calls", "num"), cell("avg", "Average", "num"), cell("p95", "95 %", "num"), cell("stability", "Stability", "num"),
    cell("advice", "Advice"), cell("hits", "Hits", "num"), cell("whatif", "What if", "whatif"), make("td", { "data-label": "Rule" }, controls.element));
  return {
    element,
    update(shape) {
      text(code, shape.query || "(not seen lately)");
      text(where, `${shape.project} · ${shape.query_hash}${shape.reason ? ` · cannot be cached: ${shape.reason}` : ""}`);
      text(cells.calls, number(shape.calls));
      text(cells.avg, milliseconds(shape.avg_ms));
      text(cells.p95, milliseconds(shape.p95_ms));
      text(cells.stability, percent(shape.stability));
      text(cells.advice, shape.recommendation);
      cells.advice.className = shape.recommendation;
      text(cells.hits, shape.calls ? percent(shape.hits / shape.calls) : "–");
      text(cells.whatif, whatIf(shape.what_if));
      controls.update(shape);
    },
  };
}

function whatIf(told) {
  if (!told || told.hit_ratio === null) return "–";
  return `${percent(told.hit_ratio)} hits, ${number(told.saved_s, 2)} s saved in ${number(told.window_s, 0)} s, oldest ${number(told.oldest_s, 0)} s`;
}

function rule(shape) {
  const label = (shape.query || shape.query_hash).slice(0, 80);
  const on = make("input", { type: "checkbox", role: "switch", class: "switch", "aria-label": `Cache ${label}` });
  const ttl = make("input", { type: "number", min: 0, max: 2147483647, "aria-label": `TTL in seconds of ${label}`, placeholder: "default" });
  const swr = make("input", { type: "number", min: 0, max: 2147483647, "aria-label": `SWR in seconds of ${label}`, placeholder: "default" });
  const gone = make("button", { type: "button", "aria-label": `Remove the rule of ${label}` }, "Remove");
  const address = `/v1/projects/${encodeURIComponent(shape.project)}/cache-rules/${shape.query_hash}`;
  let current = null;
  const never = Boolean(shape.reason);
  let busy = false;
  const value = (input) => (input.value === "" ? null : Number(input.value));
  async function send(method, body, words) {
    if (busy) return;
    busy = true;
    try {
      await ask(address, { method, body });
      current = body ?? null;
      say(words);
    } catch (error) {
      say(error.message);
    }
    busy = false;
    show();
  }
  function show() {
    on.checked = current?.enabled ?? false;
    if (document.activeElement !== ttl) ttl.value = current?.ttl ?? "";
    if (document.activeElement !== swr) swr.value = current?.swr ?? "";
    gone.hidden = current === null || !mayWrite;
    for (const input of [on, ttl, swr]) input.disabled = !mayWrite || never;
  }
  const put = (words) => {
    if (!ttl.validity.valid || !swr.validity.valid) return say("Seconds are whole numbers from 0.");
    return send("PUT", { enabled: on.checked, ttl: value(ttl), swr: value(swr) }, words);
  };
  on.addEventListener("change", () => {
    if (on.checked && current === null && ttl.value === "" && swr.value === "") { ttl.value = byId("ttl").value; swr.value = byId("swr").value; }
    put(on.checked ? "Cached from now on" : "Not cached from now on");
  });
  for (const input of [ttl, swr]) input.addEventListener("change", () => { if (current !== null || on.checked) put("Changed"); });
  gone.addEventListener("click", () => send("DELETE", undefined, "Removed"));
  return {
    element: make("div", { class: "rule" }, on, make("label", {}, "TTL", ttl), make("label", {}, "SWR", swr), gone),
    update(fresh) {
      if (busy) return;
      current = fresh.rule;
      show();
    },
  };
}
