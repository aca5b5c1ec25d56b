"""Who uses the service: somebody writes notes, somebody follows the feed, somebody looks calls up."""

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.simulator.scripting.model import ScriptedCall, Session
from tests.soak.network import Answer, Balancer
from tests.soak.subscribers import LONGEST_WAIT_SECONDS, WAYS, Subscribers
from tests.soak.virtual_loop import VirtualLoop

Json = dict[str, Any]
ADDRESS = "http://aftercall.test"
_AGAIN_SECONDS = 7.0


@dataclass(frozen=True, slots=True)
class WrittenNote:
    """A note that the service has accepted, and the session that it belongs to."""

    note_id: str
    external_id: str
    telephony_session_id: str
    status: int


class People:
    """All readers and writers. `faults` has what the service must never answer."""

    def __init__(self, loop: VirtualLoop, balancer: Balancer, seed: int, key: str) -> None:
        self._loop = loop
        self._balancer = balancer
        self._rng = random.Random(f"{seed}/people")
        self._headers = {"authorization": f"Bearer {key}", "accept": "application/json"}
        self.changes: list[Json] = []
        self.notes: list[WrittenNote] = []
        self.faults: list[str] = []
        self.reads = 0
        self._cursor: str | None = None
        self.unwritten = 0

    async def ask(
        self, method: str, path: str, body: Json | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer | None:
        """Ask once; None if there was no answer."""
        given = dict(self._headers) | dict(headers or {})
        payload = b""
        if body is not None:
            given["content-type"] = "application/json"
            payload = json.dumps(body).encode()
        try:
            answer = await self._balancer.request(method, ADDRESS + path, given, payload)
        except (ConnectionError, TimeoutError):
            return None
        if answer.status >= 500 and answer.status not in (502, 503, 504):
            self.faults.append(f"{method} {path}: {answer.status} {answer.body[:300]!r}")
        return answer

    async def get(self, path: str) -> Json | None:
        answer = await self.ask("GET", path)
        if answer is None or answer.status != 200:
            return None
        shown: Json = json.loads(answer.body)
        return shown

    # Webhooks

    async def subscribe(self, subscribers: Subscribers) -> None:
        """Create an endpoint for each way to deliver, from the beginning of the feed on."""
        for way in WAYS:
            await self._create_endpoint(subscribers, way)

    async def _create_endpoint(self, subscribers: Subscribers, way: str) -> None:
        complete = {"parts": ["record", "recording"], "longestWaitSeconds": LONGEST_WAIT_SECONDS}
        while True:
            address = subscribers.new_address(way)
            body = {"url": address, "cursor": "0", "deliver": way, "complete": complete}
            answer = await self.ask("POST", "/v1/webhook-endpoints", body)
            if answer is not None and answer.status == 201:
                subscribers.endpoints[address].secret = json.loads(answer.body)["secret"]
                return
            if answer is not None and answer.status != 503:
                self.faults.append(f"an endpoint: {answer.status} {answer.body[:300]!r}")
                return
            await asyncio.sleep(_AGAIN_SECONDS)

    # The feed

    async def follow(self) -> None:
        """Read the feed for ever, from its beginning."""
        while True:
            await self.read_on()
            await asyncio.sleep(self._rng.uniform(20.0, 600.0))

    async def read_on(self) -> None:
        """Read the feed up to its end."""
        while True:
            query = f"?limit=100&cursor={self._cursor}" if self._cursor else "?limit=100"
            if self._rng.random() < 0.1:
                query += "&wait=20"
            answer = await self.ask("GET", f"/v1/changes{query}")
            if answer is None or answer.status == 503:
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            if answer.status != 200:
                self.faults.append(f"the feed answers {answer.status} {answer.body[:300]!r}")
                return
            page = json.loads(answer.body)
            self.changes += page["data"]
            self._cursor = page["nextCursor"]
            if not page["hasMore"]:
                return

    # Notes

    async def write_note(self, call: ScriptedCall, session: Session) -> None:
        """Attach a note before, during or after the call, by one of its names, until it is accepted."""
        rng = self._rng
        delay = rng.choice((0.0, 0.3, 20.0, 90.0, 3600.0)) * rng.random()
        is_unique = len({one.session_id for one in call.sessions}) == len(call.sessions)
        names = [session.telephony_session_id] + ([session.session_id] if is_unique else [])
        name, external_id = rng.choice(names), f"note-{session.telephony_session_id}"
        await asyncio.sleep(max(0.0, delay))
        body = {"source": "soak", "externalId": external_id, "text": f"about {external_id}"}
        self.unwritten += 1
        while True:
            answer = await self.ask("POST", f"/v1/calls/{name}/notes", body, {"idempotency-key": external_id})
            if answer is not None and answer.status in (200, 201, 202):
                note_id = json.loads(answer.body)["id"]
                self.notes.append(
                    WrittenNote(note_id, external_id, session.telephony_session_id, answer.status)
                )
                self.unwritten -= 1
                return
            if answer is not None and answer.status != 503:
                self.faults.append(f"note for {name}: {answer.status} {answer.body[:300]!r}")
                self.unwritten -= 1
                return
            await asyncio.sleep(_AGAIN_SECONDS * rng.uniform(0.2, 2.0))

    # Lists

    async def look_up(self) -> None:
        """Read lists and calls now and then."""
        paths = (
            "/v1/calls?limit=20",
            "/v1/calls?stage=live",
            "/v1/ops/summary",
            "/v1/calls?hasRecording=true",
        )
        while True:
            await asyncio.sleep(self._rng.uniform(600.0, 3600.0))
            if self._rng.random() < 0.2:
                await self.export()
                self.reads += 1
                continue
            page = await self.get(self._rng.choice(paths))
            self.reads += 1
            for call in (page or {}).get("data", [])[:3]:
                await self.ask("GET", f"/v1/calls/{call['id']}")

    async def export(self) -> dict[str, Json]:
        """Export all calls, continued where it broke off; return each as it came last, by its id."""
        found: dict[str, Json] = {}
        cursor: str | None = None
        while True:
            query = f"?cursor={cursor}" if cursor else ""
            answer = await self.ask("GET", f"/v1/export/calls.ndjson{query}")
            if answer is not None and answer.status == 200:
                ending: Json = {}
                for line in map(json.loads, answer.body.splitlines()):
                    ending = line.get("export", {})
                    if not ending:
                        found[line["id"]] = line
                    cursor = ending.get("cursor") or cursor
                if ending.get("state") == "complete":
                    return found
            elif answer is not None and answer.status != 503:
                self.faults.append(f"an export: {answer.status} {answer.body[:300]!r}")
                return found
            await asyncio.sleep(_AGAIN_SECONDS)
