// The proxy's REST API: one function a request, one error that knows the field.

const DEADLINE_MS = 8000;

/** A test waits for the broker, longer than any other question waits for the proxy. */
const TEST_DEADLINE_MS = 16000;

/** What the API refused, or a proxy that did not answer (status 0). */
export class ApiError extends Error {
  constructor(message, status, field) {
    super(message);
    this.status = status;
    this.field = field;
  }
}

async function request(method, path, body, deadline = DEADLINE_MS) {
  const options = { method, cache: "no-store", signal: AbortSignal.timeout(deadline) };
  if (body !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  let response;
  let text;
  try {
    response = await fetch(path, options);
    text = await response.text();
  } catch {
    throw new ApiError("The proxy does not answer.", 0);
  }
  const json = parse(text);
  if (!response.ok) {
    throw new ApiError(json?.error ?? `The proxy answered ${response.status}.`, response.status, json?.field);
  }
  return json;
}

function parse(text) {
  try {
    return text === "" ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

const pathOf = (id) => `api/brokers/${encodeURIComponent(id)}`;

export const listBrokers = async () => (await request("GET", "api/brokers")).brokers;
export const status = () => request("GET", "api/status");
export const addBroker = (broker) => request("POST", "api/brokers", broker);
export const testBroker = (broker) => request("POST", "api/brokers/test", broker, TEST_DEADLINE_MS);
export const updateBroker = (id, changes) => request("PUT", pathOf(id), changes);
export const removeBroker = (id, backlog) => request("DELETE", `${pathOf(id)}?backlog=${backlog}`);
export const validateBroker = (changes) => request("POST", "api/brokers/validate", changes);
export const pauseBroker = (id) => request("POST", `${pathOf(id)}/pause`);
export const resumeBroker = (id) => request("POST", `${pathOf(id)}/resume`);
export const drainBroker = (id) => request("POST", `${pathOf(id)}/drain`);
export const reconnectBroker = (id) => request("POST", `${pathOf(id)}/reconnect`);
export const brokerEvents = async (id) => (await request("GET", `${pathOf(id)}/events`)).events;
export const enableBroker = (id, enabled) => request("POST", `${pathOf(id)}/toggle`, { enabled });
