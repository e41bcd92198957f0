// The table of brokers. A row stays while its broker does, so that focus and hover survive an update.

import { bytes, duration, full, rate, setText, short } from "./format.js";

const STATES = {
  connected: ["good", "Connected"],
  connecting: ["warn", "Connecting"],
  waiting_to_retry: ["bad", "Retrying"],
  disabled: ["quiet", "Disabled"],
  paused: ["held", "Paused"],
  draining: ["held", "Draining"],
  removing: ["held", "Removing"],
};

/** Tone and text of what a broker is; its health says more than its connection. */
function condition(broker) {
  if (broker.health === "degraded" && broker.state === broker.connection) return ["warn", "Degraded"];
  return STATES[broker.state] ?? ["quiet", broker.state];
}

/** How long it has been so, and what comes next. */
function since(broker) {
  const parts = [`for ${duration(broker.state_age_secs)}`];
  const wait = broker.circuit.retry_in_ms;
  if (wait >= 1000) parts.push(`next attempt in ${duration(Math.round(wait / 1000))}`);
  if (broker.reconnects > 0) {
    parts.push(broker.reconnects === 1 ? "1 reconnect" : `${full(broker.reconnects)} reconnects`);
  }
  return parts.join(", ");
}

/** Shows brokers and reports what is clicked through `on.toggle`, `on.order`, `on.events`, `on.edit` and `on.remove`. */
export class BrokerTable {
  #body = document.getElementById("rows");
  #template = document.getElementById("row");
  #rows = new Map();
  #on;

  constructor(on) {
    this.#on = on;
  }

  /** Brokers in their order, each with its `rate`. */
  show(brokers) {
    const ids = new Set(brokers.map((broker) => broker.id));
    for (const [id, row] of this.#rows) {
      if (!ids.has(id)) {
        row.element.remove();
        this.#rows.delete(id);
      }
    }
    brokers.forEach((broker, index) => {
      const row = this.#rows.get(broker.id) ?? this.#add(broker.id);
      row.broker = broker;
      fill(row.parts, row.element, broker);
      if (this.#body.children[index] !== row.element) {
        this.#body.insertBefore(row.element, this.#body.children[index] ?? null);
      }
    });
  }

  #add(id) {
    const element = this.#template.content.firstElementChild.cloneNode(true);
    const parts = {};
    for (const part of element.querySelectorAll("[data-part]")) parts[part.dataset.part] = part;
    const row = { element, parts, broker: null };
    parts.toggle.addEventListener("click", () => this.#on.toggle(row.broker, parts.toggle));
    for (const what of ["pause", "resume", "drain", "reconnect"]) {
      parts[what].addEventListener("click", () => {
        parts.menu.open = false;
        this.#on.order(row.broker, what, parts.more);
      });
    }
    parts.events.addEventListener("click", () => {
      parts.menu.open = false;
      this.#on.events(row.broker);
    });
    element.addEventListener("focusout", (event) => {
      if (!parts.menu.contains(event.relatedTarget)) parts.menu.open = false;
    });
    parts.edit.addEventListener("click", () => this.#on.edit(row.broker));
    parts.delete.addEventListener("click", () => this.#on.remove(row.broker));
    this.#rows.set(id, row);
    return row;
  }
}

function fill(parts, element, broker) {
  setText(parts.name, broker.name);
  const host = broker.address.includes(":") ? `[${broker.address}]` : broker.address;
  setText(parts.address, `${host}:${broker.port}`);
  showBadges(parts.badges, broker);
  setText(parts.error, broker.last_error ?? "");
  parts.error.hidden = !broker.last_error;
  setText(parts.warnings, broker.warnings.join("\n"));
  parts.warnings.hidden = broker.warnings.length === 0;
  element.classList.toggle("off", !broker.enabled);

  const [tone, text] = condition(broker);
  parts.state.dataset.tone = tone;
  setText(parts["state-text"], text);
  const reasons = broker.health_reasons.join("\n");
  if (parts.state.title !== reasons) parts.state.title = reasons;
  setText(parts.age, held(broker) ?? since(broker));

  number(parts.rate, rate(broker.rate), broker.rate ? "" : "quiet");
  number(parts.forwarded, short(broker.forwarded), "", full(broker.forwarded));
  number(parts.lag, short(broker.lag), broker.lag === 0 ? "quiet" : "", waiting(broker));
  number(parts["in-flight"], short(broker.in_flight), broker.in_flight === 0 ? "quiet" : "");
  const drops = Object.entries(broker.dropped);
  const dropped = drops.reduce((sum, [, count]) => sum + count, 0);
  const why = drops.map(([reason, count]) => `${reason}: ${full(count)}`).join("\n");
  number(parts.dropped, short(dropped), dropped === 0 ? "quiet" : "bad", why);
  showActions(parts, broker);
}

/** What is to be known of a broker that is held back; null for the others. */
function held(broker) {
  if (broker.state === broker.connection) return null;
  const parts = [broker.connected ? "connected" : "not connected"];
  if (broker.state === "paused") parts.unshift(`${short(broker.lag)} wait`);
  if (broker.drain && broker.drain.remaining !== null) parts.unshift(`${short(broker.drain.remaining)} to go`);
  if (broker.state === "draining") parts.push(`then ${broker.drain.then}`);
  return parts.join(", ");
}

function number(cell, text, tone, title = "") {
  setText(cell, text);
  if (cell.dataset.tone !== tone) cell.dataset.tone = tone;
  if (cell.title !== title) cell.title = title;
}

function showActions(parts, broker) {
  parts.locked.hidden = !broker.read_only;
  const verbs = [["toggle", broker.enabled ? "Disable" : "Enable"], ["edit", "Edit"], ["delete", "Delete"]];
  for (const [part, verb] of verbs) {
    parts[part].hidden = broker.read_only;
    const label = `${verb} ${broker.name}`;
    if (parts[part].title !== label) {
      parts[part].title = label;
      parts[part].setAttribute("aria-label", part === "toggle" ? `Forward to ${broker.name}` : label);
    }
  }
  const isHeld = broker.paused || broker.drain !== null;
  parts.pause.hidden = broker.read_only || broker.paused || broker.state === "removing";
  parts.resume.hidden = broker.read_only || !isHeld;
  parts.drain.hidden = broker.read_only || !broker.enabled || broker.drain !== null;
  parts.reconnect.hidden = !broker.enabled;
  const more = `More for ${broker.name}`;
  if (parts.more.title !== more) {
    parts.more.title = more;
    parts.more.setAttribute("aria-label", more);
  }
  parts.toggle.setAttribute("aria-checked", String(broker.enabled));
}

function showBadges(holder, broker) {
  const badges = [["", `MQTT ${broker.version}`]];
  if (broker.use_tls) badges.push(broker.insecure_skip_verify ? ["warning", "TLS, unverified"] : ["", "TLS"]);
  if (broker.bidirectional) badges.push(["", "⇄ bidirectional"]);
  if (broker.max_qos !== null) badges.push(["", `QoS ≤ ${broker.max_qos}`]);
  if (broker.topics.length > 0) {
    badges.push(["", broker.topics.length === 1 ? broker.topics[0] : `${broker.topics.length} filters`]);
  }
  const key = JSON.stringify(badges);
  if (holder.dataset.key === key) return;
  holder.dataset.key = key;
  holder.replaceChildren(
    ...badges.map(([kind, text]) => {
      const badge = document.createElement("span");
      badge.className = `badge ${kind}`;
      badge.textContent = text;
      return badge;
    }),
  );
}

/** What a broker has not got, for who wants to know exactly. */
function waiting(broker) {
  const oldest = broker.oldest_unsent_secs === null ? "" : `, the oldest ${duration(broker.oldest_unsent_secs)} old`;
  return `${full(broker.lag)} messages, ${bytes(broker.lag_bytes)}${oldest}`;
}
