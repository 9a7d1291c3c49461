/* The live persona with what caused each line, and the versions: what changed, and the way back. */

import { json, request } from "./api.js";
import { button, byId, confirmed, count, el, meta, on, say, scores, time } from "./dom.js";
import { exchange } from "./memory.js";

const SECTIONS = {
  profile: "Who you are",
  preferences: "What you prefer",
  tool_use: "How tools are used for you",
  style: "How you are answered",
};

/** How a line came about, in words. */
const KINDS = {
  template: "Every persona begins with it",
  statement: "Gathered from what you did",
  said: "You said so",
  confusion: "Two answers were mixed up",
  style: "How you write",
  rule: "A pattern in what you did",
  rewrite: "Rewritten after answers that you did not want",
};
const STATES = { shadow: "On trial", retired: "Taken out again" };

/** What was last read: every version, oldest first, and the tag of the live one. */
const unread = { shown: "", versions: [], etag: null };
const read = { ...unread };
let changed;

export const versionsOf = (alignmentId) =>
  read.versions.filter((version) => alignmentId && version.alignment_id === alignmentId);

/** Begin; `tell` is called when another version is live. */
export function startPersona(tell) {
  changed = tell;
  on(byId("compare"), "submit", () => showDiff(byId("old").value, byId("new").value));
}

/** Forget whose persona it was. */
export function forgetPersona() {
  Object.assign(read, unread);
  byId("diff").hidden = true;
}

/** Read the live persona and all versions; what is on the page already stays as the user left it. */
export async function showPersona() {
  const { versions } = await json("GET", "v1/persona/versions");
  const live = versions.some(({ status }) => status === "live") ? await livePersona() : null;
  const shown = JSON.stringify([live, versions]);
  if (shown === read.shown) return;
  Object.assign(read, { shown, versions, etag: live?.etag ?? null });
  byId("persona").replaceChildren(...(live ? personaOf(live) : [noPersona()]));
  byId("versions").replaceChildren(...(versions.length ? versions.toReversed().map(versionItem) : [noVersions()]));
  byId("compare").hidden = versions.length < 2;
  offerVersions("old", versions.at(-2));
  offerVersions("new", versions.at(-1));
}

async function livePersona() {
  const response = await request("GET", "v1/persona");
  const { blamed } = await json("GET", "v1/persona/blame");
  return { ...(await response.json()), blamed, etag: response.headers.get("ETag") };
}

function noPersona() {
  return el("p", { class: "empty" }, "There is no persona yet: the first answer makes one. Ask something.");
}

const noVersions = () =>
  el("li", { class: "empty" }, "None yet. Each rewrite of the persona is kept here, and you can go back to any.");

function personaOf({ version, causes, blamed }) {
  const live = blamed.filter(({ state }) => state === "live");
  const of = (name) => live.filter(({ section }) => section === name);
  const lines = Object.entries(SECTIONS).map(([name, title]) => [title, of(name)]);
  const weights = ["How far each is believed", live.filter(({ kind }) => kind === "weights")];
  const waiting = ["Not in it: on trial, or taken out", blamed.filter(({ state }) => state !== "live")];
  const sections = [...lines, weights, waiting].map(
    ([title, own]) =>
      own.length > 0 &&
      el("section", {}, el("h3", {}, title), el("ul", { class: "lines" }, ...own.map((line) => lineItem(line, causes, version.persona.weights)))),
  );
  const empty =
    live.length === 0 &&
    el("p", { class: "empty" }, "It says nothing about you yet. Correct a few answers, then align.");
  return [meta(`Version ${version.number}`, time(version.at)), ...sections, empty].filter(Boolean);
}

function lineItem({ text, kind, state, causes: named, evidence }, known, weights) {
  const fitted = kind === "weights" && `Fitted on ${count(weights.users, "user")}`;
  const why = meta(STATES[state], KINDS[kind], fitted, evidence && tried(evidence));
  if (fitted) return el("li", {}, ...bars(weights), why);
  if (named.length === 0) return el("li", {}, text, why);
  const shown = el("ol", { class: "plain causes", tabindex: 0, "aria-label": "Causes" });
  const line = el(
    "details",
    {},
    el("summary", {}, el("span", {}, text), el("span", { class: "count" }, count(named.length, "cause"))),
    shown,
  );
  line.addEventListener(
    "toggle",
    () => shown.replaceChildren(...named.map((cause) => el("li", {}, ...causeOf(known[cause.interaction_id], cause.words)))),
    { once: true },
  );
  return el("li", {}, line, why);
}

function tried({ n, mean }) {
  const came = mean > 0 ? "better" : mean < 0 ? "worse" : "as good";
  return `tried on ${count(n, "question")}: answers were ${came} (${mean.toFixed(3)})`;
}

const bars = ({ a, b, c }) =>
  [["The language model", a], ["Your habits", b], ["Your memory", c]].map(([name, value]) =>
    el("label", { class: "bar" }, name, el("meter", { max: 4, value }), value.toLocaleString("en-GB")),
  );

const causeOf = (interaction, words) =>
  interaction ? exchange(interaction) : [meta(words ?? "An interaction that was forgotten.")];

function versionItem(version) {
  const { number, parent, status, reason, at } = version;
  const difference =
    parent !== null &&
    button("What changed", () => showDiff(parent, number), {
      class: "quiet",
      "aria-label": `What changed in version ${number}`,
    });
  const back =
    ["retired", "candidate"].includes(status) &&
    button("Go back to it", () => rollBack(number), { class: "quiet", "aria-label": `Go back to version ${number}` });
  return el(
    "li",
    { class: status },
    el("h3", {}, `Version ${number}`, el("span", { class: "badge" }, status)),
    el("p", {}, reason),
    meta(time(at), ...scores(version)),
    (difference || back) && el("div", { class: "row start" }, difference, back),
  );
}

function offerVersions(id, chosen) {
  const options = read.versions.map(({ number, status }) =>
    el("option", { value: number, selected: number === chosen?.number }, `${number} (${status})`),
  );
  byId(id).replaceChildren(...options);
}

async function showDiff(from, to) {
  const { diff } = await json("GET", `v1/persona/diff?${new URLSearchParams({ old: from, new: to })}`);
  Object.assign(byId("old"), { value: from });
  Object.assign(byId("new"), { value: to });
  byId("diff").hidden = false;
  byId("diff").replaceChildren(
    el("h3", {}, `From version ${from} to ${to}`),
    ...(diff ? diffLines(diff) : ["They read the same."]),
  );
  byId("diff").scrollIntoView({ block: "nearest" });
}

/** Show a unified diff without its three lines of heading, and without the dashes of a persona's lists. */
function diffLines(diff) {
  const kinds = { "+": "ins", "-": "del" };
  return diff
    .split("\n")
    .slice(3)
    .map((line) => el(kinds[line[0]] ?? "p", {}, line.slice(1).replace(/^- /, "")));
}

async function rollBack(number) {
  const agreed = await confirmed({
    title: `Go back to version ${number}?`,
    text: "The next answer is given under it. No version is lost: you can come back to this one the same way.",
    action: "Go back",
  });
  if (!agreed) return;
  await request("POST", "v1/persona/rollback", {
    body: { version: number },
    headers: read.etag ? { "If-Match": read.etag } : {},
  });
  await changed();
  say(`Version ${number} is live.`);
}
