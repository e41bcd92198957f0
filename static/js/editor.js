// The dialog that adds and edits a broker. What the API refuses is shown at its field.

import { addBroker, updateBroker, validateBroker } from "./api.js";
import { setText } from "./format.js";
import { clearTrial, tryOut } from "./trial.js";

const dialog = document.getElementById("editor");
const form = document.getElementById("form");
const save = document.getElementById("save");
const formError = document.getElementById("form-error");
const findings = document.getElementById("findings");
const check = document.getElementById("check");

const NEW_BROKER = {
  name: "", address: "", port: 1883, username: null, has_password: false, enabled: true, use_tls: false,
  ca_cert_path: null, insecure_skip_verify: false, topics: [], max_qos: null, start_at: "now",
  queue_bytes_max: null, on_full: "drop_oldest", max_rate_messages: null, max_rate_bytes: null, live_first: false,
  bidirectional: false, subscription_topics: [], subscription_qos: 1, version: "3.1.1", keep_alive_secs: 30,
  client_id_prefix: "mqtt-proxy", clean_session: false,
};

/** What the fields of the form say; the others stand in the text of all further fields. */
const IN_FORM = new Set([...Object.keys(NEW_BROKER), "password", "id"]);

let edited = null;
/** The further fields as they were when the dialog was opened. */
let furtherBefore = "";
let opened = 0;
let onSaved = () => {};

/** Opens the dialog for a broker, or for a new one where there is none. */
export function openEditor(broker, saved) {
  edited = broker;
  onSaved = saved;
  const shown = broker ?? NEW_BROKER;
  setText(document.getElementById("editor-title"), broker ? `Edit ${broker.name}` : "Add a broker");
  setText(save, broker ? "Save" : "Add broker");
  form.reset();
  clearErrors();
  showFurther(broker);
  clearTrial();
  for (const field of ["name", "address", "port", "username", "ca_cert_path", "max_qos", "version",
    "keep_alive_secs", "client_id_prefix", "start_at", "queue_bytes_max", "on_full", "max_rate_messages",
    "max_rate_bytes"]) {
    form.elements[field].value = shown[field] ?? "";
  }
  for (const field of ["enabled", "use_tls", "insecure_skip_verify", "bidirectional", "clean_session", "live_first"]) {
    form.elements[field].checked = shown[field];
  }
  form.elements.topics.value = shown.topics.join("\n");
  form.elements.subscription_topics.value = shown.subscription_topics.join("\n");
  form.elements.subscription_qos.value = shown.subscription_qos ?? 1;
  form.elements.password.placeholder = shown.has_password ? "stored, unchanged" : "none";
  document.getElementById("clear-password").hidden = !shown.has_password;
  for (const details of form.querySelectorAll("details")) details.open = isUsed(details.dataset.section, shown);
  showDependent();
  dialog.showModal();
  form.elements.name.focus();
}

/** Fills in the fields that have no place of their own, with the defaults for a new broker. */
async function showFurther(broker) {
  opened += 1;
  const question = opened;
  furtherBefore = "";
  const asked = broker ? { id: broker.id } : { name: `new-${Date.now()}`, address: "localhost" };
  const { definition } = await validateBroker(asked).catch(() => ({}));
  if (question !== opened || !definition || form.elements.further.value !== "") return;
  const further = Object.entries(definition).filter(([name]) => !IN_FORM.has(name) && !name.startsWith("has_"));
  furtherBefore = JSON.stringify(Object.fromEntries(further), null, 2);
  form.elements.further.value = furtherBefore;
}

/** The further fields that were changed here. */
function furtherFields() {
  const text = form.elements.further.value.trim();
  if (text === "" || text === furtherBefore) return {};
  let fields;
  try {
    fields = JSON.parse(text);
  } catch (error) {
    throw Object.assign(new Error(`further: ${error.message}`), { field: "further" });
  }
  if (fields === null || typeof fields !== "object" || Array.isArray(fields)) {
    throw Object.assign(new Error("further: must be a JSON object"), { field: "further" });
  }
  const before = furtherBefore === "" ? {} : JSON.parse(furtherBefore);
  const changed = ([name, value]) => JSON.stringify(value) !== JSON.stringify(before[name]);
  return Object.fromEntries(Object.entries(fields).filter(changed));
}

function isUsed(section, broker) {
  switch (section) {
    case "tls": return broker.use_tls;
    case "forwarding": return broker.topics.length > 0 || broker.max_qos !== null;
    case "backlog": return hasBacklogSettings(broker);
    case "bidirectional": return broker.bidirectional;
    default: return false;
  }
}

function hasBacklogSettings(broker) {
  const limits = [broker.queue_bytes_max, broker.max_rate_messages, broker.max_rate_bytes];
  return limits.some((limit) => limit !== null) || broker.on_full !== "drop_oldest" || broker.live_first;
}

/** Fields that have a meaning with another one only. */
function showDependent() {
  const { use_tls, bidirectional, clear_password } = form.elements;
  const pairs = [["ca_cert_path", use_tls], ["insecure_skip_verify", use_tls],
    ["subscription_topics", bidirectional], ["subscription_qos", bidirectional]];
  for (const [field, master] of pairs) form.elements[field].disabled = !master.checked;
  form.elements.password.disabled = clear_password.checked;
}

/** The form as a body of the API. */
function body() {
  const elements = form.elements;
  const text = (field) => elements[field].value.trim();
  const lines = (field) => elements[field].value.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  const changes = {
    name: text("name"),
    address: text("address"),
    port: number(text("port")),
    username: text("username") || null,
    enabled: elements.enabled.checked,
    use_tls: elements.use_tls.checked,
    insecure_skip_verify: elements.use_tls.checked && elements.insecure_skip_verify.checked,
    ca_cert_path: (elements.use_tls.checked && text("ca_cert_path")) || null,
    topics: lines("topics"),
    max_qos: elements.max_qos.value === "" ? null : Number(elements.max_qos.value),
    start_at: text("start_at") || null,
    queue_bytes_max: optionalNumber(text("queue_bytes_max")),
    on_full: elements.on_full.value,
    max_rate_messages: optionalNumber(text("max_rate_messages")),
    max_rate_bytes: optionalNumber(text("max_rate_bytes")),
    live_first: elements.live_first.checked,
    bidirectional: elements.bidirectional.checked,
    version: elements.version.value,
    keep_alive_secs: number(text("keep_alive_secs")),
    client_id_prefix: text("client_id_prefix"),
    clean_session: elements.clean_session.checked,
  };
  if (changes.bidirectional) {
    const wanted = lines("subscription_topics");
    changes.subscription_topics = wanted.length > 0 ? wanted : ["#"];
    changes.subscription_qos = Number(elements.subscription_qos.value);
  }
  if (elements.clear_password.checked) changes.password = null;
  else if (elements.password.value !== "") changes.password = elements.password.value;
  return { ...changes, ...furtherFields() };
}

/** A number where it is one; else the text, which the API refuses with the field's name. */
const number = (text) => (/^\d+$/.test(text) ? Number(text) : text);

const optionalNumber = (text) => (text === "" ? null : number(text));

function clearErrors() {
  formError.hidden = true;
  findings.replaceChildren();
  for (const error of form.querySelectorAll(".field-error")) error.remove();
  for (const input of form.querySelectorAll("[aria-invalid]")) {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-describedby");
  }
}

function showError(error) {
  const label = error.field && form.querySelector(`label[data-field="${CSS.escape(error.field)}"]`);
  if (!label) {
    setText(formError, error.message);
    formError.hidden = false;
    return;
  }
  const text = document.createElement("span");
  text.className = "field-error";
  text.id = "field-error";
  text.setAttribute("role", "alert");
  const prefix = `${error.field}: `;
  const message = error.message.startsWith(prefix) ? error.message.slice(prefix.length) : error.message;
  text.textContent = message.charAt(0).toUpperCase() + message.slice(1);
  label.append(text);
  const section = label.closest("details");
  if (section) section.open = true;
  const input = label.querySelector("input, select, textarea");
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", text.id);
  input.focus();
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  clearErrors();
  save.disabled = true;
  try {
    const broker = edited ? await updateBroker(edited.id, body()) : await addBroker(body());
    dialog.close();
    onSaved(broker);
  } catch (error) {
    showError(error);
  } finally {
    save.disabled = false;
  }
});

check.addEventListener("click", async () => {
  clearErrors();
  check.disabled = true;
  try {
    const outcome = await validateBroker(edited ? { id: edited.id, ...body() } : body());
    const texts = outcome.valid
      ? outcome.warnings.map(({ field, warning }) => ["warning", `${field}: ${warning}`])
      : outcome.errors.map(({ error }) => ["wrong", error]);
    if (texts.length === 0) texts.push(["fine", "Nothing is wrong with it."]);
    findings.replaceChildren(...texts.map(([kind, text]) => {
      const item = document.createElement("li");
      item.className = kind;
      item.textContent = text;
      return item;
    }));
  } catch (error) {
    showError(error);
  } finally {
    check.disabled = false;
  }
});

form.addEventListener("change", (event) => {
  const { use_tls, port } = form.elements;
  const usual = use_tls.checked ? ["1883", "8883"] : ["8883", "1883"];
  if (event.target === use_tls && port.value === usual[0]) port.value = usual[1];
  showDependent();
});

document.getElementById("try").addEventListener("click", () => {
  clearErrors();
  // A broker that is stored has its secrets there.
  tryOut(edited ? { id: edited.id, ...body() } : body(), showError);
});

document.getElementById("cancel").addEventListener("click", () => dialog.close());
