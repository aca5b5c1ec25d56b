"""After an outage everything that waited is sent, and an outage wears no message out."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.api.dependencies import Services
from app.push.endpoints.model import EndpointKey
from app.push.sending.retry_plan import RETRY_SECONDS
from app.push.sending.waiting import begin_anew, bring_forward
from tests.conftest import build_app, open_client
from tests.factories_calls import ACCOUNT, seed_call, touch
from tests.fakes.receiver import Received, accept
from tests.integration.push.conftest import Replica, World

PATH = "/v1/webhook-endpoints"
SEVERAL = 8


@pytest.fixture
def settings(make_settings: Any, database_url: str) -> Any:
    return make_settings(database_url=database_url, push_allow_http=True, push_allow_networks="127.0.0.0/8")


@pytest.fixture
async def client(services: Services, world: World, api_key: str) -> AsyncIterator[httpx.AsyncClient]:
    app: FastAPI = build_app(services)
    app.state.process = SimpleNamespace(webhooks=world.client)
    async with open_client(app, api_key) as opened:
        yield opened


async def fail(_: Received) -> int:
    return 503


async def refuse(_: Received) -> int:
    return 400


async def fill(world: World, replica: Replica, number: int = SEVERAL) -> None:
    """Make messages of as many calls, and spread them without sending."""
    for _ in range(number):
        await seed_call(world.database)
    while await replica.spreader.step() is not None:
        pass


async def wear_out(world: World, replica: Replica, attempts: int) -> None:
    """Let what is due fail so often."""
    for pause in RETRY_SECONDS[: attempts - 1]:
        await replica.settle()
        world.clock.advance(pause)
    await replica.settle()


async def states(world: World) -> list[tuple[int, float]]:
    """Return the attempts of each waiting message and the seconds until it is due, in order."""
    now = world.clock.now()
    return [(row.attempts, max(0.0, (row.due_at - now).total_seconds())) for row in await world.waiting()]


@pytest.mark.parametrize("at_once", [1, 4])
async def test_a_restart_of_a_second_costs_the_backlog_nothing(world: World, at_once: int) -> None:
    await world.add_endpoint(atOnce=at_once)
    replica = world.replica()
    await fill(world, replica)
    world.receiver.handler = fail
    await replica.settle()
    tried = len(world.receiver.received)
    assert tried <= at_once + 1
    assert sum(attempts for attempts, _ in await states(world)) == tried
    world.receiver.handler = accept
    world.clock.advance(5)
    await replica.settle()
    assert await world.waiting() == []
    assert len(world.receiver.received) == tried + SEVERAL


async def test_an_endpoint_that_is_away_is_tried_with_one_message_at_growing_pauses(world: World) -> None:
    key = await world.add_endpoint(atOnce=4)
    replica = world.replica()
    await fill(world, replica)
    world.receiver.handler = fail
    await replica.settle()

    async def held_until() -> datetime:
        held_until = (await world.endpoint(key)).condition.held_until
        assert held_until is not None
        return held_until

    pauses, tried = [], []
    for _ in range(8):
        before = len(world.receiver.received)
        pauses.append((await held_until() - world.clock.now()).total_seconds())
        world.clock.set(await held_until())
        await replica.settle()
        tried.append(len(world.receiver.received) - before)
    assert pauses == [5, 5, 10, 20, 40, 80, 160, 300]
    assert tried == [1] * 8
    world.receiver.handler = accept
    world.clock.set(await held_until())
    await replica.settle()
    assert await world.waiting() == []


async def test_the_first_success_sends_what_failed_several_times(world: World) -> None:
    await world.add_endpoint()
    replica = world.replica()
    await seed_call(world.database)
    world.receiver.handler = fail
    await wear_out(world, replica, 5)
    assert await states(world) == [(5, RETRY_SECONDS[4])]
    world.receiver.handler = accept
    world.clock.advance(300)
    later = await seed_call(world.database)
    await replica.settle()
    assert await world.waiting() == []
    assert [one.change["callId"] for one in world.receiver.received][-2] == later.call_id


async def test_a_refused_message_keeps_its_schedule_while_others_are_confirmed(world: World) -> None:
    await world.add_endpoint()
    replica = world.replica()
    bad = await seed_call(world.database)

    async def refuse_bad(got: Received) -> int:
        return 400 if got.change["callId"] == bad.call_id else 204

    world.receiver.handler = refuse_bad
    await wear_out(world, replica, 3)
    for _ in range(3):
        await seed_call(world.database)
        await replica.settle()
    assert await states(world) == [(3, RETRY_SECONDS[2])]


async def test_a_failure_between_successes_waits_a_part_of_its_pause(world: World) -> None:
    await world.add_endpoint()
    replica = world.replica()
    bad = await seed_call(world.database)

    async def fail_bad(got: Received) -> int:
        return 500 if got.change["callId"] == bad.call_id else 204

    world.receiver.handler = fail_bad
    await replica.settle()
    for attempts, pause in ((2, 30.0), (3, 180.0), (4, 720.0)):
        await seed_call(world.database)
        await replica.settle()
        world.clock.advance((await states(world))[0][1])
        await replica.settle()
        # The success of a neighbour brings it forward, but not at once.
        await seed_call(world.database)
        await replica.settle()
        assert await states(world) == [(attempts, pause)]


async def test_what_waits_behind_a_failure_comes_forward_with_it_in_order(world: World) -> None:
    await world.add_endpoint()
    replica = world.replica()
    call = await seed_call(world.database)
    world.receiver.handler = fail
    await wear_out(world, replica, 4)
    for event in ("call.updated", "call.reconciled"):
        await touch(world.database, call, event, world.clock.now())
    await replica.settle()
    assert [due for _, due in await states(world)] == [RETRY_SECONDS[3]] * 3
    world.receiver.handler = accept
    world.clock.advance(300)
    await seed_call(world.database)
    await replica.settle()
    assert await world.waiting() == []
    versions = [
        one.change["version"] for one in world.receiver.received if one.change["callId"] == call.call_id
    ]
    assert versions == [1, 1, 1, 1, 1, 2, 3]


async def test_messages_of_the_previous_version_keep_their_schedule(world: World) -> None:
    key = await world.add_endpoint()
    await fill(world, world.replica(), 1)
    now = world.clock.now()
    async with world.database.write() as db:
        await begin_anew(db, key, now + timedelta(seconds=60))
        await bring_forward(db, key, now)
    assert await states(world) == [(0, 60.0)]


async def create(client: httpx.AsyncClient, world: World, **body: Any) -> str:
    answer = await client.post(PATH, json={"url": world.receiver.url, **body})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.mark.parametrize("include", ["undelivered", "all"])
async def test_a_recovery_sends_what_waits_for_its_retry_with_attempts_begun_anew(
    client: httpx.AsyncClient, world: World, include: str
) -> None:
    endpoint = await create(client, world)
    replica = world.replica()
    await fill(world, replica, 3)
    world.receiver.handler = refuse
    await wear_out(world, replica, 4)
    answer = await client.post(f"{PATH}/{endpoint}/recover", json={"since": "1", "include": include})
    assert answer.status_code == 202, answer.text
    assert answer.json()["queued"] == 2
    assert answer.json()["recovery"] == {"since": "1", "after": "1", "until": "3", "include": include}
    assert await states(world) == [(4, RETRY_SECONDS[3]), (0, 0.0), (0, 0.0)]
    await replica.settle()
    assert await states(world) == [(4, RETRY_SECONDS[3]), *[(1, RETRY_SECONDS[0])] * 2]
    world.receiver.handler = accept
    answer = await client.post(f"{PATH}/{endpoint}/recover", json={"since": "0", "include": include})
    assert answer.json()["queued"] == 3
    await replica.settle()
    assert await world.waiting() == []


async def test_a_recovery_tries_an_endpoint_that_has_a_pause_at_once(
    client: httpx.AsyncClient, world: World
) -> None:
    endpoint = await create(client, world)
    replica = world.replica()
    await fill(world, replica)
    world.receiver.handler = fail
    await replica.settle()
    shown = (await client.get(f"{PATH}/{endpoint}")).json()
    assert shown["heldUntil"] is not None
    assert shown["nextAttemptAt"] == shown["heldUntil"]
    world.receiver.handler = accept
    await client.post(f"{PATH}/{endpoint}/recover", json={"since": "0"})
    await replica.settle()
    assert await world.waiting() == []


async def test_earlier_changes_of_a_call_come_before_those_of_the_range(
    client: httpx.AsyncClient, world: World
) -> None:
    endpoint = await create(client, world)
    replica = world.replica()
    call = await seed_call(world.database)
    await touch(world.database, call, "call.updated", world.clock.now())
    world.receiver.handler = fail
    await wear_out(world, replica, 3)
    world.receiver.handler = accept
    answer = await client.post(f"{PATH}/{endpoint}/recover", json={"since": "1"})
    assert answer.json()["queued"] == 1
    await replica.settle()
    assert [one.change["version"] for one in world.receiver.received][-2:] == [1, 2]
    assert await world.waiting() == []


async def test_a_confirmed_test_message_ends_an_outage_and_a_failed_one_changes_nothing(
    client: httpx.AsyncClient, world: World
) -> None:
    endpoint = await create(client, world)
    replica = world.replica()
    await fill(world, replica, 2)
    world.receiver.handler = fail
    await wear_out(world, replica, 4)
    waiting = await states(world)
    await client.post(f"{PATH}/{endpoint}/test", json={"type": "call.final"})
    assert await states(world) == waiting
    world.receiver.handler = accept
    world.clock.advance(5)
    await client.post(f"{PATH}/{endpoint}/test", json={"type": "call.final"})
    shown = (await client.get(f"{PATH}/{endpoint}")).json()
    assert (shown["failures"], shown["failingSince"], shown["heldUntil"]) == (0, None, None)
    assert shown["lastSuccessAt"] is not None
    await replica.settle()
    assert await world.waiting() == []


async def test_an_endpoint_that_is_enabled_again_gets_everything_at_once(
    client: httpx.AsyncClient, world: World
) -> None:
    endpoint = await create(client, world)
    replica = world.replica()
    await fill(world, replica, 2)
    world.receiver.handler = refuse
    await wear_out(world, replica, 4)
    place = f"{PATH}/{endpoint}"
    assert (await client.patch(place, json={"enabled": False})).json()["nextAttemptAt"] is None
    assert (await client.patch(place, json={"enabled": True})).json()["waiting"] == 2
    assert await states(world) == [(0, 0.0)] * 2
    world.receiver.handler = accept
    await replica.settle()
    assert await world.waiting() == []


async def test_what_waits_is_listed_with_the_reason(client: httpx.AsyncClient, world: World) -> None:
    endpoint = await create(client, world)
    path, replica = f"{PATH}/{endpoint}/messages", world.replica()
    call = await seed_call(world.database)
    world.receiver.handler = fail
    await wear_out(world, replica, 3)
    await touch(world.database, call, "call.updated", world.clock.now())
    await replica.spreader.step()
    due = await seed_call(world.database)
    await replica.spreader.step()
    whole = (await client.get(path)).json()
    shown = [(one["callId"], one["reason"], one["attempts"], one["status"]) for one in whole["data"]]
    assert shown == [
        (call.call_id, "retry", 3, 503),
        (call.call_id, "earlier-change", 0, None),
        (due.call_id, "held", 0, None),
    ]
    assert whole["data"][0]["nextAttemptAt"] == whole["data"][1]["nextAttemptAt"] is not None
    first = (await client.get(path, params={"limit": 2})).json()
    rest = (await client.get(path, params={"limit": 2, "cursor": first["nextCursor"]})).json()
    assert first["data"] + rest["data"] == whole["data"]
    assert (whole["nextCursor"], rest["nextCursor"]) == (None, None)
    await client.post(f"{PATH}/{endpoint}/recover", json={"since": "0"})
    assert {one["reason"] for one in (await client.get(path)).json()["data"]} == {"due"}
    await client.patch(f"{PATH}/{endpoint}", json={"enabled": False})
    disabled = (await client.get(path)).json()["data"]
    assert {(one["reason"], one["nextAttemptAt"]) for one in disabled} == {("disabled", None)}
    other = await world.add_endpoint()
    assert (await client.get(f"{PATH}/{other.endpoint_id}/messages")).json()["data"] == []
    assert (await client.get(f"{PATH}/whe_{'0' * 26}/messages")).status_code == 404


async def test_a_second_endpoint_with_the_same_address_gets_a_warning(
    client: httpx.AsyncClient, world: World
) -> None:
    body = {"url": world.receiver.url}
    first = (await client.post(PATH, json=body)).json()
    assert first["warnings"] == []
    second = (await client.post(PATH, json=body)).json()
    (warning,) = second["warnings"]
    assert warning["code"] == "same-url"
    assert first["id"] in warning["detail"]
    assert [one["warnings"][0]["code"] for one in (await client.get(PATH)).json()["data"]] == ["same-url"] * 2
    path = f"{PATH}/{second['id']}"
    moved = (await client.patch(path, json={"url": f"{body['url']}/own"})).json()
    assert moved["warnings"] == []
    back = (await client.patch(path, json=body)).json()
    assert [one["code"] for one in back["warnings"]] == ["same-url"]
    paused = (await client.patch(path, json={"enabled": False})).json()
    assert paused["warnings"] == []
    assert (await client.get(f"{PATH}/{first['id']}")).json()["warnings"] == []
    await client.patch(f"{PATH}/{first['id']}", json={"enabled": False})
    assert (await client.post(PATH, json=body)).json()["warnings"] == []


async def test_changes_by_the_own_key_can_be_left_out(client: httpx.AsyncClient, world: World) -> None:
    endpoint = await create(client, world, exclude="own")
    await create(client, world)
    call, replica = await seed_call(world.database), world.replica()
    key_id = (await world.endpoint(EndpointKey(ACCOUNT, endpoint))).created_by
    for maker in (key_id, "key_of_somebody_else"):
        await touch(world.database, call, "note.created", world.clock.now(), keyId=maker)
    await replica.settle()
    sent = [(one.change["type"], one.change["data"].get("keyId")) for one in world.receiver.received]
    assert sent.count(("note.created", key_id)) == 1
    assert sent.count(("note.created", "key_of_somebody_else")) == 2
    shown = (await client.patch(f"{PATH}/{endpoint}", json={"exclude": None})).json()
    assert shown["exclude"] is None
