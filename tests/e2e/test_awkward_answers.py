"""RingCentral's awkward answers, met by the whole service: refused parameters, bulk reads in their forms,
recordings that are named too early. Over real HTTP, beside the simulator."""

import hashlib
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from app.simulator import Faults, SimulatorSettings, Timing
from app.simulator.scripting.casting import CallOptions
from app.simulator.scripting.model import ScriptedCall
from tests.e2e.world import World, world

PUNCTUAL = Timing(straggler_share=0.0, provisional_share=0.0, correction_share=0.0)
NAMED_AT_ONCE = replace(PUNCTUAL, attach_delay_min=0.0, attach_delay_max=0.0)
"""No record is ever read without its recording, so that nobody has a reason to look for that."""

NO_SWEEP = {"AFTERCALL_SWEEP_SECONDS": "3600"}
SHORT = CallOptions(talk_seconds=40, ring_seconds=2)


def awkward(
    database_url: str,
    folder: Path,
    faults: Faults,
    *,
    speed: float = 40.0,
    timing: Timing = PUNCTUAL,
    variables: Mapping[str, str] | None = None,
) -> AbstractAsyncContextManager[World]:
    """Run both, without insights."""
    settings = SimulatorSettings(speed=speed, seed=5, timing=timing)
    both = {"AFTERCALL_INSIGHTS": "off", **(variables or {})}
    return world(database_url, folder, settings, faults, variables=both)


def name_of(played: ScriptedCall) -> str:
    return played.sessions[0].telephony_session_id


async def test_a_call_is_found_by_its_session_when_even_the_view_is_refused_beside_it(
    sqlite_url: str, tmp_path: Path
) -> None:
    faults = Faults(extract_sync=False, active_calls_blind=True, session_id_excludes=("view",))
    async with awkward(sqlite_url, tmp_path, faults, variables=NO_SWEEP) as here:
        played = here.simulator.start_call("inbound_direct", SHORT)
        (call,) = await here.reached("final", name_of(played))
        assert (call["outcome"], [one["legCount"] for one in call["records"]]) == ("answered", [2])
        told = [
            (one["status"], *one["parameters"])
            for one in here.asked("/call-log")
            if "sessionId" in one["parameters"]
        ]
        # An answer that came too late is asked for again; what it said, nobody heard.
        assert dict.fromkeys(told[: told.index((200, "sessionId")) + 1]) == dict.fromkeys(
            [(400, "sessionId", "view"), (200, "sessionId")]
        )
        params = {"sessionId": played.sessions[0].session_id}
        alone = await here.answered("GET", "/v1/call-log", params=params)
        assert [one["id"] for one in alone.json()["records"]] == [played.records[0].id]


@pytest.mark.parametrize("form", ["multipart", "json"])
async def test_calls_that_began_hours_apart_are_confirmed_by_bulk_reads_in_either_form(
    sqlite_url: str, tmp_path: Path, form: str
) -> None:
    speed = 10.0
    faults = Faults.model_validate({"extractSync": False, "bulkForm": form, "bulkLimit": 2})
    # Read so soon and so slowly played that no record stands at its first reading.
    variables = {"AFTERCALL_CALL_LOG_DELAY_SECONDS": "3.2"}
    async with awkward(sqlite_url, tmp_path, faults, speed=speed, variables=variables) as here:

        def statuses_of_bulk_reads() -> list[int]:
            return [one["status"] for one in here.asked("/call-log/") if "," in one["path"]]

        played = await four_hours_of_calls(here, speed)
        if 207 not in statuses_of_bulk_reads():  # unless the machine stood still meanwhile
            played = await four_hours_of_calls(here, speed)
        assert 207 in statuses_of_bulk_reads(), "that nothing changes any more was asked of several at once"
        ids = [one.records[0].id for one in played]
        here.simulator.calls.deleted.add(ids[1])
        body = {"ids": [*ids, "QXnope"], "view": "Detailed"}
        items = (await here.answered("POST", "/v1/call-log/batch-get", json=body)).json()["data"]
        assert [(one["id"], one["status"]) for one in items] == [
            (ids[0], 200), (ids[1], 404), (ids[2], 200), (ids[3], 200), ("QXnope", 404),
        ]  # fmt: skip
        assert all(len(one["record"]["legs"]) == 1 for one in items if one["status"] == 200)
        assert 400 in statuses_of_bulk_reads(), "more than two ids were refused with CMN-106"


async def four_hours_of_calls(here: World, speed: float) -> list[ScriptedCall]:
    """Play calls that began hours apart and end together; return them when they are final."""
    played = [
        here.simulator.start_call(
            "outbound_answered",
            CallOptions(talk_seconds=hours * 3600 * speed + 20, ring_seconds=2, recorded=False),
            delay_seconds=-hours * 3600 * speed,
        )
        for hours in (0.0, 1.2, 2.4, 3.6)
    ]
    await here.reached("final", *map(name_of, played))
    return played


async def test_a_recording_that_is_named_too_early_is_looked_for_when_a_reader_asks(
    database_url: str, tmp_path: Path
) -> None:
    faults = Faults(recordings_withheld=True)
    async with awkward(database_url, tmp_path, faults, timing=NAMED_AT_ONCE) as here:
        name = name_of(here.simulator.start_call("inbound_recorded_with_hold", SHORT))
        (call,) = await here.reached("final", name)
        (recording,) = call["recordings"]
        assert recording["state"] == "ready", "its record names it"
        early = await here.answered("GET", recording["contentUrl"])
        assert (early.status_code, early.json()["state"]) == (404, "pending")

        async def state() -> str:
            return str((await here.get(f"/v1/calls/{name}"))["readiness"]["recording"]["state"])

        async def is_ready() -> bool:
            return await state() == "ready"

        assert await state() == "pending"
        here.simulator.faults = Faults()
        await here.until(is_ready, "the recording is not ready again")
        heard = await here.answered("GET", recording["contentUrl"])
        assert (heard.status_code, heard.headers["content-type"]) == (200, "audio/mpeg")
        assert (await here.get(f"/v1/calls/{name}"))["stage"] == "final"


async def test_a_recording_that_its_record_does_not_name_is_found_beside_one_that_was_too_short(
    sqlite_url: str, tmp_path: Path
) -> None:
    never = replace(PUNCTUAL, attach_delay_min=1e6, attach_delay_max=1e6)
    async with awkward(sqlite_url, tmp_path, Faults(extract_sync=False), timing=never) as here:
        played = here.simulator.start_call("transferred_soon", CallOptions(talk_seconds=45, ring_seconds=2))
        (call,) = await here.reached("final", name_of(played))
        states = {one["id"]: one["state"] for one in call["recordings"]}
        (kept,) = played.recordings
        assert states.pop(kept.id) == "ready"
        assert list(states.values()) == ["none"], "events announced it, and nobody kept it"


async def test_a_recording_that_is_named_too_early_is_archived_when_it_is_there(
    sqlite_url: str, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    variables = {"AFTERCALL_ARCHIVE_URL": archive.as_uri()}
    faults = Faults(recordings_withheld=True)
    async with awkward(sqlite_url, tmp_path, faults, timing=NAMED_AT_ONCE, variables=variables) as here:
        played = here.simulator.start_call("inbound_recorded_with_hold", SHORT)
        (recording,) = played.recordings

        async def was_refused() -> bool:
            return any(one["status"] == 404 for one in here.asked(f"/recording/{recording.id}/content"))

        async def is_archived() -> bool:
            return bool((await here.get(f"/v1/recordings/{recording.id}"))["archived"])

        await here.until(was_refused, "nobody asked for the recording")
        assert not [one for one in archive.rglob("*") if one.is_file()]
        here.simulator.faults = Faults()
        await here.until(is_archived, "the recording is not archived")
        told = await here.get(f"/v1/recordings/{recording.id}")
        (kept,) = [one for one in archive.rglob("*") if one.suffix == ".mp3"]
        assert hashlib.sha256(kept.read_bytes()).hexdigest() == told["archived"]["sha256"]
