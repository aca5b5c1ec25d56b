"""An erased call stays away, whatever arrives late: deliveries, polls, reads, sweeps, insights and notes."""

import json
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import Table, func, select

from app.calls import store
from app.calls.ledger import open_ledger
from app.db.engine import Database
from app.db.tables import calls, deliveries, erased_calls, insights, notes, poll_targets
from app.enrichment.call_log.ingest import ingest
from app.enrichment.polling.poll_ingest import ingest_poll
from app.enrichment.polling.poll_response import PollResponse, PollResult
from app.enrichment.polling.targets import Target
from app.enrichment.records.plan import CallLogPlan
from app.erasure.model import SubjectKind
from app.ids import AccountId
from app.ringcentral.models import CallRecord, read_call_record
from app.webhooks.replay import replay_all, replay_calls
from app.work.leases import Lease
from tests.factories import (
    DANA_NUMBER,
    SESSION,
    TELEPHONY_SESSION,
    active_call,
    delivery,
    inbound_answered,
    presence,
)
from tests.factories_calls import ACCOUNT, raw_record
from tests.factories_insights import insights as insights_of
from tests.fakes.clock import FakeClock
from tests.integration.erasure.conftest import Office
from tests.integration.webhooks.conftest import Intake

PLAN = CallLogPlan(first_after=60.0, gap=30.0, horizon=3600.0, settled_after=60.0)
OTHER_SESSION = "s-a0c14f2b77d1ez1928b3f4c10z5e6f79999"


@pytest.fixture
def intake(database: Database, clock: FakeClock, make_settings: Any) -> Intake:
    return Intake(database, clock, make_settings())


@pytest.fixture
async def erased(intake: Intake, office: Office) -> str:
    """A call of Dana's that was erased; its id."""
    await intake.play(inbound_answered())
    (call,) = await intake.calls()
    done = await office.erase(SubjectKind.PHONE_NUMBER, "(555) 017-9001")
    assert (done.status, done.erased["calls"]) == ("done", 1)
    return call.call_id


def of_another_session() -> dict[str, Any]:
    """An entry of a presence event about a call in which Dana has no part."""
    ids = {"sessionId": "77", "telephonySessionId": OTHER_SESSION, "partyId": "p-1"}
    return {**active_call(), **ids, "from": "+15550170000"}


async def count(database: Database, table: Table) -> int:
    async with database.read() as db:
        return int(await db.scalar(select(func.count()).select_from(table)) or 0)


async def is_nowhere(database: Database) -> bool:
    return await count(database, calls) == 0 and await count(database, deliveries) == 0


async def test_its_deliveries_are_gone_and_stay_away(database: Database, intake: Intake, erased: str) -> None:
    assert await is_nowhere(database)
    await intake.fold(inbound_answered())
    late = delivery(sequence=99, at=intake.clock.now())
    await intake.fold([late])
    assert await is_nowhere(database)


async def test_a_delivery_about_several_calls_gives_the_others_what_it_says(
    database: Database, intake: Intake, erased: str
) -> None:
    other = of_another_session()
    await intake.fold([presence(other, active_call())])
    (call,) = await intake.calls()
    assert call.telephony_session_id == OTHER_SESSION
    assert await count(database, deliveries) == 0, "it also tells of the erased call"


async def test_a_delivery_that_was_folded_and_names_the_call_second_is_deleted(
    database: Database, intake: Intake, office: Office
) -> None:
    other = of_another_session()
    await intake.fold([presence(other, active_call())])
    await office.erase(SubjectKind.CALL, TELEPHONY_SESSION)
    (call,) = await intake.calls()
    assert call.telephony_session_id == OTHER_SESSION
    assert await count(database, deliveries) == 0


async def test_a_delivery_that_waits_is_folded_before_the_erasure_is_done(
    database: Database, intake: Intake, office: Office
) -> None:
    await intake.play(inbound_answered())
    unfolded = delivery(sequence=98, uuid="waits")
    await intake.store([unfolded])
    planned = await office.plan(SubjectKind.PHONE_NUMBER, DANA_NUMBER)
    await office.begin(planned)
    assert (await office.carry_out(planned, turns=3)).status == "done", "it has nothing of the number"
    await intake.fold()
    assert await is_nowhere(database)


async def test_a_delivery_with_the_number_is_waited_for(
    database: Database, intake: Intake, office: Office
) -> None:
    (first, *_) = inbound_answered()
    await intake.play(inbound_answered())
    await intake.store([{**first, "uuid": "again"}])
    planned = await office.plan(SubjectKind.PHONE_NUMBER, DANA_NUMBER)
    await office.begin(planned)
    assert (await office.carry_out(planned, turns=5)).status == "running"
    await intake.fold()
    assert (await office.carry_out(planned)).status == "done"
    assert await is_nowhere(database)


def record() -> CallRecord:
    read = read_call_record(raw_record(sessionId=SESSION, telephonySessionId=TELEPHONY_SESSION))
    assert isinstance(read, CallRecord)
    return read


@pytest.mark.parametrize("names", [(TELEPHONY_SESSION, SESSION), (None, SESSION), (TELEPHONY_SESSION, None)])
async def test_a_sweep_or_a_backfill_does_not_open_it(
    database: Database, clock: FakeClock, erased: str, names: tuple[str | None, str | None]
) -> None:
    clock.advance(3600.0)
    read = await ingest(database, clock, PLAN, ACCOUNT, {names: [record()]}, clock.now(), grace=timedelta(0))
    assert read.opened == frozenset()
    assert await is_nowhere(database)


async def test_a_poll_does_not_open_it(database: Database, clock: FakeClock, erased: str) -> None:
    key = {"account_id": ACCOUNT, "target": "account"}
    async with database.write() as db:
        await db.execute(poll_targets.insert().values(**key, lease_owner="one"))
    lease = Lease(poll_targets, key, "one", 30.0, "a poll")
    target = Target(account_id=ACCOUNT, name="account", lease=lease, memory=None, visibility=None)
    now = clock.now()
    response = PollResponse(now, now, [record()], complete=True, pages=1, account_id=ACCOUNT)
    result = PollResult({}, {TELEPHONY_SESSION: [record()]}, [], [])
    assert await ingest_poll(database, clock, PLAN, target, response, result) == 0
    assert await is_nowhere(database)


async def test_its_insights_do_not_wait_for_it(database: Database, intake: Intake, erased: str) -> None:
    event = {
        "uuid": "insights-1",
        "event": f"/ai/ringsense/v1/public/accounts/{ACCOUNT}/domains/pbx/insights",
        "timestamp": "2026-03-10T19:00:00.000Z",
        "ownerId": ACCOUNT,
        "body": insights_of(),
    }
    await intake.fold([event])
    assert await count(database, insights) == 0
    assert await count(database, deliveries) == 0


async def test_a_replay_brings_nothing_back(database: Database, clock: FakeClock, erased: str) -> None:
    await replay_calls(database, clock, ACCOUNT, session=TELEPHONY_SESSION)
    await replay_all(database, clock)
    assert await is_nowhere(database)


async def test_reading_it_says_that_it_was_erased(client: httpx.AsyncClient, erased: str) -> None:
    for name in (erased, TELEPHONY_SESSION, SESSION):
        for part in ("", "/timeline", "/records", "/notes", "/insights", "/recordings", "?wait=30"):
            answer = await client.get(f"/v1/calls/{name}{part}")
            assert (answer.status_code, answer.json()["type"]) == (410, "/problems/call-erased"), part
            assert answer.json()["erasedAt"].endswith("Z")
    batch = await client.post("/v1/calls/batch-get", json={"calls": [SESSION, "s-unknown"]})
    assert [item["status"] for item in batch.json()["data"]] == [410, 404]
    assert (await client.get(f"/v1/conversations/{SESSION}")).status_code == 410


async def test_nothing_can_be_attached_to_it(
    database: Database, client: httpx.AsyncClient, erased: str
) -> None:
    for name in (erased, TELEPHONY_SESSION, SESSION):
        answer = await client.post(f"/v1/calls/{name}/notes", json={"text": "too late"})
        assert answer.status_code == 410
    assert await count(database, notes) == 0


async def test_followers_learn_of_it(client: httpx.AsyncClient, intake: Intake, office: Office) -> None:
    await intake.play(inbound_answered())
    (call,) = await intake.calls()
    before = (await client.get("/v1/changes")).json()
    await office.erase(SubjectKind.CALL, call.call_id)
    after = (await client.get("/v1/changes", params={"cursor": before["nextCursor"]})).json()
    (change,) = after["data"]
    assert (change["type"], change["callId"]) == ("call.erased", call.call_id)
    assert (change["sessionId"], change["telephonySessionId"]) == (SESSION, TELEPHONY_SESSION)
    assert change["version"] == call.version + 1
    whole = (await client.get("/v1/changes")).json()
    assert [one["type"] for one in whole["data"]] == ["call.erased"], "the others went with the call"
    # The last change that a follower had read is gone, and its cursor is still good.
    again = await client.get("/v1/changes", params={"cursor": after["nextCursor"]})
    assert (again.status_code, again.json()["data"]) == (200, [])


async def test_a_number_that_calls_again_is_a_new_call(
    database: Database, intake: Intake, erased: str
) -> None:
    text = json.dumps(inbound_answered()).replace(TELEPHONY_SESSION, OTHER_SESSION)
    again = json.loads(text.replace(SESSION, "1229016182999"))
    await intake.play(again)
    (call,) = await intake.calls()
    assert call.telephony_session_id == OTHER_SESSION
    assert await count(database, erased_calls) == 1
    async with database.write() as db, open_ledger(db, ACCOUNT, intake.clock.now()):
        assert await store.find_id(db, AccountId(ACCOUNT), OTHER_SESSION) == call.call_id
