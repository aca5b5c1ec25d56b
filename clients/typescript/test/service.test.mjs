// The client against the service; `make clients` starts it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Aftercall, NotFound, Unauthenticated } from "../dist/index.js";

const { AFTERCALL_URL: url, AFTERCALL_API_KEY: key } = process.env;

test("it reads, writes and follows", async () => {
  const client = new Aftercall({ url, key, retries: 0 });
  const { value: call } = await client.listCalls({ stage: ["bootstrapped"], main: true }).next();
  assert.equal((await client.waitFor(call.sessionId, "bootstrapped", 5)).id, call.id);
  const link = await client.putLink(call.id, "hubspot", { type: "call", id: "501" });
  assert.deepEqual(link.objects, [{ type: "call", id: "501" }]);
  assert.equal((await client.getLink(call.id, "hubspot")).crm, "hubspot");
  const shown = await client.getCall(call.id, { include: ["insights", "projections.generic"], fields: "id,notes" });
  assert.deepEqual(Object.keys(shown).sort(), ["id", "included", "notes"]);
  const note = await client.addNote(call.id, { text: "Call back." }, "once");
  assert.equal((await client.addNote(call.id, { text: "Call back." }, "once")).id, note.id);
  await client.deleteNote(call.id, note.id);
  assert.deepEqual((await client.listNotes(call.id)).data, []);
  const seen = [];
  for await (const change of client.follow(null, { types: ["link.*", "note.*"], wait: 1 })) {
    seen.push(change.type);
    if (change.type === "note.deleted") break;
  }
  assert.deepEqual(seen, ["link.set", "note.created", "note.deleted"]);
  await assert.rejects(client.getCall("s-unknown"), NotFound);
  await assert.rejects(new Aftercall({ url, key: "ak_wrong" }).getMe(), Unauthenticated);
});
