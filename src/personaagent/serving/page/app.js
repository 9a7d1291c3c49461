/* The page: signing in and out, the views, and showing anew what has changed. */

import { showAccount, startAccount } from "./account.js";
import { showLearning, startAlignments, unwatch, watch } from "./alignments.js";
import { json, Problem, session } from "./api.js";
import { forgetConversation, startAsking } from "./ask.js";
import { byId, complain, on } from "./dom.js";
import { showMemory, startMemory } from "./memory.js";
import { forgetPersona, showPersona, startPersona } from "./persona.js";

const VIEWS = ["ask", "persona", "memory", "data"];
const OF_THE_USER = ["persona", "versions", "diff", "alignments", "interactions", "statements", "stated", "facts", "said"];

function start() {
  startAsking(changed);
  startPersona(changed);
  startAlignments(refresh);
  startMemory(changed);
  startAccount(leave);
  on(byId("door"), "submit", signIn);
  on(byId("leave"), "click", leave);
  document.addEventListener("signedout", leave);
  window.addEventListener("hashchange", () => route().catch(complain));
  if (session.isOpen()) enter().catch(refused);
  else leave();
}

async function signIn() {
  session.open(byId("key").value.trim(), byId("user").value);
  await enter().catch(refused);
}

async function enter() {
  await refresh();
  await watch();
  byId("problem").replaceChildren();
  show(true);
  await route();
}

function refused(error) {
  shut();
  if (error.status === 403) askForWhom(true);
  throw error.status === 401
    ? new Problem("This key is not known here", "Copy it whole, or ask for a new one.", { id: error.id })
    : error;
}

/** Ask for whom a key is to speak; a tenant's or an admin's key speaks for many. */
function askForWhom(isAsked) {
  byId("whom").hidden = !isAsked;
  byId("user").required = isAsked;
}

function leave() {
  byId("door").reset();
  askForWhom(false);
  shut();
}

/** Forget who was signed in, and take all that was shown off the page. */
function shut() {
  session.close();
  unwatch();
  forgetPersona();
  byId("question").reset();
  byId("search").reset();
  byId("tell").reset();
  forgetConversation();
  OF_THE_USER.forEach((id) => byId(id).replaceChildren());
  show(false);
  byId("key").focus();
}

function show(isIn) {
  byId("top").hidden = byId("house").hidden = !isIn;
  byId("door").hidden = isIn;
}

/** Show who is signed in and under which persona, as they are now. */
async function refresh() {
  const me = await json("GET", "v1/me");
  byId("pulse").textContent = me.persona_version === null ? "No persona yet" : `Version ${me.persona_version}`;
  showAccount(me);
  showLearning(me.learning);
  await showPersona();
}

async function changed() {
  await refresh();
  await watch();
}

/** Show the view that the address names. The skip link names none, and changes nothing. */
async function route() {
  const named = location.hash.slice(1) || VIEWS[0];
  if (!VIEWS.includes(named) || byId("house").hidden) return;
  byId("house").dataset.view = named;
  for (const link of document.querySelectorAll("nav a")) link.ariaCurrent = link.hash === `#${named}` ? "page" : null;
  if (named === "memory") await showMemory();
}

start();
