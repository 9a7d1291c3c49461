/* What every part of the page needs: elements, dates, messages, and the question before something is lost. */

import { Problem } from "./api.js";

export const byId = (id) => document.getElementById(id);

/** Make an element. Strings become text nodes and are never read as HTML; null and false are left out. */
export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== false && value != null) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== false));
  return node;
}

/** Make a button that does `work`. */
export function button(label, work, attributes = {}) {
  return on(el("button", { type: "button", ...attributes }, label), "click", work);
}

/** Do `work` on an event, one at a time: what was pressed is disabled meanwhile. What goes wrong is shown. */
export function on(node, type, work) {
  node.addEventListener(type, async (event) => {
    event.preventDefault();
    if (node.ariaBusy === "true") return;
    const pressed = event.submitter ?? node;
    node.ariaBusy = pressed.ariaDisabled = "true";
    try {
      await work(event);
    } catch (error) {
      complain(error);
    } finally {
      node.ariaBusy = pressed.ariaDisabled = null;
    }
  });
  return node;
}

/** Show a time as people write it; nothing for a history without dates. */
export function time(at) {
  if (!at) return null;
  const shown = new Date(at).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
  return el("time", { datetime: at }, shown);
}

/** Join what there is with dots between: `21 Nov 2026 · version 3`. */
export function meta(...parts) {
  const known = parts.filter((part) => part != null && part !== false && part !== "");
  return el("p", { class: "meta" }, ...known.flatMap((part, place) => (place ? [" · ", part] : [part])));
}

export const count = (number, one, many = `${one}s`) =>
  `${number.toLocaleString("en-GB")} ${number === 1 ? one : many}`;

/** Name the scores of a version: `accuracy 0.83`. */
export const scores = ({ scores: named }) =>
  Object.entries(named).map(
    ([name, score]) => `${name} ${score.toLocaleString("en-GB", { maximumFractionDigits: 3 })}`,
  );

/** Say politely that something was done. */
export function say(text) {
  byId("problem").replaceChildren();
  byId("said").replaceChildren(el("span", {}, text));
}

/** Show what went wrong, with the id under which the server's log has more. */
export function complain(error) {
  if (error.name === "AbortError") return;
  const known = error instanceof Problem;
  if (!known) console.error(error);
  const { message, detail, id } = known ? error : { message: "This page made a mistake", detail: "Reload it." };
  byId("said").replaceChildren();
  byId("problem").replaceChildren(
    el(
      "div",
      {},
      el("strong", {}, message),
      el("p", {}, detail ?? ""),
      id ? el("p", { class: "meta" }, `Id ${id}`) : "",
    ),
    button("Dismiss", () => byId("problem").replaceChildren(), { class: "quiet" }),
  );
  if (error.status === 401) document.dispatchEvent(new Event("signedout"));
}

/** Ask before something is changed or lost; with a `word`, it must be typed. Resolves to whether the user agreed. */
export function confirmed({ title, text, action, word = "" }) {
  const [dialog, typed, input] = ["confirm", "confirm-typed", "confirm-word"].map(byId);
  byId("confirm-title").textContent = title;
  byId("confirm-text").textContent = text;
  byId("confirm-action").textContent = action;
  byId("confirm-action").className = word ? "danger" : "main";
  typed.querySelector("label").textContent = `Type “${word}” to go on`;
  typed.hidden = input.disabled = !word;
  Object.assign(input, { value: "", pattern: word, title: word });
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
