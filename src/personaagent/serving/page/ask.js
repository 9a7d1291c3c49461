/* A conversation: answers appear as they are written, and the user says whether they were right. */

import { chunks, json, request, session } from "./api.js";
import { button, byId, el, meta, on } from "./dom.js";

const unasked = [...byId("answers").children];
const turns = [];
let changed;

/** Begin; `tell` is called when something was answered or corrected. */
export function startAsking(tell) {
  changed = tell;
  on(byId("anew"), "click", () => {
    forgetConversation();
    byId("query").focus();
  });
  const [form, query] = ["question", "query"].map(byId);
  on(form, "submit", async () => {
    const asked = query.value.trim();
    if (!asked) return;
    query.value = "";
    try {
      await ask(asked);
    } catch (error) {
      if (session.isOpen()) query.value ||= asked;
      throw error;
    }
  });
  query.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
}

export function forgetConversation() {
  turns.length = 0;
  byId("answers").replaceChildren(...unasked);
  byId("anew").hidden = true;
}

async function ask(query) {
  const said = el("p", { class: "response" });
  const answer = el("article", { class: "answer", "aria-busy": "true" }, el("p", { class: "query" }, query), said);
  byId("answers").querySelector(".empty")?.remove();
  byId("answers").append(answer);
  byId("question").scrollIntoView({ block: "end" });
  const asked = { role: "user", content: query };
  try {
    const { id, version } = await written([...turns, asked], said);
    turns.push(asked, { role: "assistant", content: said.textContent });
    byId("anew").hidden = false;
    answer.append(meta(version !== null && `Answered under version ${version}`), verdict(id));
  } finally {
    answer.ariaBusy = null;
    if (!said.textContent) answer.remove();
  }
  await changed();
}

/** Write the answer into `place` as it comes; return its interaction and the persona version that gave it. */
async function written(messages, place) {
  const body = { model: "personaagent", stream: true, messages };
  const response = await request("POST", "v1/chat/completions", { body });
  const told = { id: "", version: null };
  for await (const { id, choices, personaagent } of chunks(response)) {
    place.append(choices[0]?.delta?.content ?? "");
    told.id = personaagent?.interaction_id ?? id.replace(/^chatcmpl-/, "");
    told.version = personaagent?.persona_version ?? told.version;
  }
  return told;
}

function verdict(id) {
  const outcome = el("span", { class: "meta", role: "status" });
  const correction = correctionForm(id, outcome);
  const rate = async (rating) => {
    await feedback(id, { rating }, outcome);
    correction.hidden = rating === "good";
    if (rating === "bad") correction.elements.correction.focus();
  };
  const correct = () => {
    correction.hidden = false;
    correction.elements.correction.focus();
  };
  const buttons = [button("Good", () => rate("good")), button("Bad", () => rate("bad")), button("Correct…", correct)];
  return el("div", {}, el("div", { class: "row start" }, ...buttons, outcome), correction);
}

function correctionForm(id, outcome) {
  const [wanted, why] = [`wanted-${id}`, `why-${id}`];
  const form = el(
    "form",
    { class: "correction", hidden: true },
    el("label", { for: wanted }, "What would you have wanted?"),
    el("textarea", { id: wanted, name: "correction", rows: 2, required: true }),
    el("label", { for: why }, "Why? (if you like)"),
    el("input", { id: why, name: "text", autocomplete: "off" }),
    el("div", { class: "row" }, el("button", { class: "main", type: "submit" }, "Save")),
  );
  return on(form, "submit", async () => {
    const { correction, text } = Object.fromEntries(new FormData(form));
    await feedback(id, { correction, ...(text && { text }) }, outcome);
    form.hidden = true;
  });
}

async function feedback(id, said, outcome) {
  const { learnt } = await json("POST", "v1/feedback", { interaction_id: id, ...said });
  outcome.textContent = learnt ? "Noted: the next alignment learns from it." : "Noted.";
  await changed();
}
