// A function that receives webhooks and writes each customer call into the CRM once, when the call is final.
//
// It keeps nothing and runs wherever a function takes a Request and returns a Response (Cloudflare Workers, Vercel,
// Deno, Bun, …); `serve.mjs` runs it with Node. What was not answered with 2xx comes again.
//
// WEBHOOK_SECRET (whsec_…), AFTERCALL_API, AFTERCALL_KEY and CRM_URL are in `env`, and CRM_NAME, that of the CRM in links.

const FRESH_SECONDS = 300;
const LONGEST_MS = 12_000; // the service waits 15 seconds
const CRM_SECONDS = 60; // longer than the CRM works on a request before it gives up itself
const encoder = new TextEncoder();

const bytesOf = (base64) => Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));

/** Whether the message was signed with the secret (Standard Webhooks 1.0), not long ago. */
async function isGenuine(headers, body, secret) {
  const [id, time, signatures] = ['id', 'timestamp', 'signature'].map((name) => headers.get(`webhook-${name}`) ?? '');
  if (!(Math.abs(Date.now() / 1000 - Number(time)) < FRESH_SECONDS)) return false;
  const raw = bytesOf(secret.replace(/^whsec_/, ''));
  const key = await crypto.subtle.importKey('raw', raw, { name: 'HMAC', hash: 'SHA-256' }, false, ['verify']);
  const signed = encoder.encode(`${id}.${time}.${body}`);
  const given = signatures.split(' ').filter((one) => /^v1,[A-Za-z0-9+/]{43}=$/.test(one));
  const checks = given.map((one) => crypto.subtle.verify('HMAC', key, bytesOf(one.slice(3)), signed));
  return (await Promise.all(checks)).includes(true);
}

/** Why a message cannot be worked off now, with the response that says so. */
class Failed extends Error {
  constructor(what, status, retryAfter) {
    super(what);
    const headers = retryAfter ? { 'retry-after': String(retryAfter) } : {};
    this.response = new Response('try again', { status, headers });
  }
}

/** Sends a request once. Throws Failed: 503 if it has no answer or one that says to try again, 500 if it is refused. */
async function send(base, method, path, { key, json, signal, fine = [] }) {
  const headers = { ...(key && { authorization: `Bearer ${key}` }), ...(json && { 'content-type': 'application/json' }) };
  let response, text;
  try {
    response = await fetch(new URL(path, base), { method, headers, body: json && JSON.stringify(json), signal });
    text = await response.text();
  } catch (error) {
    throw new Failed(`${method} ${path}: ${error.cause?.code ?? error.message}`, 503);
  }
  if (response.ok || fine.includes(response.status)) {
    return { status: response.status, body: text ? JSON.parse(text) : null };
  }
  const isOurs = response.status < 500 && response.status !== 429;
  throw new Failed(`${method} ${path}: ${response.status} ${text}`, isOurs ? 500 : 503);
}

/** Returns the activity's id: that of the one which the CRM has, or of a new one. */
async function findOrCreate(externalId, activity, crm) {
  const found = await crm('GET', `/activities?externalId=${encodeURIComponent(externalId)}`);
  if (found.body.length) return found.body[0].id;
  try {
    // 409: the CRM has it, although the search does not show it yet.
    return (await crm('POST', '/activities', { json: activity, fine: [409] })).body.id;
  } catch (error) {
    // Perhaps it was stored, or still will be: search again when the CRM has certainly finished.
    if (error instanceof Failed && error.response.status === 503) throw new Failed(error.message, 503, CRM_SECONDS);
    throw error;
  }
}

/** Writes one call, unless the CRM has it already. */
async function write(callId, env, api, crm) {
  const projected = await api('GET', `/v1/calls/${callId}/projections/generic`, { fine: [404, 410] });
  if (projected.status !== 200 || !projected.body.safeToCreate) return; // erased since, or none for a CRM
  const { externalId, request } = projected.body;
  const id = await findOrCreate(externalId.value, request.body, crm);
  await api('PUT', `/v1/calls/${callId}/links/${env.CRM_NAME ?? 'practice'}`, {
    json: { objects: [{ type: 'activity', id }] }, fine: [404, 410],
  });
}

/** Removes what the CRM has of an erased call. */
async function remove(callId, crm) {
  const found = await crm('GET', `/activities?externalId=${encodeURIComponent(callId)}`);
  for (const { id } of found.body) await crm('DELETE', `/activities/${id}`, { fine: [404] });
}

export default async function receive(request, env) {
  const body = await request.text();
  if (!(await isGenuine(request.headers, body, env.WEBHOOK_SECRET))) return new Response('not genuine', { status: 401 });
  const { type, data } = JSON.parse(body);
  const signal = AbortSignal.timeout(LONGEST_MS); // for all requests together
  const api = (method, path, more) => send(env.AFTERCALL_API, method, path, { key: env.AFTERCALL_KEY, signal, ...more });
  const crm = (method, path, more) => send(env.CRM_URL, method, path, { signal, ...more });
  try {
    // First the work, then the answer: nothing remembers a message that was confirmed.
    if (type === 'call.final' && !data.test) await write(data.change.callId, env, api, crm);
    if (type === 'call.erased' && !data.test) await remove(data.change.callId, crm);
  } catch (error) {
    console.error(error.message);
    return error instanceof Failed ? error.response : new Response('failed', { status: 500 });
  }
  return new Response(null, { status: 204 });
}
