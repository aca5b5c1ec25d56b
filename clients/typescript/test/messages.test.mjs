// What the service sends to an endpoint, verified by this client and by the package of Standard Webhooks.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, test } from "node:test";
import { Webhook as Standard, WebhookVerificationError } from "standardwebhooks";
import { Webhook } from "../dist/index.js";

const { AFTERCALL_URL, AFTERCALL_API_KEY } = process.env;
const PATH = "/v1/webhook-endpoints";

const received = [];
const receiver = createServer(async (request, response) => {
  const chunks = await request.toArray();
  received.push({ headers: request.headers, body: Buffer.concat(chunks).toString() });
  response.writeHead(204).end();
});
after(() => receiver.close());

async function post(path, body = {}) {
  const response = await fetch(AFTERCALL_URL + path, {
    method: "POST",
    headers: { Authorization: `Bearer ${AFTERCALL_API_KEY}`, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  assert.ok(response.ok, `${path}: ${response.status} ${await response.clone().text()}`);
  return response.json();
}

async function receive(endpoint, type) {
  assert.equal((await post(`${PATH}/${endpoint}/test`, { type })).status, 204);
  return received.pop();
}

test("a message is signed as the standard says, also while the secret rotates", async () => {
  await once(receiver.listen(0, "127.0.0.1"), "listening");
  const { id, secret } = await post(PATH, { url: `http://127.0.0.1:${receiver.address().port}/hook`, payload: "call" });

  for (const type of ["call.final", "call.complete", "note.created"]) {
    const { headers, body } = await receive(id, type);
    const verified = new Standard(secret).verify(body, headers);
    assert.equal(verified.type, type);
    assert.deepEqual(verified, await new Webhook(secret).verify(body, headers));
    assert.throws(() => new Standard(secret).verify(`${body} `, headers), WebhookVerificationError);
  }

  const replacement = await post(`${PATH}/${id}/secrets`);
  const { headers, body } = await receive(id, "call.final");
  assert.equal(headers["webhook-signature"].split(" ").length, 2);
  for (const one of [secret, replacement.secret]) {
    assert.equal(new Standard(one).verify(body, headers).type, "call.final");
    assert.equal((await new Webhook(one).verify(body, headers)).type, "call.final");
  }
  const stranger = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
  assert.throws(() => new Standard(stranger).verify(body, headers), WebhookVerificationError);
});
