"""Odd records among healthy ones: the neighbours get theirs, the odd one is repaired, or set aside alone."""

import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import DateTime, Integer, String, select, text

from app import metrics
from app.calls.model import Stage
from app.db.tables import call_records, calls, metadata, recordings, work
from app.db.types import UtcDateTime
from app.enrichment.recordings.recording_plan import RecordingPlan
from app.enrichment.recordings.watcher import RecordingWatcher
from app.enrichment.records.set_aside import KIND, load_set_aside
from app.errors import StorageUnavailable
from app.ringcentral.models import Recording
from app.values.storable import EARLIEST, LATEST, MAX_INTEGER, decode_json
from tests.fakes.context import accounts_context
from tests.fakes.desk import Desk
from tests.integration.enrichment.insights.test_reader import (
    HOUR,
    analysed,
    reader_of,
    record_call,
    state,
    work_for,
)

_DURATIONS: list[Any] = [2147483648, 2**63, 1e10, 1e308, -5, "12", True, [], {"a": 1}, 10**100]
_STARTS: list[Any] = [
    "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2026-03-10T18:07:41",
    "2026-03-10T18:07:41+25:00", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00",
    "2099-01-01T00:00:00Z",
    "", None, 5, "soon", "2026-03-10",
]  # fmt: skip
ODD_FIELDS: list[dict[str, Any]] = [
    *({"duration": odd} for odd in _DURATIONS),
    *({"startTime": odd} for odd in _STARTS),
    {"result": "r" * 129}, {"action": "a" * 5000}, {"direction": "InboundInboundInb"}, {"direction": 7},
    {"recording": {"id": "rec", "type": "t" * 33, "contentUri": "https://media.example/" + "x" * 5000}},
    {"recording": {"id": "r" * 129, "type": 4}}, {"recording": {"id": 10**200, "duration": 1e300}},
    {"recording": [1]},
    {"id": "i" * 129}, {"id": 12345678901234567890}, {"id": 5.0}, {"id": "a\u0000b"},
    {"sessionId": "9" * 129}, {"sessionId": {"a": 1}}, {"sessionId": "0"},
    {"to": {"phoneNumber": "5" * 500, "name": "Zoe \ud83d\u0000", "extensionId": 10**127}}, {"from": "x"},
    {"to": [{}]},
    {"lastModifiedTime": "9999-12-31T23:59:59.999Z"}, {"lastModifiedTime": 1e300},
    {"legs": [
        {"startTime": "9999-12-31T23:59:59Z", "duration": 1e308, "extension": {"id": f"{n}"}}
        for n in range(10_000)
    ]},
    {"legs": [None, 1, "x", {}, {"legs": [{}]}]}, {"legs": {}},
    {"extra": 10**120, "more": -0.0, "large": 1e300, "\ud800": 1, "": {"": [[]]}},
]  # fmt: skip


def as_answered(row: dict[str, Any]) -> dict[str, Any]:
    """Return a record as it comes out of an answer's JSON."""
    decoded = decode_json(json.dumps(row).encode())
    assert isinstance(decoded, dict)
    return decoded


@pytest.mark.parametrize("odd", ODD_FIELDS, ids=lambda odd: str(odd)[:40])
async def test_an_odd_record_costs_its_neighbours_nothing(desk: Desk, odd: dict[str, Any]) -> None:
    for number in (1, 2, 3):
        await desk.end_call(number)
    desk.clock.advance(12)
    desk.ringcentral.active = [desk.show(1), as_answered(desk.show(2, **odd)), desk.show(3)]
    desk.ringcentral.log = [
        desk.show(1, legs=[]),
        as_answered(desk.show(2, **odd) | {"legs": odd.get("legs", [])}),
    ]
    await desk.poll_for(60)
    assert [(await desk.call(number)).stage for number in (1, 2, 3)] == ["bootstrapped"] * 3
    assert len(desk.ringcentral.asked) <= 10
    await assert_columns_hold(desk)
    assert await load_all_set_aside(desk) == []


async def assert_columns_hold(desk: Desk) -> None:
    """Check every column of every table as strictly as PostgreSQL would, on SQLite too."""
    async with desk.database.read() as db:
        for table in metadata.sorted_tables:
            for row in await db.execute(select(table)):
                for column in table.columns:
                    check_value(f"{table.name}.{column.name}", column.type, row._mapping[column])


def check_value(where: str, kind: Any, value: Any) -> None:
    if isinstance(kind, String) and isinstance(value, str):
        assert kind.length is None or len(value) <= kind.length, where
        assert "\x00" not in value, where
        value.encode()
    elif type(kind) is Integer and value is not None:
        assert abs(value) <= MAX_INTEGER, where
    elif isinstance(kind, UtcDateTime | DateTime) and isinstance(value, datetime):
        assert EARLIEST <= value <= LATEST, where


async def load_all_set_aside(desk: Desk) -> list[Any]:
    async with desk.database.read() as db:
        return list(await load_set_aside(db, desk.clock.now()))


@pytest.fixture
async def refused(desk: Desk) -> AsyncIterator[Desk]:
    """Let the database refuse what nobody has thought of: rows of the record `rec-4`."""
    await refuse_record(desk, "rec-4")
    yield desk
    async with desk.database.write() as db:
        await db.execute(
            text(
                "DROP TRIGGER refusal"
                if desk.database.is_sqlite
                else "ALTER TABLE call_records DROP CONSTRAINT refusal"
            )
        )


async def refuse_record(desk: Desk, record_id: str) -> None:
    async with desk.database.write() as db:
        if desk.database.is_sqlite:
            await db.execute(text(
                f"CREATE TRIGGER refusal BEFORE INSERT ON call_records WHEN NEW.record_id = '{record_id}' "
                "BEGIN SELECT RAISE(ABORT, 'refused'); END"
            ))  # fmt: skip
        else:
            await db.execute(
                text(f"ALTER TABLE call_records ADD CONSTRAINT refusal CHECK (record_id <> '{record_id}')")
            )


async def test_a_record_that_cannot_be_stored_is_set_aside_alone(refused: Desk) -> None:
    desk = refused
    for number in range(1, 8):
        await desk.end_call(number)
    before = metrics.SET_ASIDE.labels(source="active-calls")._value.get()
    desk.clock.advance(12)
    desk.ringcentral.active = [desk.show(number) for number in range(1, 8)]
    await desk.poll_for(90)
    stages = {number: (await desk.call(number)).stage for number in range(1, 8)}
    assert stages == dict.fromkeys(range(1, 8), "bootstrapped") | {4: "ended"}
    assert metrics.SET_ASIDE.labels(source="active-calls")._value.get() == before + 1
    assert len(desk.ringcentral.asked) <= 4
    (aside,) = await load_all_set_aside(desk)
    assert aside.problem["code"] == "record-set-aside"


async def test_a_record_that_cannot_be_stored_is_read_ever_less_often(refused: Desk) -> None:
    desk = refused
    for number in range(1, 8):
        await desk.end_call(number)
    desk.ringcentral.log = [desk.show(number, legs=[]) for number in range(1, 8)]
    await desk.make_due()
    await desk.reader.step()
    stages = {number: (await desk.call(number)).stage for number in range(1, 8)}
    assert stages == dict.fromkeys(range(1, 8), "reconciled") | {4: "ended"}
    stuck = await desk.call(4)
    assert stuck.reads == 1
    assert stuck.read_at is not None
    assert stuck.read_at > desk.clock.now()
    desk.clock.advance(4000)
    await desk.make_due()
    await desk.reader.step()
    stuck = await desk.call(4)
    assert (stuck.stage, stuck.absent_reason) == (Stage.ABSENT, "unstorable")


async def refuse_value(desk: Desk, table: str, column: str, change: str) -> None:
    """Let the database refuse the text `refused` in a column."""
    async with desk.database.write() as db:
        if desk.database.is_sqlite:
            await db.execute(text(
                f"CREATE TRIGGER refusal BEFORE {change} ON {table} WHEN NEW.{column} = 'refused' "
                "BEGIN SELECT RAISE(ABORT, 'refused'); END"
            ))  # fmt: skip
        else:
            await db.execute(
                text(f"ALTER TABLE {table} ADD CONSTRAINT refusal CHECK ({column} <> 'refused')")
            )


async def allow_value(desk: Desk, table: str) -> None:
    drop = (
        "DROP TRIGGER refusal" if desk.database.is_sqlite else f"ALTER TABLE {table} DROP CONSTRAINT refusal"
    )
    async with desk.database.write() as db:
        await db.execute(text(drop))


async def test_a_recording_that_cannot_be_stored_is_set_aside_alone(desk: Desk) -> None:
    for number in (1, 2, 3):
        await desk.end_call(number)
    desk.ringcentral.log = [
        desk.show(number, legs=[], recording={"id": f"77{number}", "type": "Automatic"})
        for number in (1, 2, 3)
    ]
    desk.clock.advance(121)
    await desk.reader.step()
    for number in (1, 2, 3):
        desk.ringcentral.recordings[f"77{number}"] = Recording(
            id=f"77{number}", content_type="refused" if number == 2 else "audio/mpeg"
        )
    await refuse_value(desk, "recordings", "content_type", "UPDATE")
    watcher = RecordingWatcher(accounts_context(desk.database, desk.clock, desk.connections), RecordingPlan())
    for _ in range(10):
        desk.clock.advance(max(1.0, await watcher.step() or 60.0))
    await allow_value(desk, "recordings")
    async with desk.database.read() as db:
        rows = await db.execute(select(recordings).order_by(recordings.c.recording_id))
        states = [(row.state, row.problem, row.due_at) for row in rows]
    assert states == [("ready", None, None), ("expired", "unstorable", None), ("ready", None, None)]
    assert (await desk.call(2)).readiness["recording"]["state"] == "expired"
    assert desk.ringcentral.asked.count("recording 772") == 1
    (shelved,) = await load_all_set_aside(desk)
    assert "772 (recordings:" in shelved.problem["detail"]


async def test_insights_that_cannot_be_stored_are_set_aside_alone(desk: Desk) -> None:
    reader = reader_of(desk)
    for number in (1, 2, 3):
        await record_call(desk, number)
    desk.ringcentral.insights = [
        analysed(number) | ({"sourceRecordId": "refused"} if number == 2 else {}) for number in (1, 2, 3)
    ]
    await refuse_value(desk, "insights", "recording_id", "INSERT")
    await work_for(desk, reader, 2 * HOUR)
    await allow_value(desk, "insights")
    states = [state(await desk.call(number)) for number in (1, 2, 3)]
    assert states == [("ready", None), ("none", "unstorable"), ("ready", None)]
    assert desk.ringcentral.asked.count("insights s-2") <= 2
    (shelved,) = await load_all_set_aside(desk)
    assert "(insights:" in shelved.problem["detail"]


async def test_an_outage_sets_nothing_aside(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await desk.end_call(1)
    desk.clock.advance(12)
    desk.ringcentral.active = [desk.show(1)]

    async def away(*_: Any, **__: Any) -> None:
        raise StorageUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr("app.calls.store.save_records", away)
        assert await desk.poller.step() == 0.5
    assert await load_all_set_aside(desk) == []
    desk.clock.advance(70)
    await desk.poll_for(20)
    assert (await desk.call(1)).stage == "bootstrapped"
    async with desk.database.read() as db:
        assert await db.scalar(select(work.c.kind).where(work.c.kind == KIND)) is None
        assert len((await db.execute(select(call_records))).all()) == 1
        assert await db.scalar(select(calls.c.duration_seconds)) is not None
