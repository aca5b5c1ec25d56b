"""Polling Active Calls, on both databases."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from app.accounts.access import Access, Level
from app.accounts.connections import Connection, pooled
from app.accounts.credentials import Secret
from app.calls.ledger import open_ledger
from app.calls.model import Call, Source
from app.db.tables import accounts, call_records, calls, credentials, poll_targets
from app.enrichment.polling import poller
from app.enrichment.polling.poll_request import fetch_active_calls
from app.enrichment.records.apply import store_versions
from app.errors import PermissionMissing, RateLimited, RingCentralUnreachable
from app.ids import AccountId, ExtensionId
from app.ringcentral.models import CallRecord, RecordsPage, read_call_record
from app.ringcentral.ports import Outcome, Penalty, Priority, Silence
from tests.factories_calls import ACCOUNT, ANA, BEN
from tests.fakes.desk import VAULT, Desk


async def test_nothing_is_requested_while_no_call_waits(desk: Desk) -> None:
    await desk.poll_for(30)
    assert desk.ringcentral.asked == []


async def test_one_poll_serves_every_call_that_waits(desk: Desk) -> None:
    for number in range(1, 6):
        await desk.end_call(number)
    desk.clock.advance(12)
    desk.ringcentral.active = [desk.show(number) for number in range(1, 6)]
    await desk.poll_for(10)
    assert desk.ringcentral.asked == ["active-calls 1"]
    assert {(await desk.call(number)).stage for number in range(1, 6)} == {"bootstrapped"}


async def test_a_call_is_found_once_it_becomes_visible(desk: Desk) -> None:
    call = await desk.end_call()
    await desk.poll_for(12)
    missed = len(desk.ringcentral.asked)
    assert missed >= 1
    assert (await desk.call()).looks == missed
    desk.ringcentral.active = [desk.show()]
    await desk.poll_for(12)
    found = await desk.call()
    assert (found.stage, found.bootstrapped_by, found.result, found.outcome) == (
        "bootstrapped",
        "active-calls",
        "Accepted",
        "answered",
    )
    assert found.version == call.version + 1
    asked = len(desk.ringcentral.asked)
    await desk.poll_for(60)
    assert len(desk.ringcentral.asked) == asked, "nobody waits any more"


async def test_a_response_is_not_applied_to_a_call_revived_meanwhile(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.end_call()
    desk.ringcentral.active = [desk.show(result="Stopped")]
    fetch = desk.ringcentral.fetch_active_calls_page

    async def revive_and_fetch(*page: Any, **options: Any) -> RecordsPage:
        async with desk.database.write() as db:
            gone = dict.fromkeys(("ended_at", "end_known_at", "window_closes_at", "read_at"))
            await db.execute(update(calls).values(stage="live", **gone))
        return await fetch(*page, **options)

    monkeypatch.setattr(desk.ringcentral, "fetch_active_calls_page", revive_and_fetch)
    await desk.poll_for(12)
    call = await desk.call()
    assert (call.stage, call.primary_record_id, call.result) == ("live", None, None)
    async with desk.database.read() as db:
        assert await db.scalar(select(call_records.c.record_id)) == "rec-1", "it is kept for later"


async def test_a_record_in_progress_is_no_answer(desk: Desk) -> None:
    await desk.end_call()
    desk.ringcentral.active = [desk.show(result="In Progress", duration=None)]
    await desk.poll_for(20)
    assert (await desk.call()).stage == "ended"


async def test_a_queue_call_is_not_missed_while_the_record_of_its_winner_is_in_progress(desk: Desk) -> None:
    await desk.end_call()
    desk.clock.advance(4)
    missed = desk.show(record_id="missed", result="Missed", duration=0)
    desk.ringcentral.active = [missed, desk.show(record_id="won", result="In Progress", duration=None)]
    await desk.poll_for(8)
    assert (await desk.call()).stage == "ended"
    assert desk.ringcentral.asked
    desk.ringcentral.active = [missed, desk.show(record_id="won", result="Accepted", duration=40)]
    await desk.poll_for(12)
    call = await desk.call()
    assert (call.stage, call.outcome, call.primary_record_id) == ("bootstrapped", "answered", "won")


async def test_a_record_that_stays_in_progress_holds_the_others_back_only_for_a_while(desk: Desk) -> None:
    await desk.end_call()
    desk.ringcentral.active = [
        desk.show(record_id="done", result="Accepted", duration=40),
        desk.show(record_id="stuck", result="In Progress", duration=None),
    ]
    await desk.poll_for(19)
    assert (await desk.call()).stage == "ended"
    await desk.poll_for(41)
    call = await desk.call()
    assert (call.stage, call.primary_record_id) == ("bootstrapped", "done")


async def test_pages_are_read_until_everybody_is_found_and_not_one_more(desk: Desk) -> None:
    await desk.end_call(7)
    desk.clock.advance(12)
    desk.ringcentral.page_size = 2
    desk.ringcentral.active = [desk.show(number) for number in range(1, 20)]
    await desk.poller.step()
    assert desk.ringcentral.asked == [f"active-calls {page}" for page in range(1, 5)]


async def test_a_server_that_repeats_its_first_page_is_not_read_endlessly(desk: Desk) -> None:
    await desk.end_call(99)
    desk.clock.advance(12)
    desk.ringcentral.page_size, desk.ringcentral.repeats_pages = 2, True
    desk.ringcentral.active = [desk.show(number) for number in range(1, 20)]
    await desk.poller.step()
    assert desk.ringcentral.asked == ["active-calls 1", "active-calls 2"]


@pytest.mark.parametrize("failure", ["rate-limited", "unreachable"])
async def test_pages_read_before_a_refused_page_are_written(desk: Desk, failure: str) -> None:
    for number in (1, 2, 3):
        await desk.end_call(number)
    desk.clock.advance(12)
    desk.ringcentral.page_size = 1
    desk.ringcentral.active = [desk.show(number) for number in (1, 2, 3)]
    retry_at = desk.clock.now() + timedelta(seconds=60)
    desk.ringcentral.failures = {
        "active-calls 3": RateLimited("too fast", retry_at=retry_at)
        if failure == "rate-limited"
        else RingCentralUnreachable("bad gateway")
    }
    pause = await desk.poller.step()
    assert pause == pytest.approx(60.0 if failure == "rate-limited" else 2.0)
    assert desk.ringcentral.asked == ["active-calls 1", "active-calls 2", "active-calls 3"]
    assert [(await desk.call(number)).stage for number in (1, 2, 3)] == [
        "bootstrapped",
        "bootstrapped",
        "ended",
    ]
    waiting = await desk.call(3)
    assert (waiting.looks, waiting.last_missed_at) == (0, None), "nobody has looked through all of it"
    await desk.poll_for(70)
    assert (await desk.call(3)).stage == "bootstrapped"


async def test_a_poll_that_broke_off_is_planned_with_the_pages_that_it_needs(desk: Desk) -> None:
    await desk.end_call(9)
    desk.clock.advance(12)
    desk.ringcentral.page_size = 1
    desk.ringcentral.active = [desk.show(number) for number in (1, 2, 3)]
    desk.ringcentral.failures = {"active-calls 3": RingCentralUnreachable("bad gateway")}
    await desk.poller.step()
    async with desk.database.read() as db:
        row = (await db.execute(select(poll_targets))).one()
    assert row.memory["pages"] == 3
    assert (row.lease_owner, row.lease_until) == (None, None)


async def test_a_call_that_never_appears_teaches_that_some_never_do(desk: Desk) -> None:
    await desk.end_call()
    await desk.poll_for(80)
    assert (await desk.learnt())["samples"] == 0.0, "it may still appear"
    await desk.poll_for(39)
    assert (await desk.learnt())["samples"] == 1.0
    assert sum((await desk.learnt())["weights"]) < 0.95


async def test_a_call_that_was_not_polled_gives_no_observation(desk: Desk) -> None:
    await desk.end_call()
    await desk.poll_for(30)
    desk.ringcentral.failure = RateLimited("too fast", retry_at=desk.clock.now() + timedelta(seconds=100))
    await desk.poll_for(89)
    await desk.end_call(2)
    await desk.poll_for(2)
    assert (await desk.learnt())["samples"] == 0.0


async def test_no_poll_is_sent_during_a_penalty(desk: Desk) -> None:
    await desk.end_call()
    desk.clock.advance(12)
    desk.ringcentral.active = [desk.show()]
    desk.ringcentral.failure = RateLimited("too fast", retry_at=desk.clock.now() + timedelta(seconds=60))
    await desk.poll_for(59)
    assert desk.ringcentral.asked == ["active-calls 1"]
    await desk.poll_for(5)
    assert (await desk.call()).stage == "bootstrapped"


async def test_without_company_permission_the_own_extension_is_polled_and_the_rest_explained(
    desk: Desk,
) -> None:
    await desk.end_call(1, extensions=[ANA])
    await desk.end_call(2, extensions=[BEN])
    desk.clock.advance(12)
    desk.ringcentral.active = [desk.show(1)]
    desk.ringcentral.failure = PermissionMissing("no", permission="ReadCompanyCallLog", code="CMN-408")
    await desk.poll_for(5)
    assert desk.ringcentral.asked == ["active-calls 1", "token", f"active-calls 1 of {ANA}"]
    assert ((await desk.call(1)).stage, (await desk.call(2)).stage) == ("bootstrapped", "ended")
    problem = await desk.problem()
    assert problem is not None
    assert problem["code"] == "CMN-408"
    assert "ReadCompanyCallLog" in problem["detail"]


async def test_a_missing_app_scope_is_explained_and_not_retried(desk: Desk) -> None:
    await desk.end_call()
    desk.clock.advance(12)
    desk.ringcentral.failure = PermissionMissing("no", permission="ReadCallLog", code="CMN-401")
    await desk.poll_for(60)
    assert desk.ringcentral.asked == ["active-calls 1"]
    assert (await desk.problem() or {}).get("code") == "CMN-401"


async def test_a_failed_poll_is_tried_again(desk: Desk) -> None:
    await desk.end_call()
    desk.clock.advance(12)
    desk.ringcentral.active = [desk.show()]
    desk.ringcentral.failure = RingCentralUnreachable("timeout")
    await desk.poll_for(10)
    assert (await desk.call()).stage == "bootstrapped"
    assert await desk.problem() is None


async def test_another_replica_does_not_poll_while_the_lease_is_held(desk: Desk) -> None:
    await desk.end_call()
    desk.clock.advance(12)
    await desk.poller.step()
    async with desk.database.write() as db:
        held = {"lease_owner": "other", "lease_until": desk.clock.now() + timedelta(seconds=60)}
        await db.execute(update(poll_targets).values(held))
    asked = len(desk.ringcentral.asked)
    await desk.poll_for(20)
    assert len(desk.ringcentral.asked) == asked
    desk.clock.advance(60)
    await desk.poller.step()
    assert len(desk.ringcentral.asked) > asked, "a crashed replica's lease runs out"


async def test_a_turn_that_lost_its_lease_writes_nothing(desk: Desk) -> None:
    await desk.end_call()
    desk.clock.advance(12)
    desk.ringcentral.active = [desk.show()]
    fetch = desk.ringcentral.fetch_active_calls_page

    async def slow(page: int, per_page: int, **options: Any) -> object:
        answer = await fetch(page, per_page, **options)
        async with desk.database.write() as db:
            await db.execute(update(poll_targets).values(lease_owner="other"))
        return answer

    desk.ringcentral.fetch_active_calls_page = slow  # type: ignore[method-assign, assignment]
    await desk.poller.step()
    assert (await desk.call()).stage == "ended"
    async with desk.database.read() as db:
        assert (await db.execute(select(call_records))).all() == []


async def test_an_ended_call_that_no_event_announced_is_opened(desk: Desk) -> None:
    await desk.end_call(1)
    desk.clock.advance(12)
    desk.ringcentral.active = [
        desk.show(1),
        desk.show(2),
        desk.show(3, result="In Progress", duration=None),
        desk.show(4, type="Fax"),
    ]
    await desk.poller.step()
    stranger = await desk.call(2)
    assert (stranger.stage, stranger.source, stranger.session_id) == ("bootstrapped", "active-calls", "1002")
    async with desk.database.read() as db:
        ids = set(await db.scalars(select(call_records.c.record_id)))
    assert ids == {"rec-1", "rec-2"}


async def test_every_record_of_a_call_is_stored_and_the_connected_one_is_primary(desk: Desk) -> None:
    await desk.end_call()
    desk.clock.advance(12)
    desk.ringcentral.active = [
        desk.show(record_id="missed", result="Missed", duration=0),
        desk.show(record_id="answered", result="Accepted", duration=40),
    ]
    await desk.poller.step()
    call = await desk.call()
    assert (call.primary_record_id, call.outcome, call.duration_seconds) == ("answered", "answered", 40)
    async with desk.database.read() as db:
        assert len((await db.execute(select(call_records))).all()) == 2


async def test_credentials_of_another_account_are_noticed(desk: Desk) -> None:
    await desk.end_call()
    desk.clock.advance(12)
    desk.ringcentral.account_id = AccountId("1")
    desk.ringcentral.active = [desk.show(2), desk.show(3)]
    await desk.poller.step()
    problem = await desk.problem()
    assert problem is not None
    assert problem["code"] == "wrong-account"
    assert await desk.sessions() == {"s-1"}, "calls of another account are none of this one's"
    assert (await desk.call()).looks == 0


async def test_an_account_without_credentials_is_not_polled(desk: Desk) -> None:
    await desk.end_call()
    async with desk.database.write() as db:
        await db.execute(update(accounts).where(accounts.c.account_id == "~").values(bound_to="another"))
    await desk.poll_for(20)
    assert desk.ringcentral.asked == []


async def test_the_visibility_delay_is_learnt_and_stored(desk: Desk) -> None:
    await desk.end_call()
    await desk.poll_for(12)
    desk.ringcentral.active = [desk.show()]
    await desk.poll_for(10)
    async with desk.database.read() as db:
        row = (await db.execute(select(poll_targets).where(poll_targets.c.account_id == ACCOUNT))).one()
    assert row.visibility["samples"] == 1.0
    assert sum(row.memory["rhythm"]["counts"]) == 1


async def test_a_record_stored_during_the_call_applies_once_it_has_ended(desk: Desk) -> None:
    call = await desk.end_call()
    desk.clock.advance(12)
    desk.ringcentral.active = [desk.show()]
    async with desk.database.write() as db, open_ledger(db, ACCOUNT, desk.clock.now()) as ledger:
        read = read_call_record(desk.ringcentral.active[0])
        assert isinstance(read, CallRecord)
        loaded: dict[str, Call] = {call.call_id: call}
        await store_versions(ledger, loaded, {call.call_id: [read]}, Source.ACTIVE_CALLS, desk.clock.now())
    await desk.poller.step()
    found = await desk.call()
    assert (found.stage, found.primary_record_id, found.result) == ("bootstrapped", "rec-1", "Accepted")


async def add_users(desk: Desk, *names: str, **access: Any) -> None:
    """Add credentials of these users, who see the whole account unless `access` says otherwise."""
    async with desk.database.write() as db:
        await db.execute(
            insert(credentials),
            [
                {
                    "account_id": ACCOUNT,
                    "name": name,
                    "kind": "jwt",
                    "secret": VAULT.encrypt(Secret("app", "secret", "jwt-of-" + name).dump()),
                    "access": Access(owner_id=ExtensionId(name), **access).to_json(),
                    "updated_at": desk.clock.now(),
                }
                for name in names
            ],
        )
    desk.connections.forget()


async def pool_of(desk: Desk) -> list[str]:
    """The users whose buckets polls may use now."""
    desk.connections.forget()
    connections = await desk.connections.of(AccountId(ACCOUNT))
    return [item.name for item in pooled(connections)]


@pytest.fixture
def through(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The users through whom polls were sent, each of which takes a request from the user's bucket."""
    used: list[str] = []

    async def fetch(clock: Any, connection: Connection, *rest: Any) -> Any:
        slot = await connection.rates.acquire("heavy", Priority.POLL, None)
        used.append(connection.name)
        try:
            return await fetch_active_calls(clock, connection, *rest)
        finally:
            await connection.rates.settle(slot, Outcome(was_sent=True, at=clock.now(), status=200))

    monkeypatch.setattr(poller, "fetch_active_calls", fetch)
    return used


async def test_users_who_see_the_whole_account_poll_in_turn(desk: Desk, through: list[str]) -> None:
    await add_users(desk, "101", "102")
    await desk.end_call()
    await desk.poll_for(60)
    assert len(through) >= 4
    assert through[:4] == ["101", "102", "101", "102"]


async def test_a_refused_user_drops_out_at_once_and_comes_back(desk: Desk, through: list[str]) -> None:
    await add_users(desk, "101", "102")
    await desk.end_call()
    desk.clock.advance(12)
    desk.ringcentral.failure = PermissionMissing("no", permission="ReadCallLog", code="CMN-401")
    desk.ringcentral.active = [desk.show()]
    await desk.poll_for(0.1)
    assert through == ["101", "102"], "the other one does not wait"
    assert (await desk.call()).stage == "bootstrapped"
    assert await pool_of(desk) == ["102"]
    desk.clock.advance(3600)
    assert await pool_of(desk) == ["101", "102"]


async def test_a_penalty_of_one_user_does_not_stop_the_others(desk: Desk, through: list[str]) -> None:
    await add_users(desk, "101", "102")
    first = pooled(await desk.connections.of(AccountId(ACCOUNT)))[0]
    slot = await first.rates.acquire("heavy", Priority.POLL, None)
    now = desk.clock.now()
    penalty = Penalty(reach=Silence.BUCKET, until=now + timedelta(seconds=60))
    await first.rates.settle(slot, Outcome(was_sent=True, at=now, status=429, penalty=penalty))
    await desk.end_call()
    await desk.poll_for(50)
    assert through
    assert set(through) == {"102"}


async def test_a_user_who_sees_one_extension_never_polls_for_all(desk: Desk, through: list[str]) -> None:
    await add_users(desk, "101")
    await add_users(desk, "102", level=Level.EXTENSION, extension_id=ExtensionId("102"))
    await desk.end_call()
    await desk.poll_for(60)
    assert set(through) == {"101"}
