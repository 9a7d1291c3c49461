/* Memory: the interactions, newest first or by meaning; what was gathered from them; and forgetting one. */

import { json, path, request } from "./api.js";
import { button, byId, confirmed, count, el, meta, on, say, time } from "./dom.js";

const PAGE = 20;
const FOUND = 8;

let next = null;
let shown = [];
let changed;

/** Begin; `heard` is called when something was told or forgotten. */
export function startMemory(heard) {
  changed = heard;
  on(byId("more"), "click", () => showPage(next));
  on(byId("newest"), "click", showMemory);
  on(byId("search"), "submit", search);
  on(byId("tell"), "submit", tell);
}

/** Show the newest interactions and what was gathered from all. */
export async function showMemory() {
  byId("search").reset();
  byId("newest").hidden = true;
  shown = [];
  await showStated();
  await showPage(null);
}

async function showPage(before) {
  const page = await json(
    "GET",
    `v1/memory?${new URLSearchParams({ limit: PAGE, ...(before !== null && { before }) })}`,
  );
  show([...shown, ...page.interactions.map((interaction) => ({ interaction }))]);
  next = page.next;
  byId("more").hidden = next === null;
  if (before === null) showStatements(page.statements);
}

async function search() {
  const { episodes } = await json("POST", "v1/memory/search", { query: byId("words").value, k: FOUND });
  show(episodes);
  byId("more").hidden = true;
  byId("newest").hidden = false;
}

/** Show interactions, each once however often it was. */
function show(found) {
  shown = found;
  const asked = found.filter(({ interaction }) => interaction.task !== "said");
  const alike = Map.groupBy(asked, ({ interaction }) => JSON.stringify([interaction.query, interaction.ground_truth ?? interaction.response]));
  const items = [...alike.values()].map(item);
  byId("interactions").replaceChildren(...(items.length ? items : [nothing()]));
}

async function tell() {
  const { replaced } = await json("POST", "v1/said", { text: byId("statement").value });
  byId("tell").reset();
  await showMemory();
  say(["Told; the next answer knows it.", ...replaced.map(({ text }) => `It replaces “${text}”.`)].join(" "));
  await changed();
}

async function showStated() {
  const { said } = await json("GET", "v1/said");
  const items = said.toReversed().map(({ statement_id: id, text, at, replaced_by: newer }) =>
    el(
      "li",
      { class: "interaction" },
      el("p", { class: "query" }, text),
      meta(time(at), newer !== null && "replaced since"),
      button("Delete…", () => untell(id), { class: "quiet", "aria-label": `Delete: ${text}` }),
    ),
  );
  byId("stated").replaceChildren(...items);
}

async function untell(id) {
  const agreed = await confirmed({
    title: "Delete what you told?",
    text: "Your persona is as if you had never said it: what it replaced holds again.",
    action: "Delete it",
  });
  if (!agreed) return;
  await request("DELETE", path`v1/said/${id}`);
  await showMemory();
  say("Deleted.");
  await changed();
}

function showStatements(statements) {
  const items = statements.map(({ text, evidence, at }) =>
    el("li", {}, el("p", {}, text), meta(`from ${count(evidence.length, "interaction")}`, time(at))),
  );
  const empty = el(
    "li",
    { class: "empty" },
    "Nothing yet: statements are gathered from several interactions when you are aligned.",
  );
  byId("statements").replaceChildren(...(items.length ? items : [empty]));
}

const nothing = () =>
  el("li", { class: "empty" }, "Nothing is remembered yet. Ask something, and say what you would have wanted.");

function item(alike) {
  const [{ interaction, similarity }] = alike;
  const forget = button("Forget…", () => forgetAll(alike.map((episode) => episode.interaction.interaction_id)), {
    class: "quiet",
    "aria-label": `Forget: ${interaction.query.slice(0, 80)}`,
  });
  const times = alike.length > 1 && count(alike.length, "time");
  const near = similarity !== undefined && `similarity ${similarity.toFixed(2)}`;
  return el("li", { class: "interaction" }, ...exchange(interaction, times, near), forget);
}

/** Show one interaction: what was asked, what was said, what the user really wanted. */
export function exchange({ query, response, ground_truth: truth, at, task, persona_version: version }, ...more) {
  const said = (name, text) =>
    text !== null && el("p", { class: "said" }, el("span", { class: "who" }, name), " ", text);
  return [
    el("p", { class: "query" }, query),
    truth === response ? null : said("Answer", response),
    said("You", truth),
    meta(...more, time(at), task !== "open" && task, version !== null && `under version ${version}`),
  ].filter(Boolean);
}

async function forgetAll(ids) {
  const agreed = await confirmed({
    title: `Forget ${count(ids.length, "interaction")}?`,
    text: "Removed for good, with all that your persona has learnt from it alone.",
    action: "Forget it",
  });
  if (!agreed) return;
  for (const id of ids) await request("DELETE", path`v1/memory/${id}`);
  await showMemory();
  byId("interactions").focus();
  say("Forgotten.");
  await changed();
}
