"""What the client does, as steps: without I/O, so that the sync and the async client share it.

Each function is a generator. It yields a `Send` and is sent the response, or what httpx raised if the service
did not respond; a `Wait`; or a `Give`, a result for the caller of an iterator.
"""

import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from aftercall_client.errors import (
    TEMPORARY,
    AftercallError,
    CursorExpired,
    CursorLost,
    problem_of,
    unreachable,
)

Json = dict[str, Any]
LONGEST_WAIT_SECONDS = 50
"""Of one long poll. The service allows 60."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_LONGEST_RETRY_AFTER = 300.0


@dataclass(frozen=True, slots=True)
class Send:
    """A request. `longest`: how long the service may take beyond the usual, in seconds."""

    method: str
    path: str
    params: tuple[tuple[str, str], ...] = ()
    json: Any = None
    headers: Mapping[str, str] | None = None
    longest: float = 0.0


@dataclass(frozen=True, slots=True)
class Wait:
    """A pause, in seconds. `error`: what makes the client repeat a request after it."""

    seconds: float
    error: AftercallError | None = None


@dataclass(frozen=True, slots=True)
class Give:
    """A result of an iterator."""

    item: Any


Step = Send | Wait | Give
Answer = httpx.Response | httpx.TransportError | None
Steps = Generator[Step, Answer, Any]
OnRetry = Callable[[AftercallError, float], object]
"""Takes what makes the client repeat a request, and the seconds until then."""


def path(*parts: str) -> str:
    """Return the path of a route. Each part is encoded, whatever it contains."""
    return "/v1/" + "/".join(quote(part, safe="~") for part in parts)


def query(**values: Any) -> tuple[tuple[str, str], ...]:
    """Return query parameters. None is left out, a list is repeated, and names become camelCase."""
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        if value is None:
            continue
        first, *rest = name.rstrip("_").split("_")
        camel = first + "".join(word.capitalize() for word in rest)
        several = value if isinstance(value, list | tuple | set | frozenset) else [value]
        pairs += [(camel, _text(one)) for one in several]
    return tuple(pairs)


def pause_after(attempt: int, response: Answer, chance: float) -> float:
    """Return how long to wait before a request is repeated, in seconds.

    `attempt`: how many have failed, from 1. `chance`: from 0 to 1; it spreads many clients.
    """
    pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(attempt - 1, 10)) * (0.5 + chance / 2)
    asked = response.headers.get("retry-after", "") if isinstance(response, httpx.Response) else ""
    if asked.isascii() and asked.isdigit():
        return max(pause, min(float(asked), _LONGEST_RETRY_AFTER))
    return pause


def send(request: Send, retries: float) -> Steps:
    """Send a request, again if that may help, and return the response.

    Raises Problem, or Unreachable after the last attempt.
    """
    attempt = 0
    while True:
        response = yield request
        if isinstance(response, httpx.Response) and response.status_code not in TEMPORARY:
            if response.is_success or response.status_code == 304:
                return response
            raise problem_of(response)
        attempt += 1
        error = _error_of(response, f"{request.method} {request.path}: no response in {attempt} attempts")
        if attempt > retries:
            raise error
        yield Wait(pause_after(attempt, response, random.random()), error)  # noqa: S311 - not a secret


def _error_of(answer: Answer, what: str) -> AftercallError:
    """Return the exception for a refusal, or for a request without a response."""
    return problem_of(answer) if isinstance(answer, httpx.Response) else unreachable(what, answer)


def pages(first: Send, retries: float) -> Steps:
    """Give each item of a list, page after page."""
    cursor: str | None = None
    while True:
        params = tuple(pair for pair in first.params if pair[0] != "cursor" or cursor is None)
        if cursor is not None:
            params = (*params, ("cursor", cursor))
        response = yield from send(Send(first.method, first.path, params), retries)
        page = response.json()
        for item in page["data"]:
            yield Give(item)
        cursor = page.get("nextCursor")
        if cursor is None:
            return


def follow(cursor: str | None, params: tuple[tuple[str, str], ...], wait: float) -> Steps:
    """Give each change after the cursor, for ever. Only what a repetition cannot cure is raised.

    After `cursor-expired`, changes are missing: each call is given as a change of the type `resync`. After
    `history-changed`, the feed is read from where the service says.
    """
    while True:
        given = () if cursor is None else (("cursor", cursor),)
        request = Send("GET", "/v1/changes", (*params, *given, ("wait", _text(wait))), longest=wait)
        try:
            response = yield from send(request, retries=float("inf"))
        except CursorExpired as expired:
            try:
                yield from _resync(cursor, expired.start_from)
            except CursorLost:
                continue  # the database was restored meanwhile: begin again
            cursor = expired.start_from
            continue
        except CursorLost as lost:
            cursor = lost.start_from
            continue
        page = response.json()
        for change in page["data"]:
            yield Give(change)
        cursor = page["nextCursor"]


def _resync(old: str | None, start_from: str) -> Steps:
    """Give a change for each call. Only the last one has the new cursor: a crash before it repeats this."""
    listing = pages(
        Send("GET", "/v1/calls", (("order", "startTime"), ("limit", "200"))), retries=float("inf")
    )
    held: Json | None = None
    answer: Answer = None
    try:
        step = next(listing)
        while True:
            if isinstance(step, Give):
                if held is not None:
                    yield Give(held)
                held = _resync_change(step.item, old)
                step = next(listing)
            else:
                answer = yield step
                step = listing.send(answer)
    except StopIteration:
        pass
    if held is not None:
        yield Give({**held, "cursor": start_from})


def _resync_change(call: Json, cursor: str | None) -> Json:
    return {
        "type": "resync",
        "cursor": cursor,
        "callId": call["id"],
        "sessionId": call["sessionId"],
        "telephonySessionId": call["telephonySessionId"],
        "version": call["version"],
        "at": call["updatedAt"],
        "seq": None,
        "data": {"stage": call["stage"]},
    }


def wait_for(call: str, until: str, timeout: float, clock: Callable[[], float]) -> Steps:
    """Return a call once it has reached a stage, or is absent. The call need not exist yet.

    Raises TimeoutError, and Problem for what waiting does not cure.
    """
    ends = clock() + timeout
    attempt = 0
    while True:
        left = ends - clock()
        wait = max(0.0, min(float(LONGEST_WAIT_SECONDS), left))
        request = Send("GET", path("calls", call), query(wait=round(wait, 3), until=until), longest=wait)
        answer: Answer = yield request
        response = answer if isinstance(answer, httpx.Response) else None
        error: AftercallError | None = None
        if response is not None and response.is_success:
            found = response.json()
            if response.headers.get("aftercall-reached") == "true" or found["stage"] == "absent":
                return found
            attempt = 0
        elif response is not None and response.status_code not in {*TEMPORARY, 404}:
            raise problem_of(response)
        elif response is None or response.status_code != 404:
            attempt += 1
            error = _error_of(answer, f"GET {request.path}: no response")
        if clock() >= ends:
            if error is not None:
                raise error
            raise TimeoutError(f"the call {call} has not reached {until} within {timeout:g} s")
        # A service that stops answers early.
        pause = pause_after(attempt, response, random.random()) if attempt else 0.2  # noqa: S311 - no secret
        yield Wait(min(pause, max(0.0, ends - clock())), error)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return f"{value:g}" if isinstance(value, float) else str(value)
