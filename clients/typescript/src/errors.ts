/** The problems of the service (RFC 9457) as errors. */

/** The statuses after which a repetition may help. */
export const TEMPORARY: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504]);

export class AftercallError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** The service did not respond, also after the retries. The message and `cause` say why. */
export class Unreachable extends AftercallError {}

/** `waitFor` has waited long enough. */
export class TimedOut extends AftercallError {}

export interface ProblemDocument {
  type: string;
  title?: string;
  detail?: string;
  fault?: string;
  requestId?: string;
  startFrom?: string;
  candidates?: string[];
  requiredScope?: string;
  errors?: { pointer?: string; parameter?: string; in: string; detail: string }[];
  [member: string]: unknown;
}

/** The service refused a request. `type` says what is wrong; `problem` is the whole document. */
export class Problem extends AftercallError {
  readonly type: string;
  readonly requestId: string | undefined;

  constructor(
    readonly status: number,
    readonly problem: ProblemDocument,
    readonly headers: Headers,
  ) {
    super(`${status} ${problem.type}: ${problem.detail ?? ""}`);
    this.type = problem.type;
    this.requestId = problem.requestId ?? headers.get("x-request-id") ?? undefined;
  }
}

/** 401: the API key is missing, wrong or revoked. */
export class Unauthenticated extends Problem {}
/** 403: the key lacks the scope `problem.requiredScope`. */
export class Forbidden extends Problem {}
export class NotFound extends Problem {}
/** 409: several calls have this name; `problem.candidates` has their ids. */
export class AmbiguousCall extends Problem {}
/** 410: the call was erased. Delete your copy. */
export class CallErased extends Problem {}
/** 410: the changes after the cursor cannot be read. `startFrom` is the cursor to continue with. */
export class CursorLost extends Problem {
  get startFrom(): string {
    return String(this.problem.startFrom);
  }
}
/** The changes were removed after their retention: read the state of all calls first. */
export class CursorExpired extends CursorLost {}
/** The database was restored: the state here counts, also where you know a later one. */
export class HistoryChanged extends CursorLost {}
/** 412: it was changed since you read it. */
export class PreconditionFailed extends Problem {}
/** 422, or 400: the request is wrong; `problem.errors` says where. */
export class Invalid extends Problem {}
/** 429: too many requests. The client has waited and tried again already. */
export class Busy extends Problem {}
/** 5xx: the service, or RingCentral behind it, cannot respond now. */
export class ServiceFailed extends Problem {}

type Kind = new (status: number, problem: ProblemDocument, headers: Headers) => Problem;

const BY_TYPE: Record<string, Kind> = {
  "/problems/ambiguous-call": AmbiguousCall,
  "/problems/call-erased": CallErased,
  "/problems/cursor-expired": CursorExpired,
  "/problems/history-changed": HistoryChanged,
};
const BY_STATUS: Record<number, Kind> = {
  400: Invalid,
  401: Unauthenticated,
  403: Forbidden,
  404: NotFound,
  412: PreconditionFailed,
  422: Invalid,
  429: Busy,
};

/** Whether the same request may succeed later: the service did not respond, is busy, or has failed. */
export function isTemporary(error: unknown): error is Unreachable | Problem {
  return error instanceof Unreachable || (error instanceof Problem && TEMPORARY.has(error.status));
}

/** Return the error for a request to an address that got no response, with its cause. */
export function unreachable(what: string, cause: unknown, url: string): Unreachable {
  return new Unreachable(`${what}: ${reasonOf(cause, url)}`, { cause });
}

/** Return why there was no response, in short: `ECONNREFUSED 127.0.0.1:8000`. */
function reasonOf(cause: unknown, url: string): string {
  for (let error: unknown = cause; error instanceof Error; error = error.cause) {
    // Node tries each address of a name, and has an error for each.
    const first = error instanceof AggregateError ? (error.errors[0] as unknown) : undefined;
    for (const one of [error, first] as ({ code?: unknown } | undefined)[]) {
      // Those of a DOMException are numbers.
      if (typeof one?.code === "string") return `${one.code} ${hostOf(url)}`;
    }
  }
  return `${String(cause)} (${hostOf(url)})`;
}

function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).host : url;
}

/** Return the error for a response that is no success, whoever sent it. */
export async function problemOf(response: Response): Promise<Problem> {
  const text = await response.text().catch(() => "");
  let problem: ProblemDocument = { type: "about:blank", detail: text.slice(0, 200) };
  try {
    const parsed: unknown = JSON.parse(text);
    if (parsed !== null && typeof parsed === "object" && typeof (parsed as ProblemDocument).type === "string") {
      problem = parsed as ProblemDocument;
    }
  } catch {
    // A proxy's page, perhaps.
  }
  const kind = BY_TYPE[problem.type] ?? BY_STATUS[response.status] ?? (response.status >= 500 ? ServiceFailed : Problem);
  return new kind(response.status, problem, response.headers);
}
