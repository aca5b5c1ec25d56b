"""RingCentral's awkward answers, met by the whole service: refused parameters, bulk reads in their forms, recordings
that are named too early. Over real HTTP, beside the simulator.

Tests wait for what they await, with generous limits, and switch a fault off only when it has done its work.
"""

import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.clock import SystemClock
from app.simulator import Faults, Simulator, SimulatorSettings, Timing, serving
from app.simulator.cast import Wishes
from app.simulator.plan import ScriptedCall
from tests.cluster import free_port
from tests.e2e.process import INTAKE, TOKEN, ServiceProcess, service_environment

KEY = "ak_first-key-of-the-tests-0123456789"
SPEED = 40.0
LIMIT_SECONDS = 120.0
PUNCTUAL = Timing(straggler_share=0.0, provisional_share=0.0, correction_share=0.0)

Json = dict[str, Any]


class World:
    """The simulator, the service that hears of its calls, and a reader of it."""

    def __init__(self, simulator: Simulator, reader: httpx.AsyncClient, service: ServiceProcess) -> None:
        self.simulator = simulator
        self.reader = reader
        self._service = service

    async def until(self, holds: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait for something, asking again and again."""
        latest = time.monotonic() + LIMIT_SECONDS
        while not await holds():
            assert time.monotonic() < latest, f"{what}\n{self._service.said()}"
            await SystemClock().sleep(0.2)

    async def call(self, played: ScriptedCall) -> Json:
        answer = await self.reader.get(f"/v1/calls/{played.sessions[0].telephony_session_id}")
        shown: Json = answer.json()
        return shown

    async def until_final(self, *played: ScriptedCall) -> list[Json]:
        async def are_final() -> bool:
            return all([(await self.call(one)).get("stage") == "final" for one in played])

        await self.until(are_final, "not all calls are final")
        return [await self.call(one) for one in played]

    def statuses_of_bulk_reads(self) -> list[int]:
        return [one["status"] for one in self.asked("/call-log/") if "," in one["path"]]

    def asked(self, part: str) -> list[Json]:
        """The requests of the service to a resource, oldest first."""
        return [one for one in self.simulator.requests if part in one["path"]]


@asynccontextmanager
async def world(
    database_url: str,
    folder: Path,
    faults: Faults,
    speed: float = SPEED,
    timing: Timing = PUNCTUAL,
    **variables: str,
) -> AsyncIterator[World]:
    """Run a simulator with these faults, and a service that gets all its events."""
    port = free_port()
    settings = SimulatorSettings(
        port=0,
        media_port=0,
        speed=speed,
        seed=5,
        timing=timing,
        webhook_url=f"http://127.0.0.1:{port}{INTAKE}",
        webhook_token=TOKEN,
    )
    async with serving(settings) as simulator:
        simulator.faults = faults
        environment = service_environment(database_url, simulator)
        environment |= {"AFTERCALL_API_KEY": KEY, "AFTERCALL_INSIGHTS": "off"} | variables
        service = ServiceProcess(environment, folder, port)
        await service.start()
        try:
            headers = {"Authorization": f"Bearer {KEY}"}
            async with httpx.AsyncClient(
                base_url=service.address, headers=headers, trust_env=False, timeout=30
            ) as reader:
                yield World(simulator, reader, service)
        finally:
            service.kill()


async def test_a_call_is_found_by_its_session_when_even_the_view_is_refused_beside_it(
    sqlite_url: str, tmp_path: Path
) -> None:
    faults = Faults(extract_sync=False, active_calls_blind=True, session_id_excludes=("view",))
    async with world(sqlite_url, tmp_path, faults) as here:
        played = here.simulator.start_call("inbound_direct", Wishes(talk_seconds=40, ring_seconds=2))
        (call,) = await here.until_final(played)
        assert (call["outcome"], [one["legCount"] for one in call["records"]]) == ("answered", [2])
        by_session = [one for one in here.asked("/call-log") if "sessionId" in one["parameters"]]
        told = [(one["status"], one["parameters"]) for one in by_session]
        assert told[:2] == [(400, ["sessionId", "view"]), (200, ["sessionId"])]
        alone = await here.reader.get("/v1/call-log", params={"sessionId": played.sessions[0].session_id})
        assert [one["id"] for one in alone.json()["records"]] == [played.records[0].id]


@pytest.mark.parametrize("form", ["multipart", "json"])
async def test_calls_that_began_hours_apart_are_confirmed_by_bulk_reads_in_either_form(
    sqlite_url: str, tmp_path: Path, form: str
) -> None:
    # Read so soon and so slowly played that records do not stand yet at the first reading, on a busy machine either.
    speed = 10.0
    faults = Faults.model_validate({"extractSync": False, "bulkForm": form, "bulkLimit": 2})
    async with world(sqlite_url, tmp_path, faults, speed, AFTERCALL_CALL_LOG_DELAY_SECONDS="3.2") as here:
        played = [
            here.simulator.start_call(
                "outbound_answered",
                Wishes(talk_seconds=hours * 3600 * speed + 20, ring_seconds=2, recorded=False),
                delay_seconds=-hours * 3600 * speed,
            )
            for hours in (0.0, 1.2, 2.4, 3.6)
        ]
        await here.until_final(*played)
        assert 207 in here.statuses_of_bulk_reads(), (
            "that nothing changes any more was asked of several at once"
        )
        ids = [one.records[0].id for one in played]
        here.simulator.deleted.add(ids[1])
        body = {"ids": [*ids, "QXnope"], "view": "Detailed"}
        items = (await here.reader.post("/v1/call-log/batch-get", json=body)).json()["data"]
        assert [(one["id"], one["status"]) for one in items] == [
            (ids[0], 200), (ids[1], 404), (ids[2], 200), (ids[3], 200), ("QXnope", 404),
        ]  # fmt: skip
        assert all(len(one["record"]["legs"]) == 1 for one in items if one["status"] == 200)
        assert 400 in here.statuses_of_bulk_reads(), "more than two ids were refused with CMN-106"


async def test_a_recording_that_is_named_too_early_is_looked_for_when_a_reader_asks(
    database_url: str, tmp_path: Path
) -> None:
    async with world(database_url, tmp_path, Faults(recordings_withheld=True)) as here:
        played = here.simulator.start_call(
            "inbound_recorded_with_hold", Wishes(talk_seconds=40, ring_seconds=2)
        )
        (call,) = await here.until_final(played)
        (recording,) = call["recordings"]
        assert recording["state"] == "ready", "its record names it"
        early = await here.reader.get(recording["contentUrl"])
        assert (early.status_code, early.json()["state"]) == (404, "pending")
        assert (await here.call(played))["readiness"]["recording"]["state"] == "pending"
        here.simulator.faults = Faults()

        async def is_ready() -> bool:
            return bool((await here.call(played))["readiness"]["recording"]["state"] == "ready")

        await here.until(is_ready, "the recording is not ready again")
        heard = await here.reader.get(recording["contentUrl"])
        assert (heard.status_code, heard.headers["content-type"]) == (200, "audio/mpeg")
        assert (await here.call(played))["stage"] == "final"


async def test_a_recording_that_its_record_does_not_name_is_found_beside_one_that_was_too_short(
    sqlite_url: str, tmp_path: Path
) -> None:
    never = replace(PUNCTUAL, attach_delay_min=3600.0, attach_delay_max=3600.0)
    async with world(sqlite_url, tmp_path, Faults(extract_sync=False), timing=never) as here:
        played = here.simulator.start_call("transferred_soon", Wishes(talk_seconds=45, ring_seconds=2))
        (call,) = await here.until_final(played)
        states = {one["id"]: one["state"] for one in call["recordings"]}
        (kept,) = played.recordings
        assert states.pop(kept.id) == "ready"
        assert list(states.values()) == ["none"], "events announced it, and nobody kept it"


async def test_a_recording_that_is_named_too_early_is_archived_when_it_is_there(
    sqlite_url: str, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    faults = Faults(recordings_withheld=True)
    async with world(sqlite_url, tmp_path, faults, AFTERCALL_ARCHIVE_URL=archive.as_uri()) as here:
        played = here.simulator.start_call(
            "inbound_recorded_with_hold", Wishes(talk_seconds=40, ring_seconds=2)
        )
        await here.until_final(played)

        async def was_refused() -> bool:
            return any(one["status"] == 404 for one in here.asked("/recording/"))

        await here.until(was_refused, "nobody asked for the recording")
        assert not [one for one in archive.rglob("*") if one.is_file()]
        here.simulator.faults = Faults()
        (recording,) = (await here.call(played))["recordings"]

        async def is_archived() -> bool:
            told = (await here.reader.get(f"/v1/recordings/{recording['id']}")).json()
            return bool(told["archived"])

        await here.until(is_archived, "the recording is not archived")
        told = (await here.reader.get(f"/v1/recordings/{recording['id']}")).json()
        (kept,) = [one for one in archive.rglob("*") if one.suffix == ".mp3"]
        assert hashlib.sha256(kept.read_bytes()).hexdigest() == told["archived"]["sha256"]
