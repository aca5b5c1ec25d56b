// What openapi-typescript makes of the description: types alone, so that most of this is checked by the compiler.
import assert from "node:assert/strict";
import type { components, operations, paths } from "./generated/types.js";

const [base, key] = [process.env.AFTERCALL_URL, process.env.AFTERCALL_API_KEY];
const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/json" };

type Page = paths["/v1/calls"]["get"]["responses"]["200"]["content"]["application/json"];
type Written = operations["put_link"]["responses"]["201"]["content"]["application/json"];

// Fields with a default are not required.
const note: components["schemas"]["NoteIn"] = { text: "Call back on Friday." };
const link: components["schemas"]["LinkIn"] = { objects: [{ type: "contact", id: "501" }] };

async function send<T>(method: string, path: string, body?: unknown): Promise<T> {
  const response = await fetch(base + path, { method, headers, body: body === undefined ? null : JSON.stringify(body) });
  assert.ok(response.ok, `${method} ${path}: ${response.status}`);
  return (await response.json()) as T;
}

const page = await send<Page>("GET", "/v1/calls");
const cursor: string | null = page.nextCursor;
assert.equal(cursor, null);
const call = page.data[0];
assert.ok(call);
const stage: "live" | "ended" | "bootstrapped" | "reconciled" | "final" | "absent" = call.stage;
assert.ok(stage);
const written = await send<Written>("PUT", `/v1/calls/${call.id}/links/types`, link);
const crm: string = written.crm;
assert.equal(crm, "types");
const created = await send<components["schemas"]["NoteOut"]>("POST", `/v1/calls/${call.id}/notes`, note);
assert.equal(created.format, "plain");
const changes = await send<components["schemas"]["Changes"]>("GET", "/v1/changes");
for (const change of changes.data) {
  if (change.type === "link.set") assert.equal(change.callId, call.id);
}
