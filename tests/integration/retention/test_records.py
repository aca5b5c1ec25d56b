"""Raw records of settled calls go; the calls stay as they were derived."""

from datetime import timedelta
from typing import Any

from sqlalchemy import func, select

from app.calls import store
from app.calls.ledger import open_ledger
from app.calls.model import Stage
from app.db.engine import Database
from app.db.tables import call_records, calls
from app.webhooks.replay import replay_all
from tests.factories_calls import ACCOUNT, raw_record, record_row, seed_call
from tests.fakes.clock import START, FakeClock
from tests.integration.retention.conftest import Keeper, run
from tests.integration.webhooks.conftest import Intake

DAY = timedelta(days=1)


async def records_of(database: Database) -> dict[str, int]:
    async with database.read() as db:
        query = select(call_records.c.call_id, func.count()).group_by(call_records.c.call_id)
        return {row[0]: row[1] for row in await db.execute(query)}


async def test_only_old_records_of_settled_calls_go(
    database: Database, clock: FakeClock, keeper: Keeper
) -> None:
    for stage in (Stage.FINAL, Stage.ABSENT, Stage.RECONCILED, Stage.BOOTSTRAPPED):
        await seed_call(database, stage=stage, records=[raw_record("a"), raw_record("b")])
    live = await seed_call(database, stage=Stage.LIVE, records=[raw_record()])
    ended = await seed_call(database, stage=Stage.ENDED, records=[raw_record()])
    is_read = await seed_call(database, stage=Stage.RECONCILED, read_at=START, records=[raw_record()])
    clock.advance((8 * DAY).total_seconds())
    new = await seed_call(database, stage=Stage.FINAL, started_at=clock.now() - DAY, records=[raw_record()])
    await run(keeper())
    assert len(await records_of(database)) == 8
    await run(keeper(retention_records_days=7))
    assert await records_of(database) == {one.call_id: 1 for one in (live, ended, is_read, new)}
    async with database.read() as db:
        assert await db.scalar(select(func.count()).select_from(calls)) == 8


async def test_a_call_without_its_records_stays_as_it_was(
    database: Database, clock: FakeClock, keeper: Keeper, make_settings: Any
) -> None:
    call = await seed_call(database, stage=Stage.FINAL, records=[raw_record()], result="Accepted")
    clock.advance((8 * DAY).total_seconds())
    await run(keeper(retention_records_days=7))
    assert await records_of(database) == {}
    event = {
        "uuid": "e-1",
        "event": f"/restapi/v1.0/account/{ACCOUNT}/telephony/sessions",
        "timestamp": "2026-03-10T18:07:41.000Z",
        "body": {
            "telephonySessionId": call.telephony_session_id,
            "sessionId": call.session_id,
            "eventTime": "2026-03-10T18:07:41.000Z",
            "sequence": 1,
            "parties": [{"id": "p-1", "direction": "Outbound", "status": {"code": "Disconnected"}}],
        },
    }
    await Intake(database, clock, make_settings()).fold([event])
    report = await replay_all(database, clock, ACCOUNT)
    assert (report.calls, report.same) == (1, 1)
    async with database.write() as db, open_ledger(db, ACCOUNT, clock.now()):
        after = await store.load_call(db, ACCOUNT, call.call_id)
    kept = ("version", "result", "direction", "outcome", "stage", "caller", "callee", "ended_at")
    assert {name: getattr(after, name) for name in kept} == {name: getattr(call, name) for name in kept}
    assert len(after.facts) > 0, "the late event is kept as a fact"


async def test_records_that_are_read_again_go_again(
    database: Database, clock: FakeClock, keeper: Keeper
) -> None:
    call = await seed_call(database, stage=Stage.FINAL, records=[raw_record()])
    clock.advance((8 * DAY).total_seconds())
    await run(keeper(retention_records_days=7))
    async with database.write() as db:
        await store.save_records(db, [record_row(call, raw_record())])
    await run(keeper(retention_records_days=7))
    assert await records_of(database) == {}
