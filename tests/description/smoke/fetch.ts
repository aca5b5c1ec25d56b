// The client that openapi-generator makes of the description (typescript-fetch).
import assert from "node:assert/strict";
import { CallsApi, ChangesApi, Configuration, NotesAndSentimentApi, ResponseError } from "./generated/fetch/index.js";

const configuration = new Configuration({
  basePath: process.env.AFTERCALL_URL!,
  accessToken: process.env.AFTERCALL_API_KEY!,
});
const calls = new CallsApi(configuration);
const attachments = new NotesAndSentimentApi(configuration);

const page = await calls.listCalls();
assert.equal(page.nextCursor, null);
const id: string = page.data[0]!.id;
assert.equal((await calls.getCall({ call: id })).id, id);
const link = await attachments.putLink({ call: id, crm: "fetch", linkIn: { objects: [{ type: "task", id: "7" }] } });
assert.equal(link.crm, "fetch");
const note = await attachments.addNote({ call: id, noteIn: { text: "Call back on Friday." } });
assert.equal(note.format, "plain");
const changes = await new ChangesApi(configuration).listChanges();
assert.ok(changes.data.some((change) => change.type === "link.set"));
await assert.rejects(
  calls.getCall({ call: "s-unknown" }),
  (error) => error instanceof ResponseError && error.response.status === 404,
);
