/** Verifies webhooks signed as Standard Webhooks 1.0 says, with the Web Crypto API of Node and edge runtimes. */

import { AftercallError } from "./errors.js";

/** The request is not from the service, was changed on its way, or is too old. Respond with 400. */
export class WebhookRejected extends AftercallError {}

type HeadersLike = { get(name: string): string | null } | Record<string, string | string[] | undefined>;

const encoder = new TextEncoder();

/** Verifies the requests of one endpoint. While its secret rotates, give the old and the new one. */
export class Webhook {
  readonly #keys: Uint8Array<ArrayBuffer>[];
  readonly #tolerance: number;

  constructor(secrets: string | string[], options: { toleranceSeconds?: number } = {}) {
    const given = Array.isArray(secrets) ? secrets : [secrets];
    if (given.length === 0) throw new TypeError("give the secret of the endpoint, `whsec_…`");
    this.#keys = given.map(keyOf);
    this.#tolerance = options.toleranceSeconds ?? 300;
  }

  /**
   * Return the event. `body`: as it arrived, not parsed. `now`: seconds since 1970.
   *
   * Throws WebhookRejected.
   */
  async verify<T = Record<string, unknown>>(
    body: string | Uint8Array,
    headers: HeadersLike,
    now: number = Date.now() / 1000,
  ): Promise<T> {
    const id = header(headers, "webhook-id");
    const sentAt = header(headers, "webhook-timestamp");
    const signatures = header(headers, "webhook-signature").split(" ");
    if (!/^[0-9]{1,15}$/.test(sentAt)) throw new WebhookRejected("webhook-timestamp is not a number of seconds");
    if (Math.abs(now - Number(sentAt)) > this.#tolerance) {
      throw new WebhookRejected("webhook-timestamp is too old, or in the future: compare the clocks");
    }
    const content = contentOf(id, sentAt, body);
    if (!(await isSigned(content, signatures, this.#keys))) {
      throw new WebhookRejected("no signature is that of the secret");
    }
    let event: unknown;
    try {
      event = JSON.parse(typeof body === "string" ? body : new TextDecoder().decode(body));
    } catch {
      throw new WebhookRejected("the body is not JSON");
    }
    if (event === null || typeof event !== "object" || Array.isArray(event)) {
      throw new WebhookRejected("the body is not an object");
    }
    return event as T;
  }
}

/** Return the signature of a message, for tests of a receiver. */
export async function sign(secret: string, id: string, sentAt: number, body: string | Uint8Array): Promise<string> {
  const key = await importKey(keyOf(secret), "sign");
  const digest = await crypto.subtle.sign("HMAC", key, contentOf(id, String(sentAt), body));
  return `v1,${btoa(String.fromCharCode(...new Uint8Array(digest)))}`;
}

async function isSigned(
  content: Uint8Array<ArrayBuffer>,
  signatures: string[],
  keys: Uint8Array<ArrayBuffer>[],
): Promise<boolean> {
  let found = false;
  for (const signature of signatures) {
    if (!signature.startsWith("v1,")) continue; // of another kind, such as asymmetric ones
    const given = decode(signature.slice(3));
    if (given === undefined) continue;
    for (const key of keys) {
      // `verify` compares in constant time.
      const imported = await importKey(key, "verify");
      found = (await crypto.subtle.verify("HMAC", imported, given, content)) || found;
    }
  }
  return found;
}

function importKey(key: Uint8Array<ArrayBuffer>, use: "sign" | "verify"): Promise<CryptoKey> {
  return crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, [use]);
}

function contentOf(id: string, sentAt: string, body: string | Uint8Array): Uint8Array<ArrayBuffer> {
  const head = encoder.encode(`${id}.${sentAt}.`);
  const rest = typeof body === "string" ? encoder.encode(body) : body;
  const content = new Uint8Array(head.length + rest.length);
  content.set(head);
  content.set(rest, head.length);
  return content;
}

function header(headers: HeadersLike, name: string): string {
  const isMap = (given: HeadersLike): given is { get(name: string): string | null } => typeof given.get === "function";
  let value: string | string[] | null | undefined;
  if (isMap(headers)) value = headers.get(name);
  else value = Object.entries(headers).find(([key]) => key.toLowerCase() === name)?.[1];
  if (typeof value !== "string") throw new WebhookRejected(`the header ${name} is missing`);
  return value;
}

function keyOf(secret: string): Uint8Array<ArrayBuffer> {
  const key = decode(secret.replace(/^whsec_/, ""));
  if (key === undefined || key.length === 0) throw new TypeError("the secret must be `whsec_` and base64");
  return key;
}

function decode(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}
