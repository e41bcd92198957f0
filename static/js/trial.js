// The trial of a connection in the editor: asks the API to connect once, and shows how far that went.

import { testBroker } from "./api.js";
import { setText } from "./format.js";

const button = document.getElementById("try");
const result = document.getElementById("trial");
const summary = document.getElementById("trial-summary");
const list = document.getElementById("trial-steps");

let latest = 0;

/** Forgets what is shown, and what is still on its way. */
export function clearTrial() {
  latest += 1;
  button.disabled = false;
  result.hidden = true;
}

/** Tries a definition out; an error of the API goes to `onError`. */
export async function tryOut(definition, onError) {
  clearTrial();
  const question = latest;
  button.disabled = true;
  showSummary("quiet", "Connecting …", []);
  try {
    const answer = await testBroker(definition);
    if (question === latest) show(answer);
  } catch (error) {
    if (question !== latest) return;
    result.hidden = true;
    onError(error);
  } finally {
    if (question === latest) button.disabled = false;
  }
}

function show(answer) {
  const lines = Object.entries(answer.steps).map(([name, step]) => describe(name, step));
  lines.push(...answer.warnings.map((warning) => `Warning: ${warning}`));
  const text = answer.ok ? "The broker accepts the connection." : `Failed: ${answer.error}`;
  showSummary(answer.ok ? "good" : "bad", text, lines);
}

function showSummary(tone, text, lines) {
  result.hidden = false;
  summary.dataset.tone = tone;
  setText(summary, text);
  list.replaceChildren(
    ...lines.map((line) => {
      const item = document.createElement("li");
      item.textContent = line;
      return item;
    }),
  );
}

function describe(name, step) {
  const time = `${step.ms.toFixed(1)} ms`;
  switch (name) {
    case "dns": return `Name: ${step.addresses.join(", ")} (${time})`;
    case "tcp": return `TCP: ${step.address} (${time})`;
    case "tls": return `TLS: ${secured(step)} (${time})`;
    case "websocket": return `WebSocket: ${step.path} (${time})`;
    case "connack": return `MQTT: ${step.reason} (${time})`;
    default: return `${name} (${time})`;
  }
}

function secured(tls) {
  const certificate = tls.peer_certificate;
  const who = certificate ? `${certificate.subject}, valid until ${certificate.not_after}` : "no certificate";
  return [tls.version, tls.cipher, who, tls.verified ? "verified" : "not verified"].filter(Boolean).join(", ");
}
