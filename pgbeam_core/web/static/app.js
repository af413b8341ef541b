// The page: who is let in, which view is shown, and when it is renewed.
import { ask, token, Unauthorized } from "./api.js";
import * as charts from "./charts.js";
import { byId, make, text } from "./dom.js";
import * as orders from "./orders.js";
import * as shapes from "./shapes.js";
import * as tables from "./tables.js";

const EVERY_MS = 2000;
const tabs = [...document.querySelectorAll("[role=tab]")];
let view = "overview";
let inside = false;
let lines = 0;
let busy = false;

async function enter() {
  const session = await ask("/v1/session");
  inside = true;
  byId("login").hidden = true;
  byId("tabs").hidden = false;
  byId("leave").hidden = false;
  shapes.setup(session.write, refresh);
  orders.setup(session.write);
  const { projects } = await ask("/v1/projects");
  byId("project").replaceChildren(make("option", { value: "" }, "all"), ...projects.map(({ name }) => make("option", { value: name }, name)));
  show(location.hash.slice(1) || view);
}

function leave(why = "") {
  inside = false;
  token.forget();
  charts.forget();
  lines = 0;
  byId("lines").replaceChildren();
  for (const tab of tabs) byId(tab.getAttribute("aria-controls")).hidden = true;
  byId("login").hidden = false;
  byId("tabs").hidden = true;
  byId("leave").hidden = true;
  state("not connected");
  text(byId("login-error"), why);
  byId("token").focus();
}

function state(words, kind = "") {
  text(byId("state"), words);
  byId("state").className = `state ${kind}`;
}

function show(name) {
  if (!tabs.some((tab) => tab.getAttribute("aria-controls") === name)) name = "overview";
  view = name;
  for (const tab of tabs) {
    const chosen = tab.getAttribute("aria-controls") === name;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    byId(tab.getAttribute("aria-controls")).hidden = !chosen;
  }
  history.replaceState(null, "", `#${name}`);
  refresh();
}

async function refresh() {
  if (!inside || busy || document.hidden) return;
  busy = true;
  const wanted = view;
  try {
    const project = byId("project").value;
    if (wanted === "overview") charts.draw((await ask("/v1/history", { parameters: { since: charts.lastNumber() } })).points);
    else if (wanted === "shapes") await shapes.load(project);
    else if (wanted === "log") await log();
    else await tables.load(wanted, project);
    state("connected", "ok");
  } catch (error) {
    if (error instanceof Unauthorized) leave(error.message);
    else state(error instanceof TypeError ? "PgBeam does not answer" : error.message, "bad");
  }
  busy = false;
  if (view !== wanted) refresh();
}

async function log() {
  const told = await ask("/v1/log", { parameters: { since: lines } });
  const list = byId("lines");
  const atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 30;
  for (const line of told.lines) {
    lines = line.number;
    const worker = line.worker ? `[${line.worker}]` : "";
    list.append(make("li", { class: line.level }, `${line.time.slice(11, 19)} ${line.level} ${line.logger ?? ""}${worker}: ${line.event}`));
  }
  while (list.children.length > 200) list.firstChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

byId("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [user, secret] = [byId("user").value.trim(), byId("token").value];
  text(byId("login-error"), "");
  try {
    token.set(user ? (await ask("/v1/login", { method: "POST", body: { user, password: secret } })).token : secret);
    await enter();
    byId("token").value = "";
  } catch (error) {
    leave(error.message);
  }
});
byId("leave").addEventListener("click", () => {
  ask("/v1/login", { method: "DELETE" }).catch(() => {});
  leave();
});
byId("project").addEventListener("change", refresh);
byId("help-button").addEventListener("click", () => byId("help").showModal());
for (const tab of tabs) tab.addEventListener("click", () => show(tab.getAttribute("aria-controls")));
byId("tabs").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
  next.focus();
  show(next.getAttribute("aria-controls"));
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
  if (event.key === "?") byId("help").showModal();
  else if (!inside) return;
  else if (event.key === "/") { event.preventDefault(); show("shapes"); byId("search").focus(); }
  else if (tabs[Number(event.key) - 1]) { const tab = tabs[Number(event.key) - 1]; show(tab.getAttribute("aria-controls")); tab.focus(); }
});
document.addEventListener("visibilitychange", refresh);
setInterval(refresh, EVERY_MS);
if (token.get()) enter().catch((error) => leave(error instanceof Unauthorized ? "" : error.message));
else byId("token").focus();
