"""Sweeps over ranges of the Call Log for calls that no event announced, on both databases."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from app.accounts.access import Access, Level
from app.accounts.credentials import CredentialKind, Secret, remove, save
from app.calls.model import Call
from app.db.tables import accounts, calls, credentials, sweeps
from app.enrichment import gaps
from app.enrichment.gaps import Reason, Sweep
from app.enrichment.sweeps import rows as sweep_rows
from app.enrichment.sweeps.state import SweepProblem, SweepRules
from app.enrichment.sweeps.sweeper import Sweeper
from app.errors import PermissionMissing, RateLimited, RequestRefused, RingCentralUnreachable
from app.ids import UNBOUND_ACCOUNT, AccountId, ExtensionId
from app.ringcentral.stored_tokens import StoredToken
from tests.factories_calls import ACCOUNT
from tests.fakes.clock import START
from tests.fakes.context import accounts_context
from tests.fakes.desk import PLAN, VAULT, Desk, limit_to

RULES = SweepRules(
    interval=900.0, lookback=10_800.0, overlap=1200.0, grace=60.0, margin=60.0, first_after=60.0,
    second_after=600.0, spacing=12.0, lease=15.0, longest=240.0,
)  # fmt: skip
AFTER = timedelta(seconds=60)


def make_sweeper(desk: Desk, replica: str = "one", page_size: int = 1000) -> Sweeper:
    return Sweeper(
        accounts_context(desk.database, desk.clock, desk.connections, replica=replica),
        replace(PLAN, page_size=page_size),
        RULES,
    )


def logged(number: int, started: datetime, **fields: Any) -> dict[str, Any]:
    """A call that the Call Log has."""
    desk_row = {
        "id": f"rec-{number}",
        "sessionId": str(1000 + number),
        "telephonySessionId": f"s-{number}",
        "startTime": started.isoformat(),
        "duration": 30,
        "type": "Voice",
        "direction": "Inbound",
        "action": "Phone Call",
        "result": "Accepted",
        "from": {"phoneNumber": "+15550179001"},
        "to": {"phoneNumber": "+15550100101", "extensionId": "711000101"},
        "legs": [{"legType": "Accept", "master": True}],
        "lastModifiedTime": (started + timedelta(seconds=45)).isoformat(),
    }
    return desk_row | fields


async def note_gap(
    desk: Desk,
    begin: datetime,
    end: datetime | None,
    reason: Reason = Reason.SERVICE_DOWN,
    holder: AccountId = UNBOUND_ACCOUNT,
) -> str:
    async with desk.database.write() as db:
        return await gaps.note_gap(db, holder, reason, begin, end, desk.clock.now(), sweep_after=AFTER)


async def rows(desk: Desk) -> list[Sweep]:
    async with desk.database.read() as db:
        query = select(sweeps).where(sweeps.c.sweep_id != gaps.REGULAR_ID).order_by(sweeps.c.from_at)
        return [gaps.read_row(row) for row in await db.execute(query)]


async def sweep_for(desk: Desk, sweeper: Sweeper, seconds: float) -> None:
    """Let the sweeper look for so long: every five seconds while something is due, and once a minute."""
    until = desk.clock.now() + timedelta(seconds=seconds)
    while desk.clock.now() < until:
        while await sweeper.step() == 0.0:
            pass
        looks_at = min(await next_due(desk), desk.clock.now() + timedelta(minutes=1), until)
        desk.clock.advance(5.0)
        while desk.clock.now() < looks_at:
            desk.clock.advance(5.0)


async def next_due(desk: Desk) -> datetime:
    """When the next row is due and free."""
    async with desk.database.read() as db:
        query = select(sweeps.c.due_at, sweeps.c.lease_until).where(sweeps.c.due_at.is_not(None))
        found = [max(row.due_at, row.lease_until or row.due_at) for row in await db.execute(query)]
    return min(found, default=datetime.max.replace(tzinfo=UTC))


async def stages(desk: Desk) -> dict[str, tuple[str, str]]:
    async with desk.database.read() as db:
        found = await db.execute(select(calls.c.telephony_session_id, calls.c.stage, calls.c.source))
        return {row.telephony_session_id: (row.stage, row.source) for row in found}


async def test_a_gap_is_swept_when_the_call_log_has_caught_up_and_once_more_for_stragglers(
    desk: Desk,
) -> None:
    begin, end = START - timedelta(minutes=10), START
    desk.ringcentral.log = [
        logged(1, begin - timedelta(minutes=5)),
        logged(2, begin + timedelta(minutes=3)),
        logged(3, end - timedelta(seconds=40)),
    ]
    await note_gap(desk, begin, end)
    sweeper = make_sweeper(desk)
    await sweep_for(desk, sweeper, 55)
    assert desk.ringcentral.asked == [], "the Call Log follows the calls by half a minute"
    await sweep_for(desk, sweeper, 60)
    assert await stages(desk) == {"s-2": ("final", "sweep"), "s-3": ("reconciled", "sweep")}, (
        "exactly the gap"
    )
    desk.ringcentral.log.append(logged(4, begin + timedelta(minutes=4)))
    await sweep_for(desk, sweeper, 700)
    assert "s-4" in await stages(desk)
    (gap,) = await rows(desk)
    assert gap.done_at is not None
    assert gap.due_at is None
    assert gap.found == 3
    assert desk.ringcentral.asked == ["window", "window"], "one request for each pass"


async def test_a_swept_call_shows_that_no_event_announced_it(desk: Desk) -> None:
    await note_gap(desk, START - timedelta(minutes=10), START)
    desk.ringcentral.log = [logged(1, START - timedelta(minutes=5))]
    await sweep_for(desk, make_sweeper(desk), 90)
    call: Call = await desk.call()
    assert (call.source, call.bootstrapped_by, call.outcome) == ("sweep", "call-log", "answered")
    assert call.ended_at == START - timedelta(minutes=5) + timedelta(seconds=30)
    assert await desk.events(call) == ["call.ended", "call.bootstrapped", "call.reconciled", "call.final"]


async def test_what_is_known_is_read_and_not_opened_twice(desk: Desk) -> None:
    await desk.end_call(1)
    desk.clock.advance(60)
    await note_gap(desk, START - timedelta(minutes=10), START)
    desk.ringcentral.log = [logged(1, START - timedelta(seconds=90))]
    await sweep_for(desk, make_sweeper(desk), 90)
    call = await desk.call()
    assert (call.source, call.stage) == ("webhook", "reconciled")
    (gap,) = await rows(desk)
    assert gap.found == 0


async def test_a_record_without_a_usable_name_is_matched_by_its_numbers_and_start(desk: Desk) -> None:
    await desk.end_call(1)
    began = (await desk.call()).started_at
    desk.clock.advance(60)
    await note_gap(desk, START - timedelta(minutes=10), START)
    other = {"telephonySessionId": None, "sessionId": "77", "result": "Missed", "duration": 0}
    alike = logged(1, began + timedelta(seconds=2), **other)
    far = logged(2, began - timedelta(minutes=2), **other | {"sessionId": "78"})
    desk.ringcentral.log = [far, alike]
    await sweep_for(desk, make_sweeper(desk), 120)
    async with desk.database.read() as db:
        found = list(await db.execute(select(calls).order_by(calls.c.started_at)))
    assert [(row.source, row.primary_record_id) for row in found] == [
        ("sweep", "rec-2"),
        ("webhook", "rec-1"),
    ]


async def test_a_live_call_is_left_to_its_events(desk: Desk) -> None:
    await desk.end_call(
        1, stage="live", ended_at=None, end_known_at=None, window_closes_at=None, read_at=None
    )
    await note_gap(desk, START - timedelta(minutes=10), START)
    desk.ringcentral.log = [
        logged(1, START - timedelta(seconds=90)),
        logged(2, START - timedelta(minutes=2), result="In Progress"),
        logged(3, START - timedelta(minutes=2), duration=3600),
        logged(4, START - timedelta(minutes=2), type="Fax"),
    ]
    await sweep_for(desk, make_sweeper(desk), 90)
    assert await stages(desk) == {"s-1": ("live", "webhook")}


async def test_a_busy_gap_is_read_in_slices_that_fit(desk: Desk) -> None:
    begin = START - timedelta(minutes=60)
    desk.ringcentral.log = [
        logged(number, begin + timedelta(seconds=3 * number)) for number in range(1, 1190)
    ]
    desk.ringcentral.log.reverse()
    await note_gap(desk, begin, START)
    await sweep_for(desk, make_sweeper(desk, page_size=100), 300)
    assert len(await stages(desk)) == 1189
    (gap,) = await rows(desk)
    assert gap.found == 1189


async def test_a_second_that_holds_more_than_a_slice_should_is_read_whole(desk: Desk) -> None:
    desk.ringcentral.log = [logged(number, START - timedelta(minutes=5)) for number in range(1, 131)]
    await note_gap(desk, START - timedelta(minutes=10), START)
    sweeper = make_sweeper(desk, page_size=10)
    for _ in range(3):
        await sweep_for(desk, sweeper, 65)
    assert len(await stages(desk)) == 130


async def test_a_server_that_drops_the_page_number_does_no_harm(desk: Desk) -> None:
    desk.ringcentral.log = [logged(number, START - timedelta(minutes=5)) for number in range(1, 30)]
    desk.ringcentral.page_size, desk.ringcentral.repeats_pages = 10, True
    await note_gap(desk, START - timedelta(minutes=10), START)
    await sweep_for(desk, make_sweeper(desk), 90)
    assert len(await stages(desk)) == 10


async def test_after_a_refusal_the_sweep_resumes_where_it_was(desk: Desk) -> None:
    await note_gap(desk, START - timedelta(hours=5), START)
    desk.ringcentral.log = [logged(1, START - timedelta(hours=4)), logged(2, START - timedelta(minutes=5))]
    sweeper = make_sweeper(desk)
    desk.clock.advance(61)
    await sweeper.step()
    desk.ringcentral.failure = RateLimited("busy", retry_at=desk.clock.now() + timedelta(seconds=30))
    await sweeper.step()
    (gap,) = await rows(desk)
    assert gap.cursor_at == START - timedelta(hours=4)
    asked = len(desk.ringcentral.asked)
    await sweeper.step()
    assert len(desk.ringcentral.asked) == asked, "not before the budget allows"
    await sweep_for(desk, sweeper, 60)
    assert set(await stages(desk)) == {"s-1", "s-2"}


async def test_a_budget_that_lasts_for_two_pages_at_a_time_gets_through(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = START - timedelta(minutes=60)
    desk.ringcentral.log = [
        logged(number, begin + timedelta(seconds=12 * number)) for number in range(1, 290)
    ]
    desk.ringcentral.log.reverse()
    fetch, left = desk.ringcentral.fetch_call_log_window, 2

    async def fetch_within_budget(*span: Any, **options: Any) -> Any:
        nonlocal left
        if left == 0:
            left = 2
            raise RateLimited("busy", retry_at=desk.clock.now() + timedelta(seconds=10))
        left -= 1
        return await fetch(*span, **options)

    monkeypatch.setattr(desk.ringcentral, "fetch_call_log_window", fetch_within_budget)
    await note_gap(desk, begin, START)
    await sweep_for(desk, make_sweeper(desk, page_size=50), 600)
    assert len(await stages(desk)) == 289
    assert len(desk.ringcentral.asked) < 60


async def test_the_regular_sweep_of_an_account_is_opened_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeper = make_sweeper(desk)
    await sweeper.step()
    written: list[object] = []
    write = desk.database.write

    def note() -> Any:
        written.append(1)
        return write()

    monkeypatch.setattr(desk.database, "write", note)
    await sweeper.step()
    assert written == []


async def test_one_replica_at_a_time_reads_a_slice(desk: Desk) -> None:
    sweep_id = await note_gap(desk, START - timedelta(minutes=10), START)
    desk.clock.advance(61)
    async with desk.database.write() as db:
        gap = await sweep_rows.load(db, UNBOUND_ACCOUNT, sweep_id)
        assert await sweep_rows.claim(db, gap, "one", desk.clock.now(), 15.0) is not None
        assert await sweep_rows.claim(db, gap, "two", desk.clock.now(), 15.0) is None
    await make_sweeper(desk, "two").step()
    assert desk.ringcentral.asked == []
    desk.clock.advance(16)
    await make_sweeper(desk, "two").step()
    assert desk.ringcentral.asked == ["window"], "a lease runs out"


async def test_a_slice_that_outlasts_its_lease_is_not_read_twice(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = replace(RULES, lease=0.03)
    one, two = (
        Sweeper(accounts_context(desk.database, desk.clock, desk.connections, replica=name), PLAN, rules)
        for name in ("one", "two")
    )
    await note_gap(desk, START - timedelta(minutes=10), START)
    desk.clock.advance(61)
    fetch = desk.ringcentral.fetch_call_log_window

    async def fetch_slowly(*span: Any, **options: Any) -> Any:
        monkeypatch.setattr(desk.ringcentral, "fetch_call_log_window", fetch)
        for _ in range(3):
            until = desk.clock.advance(0.02) + timedelta(seconds=0.03)
            async with asyncio.timeout(60):
                while (await rows(desk))[0].lease_until != until:  # noqa: ASYNC110 - it is in the database
                    await asyncio.sleep(0.01)
        await two.step()
        assert desk.ringcentral.asked == []
        return await fetch(*span, **options)

    monkeypatch.setattr(desk.ringcentral, "fetch_call_log_window", fetch_slowly)
    await one.step()
    assert desk.ringcentral.asked == ["window"]
    (gap,) = await rows(desk)
    assert (gap.cursor_at, gap.lease_until) == (START, None)


async def test_users_are_read_concurrently(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice of fifty users is to be read before it is given up."""
    await limit_to(desk, "711000101")
    await connect_user(desk, "ben", Access(Level.EXTENSION, ExtensionId("711000102")))
    await note_gap(desk, START - timedelta(minutes=10), START, holder=ACCOUNT)
    desk.clock.advance(61)
    both, fetch = asyncio.Barrier(2), desk.ringcentral.fetch_call_log_window

    async def fetch_together(*span: Any, **options: Any) -> Any:
        await both.wait()
        return await fetch(*span, **options)

    monkeypatch.setattr(desk.ringcentral, "fetch_call_log_window", fetch_together)
    async with asyncio.timeout(60):
        await make_sweeper(desk).step()
    assert desk.ringcentral.asked == ["window", "window"]


async def test_a_slice_that_takes_too_long_is_cut_shorter(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = START - timedelta(minutes=60)
    desk.ringcentral.log = [
        logged(number, begin + timedelta(seconds=35 * number)) for number in range(100, 1, -1)
    ]
    fetch = desk.ringcentral.fetch_call_log_window

    async def fetch_slowly(*span: Any, **options: Any) -> Any:
        desk.clock.advance(150)
        return await fetch(*span, **options)

    monkeypatch.setattr(desk.ringcentral, "fetch_call_log_window", fetch_slowly)
    await note_gap(desk, begin, START)
    await sweep_for(desk, make_sweeper(desk, page_size=30), 12_000)
    assert len(await stages(desk)) == 99
    assert "window page 2" in desk.ringcentral.asked
    assert "window page 3" not in desk.ringcentral.asked


async def test_a_gap_that_grows_during_its_sweep_is_swept_again(desk: Desk) -> None:
    sweep_id = await note_gap(desk, START - timedelta(minutes=10), START)
    desk.clock.advance(61)
    async with desk.database.write() as db:
        held = await sweep_rows.claim(
            db, await sweep_rows.load(db, UNBOUND_ACCOUNT, sweep_id), "one", desk.clock.now(), 300.0
        )
    assert held is not None
    await note_gap(desk, START - timedelta(minutes=20), START - timedelta(minutes=5))
    desk.ringcentral.log = [logged(1, START - timedelta(minutes=15))]
    sweeper = make_sweeper(desk)
    await sweep_for(desk, sweeper, 60)
    assert set(await stages(desk)) == {"s-1"}


async def test_the_swept_part_of_a_growing_gap_is_not_swept_again_at_once(desk: Desk) -> None:
    """Users of one account share its gaps: one of them, who is well, ends the gap of another who is not."""
    begin = START - timedelta(hours=3)
    await note_gap(desk, begin, START)
    sweeper = make_sweeper(desk)
    await sweep_for(desk, sweeper, 120)
    asked = len(desk.ringcentral.asked)
    assert asked == 2
    desk.ringcentral.log = [logged(1, START + timedelta(seconds=60)), logged(2, begin + timedelta(minutes=1))]
    await note_gap(desk, begin, None)
    end = desk.clock.now()
    async with desk.database.write() as db:
        await gaps.end_gaps(db, UNBOUND_ACCOUNT, end, AFTER)
    await sweep_for(desk, sweeper, 120)
    assert len(desk.ringcentral.asked) == asked + 1
    assert set(await stages(desk)) == {"s-1"}
    await sweep_for(desk, sweeper, 800)
    assert set(await stages(desk)) == {"s-1", "s-2"}, "all of it is looked through again for stragglers"
    (gap,) = await rows(desk)
    assert (gap.from_at, gap.to_at, gap.done_at is not None) == (begin, end, True)


async def test_gaps_that_touch_are_one_and_others_stay_apart(desk: Desk) -> None:
    hour = timedelta(hours=1)
    await note_gap(desk, START - 3 * hour, START - 2 * hour)
    await note_gap(desk, START - 2 * hour, START - hour, Reason.MISSING)
    await note_gap(desk, START - hour / 2, None, Reason.SUSPENDED)
    await note_gap(desk, START - hour / 4, None, Reason.SUSPENDED)
    found = [(gap.from_at, gap.to_at, gap.reason) for gap in await rows(desk)]
    assert found == [
        (START - 3 * hour, START - hour, "service-down"),
        (START - hour / 2, None, "subscription-suspended"),
    ]
    async with desk.database.write() as db:
        await gaps.end_gaps(db, UNBOUND_ACCOUNT, START, AFTER)
    assert [gap.due_at for gap in await rows(desk)] == [START - hour + AFTER, START + AFTER]


async def test_a_gap_ends_when_events_arrive_whatever_its_reason(desk: Desk) -> None:
    hour = timedelta(hours=1)
    await note_gap(desk, START - 3 * hour, START - hour)
    await note_gap(desk, START - 2 * hour, None, Reason.EXPIRED)
    assert [(gap.from_at, gap.to_at) for gap in await rows(desk)] == [(START - 3 * hour, None)]
    async with desk.database.write() as db:
        await gaps.end_gaps(db, UNBOUND_ACCOUNT, START, AFTER)
    (gap,) = await rows(desk)
    assert (gap.to_at, gap.due_at) == (START, START + AFTER)


async def test_a_gap_that_lasts_is_not_ended_by_one_within(desk: Desk) -> None:
    hour = timedelta(hours=1)
    await note_gap(desk, START - 3 * hour, None, Reason.SUSPENDED)
    await note_gap(desk, START - 2 * hour, START - hour)
    (gap,) = await rows(desk)
    assert (gap.from_at, gap.to_at, gap.due_at) == (START - 3 * hour, None, None)


async def test_the_regular_sweep_finds_calls_that_no_event_announced(desk: Desk) -> None:
    sweeper = make_sweeper(desk)
    await sweeper.step()
    desk.ringcentral.log = [
        logged(1, START - timedelta(minutes=5)),
        logged(2, START + timedelta(minutes=5)),
    ]
    await sweep_for(desk, sweeper, 1000)
    assert await stages(desk) == {"s-2": ("final", "sweep")}, "what was before us is a matter of a backfill"
    assert desk.ringcentral.asked == ["window"]
    desk.ringcentral.log.append(logged(3, START + timedelta(minutes=12)))
    await sweep_for(desk, sweeper, 900)
    assert "s-3" in await stages(desk), "a straggler, in the overlap"


async def test_some_regular_sweeps_go_back_for_hours(desk: Desk) -> None:
    sweeper = make_sweeper(desk)
    await sweeper.step()
    await sweep_for(desk, sweeper, 950)
    desk.ringcentral.log = [logged(1, START + timedelta(minutes=1), duration=5400)]
    await sweep_for(desk, sweeper, 900 * 9)
    assert "s-1" in await stages(desk)


async def test_a_call_that_has_just_ended_is_left_to_its_events_for_a_while(desk: Desk) -> None:
    sweeper = make_sweeper(desk)
    await sweeper.step()
    desk.ringcentral.log = [logged(1, START + timedelta(seconds=840))]
    await sweep_for(desk, sweeper, 905)
    assert await stages(desk) == {}
    await sweep_for(desk, sweeper, 930)
    assert "s-1" in await stages(desk)


async def test_the_call_log_shows_whose_credentials_they_are(desk: Desk) -> None:
    async with desk.database.write() as db:
        await db.execute(
            update(accounts).where(accounts.c.account_id == UNBOUND_ACCOUNT).values(bound_to=None)
        )
    await note_gap(desk, START - timedelta(minutes=10), START)
    desk.ringcentral.log = [logged(1, START - timedelta(minutes=5))]
    await sweep_for(desk, make_sweeper(desk), 90)
    async with desk.database.read() as db:
        assert await db.scalar(select(calls.c.account_id)) == ACCOUNT
        assert await db.scalar(select(func.count()).select_from(calls)) == 1


async def test_without_company_permission_the_own_extension_is_swept(desk: Desk) -> None:
    await note_gap(desk, START - timedelta(minutes=10), START)
    desk.ringcentral.log = [logged(1, START - timedelta(minutes=5))]
    desk.clock.advance(61)
    desk.ringcentral.failure = PermissionMissing("no", permission="ReadCompanyCallLog", code="CMN-408")
    sweeper = make_sweeper(desk)
    await sweeper.step()
    (gap,) = await rows(desk)
    assert (gap.problem or {}).get("code") == "CMN-408"
    await sweep_for(desk, sweeper, 90)
    (gap,) = await rows(desk)
    assert gap.problem is None
    assert set(await stages(desk)) == {"s-1"}


async def test_a_gap_is_swept_once_all_users_were_asked(desk: Desk) -> None:
    """Somebody whose credentials do not work just then has calls that nobody else shows."""
    await limit_to(desk, "711000101")
    broken = Access(Level.EXTENSION, ExtensionId("711000102"), problem={"code": "CMN-401", "detail": "no"})
    await connect_user(desk, "ben", broken)
    await note_gap(desk, START - timedelta(minutes=10), START, holder=ACCOUNT)
    desk.ringcentral.log = [logged(1, START - timedelta(minutes=5))]
    sweeper = make_sweeper(desk)
    await sweep_for(desk, sweeper, 1800)
    assert set(await stages(desk)) == {"s-1"}, "what others show is there"
    (gap,) = await rows(desk)
    assert gap.done_at is None
    assert gap.problem is not None
    assert (gap.problem["code"], "ben" in gap.problem["detail"]) == (SweepProblem.USERS_NOT_ASKED, True)
    assert len(desk.ringcentral.asked) <= 4
    await connect_user(desk, "ben", Access(Level.EXTENSION, ExtensionId("711000102")))
    desk.ringcentral.log.append(logged(2, START - timedelta(minutes=4)))
    await sweep_for(desk, sweeper, 1800)
    (gap,) = await rows(desk)
    assert (gap.problem, gap.done_at is not None) == (None, True)
    assert set(await stages(desk)) == {"s-1", "s-2"}


async def test_repeated_refusals_of_one_user_do_not_repeat_reads_of_others(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether somebody's credentials work by now is tried every few minutes, and shows when he is asked."""
    fetch, read = desk.ringcentral.fetch_call_log_window, 0

    async def limited(date_from: datetime, *given: Any, extension_id: str | None = None, **named: Any) -> Any:
        nonlocal read
        if extension_id != "711000101":
            raise PermissionMissing("no", permission="ReadCallLog", code="CMN-401")
        read += date_from < START - timedelta(minutes=10)
        return await fetch(date_from, *given, **named)

    monkeypatch.setattr(desk.ringcentral, "fetch_call_log_window", limited)
    await limit_to(desk, "711000101")
    problem = {"code": "CMN-401", "detail": "no"}
    await connect_user(
        desk, "ben", Access(Level.EXTENSION, ExtensionId("711000102"), problem, probe_at=desk.clock.now())
    )
    await note_gap(desk, START - timedelta(minutes=10), START, holder=ACCOUNT)
    sweeper = make_sweeper(desk)
    await sweep_for(desk, sweeper, 3 * 3600)
    (gap,) = await rows(desk)
    assert (gap.problem or {}).get("code") == SweepProblem.USERS_NOT_ASKED
    assert read == 1


async def test_a_gap_does_not_wait_for_removed_credentials(desk: Desk) -> None:
    await limit_to(desk, "711000101")
    broken = Access(Level.EXTENSION, ExtensionId("711000102"), problem={"code": "CMN-401", "detail": "no"})
    await connect_user(desk, "ben", broken)
    await note_gap(desk, START - timedelta(minutes=10), START, holder=ACCOUNT)
    sweeper = make_sweeper(desk)
    await sweep_for(desk, sweeper, 1000)
    async with desk.database.write() as db:
        await remove(db, ACCOUNT, "ben")
    desk.connections.forget()
    await sweep_for(desk, sweeper, 2400)
    (gap,) = await rows(desk)
    assert gap.done_at is not None


async def test_a_blocked_sweep_shows_since_when_and_is_retried_less_often(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = 0

    async def refuse(*_: Any, **__: Any) -> Any:
        nonlocal refused
        refused += 1
        raise RequestRefused("no such date", status=400, code="CMN-101")

    monkeypatch.setattr(desk.ringcentral, "fetch_call_log_window", refuse)
    await note_gap(desk, START - timedelta(minutes=10), START)
    sweeper = make_sweeper(desk)
    await sweep_for(desk, sweeper, 65)
    first = (await rows(desk))[0].problem
    await sweep_for(desk, sweeper, 3600)
    (gap,) = await rows(desk)
    assert first is not None
    assert (first["code"], gap.problem) == ("CMN-101", first)
    assert refused < 20, "the regular look among them"


async def test_a_successful_read_of_the_whole_account_is_remembered(desk: Desk) -> None:
    await limit_to(desk, "711000101")
    async with desk.database.write() as db:
        probed = Access(Level.EXTENSION, ExtensionId("711000101"), probe_at=START - timedelta(seconds=1))
        await db.execute(update(credentials).values(access=probed.to_json()))
    desk.connections.forget()
    await note_gap(desk, START - timedelta(minutes=10), START)
    await sweep_for(desk, make_sweeper(desk), 90)
    async with desk.database.read() as db:
        access = Access.from_json(await db.scalar(select(credentials.c.access)))
    assert (access.level, access.probe_at) == (Level.ACCOUNT, None)


async def connect_user(desk: Desk, name: str, access: Access) -> None:
    """Let a user of the account sign in, or again."""
    token = StoredToken(
        access_token="t", issued_at=START, expires_at=START + timedelta(hours=1), fingerprint="f"
    )
    async with desk.database.write() as db:
        await save(
            db, VAULT, ACCOUNT, name, CredentialKind.JWT, Secret("app", "secret", "jwt"), token,
            access.to_json(),
            desk.clock.now(),
        )  # fmt: skip
    desk.connections.forget()


@pytest.mark.parametrize("passes", [1, 2])
async def test_sweeping_twice_changes_nothing(desk: Desk, passes: int) -> None:
    desk.ringcentral.log = [logged(1, START - timedelta(minutes=5))]
    for _ in range(passes):
        await note_gap(desk, START - timedelta(minutes=10), START)
        await sweep_for(desk, make_sweeper(desk), 800)
    call = await desk.call()
    assert (call.stage, call.version) == ("final", 4)


async def test_a_read_that_fails_after_its_row_was_taken_over_writes_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, end = START - timedelta(minutes=10), START
    await note_gap(desk, begin, end)
    desk.clock.advance(61)
    first, second = make_sweeper(desk, "one"), make_sweeper(desk, "two")
    (due,) = await rows(desk)

    async def fail_late(*_: Any, **__: Any) -> Any:
        desk.clock.advance(RULES.lease + 1)
        async with desk.database.write() as db:
            assert await sweep_rows.claim(db, due, "two", desk.clock.now(), RULES.lease) is not None
        raise RingCentralUnreachable("503")

    with monkeypatch.context() as patched:
        patched.setattr(desk.ringcentral, "fetch_call_log_window", fail_late)
        assert await first.advance(due) is True
    (taken,) = await rows(desk)
    assert (taken.due_at, taken.problem) == (due.due_at, None)
    await sweep_for(desk, second, 700)
    (swept,) = await rows(desk)
    assert swept.done_at is not None
