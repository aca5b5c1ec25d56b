"""Webhook endpoints by the API: created, changed, tried out, looked into, and made to send again."""

from collections.abc import AsyncIterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from standardwebhooks import Webhook, WebhookVerificationError

from app.api import keys
from app.api.dependencies import Services
from app.calls import accounts
from app.clock import SystemClock
from app.db.engine import Database
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.push.endpoints import store
from app.push.endpoints.model import EndpointKey
from app.push.payloads.examples import NAMES
from tests.conftest import build_app, open_client
from tests.factories_calls import ACCOUNT, seed_call, touch
from tests.fakes.clock import FakeClock
from tests.fakes.receiver import Received, accept
from tests.integration.push.conftest import World

PATH = "/v1/webhook-endpoints"


@pytest.fixture
def settings(make_settings: Any, database_url: str) -> Any:
    return make_settings(database_url=database_url, push_allow_http=True, push_allow_networks="127.0.0.0/8")


@pytest.fixture
async def client(services: Services, world: World, api_key: str) -> AsyncIterator[httpx.AsyncClient]:
    app: FastAPI = build_app(services)
    app.state.process = SimpleNamespace(webhooks=world.client)
    async with open_client(app, api_key) as opened:
        yield opened


async def create(client: httpx.AsyncClient, world: World, **body: Any) -> dict[str, Any]:
    answer = await client.post(PATH, json={"url": world.receiver.url, **body})
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created


async def limited_key(database: Database, clock: FakeClock, *scopes: str) -> str:
    async with database.write() as db:
        return (await keys.create_key(db, UNBOUND_ACCOUNT, "limited", clock.now(), scopes)).plain


async def test_an_endpoint_is_created_listed_changed_and_deleted(
    client: httpx.AsyncClient, world: World
) -> None:
    created = await create(client, world, types=["call.*"], description="mine")
    secret = created.pop("secret")
    assert secret.startswith("whsec_")
    assert created["warnings"] == []
    place = f"{PATH}/{created['id']}"
    assert (await client.get(place)).json() == created
    assert (await client.get(PATH)).json() == {"data": [created], "nextCursor": None}
    assert (created["payload"], created["deliver"], created["enabled"]) == ("thin", "each", True)
    changed = await client.patch(
        place, json={"deliver": "latest", "filters": {"main": True}, "perSecond": 5, "description": None}
    )
    assert changed.status_code == 200, changed.text
    shown = changed.json()
    assert (shown["deliver"], shown["filters"]["main"], shown["perSecond"]) == ("latest", True, 5)
    assert (shown["types"], shown["description"]) == (["call.*"], None)
    assert (await client.patch(place, json={"perSecond": None})).json()["perSecond"] is None
    assert (await client.delete(place)).status_code == 204
    for answer in (await client.get(place), await client.delete(place), await client.patch(place, json={})):
        assert answer.status_code == 404
        assert answer.json()["type"] == "/problems/not-found"


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        ({"url": "https://10.0.0.1/"}, 422, "not public"),
        ({"url": "https://user@crm.example/"}, 422, "user"),
        ({"url": "ftp://crm.example/"}, 422, "url"),
        ({"types": ["call.gone"]}, 400, "call.gone"),
        ({"types": []}, 422, "types"),
        ({"cursor": "99-0a"}, 410, "startFrom"),
        ({"payload": "everything"}, 422, "payload"),
        ({"atOnce": 1000}, 422, "atOnce"),
        ({"nonsense": 1}, 422, "nonsense"),
    ],
)
async def test_what_cannot_work_is_refused(
    client: httpx.AsyncClient, world: World, body: dict[str, Any], status: int, named: str
) -> None:
    answer = await client.post(PATH, json={"url": world.receiver.url, **body})
    assert answer.status_code == status, answer.text
    assert named in answer.text


async def test_each_route_needs_the_scope_and_calls_another_one(
    client: httpx.AsyncClient, world: World, clock: FakeClock
) -> None:
    reader = await limited_key(world.database, clock, "calls:read")
    answer = await client.get(PATH, headers={"Authorization": f"Bearer {reader}"})
    assert (answer.status_code, answer.json()["requiredScope"]) == (403, "webhooks:write")
    client.headers["Authorization"] = f"Bearer {await limited_key(world.database, clock, 'webhooks:write')}"
    await create(client, world)
    refused = await client.post(PATH, json={"url": world.receiver.url, "payload": "call"})
    assert (refused.status_code, refused.json()["requiredScope"]) == (403, "calls:read")


async def test_endpoints_of_another_account_do_not_exist(client: httpx.AsyncClient, world: World) -> None:
    other = await world.add_endpoint(account_id=AccountId("908070009"))
    assert (await client.get(f"{PATH}/{other.endpoint_id}")).status_code == 404
    assert (await client.get(PATH)).json()["data"] == []


async def test_both_secrets_sign_for_a_day_after_a_rotation(client: httpx.AsyncClient, world: World) -> None:
    world.clock.set(SystemClock().now())  # the library refuses old messages
    created = await create(client, world)
    place, old = f"{PATH}/{created['id']}", created["secret"]
    rotated = (await client.post(f"{place}/secrets")).json()
    new = rotated["secret"]
    call, replica = await seed_call(world.database), world.replica()
    await replica.settle()
    (got,) = world.receiver.received
    for secret in (old, new):
        assert Webhook(secret).verify(got.body, got.headers)
    begun = world.clock.now()
    world.clock.advance(timedelta(days=1).total_seconds())
    await touch(world.database, call, "call.updated", world.clock.now())
    await replica.settle()
    late = world.receiver.received[-1]
    assert len(late.headers["webhook-signature"].split()) == 1
    assert rotated["previousUntil"] > begun.isoformat()[:10]
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(late.body, late.headers)


async def test_a_test_message_of_each_type_arrives_signed(client: httpx.AsyncClient, world: World) -> None:
    world.clock.set(SystemClock().now())
    created = await create(client, world)
    for name in NAMES:
        answer = await client.post(f"{PATH}/{created['id']}/test", json={"type": name})
        assert answer.status_code == 200, answer.text
        got = world.receiver.received[-1]
        message: Any = Webhook(created["secret"]).verify(got.body, got.headers)
        assert (message["type"], message["data"]["test"]) == (name, True)
        assert answer.json()["webhookId"] == got.id
        assert (answer.json()["outcome"], answer.json()["isTest"]) == ("delivered", True)
    assert len(set(world.receiver.ids)) == len(NAMES)


async def test_a_test_message_that_fails_says_why_and_changes_nothing(
    client: httpx.AsyncClient, world: World
) -> None:
    created = await create(client, world)

    async def refuse(_: Received) -> int:
        return 418

    world.receiver.handler = refuse
    place = f"{PATH}/{created['id']}"
    tried = (await client.post(f"{place}/test", json={"type": "call.final"})).json()
    assert (tried["outcome"], tried["status"], tried["nextAttemptAt"]) == ("failed", 418, None)
    assert (await client.get(place)).json()["failures"] == 0
    unknown = await client.post(f"{place}/test", json={"type": "call.gone"})
    assert (unknown.status_code, "call.complete" in unknown.json()["detail"]) == (400, True)
    again = await client.post(f"{place}/attempts/{tried['id']}/resend")
    assert again.status_code == 400


async def test_attempts_are_listed_newest_first_and_in_pages(client: httpx.AsyncClient, world: World) -> None:
    created = await create(client, world)
    for _ in range(3):
        world.clock.advance(1)
        await seed_call(world.database)
        await world.replica().settle()
    path = f"{PATH}/{created['id']}/attempts"
    whole = (await client.get(path)).json()
    assert [one["webhookId"] for one in whole["data"]] == world.receiver.ids[::-1]
    first = (await client.get(path, params={"limit": 2})).json()
    rest = (await client.get(path, params={"limit": 2, "cursor": first["nextCursor"]})).json()
    assert first["data"] + rest["data"] == whole["data"]
    assert rest["nextCursor"] is None
    one = (await client.get(path, params={"webhookId": world.receiver.ids[0]})).json()
    assert one["data"] == whole["data"][-1:]
    assert (await client.get(path, params={"outcome": "failed"})).json()["data"] == []


async def test_a_message_is_sent_again_by_its_attempt_or_by_its_webhook_id(
    client: httpx.AsyncClient, world: World
) -> None:
    created = await create(client, world)
    await seed_call(world.database)
    replica = world.replica()
    await replica.settle()
    (attempt,) = await world.attempts()
    place = f"{PATH}/{created['id']}/attempts"
    for name in (attempt.attempt_id, attempt.message_id):
        answer = await client.post(f"{place}/{name}/resend")
        assert answer.status_code == 202, answer.text
        assert answer.json()["webhookId"] == attempt.message_id
        await replica.settle()
    assert world.receiver.ids == [attempt.message_id] * 3
    for name in ("att_" + "0" * 26, "77-0a"):
        assert (await client.post(f"{place}/{name}/resend")).status_code == 404


async def test_a_message_that_waits_for_its_retry_is_sent_at_once(
    client: httpx.AsyncClient, world: World
) -> None:
    created = await create(client, world)

    async def refuse(_: Received) -> int:
        return 500

    world.receiver.handler = refuse
    await seed_call(world.database)
    replica = world.replica()
    await replica.settle()
    world.receiver.handler = accept
    (attempt,) = await world.attempts()
    await client.post(f"{PATH}/{created['id']}/attempts/{attempt.attempt_id}/resend")
    await replica.settle()
    assert len(world.receiver.received) == 2
    assert await world.waiting() == []


@pytest.mark.parametrize(("include", "expected"), [("undelivered", 2), ("all", 4)])
async def test_a_range_is_sent_again(
    client: httpx.AsyncClient, world: World, include: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.push.spreading.spread.BATCH", 2)
    created = await create(client, world)
    place = f"{PATH}/{created['id']}"
    replica = world.replica()
    for number in range(4):
        call = await seed_call(world.database)
        if number % 2:
            # It never arrives: given up long ago.
            async with world.database.write() as db:
                await store.change_endpoint(
                    db, EndpointKey(ACCOUNT, created["id"]), position_seq=call.changed_seq
                )
        await replica.settle()
    arrived = len(world.receiver.received)
    assert arrived == 2
    answer = await client.post(f"{place}/recover", json={"since": "0", "include": include})
    assert answer.status_code == 202, answer.text
    assert answer.json()["recovery"] == {
        "since": "0",
        "after": "0",
        "until": "4",
        "include": include,
    }
    assert (await client.post(f"{place}/recover", json={"since": "0"})).status_code == 409
    await replica.settle()
    assert len(world.receiver.received) == arrived + expected
    assert (await client.get(place)).json()["recovery"] is None


async def test_a_range_can_be_named_by_times(client: httpx.AsyncClient, world: World) -> None:
    created = await create(client, world)
    replica = world.replica()
    times = []
    for _ in range(3):
        times.append(world.clock.advance(60))
        await seed_call(world.database, now=world.clock.now())
    await replica.settle()
    before = len(world.receiver.received)
    body = {"since": times[1].isoformat(), "until": times[2].isoformat(), "include": "all"}
    answer = await client.post(f"{PATH}/{created['id']}/recover", json=body)
    assert answer.json()["recovery"] == {
        "since": "1",
        "after": "1",
        "until": "2",
        "include": "all",
    }
    await replica.settle()
    assert len(world.receiver.received) == before + 1
    nothing = await client.post(f"{PATH}/{created['id']}/recover", json={"since": "3"})
    assert nothing.status_code == 422


async def test_a_paused_endpoint_continues_where_it_stopped_or_from_now(
    client: httpx.AsyncClient, world: World
) -> None:
    created = await create(client, world)
    place = f"{PATH}/{created['id']}"
    replica = world.replica()
    paused = (await client.patch(place, json={"enabled": False})).json()
    assert (paused["enabled"], paused["disabledReason"]) == (False, "paused")
    await seed_call(world.database)
    await replica.settle()
    assert world.receiver.received == []
    await client.patch(place, json={"enabled": True})
    await replica.settle()
    assert len(world.receiver.received) == 1
    await client.patch(place, json={"enabled": False})
    await seed_call(world.database)
    resumed = (await client.patch(place, json={"enabled": True, "cursor": "now"})).json()
    assert (resumed["cursor"], resumed["waiting"]) == ("2", 0)
    await replica.settle()
    assert len(world.receiver.received) == 1


async def test_an_endpoint_catches_up_from_a_cursor(client: httpx.AsyncClient, world: World) -> None:
    for _ in range(2):
        await seed_call(world.database)
    await create(client, world, cursor="1")
    await world.replica().settle()
    assert [one.change["seq"] for one in world.receiver.received] == [2]
    feed = await client.get("/v1/changes", params={"cursor": world.receiver.ids[-1]})
    assert (feed.status_code, feed.json()["data"]) == (200, [])


async def test_endpoints_of_the_own_account_follow_it_when_it_becomes_known(
    services: Services, database: Database, clock: FakeClock
) -> None:
    async with database.write() as db:
        await accounts.open_unbound(db, clock.now())
        plain = (await keys.create_key(db, UNBOUND_ACCOUNT, "tests", clock.now())).plain
    async with open_client(build_app(services), plain) as early:
        made = await early.post(PATH, json={"url": "https://connector.example/hook"})
        assert made.status_code == 201, made.text
    await seed_call(database)
    async with database.write() as db:
        await accounts.bind(db, ACCOUNT, clock.now())
    async with database.read() as db:
        (endpoint,) = await store.list_endpoints(db, ACCOUNT)
    assert (endpoint.key.endpoint_id, endpoint.position) == (made.json()["id"], 1)
