"""A simple CRM connector: it follows the change feed and adds attachments to calls.

It uses nothing but the service's REST API.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime

import httpx

from app.clock import Clock
from app.demo.board import DemoBoard, Line, SentAttachment
from app.demo.feed import EventReader
from app.demo.notes import (
    Attachment,
    Json,
    NoteKind,
    attachments_after,
    attachments_before,
    attachments_during,
)

_TRIES = 4
_PAUSE_SECONDS = 0.3
_WORKERS = 4
_SILENCE_SECONDS = 60.0
"""The feed sends comments more often than this; a longer silence means a dead connection."""

_PAGE = 200
_HANDLED = frozenset({"call.live", "call.updated", "call.ended", "call.bootstrapped"})

log = logging.getLogger("aftercall.demo")


class Connector:
    """Follows the feed, and reports calls to the three callbacks.

    `on_ended`: a call ended. `on_complete`: it has its record and attachments. `on_error`: a request failed.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        board: DemoBoard,
        clock: Clock,
        *,
        on_ended: Callable[[Line], None],
        on_complete: Callable[[Line], None],
        on_error: Callable[[Line, httpx.HTTPError], None],
    ) -> None:
        self._http = http
        self._board = board
        self._clock = clock
        self._on_ended = on_ended
        self._on_served = on_complete
        self._on_error = on_error
        self._work: asyncio.Queue[tuple[Line, str]] = asyncio.Queue()

    async def dial(self, line: Line) -> None:
        """Attach the reason of a call that the CRM dials, before its first event."""
        try:
            await self._attach(line, attachments_before(line.script, line.session_id))
        except httpx.HTTPError as error:
            self._on_error(line, error)

    async def run(self) -> None:
        """Follow the feed until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            for _ in range(_WORKERS):
                group.create_task(self._work_off())

    # Following the feed

    async def _follow(self) -> None:
        async for change in self._changes():
            line = self._board.apply_change(change, self._clock.now())
            if line is not None and change["type"] in _HANDLED:
                self._work.put_nowait((line, change["type"]))

    async def _changes(self) -> AsyncIterator[Json]:
        reader = EventReader()
        timeout = httpx.Timeout(5.0, read=_SILENCE_SECONDS)
        while True:
            last = {} if reader.last_id is None else {"Last-Event-ID": reader.last_id}
            try:
                async with self._http.stream(
                    "GET", "/v1/changes/stream", headers=last, timeout=timeout
                ) as response:
                    response.raise_for_status()
                    reader.begin()
                    async for text in response.aiter_lines():
                        change = reader.read(text)
                        if change is not None:
                            yield change
            except httpx.HTTPError as error:
                log.debug("the change feed was interrupted: %r", error)
            await self._clock.sleep(_PAUSE_SECONDS)

    # Adding attachments

    async def _work_off(self) -> None:
        while True:
            line, kind = await self._work.get()
            try:
                await self._handle(line, kind)
            except httpx.HTTPError as error:
                self._on_error(line, error)

    async def _handle(self, line: Line, kind: str) -> None:
        call = await self.read_call(line.telephony_session_id)
        self._board.apply_call(line, call)
        if line.stage == "live" and call["answerTime"] is not None and not line.has_live_note:
            # Set before the request: another worker may handle the next change of this call meanwhile.
            line.has_live_note = True
            await self._attach(line, attachments_during(line.session_id))
        if kind == "call.ended":
            self._on_ended(line)
        elif kind == "call.bootstrapped" and not line.is_complete:
            # Sent only now, since they depend on the outcome in the record.
            await self._attach(line, attachments_after(line.session_id, call["outcome"]))
            self._board.apply_call(line, await self.read_call(line.telephony_session_id))
            line.is_complete = True
            self._on_served(line)

    async def _attach(self, line: Line, attachments: Sequence[Attachment]) -> None:
        for attachment in attachments:
            sent = SentAttachment(attachment, parked=False)
            # Stored before the response: if this attempt fails, the report lists the attachment as missing.
            line.sent.append(sent)
            response = await self._send(attachment, line.session_id)
            sent.parked = response.status_code == httpx.codes.ACCEPTED
            sent.joined = not sent.parked

    async def _send(self, attachment: Attachment, session_id: str) -> httpx.Response:
        call = f"/v1/calls/{session_id}"
        if attachment.kind is NoteKind.NOTE:
            return await self._request("POST", f"{call}/notes", attachment.body)
        if attachment.kind is NoteKind.SENTIMENT:
            return await self._request("PUT", f"{call}/sentiments/{attachment.key}", attachment.body)
        return await self._request("PUT", f"{call}/disposition", attachment.body)

    # Requests

    async def read_call(self, name: str) -> Json:
        """Return one call by its id or an alias."""
        call: Json = (await self._request("GET", f"/v1/calls/{name}")).json()
        return call

    async def list_calls(self, since: datetime) -> list[Json]:
        """Return all calls that started after a given time."""
        calls: list[Json] = []
        query = {"startedAfter": since.isoformat(), "order": "startTime", "limit": str(_PAGE)}
        cursor: str | None = None
        while True:
            page = await self._request(
                "GET", "/v1/calls", params=query | ({"cursor": cursor} if cursor else {})
            )
            body: Json = page.json()
            calls += body["data"]
            cursor = body["nextCursor"]
            if cursor is None:
                return calls

    async def _request(
        self, method: str, path: str, body: Json | None = None, params: dict[str, str] | None = None
    ) -> httpx.Response:
        """Send a request, again if the service is briefly unavailable. Raises httpx.HTTPError.

        All requests of the connector are idempotent.
        """
        for tries_left in reversed(range(_TRIES)):
            try:
                response = await self._http.request(method, path, json=body, params=params)
            except httpx.TransportError:
                if not tries_left:
                    raise
            else:
                if not (response.is_server_error and tries_left):
                    return response.raise_for_status()
            await self._clock.sleep(_PAUSE_SECONDS)
        raise AssertionError("unreachable")
