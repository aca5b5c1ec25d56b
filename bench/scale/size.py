"""How much a call takes in the database: from its deliveries to its settled records, on PostgreSQL.

Deliveries of whole calls are folded, and the Call Log is read twice: so the calls are written as often as
those of a real company, and leave as many dead rows. That happens in portions with a vacuum after each, as
autovacuum does while a day goes on. What the tables take on disk then, with their indexes, is divided by the
number of calls.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from sqlalchemy import func, select

from app.calls import store
from app.clock import Clock
from app.db.engine import Database
from app.db.migrations import migrate
from app.db.tables import calls as calls_table
from app.enrichment.call_log.ingest import CallNames, ingest
from app.enrichment.records.plan import CallLogPlan
from app.ids import AccountId
from app.ringcentral.models import BadRecord, CallRecord, read_call_record
from app.webhooks.folding.fold import Folder
from app.work.context import WorkContext
from bench import notifications
from bench.scale.figures import Figure
from bench.scale.folding import RULES, cluster, fill
from tests.cluster import Cluster
from tests.fakes.clock import FakeClock

PLAN = CallLogPlan(first_after=60.0, gap=30.0, horizon=3600.0, settled_after=60.0)
ACCOUNT = AccountId(notifications.ACCOUNT)
EVENTS_A_CALL = 9
_CALLS_AT_ONCE = 200
_PORTION = 400
_BYTES = 1024

SIZES = """
    SELECT coalesce(parent.relname, c.relname) AS name, sum(pg_total_relation_size(c.oid)) AS bytes
    FROM pg_class c
    LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
    LEFT JOIN pg_class parent ON parent.oid = i.inhparent
    WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
    GROUP BY 1 ORDER BY 2 DESC
"""
UPDATES = """
    SELECT sum(n_tup_upd) AS of_all, sum(n_tup_hot_upd) AS hot
    FROM pg_stat_user_tables WHERE relname = 'calls'
"""


def record_of(number: int, session_id: str, telephony_session_id: str, at: datetime) -> CallRecord:
    """Return a Detailed record of the Call Log: of an answered inbound call with two legs, recorded."""
    start = at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    sides: dict[str, Any] = {
        "from": {"phoneNumber": "+15550179001", "name": "Dana Field", "location": "Belmont, CA"},
        "to": {"phoneNumber": "+15550100101", "name": "Ana Ruiz", "extensionId": "711000101"},
    }
    recording = {
        "id": f"30{number:010d}",
        "uri": f"https://platform.ringcentral.com/restapi/v1.0/account/{ACCOUNT}/recording/30{number:010d}",
        "type": "Automatic",
        "contentUri": (
            f"https://media.ringcentral.com/restapi/v1.0/account/{ACCOUNT}/recording/30{number:010d}/content"
        ),
    }
    leg = {
        "startTime": start, "duration": 96, "durationMs": 96_412, "type": "Voice",
        "internalType": "LocalNumber", "direction": "Inbound", "action": "Phone Call", "result": "Accepted",
        "transport": "PSTN",
        "telephonySessionId": telephony_session_id, "extension": {
            "uri": f"https://platform.ringcentral.com/restapi/v1.0/account/{ACCOUNT}/extension/711000101",
            "id": 711000101,
        }, **sides,
    }  # fmt: skip
    raw = {
        "id": f"QX{number:012d}_2aVB", "sessionId": session_id, "telephonySessionId": telephony_session_id,
        "uri": f"https://platform.ringcentral.com/restapi/v1.0/account/{ACCOUNT}/call-log/QX{number:012d}_2aVB",
        "partyId": f"p-{number}-2", "startTime": start, "duration": 96, "durationMs": 96_412, "type": "Voice",
        "internalType": "LocalNumber", "direction": "Inbound", "action": "Phone Call", "result": "Accepted",
        "transport": "PSTN", "lastModifiedTime": start, "billing": {"costIncluded": 0, "costPurchased": 0},
        "recording": recording, **sides,
        "legs": [
            {**leg, "legType": "Accept", "master": True, "recording": recording},
            {**leg, "legType": "FindMe", "direction": "Outbound"},
        ],
    }  # fmt: skip
    record = read_call_record(raw)
    if isinstance(record, BadRecord):
        raise TypeError(f"the record cannot be read: {record}")
    return record


async def play(database: Database, clock: FakeClock, first: int, calls: int) -> None:
    """Let calls come and end, and settle their records. `first` is the number of the first event."""
    await fill(database, [notifications.ACCOUNT], calls * EVENTS_A_CALL, first)
    before = await _last_call(database)
    folder = Folder(WorkContext(database=database, clock=clock, replica="bench"), RULES)
    while await folder.step() == 0.0:
        pass
    await folder.close()
    for _ in range(2):
        await _read_records(database, clock, before)
        clock.advance(timedelta(minutes=5).total_seconds())


async def _last_call(database: Database) -> str:
    async with database.read() as db:
        return await db.scalar(select(func.max(calls_table.c.call_id))) or ""


async def _read_records(database: Database, clock: Clock, after: str) -> None:
    """Read the Call Log for the calls after one."""
    while True:
        async with database.read() as db:
            found = await store.load_after(db, ACCOUNT, after, _CALLS_AT_ONCE)
        records: dict[CallNames, list[CallRecord]] = {}
        for call in found:
            number = int(str(call.session_id))
            key, session_id = call.telephony_session_id, str(call.session_id)
            records[key, session_id] = [record_of(number, session_id, key, call.started_at)]
        await ingest(database, clock, PLAN, ACCOUNT, records, clock.now(), grace=None)
        if len(found) < _CALLS_AT_ONCE:
            return
        after = found[-1].call_id


async def measure(quick: bool) -> list[Figure]:
    """Measure one account's calls."""
    portion, calls = _PORTION, _PORTION * (3 if quick else 10)
    clock = FakeClock(datetime.now(UTC))
    with cluster() as server:
        database = Database(server.url())
        try:
            await migrate(database)
            for first in range(0, calls, portion):
                await play(database, clock, (first + 1) * EVENTS_A_CALL, portion)
                await _vacuum(server)
        finally:
            await database.close()
        connection = await asyncpg.connect(server.url().replace("+asyncpg", ""))
        try:
            await connection.execute("SELECT pg_stat_force_next_flush()")
            sizes = {row["name"]: float(row["bytes"]) / calls for row in await connection.fetch(SIZES)}
            updates = await connection.fetchrow(UPDATES)
        finally:
            await connection.close()
    return _figures(sizes, updates["of_all"] / calls, updates["hot"] / max(1, updates["of_all"]))


async def _vacuum(server: Cluster) -> None:
    connection = await asyncpg.connect(server.url().replace("+asyncpg", ""))
    try:
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


def _figures(sizes: Mapping[str, float], updates: float, hot: float) -> list[Figure]:
    everything = sum(sizes.values())
    kept = everything - sizes["deliveries"]
    for_ever = kept - sizes["call_records"]
    largest = sorted(sizes.items(), key=lambda one: -one[1])[:6]
    return [
        _figure("database per call, after a day", everything, 10, _parts(dict(largest))),
        _figure("the same, without raw deliveries", kept, None, ""),
        _figure("the same, without raw deliveries and records", for_ever, 4, ""),
        Figure("updates of the row of a call", f"{updates:.1f}, {hot:.0%} of them HOT", "", "", None),
    ]


def _figure(measure: str, size: float, goal: int | None, peer: str) -> Figure:
    is_met = None if goal is None else size <= goal * _BYTES
    shown = f"<= {goal} KB" if goal is not None else ""
    return Figure(measure, f"{size / _BYTES:.1f} KB", peer, shown, is_met)


def _parts(sizes: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {size / _BYTES:.1f}" for name, size in sizes.items())
