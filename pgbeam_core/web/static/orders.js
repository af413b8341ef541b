// What may be ordered of a row: to end its client, to pause or resume its database. Each is asked about first.
import { ask } from "./api.js";
import { byId, make, say, text } from "./dom.js";

let mayWrite = false;
export const setup = (write) => { mayWrite = write; };

export function of(table, columns) {
  if (!mayWrite) return null;
  const place = (name) => columns.indexOf(name);
  if (["waiting", "transactions", "clients"].includes(table) && place("id") >= 0) {
    return (row) => {
      const [id, user, database] = ["id", "user", "database"].map((name) => row[place(name)]);
      return button("End", `End client ${id}, ${user} in ${database}`, () => `KILL_CLIENT ${id}`);
    };
  }
  if (table === "databases" && place("paused") >= 0) {
    return (row) => {
      const name = row[place("name")];
      if (name === "pgbeam") return "";
      const verb = row[place("paused")] ? "Resume" : "Pause";
      return button(verb, `${verb} ${name}`, () => `${verb.toUpperCase()} "${String(name).replaceAll('"', '""')}"`);
    };
  }
  return null;
}

function button(words, label, command) {
  const made = make("button", { type: "button", "aria-label": label }, words);
  made.addEventListener("click", async () => {
    if (!(await sure(`${label}?`))) return;
    made.blur();
    try {
      const told = await ask("/v1/console", { method: "POST", body: { command: command() } });
      say(told.pending ? "Told; it waits for servers that are in use" : "Done");
    } catch (error) {
      say(error.message);
    }
  });
  return made;
}

function sure(words) {
  const dialog = byId("question");
  text(byId("question-words"), words);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}
