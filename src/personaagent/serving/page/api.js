/* The server: who is signed in, one request, and an answer as it is being written. */

let leaving = new AbortController();

/** The key, and for whom it speaks. It lives as long as the tab; what is under way when it closes is dropped. */
export const session = {
  open(key, user) {
    sessionStorage.setItem("key", key);
    sessionStorage.setItem("user", user);
  },
  close() {
    sessionStorage.clear();
    leaving.abort();
    leaving = new AbortController();
  },
  isOpen: () => sessionStorage.getItem("key") !== null,
};

/** A request that failed, in words for the user. */
export class Problem extends Error {
  constructor(title, detail, { status = 0, id = "" } = {}) {
    super(title);
    Object.assign(this, { detail, status, id });
  }
}

/** Send a request as the one who is signed in; the response is a good one, or a Problem is thrown. */
export async function request(method, path, { body, headers = {} } = {}) {
  const sent = { ...headers, ...identity() };
  if (body !== undefined) sent["Content-Type"] = "application/json";
  if (method === "POST") sent["Idempotency-Key"] = token();
  const options = {
    method,
    headers: sent,
    body: JSON.stringify(body),
    signal: leaving.signal,
    cache: "no-store",
    credentials: "omit",
  };
  const response = await fetch(path, options).catch(
    lost("No connection", "The server did not answer: try again in a moment."),
  );
  if (!response.ok) throw await problemOf(response);
  return response;
}

/** Send a request and return the JSON of its response. */
export async function json(method, path, body) {
  return (await request(method, path, { body })).json();
}

/** Yield the chunks of a streamed answer (server-sent events, as OpenAI's). */
export async function* chunks(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ;) {
    const { done, value } = await reader.read().catch(brokeOff);
    if (done) brokeOff(new Error("no end"));
    const lines = (rest + value).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines.filter((line) => line.startsWith("data:"))) {
      const data = line.slice("data:".length).trim();
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw asProblem(chunk.error, "The answer broke off");
      yield chunk;
    }
  }
}

/** A path with its parts escaped: path`v1/memory/${id}`. */
export const path = (fixed, ...parts) => String.raw({ raw: fixed }, ...parts.map(encodeURIComponent));

function identity() {
  const [key, user] = ["key", "user"].map((name) => sessionStorage.getItem(name));
  if (!/^[\x21-\x7e]+$/.test(key))
    throw new Problem("Not a key", "A key begins with pa_ and has no spaces: copy it whole.");
  return { Authorization: `Bearer ${key}`, ...(user && { "X-PersonaAgent-User": encodeURIComponent(user) }) };
}

/** Turn a lost connection into a problem, unless it was cut because the user signed out. */
const lost = (title, detail) => (error) => {
  throw error.name === "AbortError" ? error : new Problem(title, detail);
};
const brokeOff = lost("The answer broke off", "The connection was lost: ask again.");

async function problemOf(response) {
  const said = await response.json().catch(() => ({}));
  const known = { status: response.status, id: response.headers.get("X-Request-Id"), ...(said.error ?? said) };
  return asProblem(known, `The server said ${response.status}`);
}

/** Read a problem of ours, or an error as OpenAI's API words it. */
function asProblem({ title, detail, message, status, id }, otherwise) {
  return new Problem(title ?? otherwise, detail ?? message, { status, id });
}

/** What makes the server do a request once, even if the browser has to send it again. */
function token() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
