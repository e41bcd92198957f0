// The page: asks the API every second and shows what it says.

import {
  drainBroker, enableBroker, listBrokers, pauseBroker, reconnectBroker, resumeBroker, status,
} from "./api.js";
import { confirmRemoval } from "./confirm.js";
import { openEditor } from "./editor.js";
import { showEvents } from "./events.js";
import { bytes, duration, full, rate, setText, short } from "./format.js";
import { Rates } from "./rates.js";
import { Sparkline } from "./sparkline.js";
import { BrokerTable } from "./table.js";

const POLL_MS = 1000;
const TOAST_MS = 6000;

const $ = (id) => document.getElementById(id);
const rates = new Rates();
const lines = { received: new Sparkline($("received-line")), forwarded: new Sparkline($("forwarded-line")) };
const ORDERS = { pause: pauseBroker, resume: resumeBroker, drain: drainBroker, reconnect: reconnectBroker };
const table = new BrokerTable({
  toggle,
  order,
  events: showEvents,
  edit: (broker) => openEditor(broker, refresh),
  remove: (broker) => confirmRemoval(broker, refresh),
});

let lostSince = null;
let timer = 0;
let latest = 0;

/** Asks now; the answer to an older question never replaces that to a newer one. */
async function refresh() {
  clearTimeout(timer);
  latest += 1;
  const question = latest;
  try {
    const [brokers, overall] = await Promise.all([listBrokers(), status()]);
    if (question !== latest) return;
    found();
    show(brokers, overall, performance.now());
  } catch (error) {
    if (question !== latest) return;
    lost(error);
  }
  timer = setTimeout(refresh, POLL_MS);
}

function show(brokers, overall, now) {
  const shown = brokers.map((broker) => ({ ...broker, rate: rates.sample(broker.id, broker.forwarded, now) }));
  rates.keepOnly(new Set(["received", "forwarded", ...brokers.map((broker) => broker.id)]));
  table.show(shown);
  $("table").hidden = brokers.length === 0;
  $("empty").hidden = brokers.length > 0;
  $("add").hidden = brokers.length === 0;
  $("loading").hidden = true;
  $("main").setAttribute("aria-busy", "false");
  showTotals(overall, now);
  showBrokerTotals(brokers, overall);
}

function showTotals(overall, now) {
  for (const counter of ["received", "forwarded"]) {
    const perSecond = rates.sample(counter, overall[counter], now);
    setText($(`${counter}-rate`), rate(perSecond));
    setText($(`${counter}-total`), full(overall[counter]));
    if (perSecond !== null) lines[counter].add(perSecond);
  }
  setText($("version"), `version ${overall.version}, up ${duration(overall.uptime_secs)}`);
  setText($("clients"), full(overall.connected_clients));
  setText($("sessions"), `${full(overall.sessions)} sessions, ${full(overall.subscriptions)} subscriptions`);
  setText($("dropped"), short(overall.dropped));
  $("dropped-figure").dataset.tone = overall.dropped > 0 ? "bad" : "";
  setText($("log-bytes"), bytes(overall.log.file_bytes));
  setText($("log-offset"), `${bytes(overall.log.head_bytes)} in memory, next offset ${full(overall.log.next_offset)}`);
}

function showBrokerTotals(brokers, overall) {
  const enabled = brokers.filter((broker) => broker.enabled);
  const connected = enabled.filter((broker) => broker.connected);
  const down = enabled.length - connected.length;
  setText($("connected"), full(connected.length));
  setText($("connected-of"), `of ${full(enabled.length)}`);
  const lag = Math.max(0, ...enabled.map((broker) => broker.lag));
  setText($("dropped-note"), lag > 0 ? `highest lag ${full(lag)}` : "no broker lags");
  const health = $("health");
  const [tone, text] =
    overall.log.failing ? ["bad", "the disk takes nothing"]
    : overall.log.full ? ["bad", "the log is full"]
    : overall.status !== "ok" ? ["warn", "not ready"]
    : down > 0 ? ["bad", down === 1 ? "1 broker is down" : `${down} brokers are down`]
    : ["good", brokers.length === 0 ? "running" : "all well"];
  health.dataset.tone = tone;
  health.title = overall.log.failing ?? "";
  setText(health, text);
  document.title = down > 0 ? `(${down} down) mqtt-proxy` : "mqtt-proxy";
}

function lost(error) {
  lostSince ??= Date.now();
  const seconds = Math.round((Date.now() - lostSince) / 1000);
  const reason = error.status ? `No answer from the API (${error.message})` : "Connection to the proxy lost";
  setText($("lost-text"), `${reason}${seconds > 2 ? ` ${duration(seconds)} ago` : ""}; trying again`);
  $("lost").hidden = false;
  $("main").classList.add("stale");
  $("health").dataset.tone = "quiet";
  setText($("health"), "unknown");
  rates.clear();
}

function found() {
  lostSince = null;
  $("lost").hidden = true;
  $("main").classList.remove("stale");
}

async function toggle(broker, button) {
  button.disabled = true;
  try {
    const changed = await enableBroker(broker.id, !broker.enabled);
    const lost = changed.warnings.find((warning) => warning.startsWith("enabled: "));
    if (lost) toast(`${broker.name}: ${lost.slice("enabled: ".length)}`);
  } catch (error) {
    toast(`${broker.name}: ${error.message}`);
  } finally {
    button.disabled = false;
    button.focus();
  }
  refresh();
}

async function order(broker, what, opener) {
  try {
    await ORDERS[what](broker.id);
  } catch (error) {
    toast(`${broker.name}: ${error.message}`);
  } finally {
    opener.focus();
  }
  refresh();
}

let toastTimer = 0;

function toast(message) {
  setText($("toast"), message);
  $("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { $("toast").hidden = true; }, TOAST_MS);
}

$("add").addEventListener("click", () => openEditor(null, refresh));
$("add-first").addEventListener("click", () => openEditor(null, refresh));
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
refresh();
