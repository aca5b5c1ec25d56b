"""A CRM connector as anybody could write it: it follows the feed of changes and attaches what people say.

It knows the service's REST API and nothing else.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Any

import httpx

from app.clock import Clock
from app.demo.board import DemoBoard, Line, Sent
from app.demo.feed import EventReader
from app.demo.notes import NoteKind, Piece, pieces_after, pieces_before, pieces_during

Json = dict[str, Any]

_TRIES = 4
_PAUSE_SECONDS = 0.3
_WORKERS = 4
_SILENCE_SECONDS = 60.0
"""The feed sends comments more often; longer silence is a dead connection."""

_PAGE = 200
_HEEDED = frozenset({"call.live", "call.updated", "call.ended", "call.bootstrapped"})

log = logging.getLogger("aftercall.demo")


class Connector:
    """Tells `on_ended` of calls that are over, `on_served` of calls that have a record and its notes, and
    `on_trouble` of those that it could not serve."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        board: DemoBoard,
        clock: Clock,
        *,
        on_ended: Callable[[Line], None],
        on_served: Callable[[Line], None],
        on_trouble: Callable[[Line, httpx.HTTPError], None],
    ) -> None:
        self._http = http
        self._board = board
        self._clock = clock
        self._on_ended = on_ended
        self._on_served = on_served
        self._on_trouble = on_trouble
        self._work: asyncio.Queue[tuple[Line, str]] = asyncio.Queue()

    async def dial(self, line: Line) -> None:
        """Write down why a call is made, before its first event."""
        try:
            await self._attach(line, pieces_before(line.script, line.session_id))
        except httpx.HTTPError as error:
            self._on_trouble(line, error)

    async def run(self) -> None:
        """Follow the feed until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            for _ in range(_WORKERS):
                group.create_task(self._serve())

    # Listening

    async def _follow(self) -> None:
        async for change in self._changes():
            line = self._board.hear(change, self._clock.now())
            if line is not None and change["type"] in _HEEDED:
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
                log.debug("the feed broke off: %r", error)
            await self._clock.sleep(_PAUSE_SECONDS)

    # Acting

    async def _serve(self) -> None:
        while True:
            line, kind = await self._work.get()
            try:
                await self._serve_one(line, kind)
            except httpx.HTTPError as error:
                self._on_trouble(line, error)

    async def _serve_one(self, line: Line, kind: str) -> None:
        call = await self.read_call(line.telephony_session_id)
        self._board.show(line, call)
        if line.stage == "live" and call["answerTime"] is not None and not line.is_jotted:
            line.is_jotted = True
            await self._attach(line, pieces_during(line.session_id))
        if kind == "call.ended":
            self._on_ended(line)
        elif kind == "call.bootstrapped" and not line.is_served:
            await self._attach(line, pieces_after(line.session_id, call["outcome"]))
            self._board.show(line, await self.read_call(line.telephony_session_id))
            line.is_served = True
            self._on_served(line)

    async def _attach(self, line: Line, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            sent = Sent(piece, parked=False)
            # Before the answer: it has to arrive, whatever becomes of this attempt.
            line.sent.append(sent)
            answer = await self._send(piece, line.session_id)
            sent.parked = answer.status_code == httpx.codes.ACCEPTED
            sent.joined = not sent.parked

    async def _send(self, piece: Piece, session_id: str) -> httpx.Response:
        call = f"/v1/calls/{session_id}"
        if piece.kind is NoteKind.NOTE:
            return await self._ask("POST", f"{call}/notes", piece.body)
        if piece.kind is NoteKind.SENTIMENT:
            return await self._ask("PUT", f"{call}/sentiments/{piece.key}", piece.body)
        return await self._ask("PUT", f"{call}/disposition", piece.body)

    # Reading

    async def read_call(self, name: str) -> Json:
        """Return one call by any of its names."""
        answer: Json = (await self._ask("GET", f"/v1/calls/{name}")).json()
        return answer

    async def list_calls(self, since: datetime) -> list[Json]:
        """Return all calls that began after a moment."""
        calls: list[Json] = []
        query = {"startedAfter": since.isoformat(), "order": "startTime", "limit": str(_PAGE)}
        cursor: str | None = None
        while True:
            page = await self._ask("GET", "/v1/calls", params=query | ({"cursor": cursor} if cursor else {}))
            body: Json = page.json()
            calls += body["data"]
            cursor = body["nextCursor"]
            if cursor is None:
                return calls

    async def _ask(
        self, method: str, path: str, body: Json | None = None, params: dict[str, str] | None = None
    ) -> httpx.Response:
        """Ask, again if the service was away for a moment. All that is sent here may be sent twice.

        Raises httpx.HTTPError.
        """
        for tries_left in reversed(range(_TRIES)):
            try:
                answer = await self._http.request(method, path, json=body, params=params)
            except httpx.TransportError:
                if not tries_left:
                    raise
            else:
                if not (answer.is_server_error and tries_left):
                    return answer.raise_for_status()
            await self._clock.sleep(_PAUSE_SECONDS)
        raise AssertionError("unreachable")
