"""Changes reach endpoints: signed, in order, each once, and again until they are confirmed."""

import asyncio
from typing import Any

import pytest
from standardwebhooks import Webhook
from structlog.testing import capture_logs

from app import metrics
from app.calls.model import Stage
from app.clock import SystemClock
from app.errors import StorageUnavailable
from app.ops.figures.summary import load_summary
from app.ops.problems.model import Subject
from app.ops.prometheus.gauge_queries import read_gauges
from app.push.endpoints import store
from app.push.sending.outcomes import Outcomes
from app.push.sending.retry_plan import RETRY_SECONDS
from app.retention.rows import AttemptRemover
from app.retention.rules import retention_rules
from tests.factories_calls import CUSTOMER, seed_call, touch
from tests.fakes.receiver import Answer, Received, accept
from tests.integration.push.conftest import World

SEVERAL = 5


async def refuse(_: Received) -> int:
    return 500


async def refuse_for_good(_: Received) -> int:
    return 400


async def test_a_change_arrives_signed_with_its_cursor_as_id(world: World) -> None:
    await world.add_endpoint()
    call = await seed_call(world.database)
    await world.replica().settle()
    (got,) = world.receiver.received
    assert got.message["type"] == "call.bootstrapped"
    assert got.change["callId"] == call.call_id
    assert got.id == got.change["cursor"]
    assert CUSTOMER not in got.body.decode()
    assert await world.waiting() == []
    (attempt,) = await world.attempts()
    assert (attempt.outcome, attempt.status, attempt.number) == ("delivered", 204, 1)


async def test_the_official_library_verifies_what_arrives(world: World) -> None:
    world.clock.set(SystemClock().now())  # the library refuses old messages
    await world.add_endpoint()
    await seed_call(world.database)
    await world.replica().settle()
    (got,) = world.receiver.received
    assert Webhook(world.secret.text).verify(got.body, got.headers) == got.message


async def test_changes_before_the_endpoint_are_not_sent(world: World) -> None:
    await seed_call(world.database)
    await world.add_endpoint()
    later = await seed_call(world.database)
    await world.replica().settle()
    assert [one.change["callId"] for one in world.receiver.received] == [later.call_id]


async def test_what_fails_is_sent_again_after_its_pause_with_the_same_id(world: World) -> None:
    await world.add_endpoint()
    await seed_call(world.database)
    replica = world.replica()
    world.receiver.handler = refuse_for_good
    for pause in RETRY_SECONDS:
        await replica.settle()
        made = len(world.receiver.received)
        world.clock.advance(pause - 1)
        await replica.settle()
        assert len(world.receiver.received) == made
        world.clock.advance(1)
    await replica.settle()
    assert len(world.receiver.received) == len(RETRY_SECONDS) + 1
    assert len(set(world.receiver.ids)) == 1
    assert await world.waiting() == []
    assert [one.number for one in await world.attempts()] == list(range(1, len(RETRY_SECONDS) + 2))


async def test_later_changes_of_a_call_wait_for_the_one_that_failed_and_other_calls_do_not(
    world: World,
) -> None:
    await world.add_endpoint()
    first, other = await seed_call(world.database), await seed_call(world.database)
    replica = world.replica()

    async def refuse_first(got: Received) -> int:
        return 500 if got.change["callId"] == first.call_id else 204

    world.receiver.handler = refuse_first
    await replica.settle()
    await touch(world.database, first, "call.reconciled", world.clock.now())
    await touch(world.database, other, "call.reconciled", world.clock.now())
    await replica.settle()
    world.receiver.handler = accept
    world.clock.advance(RETRY_SECONDS[0])
    await replica.settle()
    by_call = {
        call.call_id: [
            one.change["version"] for one in world.receiver.received if one.change["callId"] == call.call_id
        ]
        for call in (first, other)
    }
    assert by_call == {first.call_id: [1, 1, 2], other.call_id: [1, 2]}
    assert await world.waiting() == []


async def test_latest_replaces_what_is_still_to_be_sent(world: World) -> None:
    await world.add_endpoint(deliver="latest")
    call = await seed_call(world.database)
    replica = world.replica()
    world.receiver.handler = refuse
    await replica.settle()
    for event in ("call.updated", "call.reconciled"):
        await touch(world.database, call, event, world.clock.now())
    world.receiver.handler = accept
    await replica.settle()
    assert [one.change["version"] for one in world.receiver.received] == [1, 3]
    assert await world.waiting() == []


async def test_types_and_filters_choose(world: World) -> None:
    await world.add_endpoint(
        types=["call.*"], filters={"internal": False, "main": True, "direction": "Inbound"}
    )
    wanted = await seed_call(world.database)
    await seed_call(world.database, internal=True)
    await seed_call(world.database, direction="Outbound")
    await touch(world.database, wanted, "note.created", world.clock.now())
    await world.replica().settle()
    assert [one.change["callId"] for one in world.receiver.received] == [wanted.call_id]


async def test_a_payload_with_the_call_has_it_as_it_is_now_unless_it_is_too_large(world: World) -> None:
    await world.add_endpoint(payload="call")
    small = await seed_call(world.database)
    large = await seed_call(world.database, parties=[{"name": "x" * 20_000}])
    await world.replica().settle()
    by_call = {one.change["callId"]: one.message["data"] for one in world.receiver.received}
    assert by_call[small.call_id]["call"]["from"]["phoneNumber"] == CUSTOMER
    assert "call" not in by_call[large.call_id]
    assert by_call[large.call_id]["callOmitted"] == "too-large"


async def test_a_call_is_sent_once_when_its_parts_are_there(world: World) -> None:
    await world.add_endpoint(
        deliver="onceWhenComplete", complete={"parts": ["record", "recording"], "longestWaitSeconds": 600}
    )
    waiting = {"record": {"state": "ready"}, "recording": {"state": "pending"}}
    replica = world.replica()
    call = await seed_call(world.database, readiness=waiting, has_recording=True)
    await replica.settle()
    assert world.receiver.received == []
    call.readiness = {**waiting, "recording": {"state": "ready"}}
    await touch(world.database, call, "recording.ready", world.clock.now())
    await touch(world.database, call, "note.created", world.clock.now())
    await replica.settle()
    await touch(world.database, call, "note.updated", world.clock.now())
    await replica.settle()
    (got,) = world.receiver.received
    assert got.message["type"] == "call.complete"
    assert got.message["data"]["missing"] == []
    assert got.change["version"] == 3


async def test_a_call_that_stays_incomplete_is_sent_after_the_longest_wait(world: World) -> None:
    await world.add_endpoint(
        deliver="onceWhenComplete", complete={"parts": ["recording"], "longestWaitSeconds": 600}
    )
    replica = world.replica()
    await seed_call(world.database, readiness={"recording": {"state": "pending"}})
    await replica.settle()
    world.clock.advance(600 + 95)
    await replica.settle()
    assert world.receiver.received == []
    world.clock.advance(2)
    await replica.settle()
    (got,) = world.receiver.received
    assert got.message["data"]["missing"] == ["recording"]
    await replica.settle()
    assert len(world.receiver.received) == 1


async def test_a_call_without_a_record_is_not_sent_as_complete(world: World) -> None:
    await world.add_endpoint(deliver="onceWhenComplete", complete={"longestWaitSeconds": 60})
    replica = world.replica()
    await seed_call(world.database, stage=Stage.ABSENT, event="call.absent", readiness={})
    world.clock.advance(3600)
    await replica.settle()
    assert world.receiver.received == []


async def test_an_endpoint_that_is_gone_is_disabled_and_keeps_its_messages(world: World) -> None:
    key = await world.add_endpoint()
    await seed_call(world.database)
    replica = world.replica()

    async def gone(_: Received) -> int:
        return 410

    world.receiver.handler = gone
    await replica.settle()
    await seed_call(world.database)
    await replica.settle()
    assert len(world.receiver.received) == 1
    assert (await world.endpoint(key)).condition.disabled_reason == "gone"
    async with world.database.write() as db:
        await store.change_endpoint(db, key, disabled_at=None, disabled_reason=None)
    world.receiver.handler = accept
    world.clock.advance(RETRY_SECONDS[0])
    await replica.settle()
    assert len(world.receiver.received) == 3
    assert len(set(world.receiver.ids)) == 2


async def test_retry_after_holds_the_whole_endpoint(world: World) -> None:
    await world.add_endpoint(atOnce=1)
    for _ in range(SEVERAL):
        await seed_call(world.database)
    replica = world.replica()

    async def busy(_: Received) -> Answer:
        return 429, {"retry-after": "120"}

    world.receiver.handler = busy
    await replica.settle()
    made = len(world.receiver.received)
    assert made == 1  # the others were not tried
    assert [one.attempts for one in await world.waiting()] == [1, *[0] * (SEVERAL - 1)]
    world.clock.advance(119)
    await seed_call(world.database)
    await replica.settle()
    assert len(world.receiver.received) == made
    world.receiver.handler = accept
    world.clock.advance(1)
    await replica.settle()
    assert len(set(world.receiver.ids)) == SEVERAL + 1
    assert await world.waiting() == []


async def test_requests_run_at_once_up_to_the_limit_of_the_endpoint(world: World) -> None:
    await world.add_endpoint(atOnce=3)
    for _ in range(2 * SEVERAL):
        await seed_call(world.database)
    running = most = 0
    all_at_once = asyncio.Event()

    async def watch(_: Received) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            all_at_once.set()
        await all_at_once.wait()
        await asyncio.sleep(0.005)
        running -= 1
        return 200

    world.receiver.handler = watch
    await world.replica().settle()
    assert len(set(world.receiver.ids)) == 2 * SEVERAL
    assert most == 3


async def test_an_outage_while_several_are_sent_is_not_logged_as_a_fault(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.add_endpoint(atOnce=2)
    for _ in range(SEVERAL):
        await seed_call(world.database)

    async def fail(*_: object) -> None:
        raise StorageUnavailable("the database did not answer")

    replica = world.replica()
    await replica.spreader.step()
    monkeypatch.setattr(Outcomes, "record", fail)
    with capture_logs() as logs:
        await replica.sender.step()
    assert world.receiver.received
    assert [line["event"] for line in logs] == ["a lane waits for the database"]


async def test_requests_begin_no_faster_than_the_endpoint_allows(world: World) -> None:
    await world.add_endpoint(perSecond=2, atOnce=1)
    for _ in range(SEVERAL):
        await seed_call(world.database)
    await world.replica().settle()
    assert len(world.receiver.received) == SEVERAL
    assert sum(world.clock.slept) >= (SEVERAL - 1) / 2


async def test_a_disabled_endpoint_is_a_problem_to_fix_and_counted(
    world: World, make_settings: Any, database_url: str
) -> None:
    key = await world.add_endpoint("https://crm.example/hooks/secret-path")
    async with world.database.write() as db:
        await store.change_endpoint(db, key, disabled_at=world.clock.now(), disabled_reason="failing")
    settings = make_settings(database_url=database_url)
    async with world.database.read() as db:
        summary = await load_summary(db, None, settings, world.clock.now())
        gauges = await read_gauges(db, settings, world.clock.now())
    (problem,) = [one for one in summary.problems if one.about is Subject.WEBHOOK]
    assert problem.title == "A webhook endpoint was disabled"
    assert f"{key.endpoint_id} at crm.example " in problem.detail
    assert [one.endpoint.key for one in summary.endpoints] == [key]
    assert gauges.by_state[metrics.WEBHOOK_ENDPOINTS] == {"disabled": 1}


async def test_old_attempts_are_removed(world: World, make_settings: Any) -> None:
    await world.add_endpoint()
    await seed_call(world.database)
    await world.replica().settle()
    remover = AttemptRemover(world.database, world.clock, retention_rules(make_settings()))
    await remover.remove()
    assert len(await world.attempts()) == 1
    world.clock.advance(31 * 86_400)
    await remover.remove()
    assert await world.attempts() == []
