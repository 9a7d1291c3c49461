/* What is known of the account, taking it along, and erasing it. */

import { json, request } from "./api.js";
import { byId, confirmed, count, el, on, say, time } from "./dom.js";

export function startAccount(leave) {
  on(byId("export"), "click", download);
  on(byId("erase"), "click", () => erase(leave));
}

/** Show who is signed in, and how much is stored. */
export function showAccount({ user, role, tenant, interactions, lm }) {
  const facts = [
    ["Known here as", user],
    ["Key", tenant ? `${role} of ${tenant}` : role],
    ["Stored", count(interactions, "interaction")],
    ["Answered by", lm],
  ];
  byId("facts").replaceChildren(...facts.flatMap(pair));
}

const pair = ([name, value]) => [el("dt", {}, name), el("dd", {}, value)];

async function download() {
  const url = URL.createObjectURL(await (await request("GET", "v1/export")).blob());
  el("a", { href: url, download: "personaagent.jsonl" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1_000);
  say("Exported.");
}

async function erase(leave) {
  const agreed = await confirmed({
    title: "Erase everything about you?",
    text: "Interactions, statements, personas and alignments are removed for good. Export them first if you may want them back.",
    action: "Erase me",
    word: "erase me",
  });
  if (!agreed) return;
  showReceipt(await json("DELETE", "v1/me"));
  leave();
  byId("receipt").showModal();
}

function showReceipt({ user_key: key, removed, left = [], at }) {
  const counts = Object.entries(removed).filter(([, number]) => number > 0);
  const named = counts.map(([what, number]) => [what.replaceAll("_", " "), number.toLocaleString("en-GB")]);
  const still = left.map((what) => ["Still there", what]);
  byId("removed").replaceChildren(...[["User", key], ["At", time(at)], ...named, ...still].flatMap(pair));
}
