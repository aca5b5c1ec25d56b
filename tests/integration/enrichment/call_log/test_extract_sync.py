"""Following the Call Log's changes, on both databases."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from app.accounts.connections import Connection
from app.calls import store
from app.db.tables import calls, work
from app.enrichment.call_log.extract_sync import MOST_REQUESTS, CallLogFeed, FeedBusyError
from app.enrichment.call_log.reader import CallLogReader
from app.enrichment.sweeps.sweeper import Sweeper
from app.errors import PermissionMissing, RateLimited, RequestRefused
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.ringcentral.protocol.errors import SyncTokenRefused
from tests.factories_calls import ACCOUNT, ANA
from tests.fakes.clock import START
from tests.fakes.context import accounts_context, work_context
from tests.fakes.desk import PLAN, Desk
from tests.integration.enrichment.sweeps.test_sweeper import RULES, logged, stages


def make_feed(desk: Desk, replica: str = "one") -> CallLogFeed:
    return CallLogFeed(work_context(desk.database, desk.clock, replica=replica, lease_seconds=120.0), PLAN)


def make_reader(desk: Desk) -> CallLogReader:
    return CallLogReader(
        accounts_context(desk.database, desk.clock, desk.connections), PLAN, feed=make_feed(desk)
    )


async def own(desk: Desk) -> Connection:
    connection = await desk.connections.own()
    assert connection is not None
    return connection


def changed(number: int, change: int, **fields: Any) -> dict[str, Any]:
    return logged(number, START - timedelta(seconds=90), **fields) | {"changed": change}


async def read_for(desk: Desk, reader: CallLogReader, seconds: float) -> None:
    until = desk.clock.now() + timedelta(seconds=seconds)
    while desk.clock.now() < until:
        await reader.step()
        desk.clock.advance(1.0)


async def test_one_request_reads_all_calls_that_wait_and_another_makes_them_final(desk: Desk) -> None:
    desk.ringcentral.has_feed = True
    for number in range(1, 30):
        await desk.end_call(number)
    desk.clock.advance(121)
    modified = desk.clock.now().isoformat()
    desk.ringcentral.log = [changed(number, number, lastModifiedTime=modified) for number in range(1, 30)]
    await read_for(desk, make_reader(desk), 100)
    assert {stage for stage, _ in (await stages(desk)).values()} == {"final"}
    assert desk.ringcentral.asked == ["changes from the start", "changes"]


async def test_calls_that_become_due_soon_share_the_next_request(desk: Desk) -> None:
    desk.ringcentral.has_feed = True
    desk.clock.advance(121)
    now = desk.clock.now()
    for number in range(1, 15):
        await desk.end_call(number, read_at=now + timedelta(seconds=number))
    reader = make_reader(desk)
    await read_for(desk, reader, 30)
    assert desk.ringcentral.asked == ["changes from the start"]
    desk.ringcentral.log = [changed(number, number) for number in range(1, 15)]
    await read_for(desk, reader, 3)
    assert desk.ringcentral.asked == ["changes from the start", "changes"]
    assert {stage for stage, _ in (await stages(desk)).values()} <= {"reconciled", "final"}


async def test_a_tenant_without_the_feed_is_asked_once_a_day(desk: Desk) -> None:
    await desk.end_call()
    desk.ringcentral.log = [changed(1, 1)]
    desk.clock.advance(121)
    reader = make_reader(desk)
    await read_for(desk, reader, 5)
    assert desk.ringcentral.asked == ["changes from the start", "session 1001"]
    assert (await desk.call()).stage in {"reconciled", "final"}
    assert await make_feed(desk).read(await own(desk)) is None
    assert desk.ringcentral.asked.count("changes from the start") == 1, "remembered by all processes"
    desk.clock.advance(86_401)
    await make_feed(desk).read(await own(desk))
    assert desk.ringcentral.asked.count("changes from the start") == 2


@pytest.mark.parametrize(
    "refusal",
    [
        PermissionMissing("no", permission="ReadCompanyCallLog", code="CMN-401"),
        RequestRefused("no", status=400, code="CMN-101"),
    ],
)
async def test_a_feed_that_is_refused_is_no_trouble(desk: Desk, refusal: Exception) -> None:
    desk.ringcentral.has_feed, desk.ringcentral.failure = True, refusal
    assert await make_feed(desk).read(await own(desk)) is None
    assert await desk.problem() is None


async def test_errors_that_do_not_concern_the_feed_are_raised(desk: Desk) -> None:
    desk.ringcentral.failure = RateLimited("busy", retry_at=START)
    with pytest.raises(RateLimited):
        await make_feed(desk).read(await own(desk))
    desk.ringcentral.has_feed = True
    assert await make_feed(desk).read(await own(desk)) is not None, "and the lease is given back"


async def test_the_feed_is_read_while_there_are_newer_records(desk: Desk) -> None:
    desk.ringcentral.has_feed, desk.ringcentral.page_size = True, 3
    desk.ringcentral.log = [changed(number, number) for number in range(1, 15)]
    feed = make_feed(desk)
    first = await feed.read(await own(desk))
    assert first is not None
    assert (len(first.ingested.opened), first.is_complete) == (12, False)
    second = await feed.read(await own(desk))
    assert second is not None
    assert (len(second.ingested.opened), second.is_complete) == (2, True)


async def test_an_unknown_call_is_opened_with_its_source(desk: Desk) -> None:
    desk.ringcentral.has_feed = True
    desk.ringcentral.log = [changed(1, 1)]
    await make_feed(desk).read(await own(desk))
    assert (await desk.call()).source == "sweep"


async def test_the_token_is_stored_after_the_records(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.ringcentral.has_feed = True
    feed = make_feed(desk)
    await feed.read(await own(desk))
    desk.ringcentral.log = [changed(1, 1)]

    async def crash(*_: Any, **__: Any) -> None:
        raise RuntimeError("the power went")

    with monkeypatch.context() as patch:
        patch.setattr("app.enrichment.call_log.extract_sync.ingest", crash)
        with pytest.raises(RuntimeError):
            await feed.read(await own(desk))
    await make_feed(desk).read(await own(desk))
    assert set(await stages(desk)) == {"s-1"}


async def test_a_token_that_is_refused_is_dropped_and_nothing_is_missed(desk: Desk) -> None:
    desk.ringcentral.has_feed = True
    feed = make_feed(desk)
    await feed.read(await own(desk))
    desk.ringcentral.log = [changed(1, 1)]
    desk.ringcentral.failure = SyncTokenRefused("too many", status=400, code="CLG-104")
    read = await feed.read(await own(desk))
    assert read is not None
    assert desk.ringcentral.asked == ["changes from the start", "changes", "changes from the start"]
    assert len(read.ingested.opened) == 1


async def test_after_a_long_pause_the_feed_starts_again(desk: Desk) -> None:
    desk.ringcentral.has_feed = True
    feed = make_feed(desk)
    await feed.read(await own(desk))
    desk.clock.advance(3700)
    read = await feed.read(await own(desk))
    assert desk.ringcentral.asked == ["changes from the start"] * 2
    assert read is not None
    assert read.since == desk.clock.now() - timedelta(hours=1)


async def test_one_replica_at_a_time_follows(desk: Desk) -> None:
    desk.ringcentral.has_feed = True
    await make_feed(desk).read(await own(desk))
    async with desk.database.write() as db:
        await db.execute(
            work.update().values(lease_owner="two", lease_until=desk.clock.now() + timedelta(seconds=60))
        )
    with pytest.raises(FeedBusyError):
        await make_feed(desk).read(await own(desk))
    desk.clock.advance(61)
    assert await make_feed(desk).read(await own(desk)) is not None


async def test_records_of_a_live_call_are_stored_until_it_is_over(desk: Desk) -> None:
    """A queue's call: those who did not take it have their final records while it goes on."""
    desk.ringcentral.has_feed = True
    live = await desk.end_call(
        1, stage="live", ended_at=None, end_known_at=None, window_closes_at=None, read_at=None
    )
    desk.ringcentral.log = [changed(1, 1, id="missed", result="Missed", duration=0)]
    feed = make_feed(desk)
    await feed.read(await own(desk))
    call = await desk.call()
    assert (call.stage, call.version) == ("live", live.version)
    desk.clock.advance(60)
    async with desk.database.write() as db:
        ended = {"stage": "ended", "ended_at": desk.clock.now(), "read_at": desk.clock.now()}
        await db.execute(calls.update().values(**ended))
    desk.clock.advance(30)
    desk.ringcentral.log.append(
        changed(1, 2, id="taken", duration=140, lastModifiedTime=desk.clock.now().isoformat())
    )
    await feed.read(await own(desk))
    call = await desk.call()
    assert (call.stage, call.outcome, call.primary_record_id) == ("reconciled", "answered", "taken")
    async with desk.database.read() as db:
        rows = await store.load_records(db, AccountId(ACCOUNT), [call.call_id])
    assert [row.record_id for row in rows[call.call_id]] == ["missed", "taken"]


async def test_a_call_that_the_feed_showed_too_early_is_requested_in_another_way(desk: Desk) -> None:
    desk.ringcentral.has_feed = True
    feed = make_feed(desk)
    await feed.read(await own(desk))
    await desk.end_call(1)
    desk.ringcentral.log = [changed(1, 0)]
    desk.clock.advance(121)
    reader = make_reader(desk)
    await read_for(desk, reader, 300)
    assert set(desk.ringcentral.asked) == {"changes from the start", "changes"}, "it may yet come"
    await read_for(desk, reader, 300)
    assert desk.ringcentral.asked.count("session 1001") == 1
    assert (await desk.call()).bootstrapped_by == "call-log"


async def test_where_dates_mean_changes_a_long_feed_is_followed_by_date(desk: Desk) -> None:
    desk.ringcentral.has_feed = True
    desk.ringcentral.page_size = 2
    desk.clock.advance(10_000)
    now = desk.clock.now()
    for number in range(1, 6):
        started_at = now - timedelta(hours=2 - number / 10)
        await desk.end_call(number, started_at=started_at)
        modified = (now - timedelta(minutes=30 - number)).isoformat()
        row = changed(number, number, startTime=started_at.isoformat(), lastModifiedTime=modified)
        desk.ringcentral.log.append(row)
    await make_feed(desk).read(await own(desk))
    assert desk.ringcentral.asked == ["changes from the start"] * 4, "the border's record comes twice"
    assert {stage for stage, _ in (await stages(desk)).values()} == {"reconciled"}


async def test_where_dates_may_mean_starts_a_long_feed_is_followed_by_its_token(desk: Desk) -> None:
    desk.ringcentral.has_feed = True
    desk.ringcentral.page_size = 2
    for number in range(1, 6):
        await desk.end_call(number)
        desk.ringcentral.log.append(changed(number, number, lastModifiedTime=desk.clock.now().isoformat()))
    await make_feed(desk).read(await own(desk))
    assert desk.ringcentral.asked == ["changes from the start", "changes", "changes"]


async def test_a_token_refused_within_a_backlog_skips_nothing(desk: Desk) -> None:
    fake = desk.ringcentral
    fake.has_feed = True
    await make_feed(desk).read(await own(desk))
    desk.clock.advance(3000)
    fake.page_size = 1
    for number in range(1, 10):
        at = (desk.clock.now() - timedelta(minutes=42 - 2 * number)).isoformat()
        fake.log.append(changed(number, number, startTime=at, duration=1, lastModifiedTime=at))
    await make_feed(desk).read(await own(desk))
    fake.failures["changes"] = SyncTokenRefused("no", status=400, code="CLG-104")
    for _ in range(6):
        await make_feed(desk).read(await own(desk))
    assert set(await stages(desk)) == {f"s-{number}" for number in range(1, 10)}


async def test_a_feed_that_cannot_even_be_begun_is_none(desk: Desk) -> None:
    desk.ringcentral.has_feed = True
    desk.ringcentral.failures["changes from the start"] = SyncTokenRefused("no", status=400, code="CLG-101")
    await desk.end_call(1)
    desk.clock.advance(121)
    await read_for(desk, make_reader(desk), 60)
    assert desk.ringcentral.asked == ["changes from the start", "session 1001", "window"]


async def test_a_feed_that_is_not_read_to_its_end_leaves_the_others_due(desk: Desk) -> None:
    desk.ringcentral.page_size = 1
    desk.ringcentral.has_feed = True
    for number in range(1, 8):
        await desk.end_call(number)
    desk.clock.advance(121)
    desk.ringcentral.log = [changed(number, number) for number in range(1, 8)]
    reader = make_reader(desk)
    await reader.step()
    assert [stage for stage, _ in (await stages(desk)).values()].count("ended") == 7 - MOST_REQUESTS
    await reader.step()
    assert {stage for stage, _ in (await stages(desk)).values()} == {"reconciled"}
    assert "window" not in desk.ringcentral.asked
    async with desk.database.read() as db:
        assert set(await db.scalars(select(calls.c.reads))) == {1}, "each call was read once"


async def test_a_regular_sweep_reads_the_feed_and_sometimes_the_call_log(desk: Desk) -> None:
    desk.ringcentral.has_feed = True
    sweeper = Sweeper(
        accounts_context(desk.database, desk.clock, desk.connections, replica="one"),
        PLAN,
        RULES,
        feed=make_feed(desk),
    )
    for _ in range(10):
        await sweeper.step()
        desk.clock.advance(901)
        await sweeper.step()
    assert desk.ringcentral.asked.count("window") >= 1
    assert sum(asked.startswith("changes") for asked in desk.ringcentral.asked) >= 8
    async with desk.database.read() as db:
        row = await db.scalar(select(work.c.state).where(work.c.account_id == UNBOUND_ACCOUNT))
    assert row is not None


async def test_a_record_from_before_the_end_gives_way_to_what_active_calls_shows_after_it(desk: Desk) -> None:
    desk.ringcentral.has_feed = True
    feed = make_feed(desk)
    sides = {"from": {"phoneNumber": "+15550179001"}, "to": {"phoneNumber": "+15550100101"}}
    call = await desk.end_call(1, stage="live", ended_at=None, read_at=None, details=sides)
    agent = {"extensionNumber": "101", "extensionId": ANA, "name": "Ana Ruiz"}
    provisional = {"result": "Stopped", "direction": "Outbound", "from": agent, "to": agent, "duration": 0}
    desk.ringcentral.log = [changed(1, 1, id="r", **provisional)]
    await feed.read(await own(desk))
    now = desk.clock.now() + timedelta(seconds=20)
    desk.clock.advance(20)
    async with desk.database.write() as db:
        window = now + timedelta(seconds=120)
        ended = {"stage": "ended", "ended_at": now, "end_known_at": now, "window_closes_at": window}
        await db.execute(calls.update().values(**ended))
    desk.ringcentral.active = [desk.show(1, record_id="r", result="Accepted", **sides)]
    await desk.poll_for(60)
    call = await desk.call()
    assert (call.stage, call.outcome, call.result, call.direction) == (
        "bootstrapped",
        "answered",
        "Accepted",
        "Inbound",
    )
    assert (call.caller, call.callee) == (sides["from"], sides["to"]), "nothing of the agent's is left"


@pytest.mark.parametrize("where", ["after the answer", "between two answers"])
async def test_a_recording_is_settled_however_long_a_reading_takes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    desk.ringcentral.has_feed = True
    for number in (1, 2):
        await desk.end_call(number)
    desk.clock.advance(121)
    just_now = (desk.clock.now() - timedelta(seconds=10)).isoformat()
    named = {"id": "88", "type": "Automatic", "contentUri": f"{desk.settings.rc_media_url}/88/content"}
    desk.ringcentral.log = [
        changed(1, 1, lastModifiedTime=just_now, recording=named),
        changed(2, 2, lastModifiedTime=just_now),
    ]
    feed = make_feed(desk)
    target, name = (
        (feed, "read") if where == "after the answer" else (desk.ringcentral, "fetch_call_log_changes")
    )
    desk.ringcentral.page_size = 1
    go_on = getattr(target, name)

    async def stall(*given: Any, **named: Any) -> Any:
        result = await go_on(*given, **named)
        desk.clock.advance(PLAN.settled_after)
        return result

    monkeypatch.setattr(target, name, stall)
    reader = CallLogReader(accounts_context(desk.database, desk.clock, desk.connections), PLAN, feed=feed)
    await reader.step()
    assert (await desk.call(1)).readiness["recording"]["state"] == "pending", "its record may still change"
    monkeypatch.undo()
    await read_for(desk, reader, 2 * PLAN.settled_after + PLAN.gap)
    call = await desk.call(1)
    assert (call.stage, call.readiness["recording"]["state"]) == ("final", "ready")
