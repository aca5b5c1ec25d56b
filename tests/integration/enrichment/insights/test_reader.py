"""Looking for insights: once per call, never again where they are refused; on both databases."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from app.accounts.access import Access, Level
from app.accounts.connections import Connection
from app.calls.insights.availability import load_availability
from app.calls.insights.model import Version
from app.calls.insights.store import BY_EVENT, InsightsArrival, take
from app.calls.ledger import open_ledger
from app.calls.model import Call, Source
from app.db.engine import upsert_into
from app.db.tables import calls, credentials, insights, sentiments
from app.enrichment.insights import due_insights
from app.enrichment.insights.reader import InsightsPlan, InsightsReader
from app.enrichment.records.apply import apply_records
from app.enrichment.records.plan import CallLogPlan
from app.errors import (
    CredentialsRefused,
    PermissionMissing,
    RateLimited,
    RequestRefused,
    RingCentralUnreachable,
)
from app.ids import AccountId, ExtensionId
from app.ringcentral.models import CallRecord, read_call_record
from tests.factories_calls import ACCOUNT, ANA, BEN
from tests.factories_insights import insights as make_insights
from tests.fakes.context import accounts_context
from tests.fakes.desk import Desk
from tests.fakes.ringcentral import FakeRingCentral

HOUR, SIX_HOURS = 3600.0, 21_600.0
PLAN = CallLogPlan(first_after=60.0, gap=30.0, horizon=3600.0, settled_after=60.0, insights_after=HOUR)
REFUSED = PermissionMissing("no", permission="RingSense", code="CMN-401")


def reader_of(desk: Desk, *, after: float | None = HOUR) -> InsightsReader:
    plan = InsightsPlan(after=after, forget=SIX_HOURS, lease=120.0)
    return InsightsReader(accounts_context(desk.database, desk.clock, desk.connections), plan)


async def record_call(desk: Desk, number: int = 1, *, recorded: bool = True, **fields: Any) -> Call:
    """A call that has ended and whose recording its record names."""
    call = await desk.end_call(number, **fields)
    recording: dict[str, Any] = (
        {"recording": {"id": str(3_000 + number), "type": "Automatic"}} if recorded else {}
    )
    record = read_call_record(desk.show(number, legs=[{"legType": "Accept", "master": True}], **recording))
    assert isinstance(record, CallRecord)
    now = desk.clock.now()
    async with desk.database.write() as db, open_ledger(db, AccountId(ACCOUNT), now) as ledger:
        await apply_records(
            ledger, {str(call.call_id): call}, {str(call.call_id): [record]}, Source.CALL_LOG, now, PLAN
        )
    return call


def analysed(number: int = 1) -> dict[str, Any]:
    return make_insights(str(3_000 + number), sourceSessionId=f"s-{number}")


async def work_for(desk: Desk, reader: InsightsReader, seconds: float) -> None:
    until = desk.clock.now() + timedelta(seconds=seconds)
    while desk.clock.now() < until:
        pause = await reader.step()
        left = (until - desk.clock.now()).total_seconds()
        desk.clock.advance(min(left, 600.0 if pause is None else max(1.0, pause)))


def state(call: Call) -> tuple[str | None, str | None]:
    shown = call.readiness.get("insights", {})
    return shown.get("state"), shown.get("reason")


async def test_insights_of_an_unrecorded_call_are_never_requested(desk: Desk) -> None:
    await record_call(desk, recorded=False)
    await work_for(desk, reader_of(desk), 2 * HOUR)
    assert desk.ringcentral.asked == []
    assert state(await desk.call()) == (None, None)


async def test_the_first_request_probes_and_the_second_one_counts(desk: Desk) -> None:
    reader = reader_of(desk)
    await record_call(desk)
    assert state(await desk.call()) == ("pending", None)
    await work_for(desk, reader, 10)
    assert desk.ringcentral.asked == ["insights s-1"], "asked at once, to find out"
    desk.ringcentral.insights = [analysed()]
    await work_for(desk, reader, HOUR - 60)
    assert len(desk.ringcentral.asked) == 1
    await work_for(desk, reader, 120)
    assert desk.ringcentral.asked == ["insights s-1"] * 2
    call = await desk.call()
    assert state(call) == ("ready", None)
    assert call.insights_at is None
    assert {"insights.ready", "sentiment.set"} <= set(await desk.events(call))
    await work_for(desk, reader, 10 * HOUR)
    assert len(desk.ringcentral.asked) == 2


async def test_insights_of_a_call_are_requested_once_in_a_known_account(desk: Desk) -> None:
    reader = reader_of(desk)
    await record_call(desk, 1)
    await work_for(desk, reader, 10)
    await record_call(desk, 2)
    desk.ringcentral.insights = [analysed(1), analysed(2)]
    await work_for(desk, reader, 2 * HOUR)
    assert desk.ringcentral.asked.count("insights s-2") == 1
    assert state(await desk.call(2)) == ("ready", None)


async def test_insights_of_an_unanalysed_call_are_not_requested_again(desk: Desk) -> None:
    reader = reader_of(desk)
    await record_call(desk)
    await work_for(desk, reader, 12 * HOUR)
    assert len(desk.ringcentral.asked) == 2
    assert state(await desk.call()) == ("none", "not-analysed")


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (REFUSED, "no-scope"),
        (PermissionMissing("no", permission="AccessInsights", code="CMN-408"), "no-permission"),
        (RequestRefused("no", status=403, code="AGW-403"), "no-licence"),
    ],
)
async def test_a_refusal_is_remembered_for_hours(desk: Desk, refusal: Exception, reason: str) -> None:
    reader = reader_of(desk)
    await record_call(desk, 1)
    await record_call(desk, 2)
    desk.ringcentral.failure = refusal
    await work_for(desk, reader, 60)
    assert desk.ringcentral.asked == ["insights s-1"], "the second call need not ask"
    assert state(await desk.call(1)) == state(await desk.call(2)) == ("none", reason)
    await record_call(desk, 3)
    assert state(await desk.call(3)) == ("none", reason)
    await work_for(desk, reader, 5 * HOUR)
    assert len(desk.ringcentral.asked) == 1
    assert await desk.problem() is None, "calls are enriched all the same"

    desk.clock.advance(HOUR)
    await record_call(desk, 4)
    await work_for(desk, reader, 10)
    assert desk.ringcentral.asked == ["insights s-1", "insights s-4"]


async def test_a_refused_call_still_takes_what_an_event_brings(desk: Desk) -> None:
    reader = reader_of(desk)
    await record_call(desk)
    desk.ringcentral.failure = REFUSED
    await work_for(desk, reader, 10)
    raw = analysed()
    version = Version(telephony_session_id="s-1", recording_id="3001", last_modified_at=None, raw=raw)
    now = desk.clock.now()
    async with desk.database.write() as db, open_ledger(db, AccountId(ACCOUNT), now) as ledger:
        await take(ledger, [InsightsArrival(version, BY_EVENT, now)])
    assert state(await desk.call()) == ("ready", None)


async def test_no_request_is_needed_if_the_event_arrives_first(desk: Desk) -> None:
    reader = reader_of(desk)
    await record_call(desk)
    await work_for(desk, reader, 10)
    version = Version(telephony_session_id="s-1", recording_id="3001", last_modified_at=None, raw=analysed())
    now = desk.clock.now()
    async with desk.database.write() as db, open_ledger(db, AccountId(ACCOUNT), now) as ledger:
        await take(ledger, [InsightsArrival(version, BY_EVENT, now)])
    await work_for(desk, reader, 3 * HOUR)
    assert len(desk.ringcentral.asked) == 1


async def test_a_429_is_obeyed(desk: Desk) -> None:
    reader = reader_of(desk)
    await record_call(desk)
    desk.ringcentral.failure = RateLimited("too fast", retry_at=desk.clock.now() + timedelta(seconds=60))
    await work_for(desk, reader, 59)
    assert len(desk.ringcentral.asked) == 1
    await work_for(desk, reader, 10)
    assert len(desk.ringcentral.asked) == 2


@pytest.mark.parametrize("error", [RingCentralUnreachable("down"), CredentialsRefused("who?")])
async def test_failures_are_tried_again_with_pauses_and_given_up_after_a_day(
    desk: Desk, error: Exception
) -> None:
    reader = reader_of(desk)
    await record_call(desk)
    asked: list[datetime] = []
    until = desk.clock.now() + timedelta(hours=26)
    while desk.clock.now() < until:
        desk.ringcentral.failure = error
        before = len(desk.ringcentral.asked)
        await reader.step()
        asked += [desk.clock.now()] * (len(desk.ringcentral.asked) - before)
        desk.clock.advance(290)
    assert state(await desk.call()) == ("none", "unreachable")
    assert 10 <= len(asked) <= 300
    assert _shortest_gap(asked) >= 300


def _shortest_gap(moments: Sequence[datetime]) -> float:
    return min((later - sooner).total_seconds() for sooner, later in itertools.pairwise(moments))


async def test_a_request_that_will_never_work_concerns_its_call_alone(desk: Desk) -> None:
    reader = reader_of(desk)
    await record_call(desk, 1)
    await record_call(desk, 2)
    desk.ringcentral.failure = RequestRefused("what?", status=400, code="CMN-101")
    await work_for(desk, reader, 10)
    assert state(await desk.call(1)) == ("none", "CMN-101")
    assert state(await desk.call(2)) == ("pending", None)
    assert desk.ringcentral.asked == ["insights s-1", "insights s-2"]


async def test_switched_off_after_the_fact_what_waited_is_settled_without_asking(desk: Desk) -> None:
    await record_call(desk)
    await work_for(desk, reader_of(desk, after=None), 10)
    assert desk.ringcentral.asked == []
    assert state(await desk.call()) == ("none", "off")


async def test_two_replicas_ask_once(desk: Desk) -> None:
    other = reader_of(desk)
    await record_call(desk)
    now = desk.clock.now()
    async with desk.database.write() as db, open_ledger(db, AccountId(ACCOUNT), now) as ledger:
        assert await due_insights.claim_due(ledger, now + timedelta(seconds=120)) is not None
    await other.step()
    assert desk.ringcentral.asked == []
    desk.clock.advance(121)
    await other.step()
    assert desk.ringcentral.asked == ["insights s-1"], "whoever died is stood in for"


async def test_a_call_is_final_only_once_its_insights_are_settled(desk: Desk) -> None:
    desk.ringcentral.insights = []
    reader = reader_of(desk)
    await record_call(desk)
    async with desk.database.write() as db:
        settled = {**(await desk.call()).readiness, "recording": {"state": "ready"}}
        await db.execute(calls.update().values(read_at=None, readiness=settled))
    assert (await desk.call()).stage == "reconciled"
    await work_for(desk, reader, HOUR / 2)
    assert (await desk.call()).stage == "reconciled"
    await work_for(desk, reader, HOUR)
    assert (await desk.call()).stage == "final"


async def test_records_are_stored_as_they_arrived(desk: Desk) -> None:
    desk.ringcentral.insights = [analysed()]
    await record_call(desk)
    await work_for(desk, reader_of(desk), 10)
    async with desk.database.read() as db:
        (row,) = (await db.execute(select(insights))).all()
        (feeling,) = (await db.execute(select(sentiments))).all()
        assert (await load_availability(db, AccountId(ACCOUNT))).answered
    assert row.raw == analysed()
    assert (row.source, row.recording_id) == ("insights", "3001")
    assert (feeling.source, feeling.label, feeling.scope) == ("ringsense", "positive", {"type": "call"})


async def let_credentials_be(desk: Desk, access: Access) -> None:
    async with desk.database.write() as db:
        row = {"account_id": "~", "name": "own", "kind": "own", "updated_at": desk.clock.now()}
        values = {"access": access.to_json()}
        statement = upsert_into(db, credentials).values(**row, **values)
        await db.execute(statement.on_conflict_do_update(index_elements=["account_id", "name"], set_=values))
    desk.connections.forget()


async def test_credentials_that_are_renewed_within_a_day_bring_what_was_missed(desk: Desk) -> None:
    desk.ringcentral.insights = [analysed()]
    reader = reader_of(desk)
    await record_call(desk)
    await let_credentials_be(desk, Access(problem={"code": "OAU-213"}))
    await work_for(desk, reader, 5 * HOUR)
    assert state(await desk.call()) == ("pending", None)
    assert desk.ringcentral.asked == []
    await let_credentials_be(desk, Access())
    await work_for(desk, reader, 2 * HOUR)
    assert state(await desk.call()) == ("ready", None)


async def test_credentials_that_are_not_renewed_end_the_search_after_a_day(desk: Desk) -> None:
    await record_call(desk)
    await let_credentials_be(desk, Access(problem={"code": "OAU-213"}))
    await work_for(desk, reader_of(desk), 27 * HOUR)
    assert state(await desk.call()) == ("none", "no-credentials")


def users_of(desk: Desk, monkeypatch: pytest.MonkeyPatch, own: Connection, **users: FakeRingCentral) -> None:
    """Let the account have these users of single extensions, by name."""
    extensions = {"ana": ANA, "ben": BEN}
    connections = [
        replace(
            own, name=name, client=one.client, access=Access(Level.EXTENSION, ExtensionId(extensions[name]))
        )
        for name, one in users.items()
    ]

    async def of(_: AccountId) -> Sequence[Connection]:
        return connections

    monkeypatch.setattr(desk.connections, "of", of)


async def test_of_several_users_the_one_who_was_in_the_call_is_used(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.ringcentral.insights = [analysed()]
    await record_call(desk)
    own, stranger = await desk.connections.own(), FakeRingCentral(desk.clock)
    assert own is not None
    users_of(desk, monkeypatch, own, ben=stranger, ana=desk.ringcentral)
    await work_for(desk, reader_of(desk), 2 * HOUR)
    assert state(await desk.call()) == ("ready", None)
    assert stranger.asked == []


async def test_a_user_without_a_licence_does_not_affect_calls_of_others(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    bens = FakeRingCentral(desk.clock)
    bens.insights = [analysed(2)]
    for number, extension in ((1, ANA), (2, BEN), (3, ANA)):
        await record_call(desk, number, extensions=[extension])
    own = await desk.connections.own()
    assert own is not None
    users_of(desk, monkeypatch, own, ana=desk.ringcentral, ben=bens)
    desk.ringcentral.failure = REFUSED
    await work_for(desk, reader_of(desk), 2 * HOUR)
    shown = {number: state(await desk.call(number)) for number in (1, 2, 3)}
    assert shown[2] == ("ready", None)
    assert [shown[one][0] for one in (1, 3)] == ["none", "none"]
    assert desk.ringcentral.asked == ["insights s-1"], "who was refused is not asked again"
