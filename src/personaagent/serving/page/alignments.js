/* The alignments: how the persona learns, now and so far. Asked again and again while the page is open. */

import { json, path, Problem, request, session } from "./api.js";
import { button, byId, complain, count, el, meta, on, say, scores, time } from "./dom.js";
import { versionsOf } from "./persona.js";

const BUSY_MS = 2_000;
const QUIET_MS = 10_000;
const SHOW_ANEW = -1;

let timer, ended, changed;

/** Begin; `tell` is called when an alignment has ended. */
export function startAlignments(tell) {
  changed = tell;
  on(byId("align"), "click", async () => {
    await request("POST", "v1/alignments", { body: {} });
    say("An alignment has begun.");
    await watch();
  });
  document.addEventListener("visibilitychange", () => document.hidden || !session.isOpen() || watch().catch(complain));
}

/** Show the alignments, and look again for as long as someone is signed in. */
export async function watch() {
  clearTimeout(timer);
  let busy = false;
  try {
    const { alignments } = await json("GET", "v1/alignments");
    const over = alignments.filter((job) => !isGoingOn(job)).length;
    if (ended !== undefined && ended !== over) await changed();
    ended = over;
    busy = alignments.some(isGoingOn);
    showAlignments(alignments);
  } catch (error) {
    if (!(error instanceof Problem) || error.status === 401) throw error;
    byId("pulse").textContent = "Out of touch";
    ended = SHOW_ANEW;
  }
  if (document.hidden || !session.isOpen()) return;
  timer = setTimeout(() => watch().catch(complain), busy ? BUSY_MS : QUIET_MS);
}

/** Stop looking, and forget what was seen. */
export function unwatch() {
  clearTimeout(timer);
  ended = undefined;
}

/** Say when an alignment comes by itself. */
export function showLearning({ every, known }) {
  const given = `You have given ${known.toLocaleString("en-GB")} so far.`;
  byId("learning").textContent = every
    ? `By itself after every ${every} answers that you call good or correct. ${given}`
    : "Only when you ask for one.";
}

const isGoingOn = ({ state }) => ["waiting", "running", "cancelling"].includes(state);

const said = (items) => items.map((element) => element.textContent).join("\n");

function showAlignments(alignments) {
  const empty = el(
    "li",
    { class: "empty" },
    "None yet. An alignment compares what was answered with what you wanted, and rewrites the persona.",
  );
  const items = alignments.length ? alignments.map(jobItem) : [empty];
  if (said(items) !== said([...byId("alignments").children])) byId("alignments").replaceChildren(...items);
  byId("align").disabled = alignments.some(isGoingOn);
}

function jobItem(job) {
  const { job_id: id, state, reason, n, losses, alignment_id: alignment, started_at: at } = job;
  const cancel = () => request("DELETE", path`v1/alignments/${id}`).then(watch);
  const made = versionsOf(alignment).map((version) => [`version ${version.number} ${version.status}`, ...scores(version)].join(" "));
  return el(
    "li",
    { class: `job ${state}` },
    el("p", {}, el("span", { class: "badge" }, state), reason),
    meta(
      time(at),
      `latest ${count(n, "interaction")}`,
      losses > 0 && count(losses, "answer criticised", "answers criticised"),
      ...made,
    ),
    isGoingOn(job) && button("Cancel", cancel, { class: "quiet" }),
  );
}
