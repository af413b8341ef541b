// Asks PgBeam. The token is sent as a header with each request: no cookie, so no other page can use it.
const KEY = "pgbeam-token";

export class Unauthorized extends Error {}

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

export async function ask(path, { method = "GET", body, parameters } = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters ?? {})) {
    if (value !== undefined && value !== null && value !== "") query.set(name, value);
  }
  const headers = { Authorization: `Bearer ${token.get() ?? ""}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const address = query.size ? `${path}?${query}` : path;
  const reply = await fetch(address, {
    method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store",
  });
  if (reply.status === 204) return null;
  const told = await reply.json();
  if (reply.status === 401) throw new Unauthorized(told.error);
  if (!reply.ok) throw new Error(told.hint ? `${told.error}. ${told.hint}` : told.error);
  return told;
}
