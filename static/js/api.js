// The proxy's REST API: one function a request, one error that knows the field.

const DEADLINE_MS = 8000;

/** What the API refused, or a proxy that did not answer (status 0). */
export class ApiError extends Error {
  constructor(message, status, field) {
    super(message);
    this.status = status;
    this.field = field;
  }
}

async function request(method, path, body) {
  const options = { method, cache: "no-store", signal: AbortSignal.timeout(DEADLINE_MS) };
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
export const updateBroker = (id, changes) => request("PUT", pathOf(id), changes);
export const removeBroker = (id) => request("DELETE", pathOf(id));
export const enableBroker = (id, enabled) => request("POST", `${pathOf(id)}/toggle`, { enabled });
