// The question before a broker is deleted.

import { removeBroker } from "./api.js";
import { setText } from "./format.js";

const dialog = document.getElementById("confirm");
const yes = document.getElementById("confirm-yes");
const sendFirst = document.getElementById("confirm-send");
const problem = document.getElementById("confirm-error");

let broker = null;
let onRemoved = () => {};

/** Asks, deletes, and reports that it is done. */
export function confirmRemoval(wanted, removed) {
  broker = wanted;
  onRemoved = removed;
  problem.hidden = true;
  sendFirst.checked = false;
  sendFirst.disabled = !broker.enabled;
  setText(document.getElementById("confirm-title"), `Delete ${broker.name}?`);
  dialog.showModal();
}

yes.addEventListener("click", async () => {
  yes.disabled = true;
  try {
    await removeBroker(broker.id, sendFirst.checked ? "send" : "discard");
    dialog.close();
    onRemoved();
  } catch (error) {
    // Someone else was faster, and the table shows it soon.
    if (error.status === 404) dialog.close();
    setText(problem, error.message);
    problem.hidden = false;
  } finally {
    yes.disabled = false;
  }
});

document.getElementById("confirm-no").addEventListener("click", () => dialog.close());
