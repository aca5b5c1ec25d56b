import { CursorExpired, CursorLost, type Problem, problemOf, TEMPORARY, TimedOut, Unreachable, unreachable } from "./errors.js";
import type { components, paths } from "./schema.js";

export type Schemas = components["schemas"];
export type Call = Schemas["CallOut"];
export type CallFilters = Omit<NonNullable<paths["/v1/calls"]["get"]["parameters"]["query"]>, "cursor">;
export type ExtensionFilters = Omit<NonNullable<paths["/v1/extensions"]["get"]["parameters"]["query"]>, "cursor">;
/** What is shown of a call: `{ include: ["insights", "projections.hubspot"] }` adds parts, `{ fields: "id,notes" }` shows these alone. */
export type CallParameters = Omit<NonNullable<paths["/v1/calls/{call}"]["get"]["parameters"]["query"]>, "wait" | "until">;
export type ProjectionParameters = paths["/v1/calls/{call}/projections/{crm}"]["get"]["parameters"]["query"];

/** A call of which changes were missed: read it again. Made by `follow`, after `cursor-expired`. */
export interface Resync {
  type: "resync";
  cursor: string;
  callId: string;
  sessionId: string | null;
  telephonySessionId: string | null;
  version: number;
  at: string;
  data: { stage: Schemas["Stage"] };
}
export type Change = Schemas["Changes"]["data"][number] | Resync;

export interface Options {
  /** The address of the service. */
  url: string;
  /** The API key, `ak_…`. */
  key: string;
  /**
   * How often a request is repeated that was not answered, or answered with 429 or 5xx. Default: 4, about 6 seconds;
   * `Infinity`: until it succeeds.
   */
  retries?: number;
  /** Called before each repetition, also those of `follow` and `waitFor`: what went wrong, and the milliseconds until then. */
  onRetry?: (error: Unreachable | Problem, pause: number) => void;
  /** Milliseconds for a request, beside what it asks the service to wait. Default: 15,000. */
  timeout?: number;
  fetch?: typeof fetch;
  /** Ends everything that waits. */
  signal?: AbortSignal;
  /** Takes the place of `setTimeout`, for tests. Milliseconds. */
  sleep?: (milliseconds: number) => Promise<void>;
}

interface Send {
  method: string;
  path: string;
  query?: object | undefined;
  body?: unknown;
  headers?: Record<string, string>;
  /** Seconds that the service may take beyond the usual. */
  longest?: number;
}

const LONGEST_WAIT_SECONDS = 50;
const [FIRST_PAUSE, LONGEST_PAUSE, LONGEST_RETRY_AFTER] = [500, 30_000, 300_000];

/** The response, or why there was none. */
type Answer = { response: Response } | { response?: undefined; cause: unknown };

/**
 * A client of one account's calls. Every method throws Problem for what the service refuses, and Unreachable;
 * all of them can be repeated safely.
 */
export class Aftercall {
  readonly #options: Required<Omit<Options, "signal" | "onRetry">> & Pick<Options, "onRetry"> & { signal: AbortSignal | undefined };

  constructor(options: Options) {
    this.#options = {
      retries: 4,
      timeout: 15_000,
      fetch: (input, init) => globalThis.fetch(input, init), // unbound, some edge runtimes refuse it
      sleep: (milliseconds) => sleep(milliseconds, options.signal),
      signal: undefined,
      ...options,
      url: options.url.replace(/\/+$/, ""),
    };
  }

  // Following and waiting

  /**
   * Yield each change after the cursor, for ever. Save `change.cursor` once its work is done.
   *
   * `cursor`: the saved one; "now": from the present on; null: from the beginning. Waits for a service that is
   * away or busy. If changes after the cursor are not kept any more, each call is yielded as a change of the type
   * `resync`. Throws Problem for a key that is not valid any more.
   */
  async *follow(
    cursor: string | null = "now",
    options: { types?: string[]; excludeOwn?: boolean; wait?: number } = {},
  ): AsyncGenerator<Change, never, undefined> {
    const wait = options.wait ?? 30;
    const filters = { types: options.types, exclude: options.excludeOwn ? "own" : undefined };
    for (;;) {
      let page: Schemas["Changes"];
      try {
        const query = { ...filters, cursor, wait };
        page = await this.#json({ method: "GET", path: "/v1/changes", query, longest: wait }, Infinity);
      } catch (error) {
        if (!(error instanceof CursorLost)) throw error;
        if (error instanceof CursorExpired) {
          try {
            yield* this.#resync(cursor, error.startFrom);
          } catch (lost) {
            if (lost instanceof CursorLost) continue; // the database was restored meanwhile: begin again
            throw lost;
          }
        }
        cursor = error.startFrom;
        continue;
      }
      yield* page.data;
      cursor = page.nextCursor;
    }
  }

  /** Yield a change for each call. Only the last one has the new cursor: a crash before it repeats this. */
  async *#resync(old: string | null, startFrom: string): AsyncGenerator<Resync> {
    let held: Resync | undefined;
    for await (const call of this.#pages<Call>("/v1/calls", { order: "startTime", limit: 200 }, Infinity)) {
      if (held !== undefined) yield held;
      held = {
        type: "resync",
        cursor: old as string,
        callId: call.id,
        sessionId: call.sessionId,
        telephonySessionId: call.telephonySessionId,
        version: call.version,
        at: call.updatedAt,
        data: { stage: call.stage },
      };
    }
    if (held !== undefined) yield { ...held, cursor: startFrom };
  }

  /** Return a call once it has reached a stage, or is absent. It need not exist yet. `timeout`: seconds. */
  async waitFor(call: string, until: Schemas["Stage"] = "bootstrapped", timeout = 180): Promise<Call> {
    const ends = Date.now() + timeout * 1000;
    for (let attempt = 0; ; ) {
      const wait = Math.max(0, Math.min(LONGEST_WAIT_SECONDS, (ends - Date.now()) / 1000));
      const query = { wait: wait.toFixed(3), until };
      const answer = await this.#attempt({ method: "GET", path: path("calls", call), query, longest: wait });
      const { response } = answer;
      let error: Unreachable | Problem | undefined;
      if (response?.ok) {
        const found = (await response.json()) as Call;
        if (response.headers.get("aftercall-reached") === "true" || found.stage === "absent") return found;
        attempt = 0;
      } else if (response !== undefined && response.status !== 404 && !TEMPORARY.has(response.status)) {
        throw await problemOf(response);
      } else if (response?.status !== 404) {
        attempt += 1;
        error = await this.#errorOf(answer, `${call}: no response`);
      }
      const left = ends - Date.now();
      if (left <= 0) {
        if (error !== undefined) throw error;
        throw new TimedOut(`the call ${call} has not reached ${until} within ${timeout} s`);
      }
      await this.#pause(error, Math.min(left, attempt > 0 ? pauseAfter(attempt, response, Math.random()) : 200));
    }
  }

  // Calls

  /** Yield the calls that match all filters, page after page. */
  listCalls(filters: CallFilters = {}): AsyncGenerator<Call> {
    return this.#pages("/v1/calls", filters, this.#options.retries);
  }

  /** Yield the people, queues and menus of the account. */
  listExtensions(filters: ExtensionFilters = {}): AsyncGenerator<Schemas["ExtensionOut"]> {
    return this.#pages("/v1/extensions", filters, this.#options.retries);
  }

  getMe(): Promise<Schemas["Me"]> {
    return this.#json({ method: "GET", path: "/v1/me" });
  }

  getCall(call: string, query: CallParameters = {}): Promise<Call> {
    return this.#json({ method: "GET", path: path("calls", call), query });
  }

  /** Return up to 200 calls, each with its own status. */
  batchGetCalls(calls: string[]): Promise<Schemas["BatchAnswer"]> {
    return this.#json({ method: "POST", path: "/v1/calls/batch-get", body: { calls } });
  }

  /** Return a call as a CRM wants it. */
  getProjection(call: string, crm: Schemas["Crm"], query?: ProjectionParameters): Promise<Schemas["ProjectionOut"]> {
    return this.#json({ method: "GET", path: path("calls", call, "projections", crm), query });
  }

  getCallInsights(call: string): Promise<Schemas["CallInsights"]> {
    return this.#json({ method: "GET", path: path("calls", call, "insights") });
  }

  listNotes(call: string): Promise<Schemas["NoteList"]> {
    return this.#json({ method: "GET", path: path("calls", call, "notes") });
  }

  /**
   * Attach a note to a call, known or not. It is attached once, however often the request is repeated.
   *
   * `idempotencyKey`: your own, so that a later run repeats it, too.
   */
  addNote(
    call: string,
    note: Schemas["NoteIn"],
    idempotencyKey: string = crypto.randomUUID(),
  ): Promise<Schemas["NoteOut"]> {
    const headers = { "Idempotency-Key": idempotencyKey };
    return this.#json({ method: "POST", path: path("calls", call, "notes"), body: note, headers });
  }

  async deleteNote(call: string, noteId: string): Promise<void> {
    await this.#send({ method: "DELETE", path: path("calls", call, "notes", noteId) }, this.#options.retries);
  }

  putSentiment(call: string, source: string, body: Schemas["SentimentIn"]): Promise<Schemas["SentimentOut"]> {
    return this.#json({ method: "PUT", path: path("calls", call, "sentiments", source), body });
  }

  putDisposition(call: string, body: Schemas["DispositionIn"]): Promise<Schemas["DispositionOut"]> {
    return this.#json({ method: "PUT", path: path("calls", call, "disposition"), body });
  }

  /** Record which objects of a CRM the call was written to. */
  putLink(call: string, crm: string, ...objects: Schemas["LinkedObject"][]): Promise<Schemas["LinkOut"]> {
    return this.#json({ method: "PUT", path: path("calls", call, "links", crm), body: { objects } });
  }

  getLink(call: string, crm: string): Promise<Schemas["LinkOut"]> {
    return this.#json({ method: "GET", path: path("calls", call, "links", crm) });
  }

  /** Send any other request, such as `request("GET", "/v1/me")`. */
  request(method: string, path: string, options: { query?: object; body?: unknown } = {}): Promise<Response> {
    const retries = ["GET", "PUT", "DELETE"].includes(method) ? this.#options.retries : 0;
    return this.#send({ method, path, ...options }, retries);
  }

  // Requests

  async *#pages<T>(path: string, query: object, retries: number): AsyncGenerator<T> {
    let cursor: string | null | undefined;
    do {
      const page: { data: T[]; nextCursor: string | null } = await this.#json(
        { method: "GET", path, query: { ...query, cursor } },
        retries,
      );
      yield* page.data;
      cursor = page.nextCursor;
    } while (cursor !== null);
  }

  async #json<T>(request: Send, retries: number = this.#options.retries): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      const response = await this.#send(request, retries);
      try {
        return (await response.json()) as T;
      } catch (error) {
        // The connection was lost within the body.
        this.#options.signal?.throwIfAborted();
        const lost = unreachable(`${request.method} ${request.path}: the response broke off`, error, this.#options.url);
        if (attempt > retries) throw lost;
        await this.#pause(lost, pauseAfter(attempt, undefined, Math.random()));
      }
    }
  }

  /** Send a request, again if that may help. */
  async #send(request: Send, retries: number): Promise<Response> {
    for (let attempt = 1; ; attempt += 1) {
      const answer = await this.#attempt(request);
      const { response } = answer;
      if (response !== undefined && !TEMPORARY.has(response.status)) {
        if (response.ok) return response;
        throw await problemOf(response);
      }
      const error = await this.#errorOf(answer, `${request.method} ${request.path}: no response in ${attempt} attempts`);
      if (attempt > retries) throw error;
      await this.#pause(error, pauseAfter(attempt, response, Math.random()));
    }
  }

  async #errorOf(answer: Answer, what: string): Promise<Unreachable | Problem> {
    return answer.response === undefined ? unreachable(what, answer.cause, this.#options.url) : problemOf(answer.response);
  }

  async #pause(error: Unreachable | Problem | undefined, milliseconds: number): Promise<void> {
    if (error !== undefined) this.#options.onRetry?.(error, milliseconds);
    await this.#options.sleep(milliseconds);
  }

  async #attempt(request: Send): Promise<Answer> {
    const { url, key, timeout, signal } = this.#options;
    signal?.throwIfAborted();
    const limit = AbortSignal.timeout(timeout + (request.longest ?? 0) * 1000);
    const init: RequestInit = {
      method: request.method,
      headers: { Authorization: `Bearer ${key}`, ...request.headers },
      signal: signal === undefined ? limit : AbortSignal.any([signal, limit]),
    };
    if (request.body !== undefined) {
      init.body = JSON.stringify(request.body);
      init.headers = { ...init.headers, "Content-Type": "application/json" };
    }
    try {
      return { response: await this.#options.fetch(url + request.path + search(request.query), init) };
    } catch (cause) {
      signal?.throwIfAborted();
      return { cause };
    }
  }
}

/** Return how long to wait before a request is repeated, in milliseconds. `chance`: 0 to 1; it spreads clients. */
export function pauseAfter(attempt: number, response: Response | undefined, chance: number): number {
  const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** Math.min(attempt - 1, 10)) * (0.5 + chance / 2);
  const asked = response?.headers.get("retry-after") ?? "";
  return /^[0-9]+$/.test(asked) ? Math.max(pause, Math.min(Number(asked) * 1000, LONGEST_RETRY_AFTER)) : pause;
}

function path(...parts: string[]): string {
  return `/v1/${parts.map(encodeURIComponent).join("/")}`;
}

function search(query: object | undefined): string {
  const pairs = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null) pairs.append(name, one instanceof Date ? one.toISOString() : String(one));
    }
  }
  return pairs.size > 0 ? `?${pairs}` : "";
}

function sleep(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", end);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", end, { once: true });
  });
}
