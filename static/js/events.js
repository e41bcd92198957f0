// What happened to a broker of late.

import { brokerEvents } from "./api.js";
import { setText } from "./format.js";

const dialog = document.getElementById("events");
const list = document.getElementById("events-list");
const problem = document.getElementById("events-error");

let latest = 0;

/** Opens the dialog and fills it, the newest event first. */
export async function showEvents(broker) {
  latest += 1;
  const question = latest;
  setText(document.getElementById("events-title"), `Events of ${broker.name}`);
  list.replaceChildren();
  problem.hidden = true;
  dialog.showModal();
  try {
    const events = await brokerEvents(broker.id);
    if (question !== latest) return;
    list.replaceChildren(...events.reverse().map(line));
  } catch (error) {
    setText(problem, error.message);
    problem.hidden = false;
  }
}

function line({ at, event, cause }) {
  const item = document.createElement("li");
  const time = document.createElement("time");
  time.dateTime = at;
  time.textContent = new Date(at).toLocaleString();
  const text = document.createElement("span");
  text.textContent = event.replaceAll("_", " ") + (cause ? `: ${cause}` : "");
  item.append(time, text);
  return item;
}

document.getElementById("events-close").addEventListener("click", () => dialog.close());
