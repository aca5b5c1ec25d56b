// A connector for Node 18 or newer: writes each customer call into the CRM exactly once, when the call is final.
//
//     export AFTERCALL_API=http://127.0.0.1:8000 AFTERCALL_KEY=ak_…
//     node examples/node/connector.mjs --crm http://127.0.0.1:9000 --state connector.cursor
//
// It needs no packages. It can be killed at any moment and started again, and so can the service and the CRM.

import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

const LONGEST_PAUSE_MS = 30_000;
// Longer than a request with `wait`, and longer than a CRM works on a request before it gives up itself: a create that
// still goes on when the next one begins would be found by no search.
const TIMEOUT_MS = 90_000;

const { values: options } = parseArgs({
  options: {
    crm: { type: 'string', default: 'http://127.0.0.1:9000' },
    name: { type: 'string', default: 'practice' }, // of the CRM in links: each connector has its own
    state: { type: 'string', default: 'connector.cursor' },
  },
});

/** There is no answer, or one that says to try again. What was asked for may have been done or not. */
class Lost extends Error {
  constructor(what, retryAfter = 0) {
    super(what);
    this.retryAfterMs = 1000 * retryAfter;
  }
}

/** Does something again until it is not Lost. */
async function repeat(action) {
  for (let pause = 500; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof Lost)) throw error;
      console.error(error.message);
      const wait = Math.max(pause, error.retryAfterMs) * (1 + 0.2 * Math.random());
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

/** Returns a function that sends a request once, and tells one that is Lost from one that is refused. */
function client(baseUrl, key) {
  return async function send(method, path, { query = {}, json, fine = [] } = {}) {
    const url = new URL(path, baseUrl);
    url.search = new URLSearchParams(query).toString();
    const headers = { ...(key && { authorization: `Bearer ${key}` }), ...(json && { 'content-type': 'application/json' }) };
    let response, text;
    try {
      response = await fetch(url, {
        method, headers, body: json && JSON.stringify(json), signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      text = await response.text();
    } catch (error) {
      throw new Lost(`${method} ${path}: ${error.cause?.code ?? error.message}`);
    }
    if (response.status === 429 || response.status >= 500) {
      throw new Lost(`${method} ${path}: ${response.status}`, Number(response.headers.get('retry-after')) || 0);
    }
    if (!response.ok && !fine.includes(response.status)) {
      throw new Error(`${method} ${url}: ${response.status} ${text}`);
    }
    return { status: response.status, body: text ? JSON.parse(text) : null };
  };
}

const sendToApi = client(process.env.AFTERCALL_API, process.env.AFTERCALL_KEY);
const sendToCrm = client(options.crm);
// Until it is answered. Not for a POST that creates something: it would do so twice.
const api = (...request) => repeat(() => sendToApi(...request));

/** Searches the CRM for the activities of a call. */
async function search(externalId) {
  return (await sendToCrm('GET', '/activities', { query: { externalId } })).body;
}

/** Returns the activity's id. A create that is Lost may have happened, so the next attempt searches again. */
async function findOrCreate(externalId, activity) {
  const [found] = await search(externalId);
  if (found) return found.id;
  // 409: the CRM has it, although the search does not show it yet.
  return (await sendToCrm('POST', '/activities', { json: activity, fine: [409] })).body.id;
}

/** Writes one call, unless the CRM has it already. */
async function write(callId) {
  const projected = await api('GET', `/v1/calls/${callId}/projections/generic`, { fine: [404, 410] });
  if (projected.status !== 200) return; // erased since
  const { safeToCreate, reasons, externalId, request } = projected.body;
  if (!safeToCreate) {
    console.log(`${callId}: left out, ${reasons.map((one) => one.code).join(', ')}`);
    return;
  }
  const id = await repeat(() => findOrCreate(externalId.value, request.body));
  await api('PUT', `/v1/calls/${callId}/links/${options.name}`, {
    json: { objects: [{ type: 'activity', id }] }, fine: [404, 410],
  });
  console.log(`${callId}: ${request.body.title}`);
}

/** Removes what the CRM has of an erased call. */
async function remove(callId) {
  for (const { id } of await repeat(() => search(callId))) {
    await repeat(() => sendToCrm('DELETE', `/activities/${id}`, { fine: [404] }));
  }
  console.log(`${callId}: erased`);
}

/** Writes every final call that has no link to the CRM yet. */
async function writeMissing() {
  const query = { stage: 'final', unlinkedCrm: options.name, order: 'startTime' };
  for (;;) {
    const { body: page } = await api('GET', '/v1/calls', { query });
    for (const call of page.data) await write(call.id);
    if (page.nextCursor === null) return;
    query.cursor = page.nextCursor;
  }
}

function save(cursor) {
  // Written beside it and renamed, so that there is always a whole cursor.
  writeFileSync(`${options.state}.new`, cursor);
  renameSync(`${options.state}.new`, options.state);
}

let cursor = existsSync(options.state) ? readFileSync(options.state, 'utf8') : null;
if (cursor === null) {
  // The position first, then the past: a call that becomes final in between is seen twice.
  cursor = (await api('GET', '/v1/changes', { query: { cursor: 'now' } })).body.nextCursor;
  await writeMissing();
  save(cursor);
}
for (;;) {
  const query = [['cursor', cursor], ['wait', '20'], ['types', 'call.final'], ['types', 'call.erased']];
  const { status, body: page } = await api('GET', '/v1/changes', { query, fine: [410] });
  if (status === 410) { // the position is too old, or lost in a restore
    cursor = page.startFrom;
    await writeMissing();
    continue;
  }
  for (const change of page.data) {
    await (change.type === 'call.erased' ? remove : write)(change.callId);
    save(change.cursor); // after the work: what was not finished comes again
  }
  cursor = page.nextCursor; // also passes what `types` leaves out
  save(cursor);
}
