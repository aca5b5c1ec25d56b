// Verification of signed webhooks (Standard Webhooks 1.0).
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { sign, Webhook, WebhookRejected } from "../dist/index.js";

const KEY = "0123456789abcdef01234567";
const SECRET = `whsec_${btoa(KEY)}`;
const OTHER = `whsec_${btoa("another key of 24 bytes.")}`;
const [ID, NOW, BODY] = ["4711-9f8e7d6c5b4a", 1_796_083_200, '{"type": "call.final", "name": "Zoë"}'];

const headers = async (body = BODY, sentAt = NOW, secret = SECRET) => ({
  "Webhook-Id": ID,
  "Webhook-Timestamp": String(sentAt),
  "Webhook-Signature": await sign(secret, ID, sentAt, body),
});

test("a signature is that of the standard", async () => {
  const digest = createHmac("sha256", KEY).update(`${ID}.${NOW}.${BODY}`).digest("base64");
  assert.equal(await sign(SECRET, ID, NOW, BODY), `v1,${digest}`);
});

test("a signed event is returned, from text or bytes, from plain headers or a Headers", async () => {
  const webhook = new Webhook(SECRET);
  const given = await headers();
  for (const body of [BODY, new TextEncoder().encode(BODY), Buffer.from(BODY)]) {
    assert.equal((await webhook.verify(body, given, NOW)).name, "Zoë");
  }
  assert.equal((await webhook.verify(BODY, new Headers(given), NOW)).type, "call.final");
});

test("while a secret rotates either is accepted", async () => {
  const given = await headers();
  const both = { ...given, "Webhook-Signature": `v1a,AAAA ${await sign(OTHER, ID, NOW, BODY)} ${given["Webhook-Signature"]}` };
  assert.ok(await new Webhook(SECRET).verify(BODY, both, NOW));
  assert.ok(await new Webhook([OTHER, SECRET]).verify(BODY, given, NOW));
});

test("anything else is rejected", async () => {
  const given = await headers();
  const cases = [
    [`${BODY} `, given],
    [BODY, await headers(BODY, NOW, OTHER)],
    [BODY, { ...given, "Webhook-Id": "4712" }],
    [BODY, { ...given, "Webhook-Signature": "" }],
    [BODY, { ...given, "Webhook-Signature": "v1,not base64! v1," }],
    [BODY, await headers(BODY, NOW - 301)],
    [BODY, await headers(BODY, NOW + 301)],
    [BODY, { ...given, "Webhook-Timestamp": "soon" }],
    ["[]", await headers("[]")],
    ["x", await headers("x")],
    [BODY, { "Webhook-Id": ID }],
  ];
  for (const [body, some] of cases) await assert.rejects(new Webhook(SECRET).verify(body, some, NOW), WebhookRejected);
  for (const sentAt of [NOW - 300, NOW + 300]) {
    assert.ok(await new Webhook(SECRET).verify(BODY, await headers(BODY, sentAt), NOW));
  }
});

test("a secret has to be one", () => {
  assert.throws(() => new Webhook([]), TypeError);
  assert.throws(() => new Webhook("whsec_no base64!"), TypeError);
});
