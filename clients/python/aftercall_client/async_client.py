"""The async client."""

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, Self, Unpack, cast

import httpx

from aftercall_client import models
from aftercall_client.steps import (
    Answer,
    Give,
    OnRetry,
    Send,
    Step,
    Steps,
    Wait,
    follow,
    pages,
    path,
    query,
    send,
    wait_for,
)


class AsyncAftercall:
    """A client of one account's calls.

    `url` and `key` default to the variables AFTERCALL_URL and AFTERCALL_API_KEY. A request that the service
    did not answer, or answered with 429 or 5xx, is repeated `retries` times, for ever with `math.inf`; all
    methods can be repeated safely. `on_retry` gets the error and the seconds before each repetition. Every
    method raises Problem for what the service refuses, and Unreachable.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        retries: float = 4,
        timeout: float = 15.0,
        on_retry: OnRetry | None = None,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        self._url = (url or os.environ["AFTERCALL_URL"]).rstrip("/")
        self._headers = {"Authorization": f"Bearer {key or os.environ['AFTERCALL_API_KEY']}"}
        self._retries = retries
        self._timeout = timeout
        self._on_retry = on_retry
        self._client = client or httpx.AsyncClient()
        self._is_own = client is None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections, unless they are of a client that was given."""
        if self._is_own:
            await self._client.aclose()

    # Following and waiting

    async def follow(
        self,
        cursor: str | None = "now",
        *,
        types: Sequence[str] | None = None,
        exclude_own: bool = False,
        wait: float = 30.0,
    ) -> AsyncIterator[models.Change]:
        """Yield each change after the cursor, for ever. Save `change["cursor"]` once its work is done.

        `cursor`: the saved one; "now": from the present on; None: from the beginning. Waits for a service
        that is away or busy. If changes after the cursor are not kept any more, each call is yielded as a
        change of the type `resync`: read it again. Raises Problem for a key that is not valid any more.
        """
        exclude = "own" if exclude_own else None
        steps = follow(cursor, query(types=types, exclude=exclude), wait)
        async for change in self._each(steps):
            yield change

    async def wait_for(
        self, call: str, until: models.Stage = "bootstrapped", *, timeout: float = 180.0
    ) -> models.CallOut:
        """Return a call once it has reached a stage, or is absent. It need not exist yet.

        Raises TimeoutError.
        """
        return cast("models.CallOut", await self._run(wait_for(call, until, timeout, time.monotonic)))

    # Calls

    async def list_calls(self, **filters: Unpack[models.CallFilters]) -> AsyncIterator[models.CallOut]:
        """Yield the calls that match all filters, page after page.

        The filters are those of `GET /v1/calls`, in snake case: `started_after=datetime(...)`,
        `stage=["final"]`, `main=True`, `unlinked_crm="hubspot"`.
        """
        steps = pages(Send("GET", path("calls"), query(**filters)), self._retries)
        async for call in self._each(steps):
            yield call

    async def list_extensions(
        self, **filters: Unpack[models.ExtensionFilters]
    ) -> AsyncIterator[models.ExtensionOut]:
        """Yield the people, queues and menus of the account."""
        steps = pages(Send("GET", path("extensions"), query(**filters)), self._retries)
        async for extension in self._each(steps):
            yield extension

    async def get_me(self) -> models.Me:
        """Return which key this is, its account and its scopes."""
        return cast("models.Me", await self._json(Send("GET", path("me"))))

    async def get_call(self, call: str, **parameters: Unpack[models.CallParameters]) -> models.CallOut:
        """Return a call by any of its names.

        `include=["insights", "projections.hubspot"]` adds parts, `fields="id,notes"` shows these alone.
        """
        return cast("models.CallOut", await self._json(Send("GET", path("calls", call), query(**parameters))))

    async def batch_get_calls(self, calls: Sequence[str]) -> models.BatchAnswer:
        """Return up to 200 calls, each with its own status."""
        return cast(
            "models.BatchAnswer",
            await self._json(Send("POST", path("calls", "batch-get"), json={"calls": list(calls)})),
        )

    async def get_projection(
        self, call: str, crm: models.Crm, **parameters: Unpack[models.ProjectionParameters]
    ) -> models.ProjectionOut:
        """Return a call as a CRM wants it."""
        return cast(
            "models.ProjectionOut",
            await self._json(Send("GET", path("calls", call, "projections", crm), query(**parameters))),
        )

    async def get_call_insights(self, call: str) -> models.CallInsights:
        """Return the insights of a call."""
        return cast("models.CallInsights", await self._json(Send("GET", path("calls", call, "insights"))))

    async def list_notes(self, call: str) -> models.NoteList:
        """Return the notes of a call, oldest first."""
        return cast("models.NoteList", await self._json(Send("GET", path("calls", call, "notes"))))

    async def add_note(
        self, call: str, note: models.NoteIn, *, idempotency_key: str | None = None
    ) -> models.NoteOut:
        """Attach a note to a call, known or not. It is attached once, however often the request is repeated.

        `idempotency_key`: your own, so that a later run repeats it, too. A note with an `externalId` is the
        same note in any case.
        """
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        request = Send("POST", path("calls", call, "notes"), json=note, headers=headers)
        return cast("models.NoteOut", await self._json(request))

    async def delete_note(self, call: str, note_id: str) -> None:
        """Delete a note."""
        await self._json(Send("DELETE", path("calls", call, "notes", note_id)))

    async def put_sentiment(
        self, call: str, source: str, sentiment: models.SentimentIn
    ) -> models.SentimentOut:
        """Set the sentiment of a source."""
        return cast(
            "models.SentimentOut",
            await self._json(Send("PUT", path("calls", call, "sentiments", source), json=sentiment)),
        )

    async def put_disposition(self, call: str, disposition: models.DispositionIn) -> models.DispositionOut:
        """Set the disposition of a call."""
        return cast(
            "models.DispositionOut",
            await self._json(Send("PUT", path("calls", call, "disposition"), json=disposition)),
        )

    async def put_link(self, call: str, crm: str, *objects: models.LinkedObject) -> models.LinkOut:
        """Record which objects of a CRM the call was written to."""
        return cast(
            "models.LinkOut",
            await self._json(Send("PUT", path("calls", call, "links", crm), json={"objects": list(objects)})),
        )

    async def get_link(self, call: str, crm: str) -> models.LinkOut:
        """Return the objects of a CRM that the call was written to. Raises NotFound."""
        return cast("models.LinkOut", await self._json(Send("GET", path("calls", call, "links", crm))))

    async def request(self, method: str, path: str, *, json: Any = None, **parameters: Any) -> httpx.Response:
        """Send any other request, such as `request("GET", "/v1/me")`, and return its response."""
        request = Send(method, path, query(**parameters), json)
        retries = self._retries if method in {"GET", "PUT", "DELETE"} else 0
        return cast("httpx.Response", await self._run(send(request, retries)))

    # Steps

    async def _json(self, request: Send) -> Any:
        response = await self._run(send(request, self._retries))
        return response.json() if response.content else None

    async def _run(self, steps: Steps) -> Any:
        """Take the steps that have one result."""
        try:
            step = next(steps)
            while True:
                step = steps.send(await self._take(step))
        except StopIteration as end:
            return end.value

    async def _each(self, steps: Steps) -> AsyncIterator[Any]:
        """Take the steps that give results."""
        try:
            step = next(steps)
            while True:
                if isinstance(step, Give):
                    yield step.item
                    step = next(steps)
                else:
                    step = steps.send(await self._take(step))
        except StopIteration:
            return

    async def _take(self, step: Step) -> Answer:
        """Return the response to a request, or why there was none; None for a pause."""
        match step:
            case Wait(seconds, error):
                if error is not None and self._on_retry is not None:
                    self._on_retry(error, seconds)
                await asyncio.sleep(seconds)
            case Send():
                try:
                    return await self._client.request(
                        step.method,
                        self._url + step.path,
                        params=list(step.params),
                        json=step.json,
                        headers={**self._headers, **(step.headers or {})},
                        timeout=self._timeout + step.longest,
                    )
                except httpx.TransportError as error:
                    return error
        return None
