"""Lists of calls: every filter and order uses an index, and pages neither skip nor repeat calls."""

import base64
from datetime import timedelta
from typing import Any

import httpx
import pytest
from pydantic_core import to_json

from app.calls.ledger import open_ledger
from app.calls.listing.cursors import digest_of
from app.calls.listing.filters import ListQuery, Order
from app.calls.model import Call, Outcome, Stage
from app.db.engine import Database
from tests.factories_calls import (
    ACCOUNT,
    ANA,
    BEN,
    seed_call,
    seed_link,
    seed_note,
    seed_sentiment,
    touch,
)
from tests.fakes.clock import START

MINUTE = timedelta(minutes=1)


async def ids(client: httpx.AsyncClient, **params: Any) -> list[str]:
    answer = await client.get("/v1/calls", params=params)
    assert answer.status_code == 200, answer.text
    return [call["id"] for call in answer.json()["data"]]


async def walk(client: httpx.AsyncClient, **params: Any) -> list[str]:
    """Follow `nextCursor` to the end."""
    found: list[str] = []
    cursor = None
    while True:
        asked = params | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/v1/calls", params=asked)).json()
        assert len(page["data"]) <= params.get("limit", 50)
        found += [call["id"] for call in page["data"]]
        cursor = page["nextCursor"]
        if cursor is None:
            return found


async def test_the_newest_calls_come_first(client: httpx.AsyncClient, database: Database) -> None:
    seeded = [await seed_call(database, started_at=START + number * MINUTE) for number in range(3)]
    newest_first = [call.call_id for call in reversed(seeded)]
    assert await ids(client) == newest_first
    assert await ids(client, order="startTime") == newest_first[::-1]


async def test_calls_can_be_listed_by_their_last_change(
    client: httpx.AsyncClient, database: Database
) -> None:
    one, two, three = [await seed_call(database, started_at=START + number * MINUTE) for number in range(3)]
    await touch(database, two, "call.updated", START)
    assert await ids(client, order="-updatedAt") == [two.call_id, three.call_id, one.call_id]
    assert await ids(client, order="updatedAt") == [one.call_id, three.call_id, two.call_id]


async def test_a_list_by_end_has_only_ended_calls(client: httpx.AsyncClient, database: Database) -> None:
    late = await seed_call(database, started_at=START, ended_at=START + 9 * MINUTE)
    early = await seed_call(database, started_at=START + MINUTE, ended_at=START + 2 * MINUTE)
    await seed_call(database, stage=Stage.LIVE, ended_at=None)
    assert await ids(client, order="-endTime") == [late.call_id, early.call_id]
    assert await ids(client, order="endTime") == [early.call_id, late.call_id]


@pytest.mark.parametrize("extra", [{}, {"extensionId": ANA}])
async def test_pages_neither_skip_nor_repeat_calls_of_the_same_moment(
    client: httpx.AsyncClient, database: Database, extra: dict[str, str]
) -> None:
    # Three moments for eleven calls, so the borders of pages fall between equal times.
    seeded = [await seed_call(database, started_at=START + number % 3 * MINUTE) for number in range(11)]
    for order in Order:
        whole = await ids(client, order=order, limit=200, **extra)
        assert sorted(whole) == sorted(call.call_id for call in seeded)
        for limit in (2, 5, 11):
            assert await walk(client, order=order, limit=limit, **extra) == whole


async def test_a_new_call_does_not_shift_the_next_page(client: httpx.AsyncClient, database: Database) -> None:
    seeded = [await seed_call(database, started_at=START + number * MINUTE) for number in range(6)]
    first = (await client.get("/v1/calls", params={"limit": 3})).json()
    await seed_call(database, started_at=START + 60 * MINUTE)
    rest = await ids(client, limit=50, cursor=first["nextCursor"])
    assert [call["id"] for call in first["data"]] + rest == [call.call_id for call in reversed(seeded)]


async def test_a_page_links_to_the_next_one(client: httpx.AsyncClient, database: Database) -> None:
    seeded = [await seed_call(database, started_at=START + number * MINUTE) for number in range(3)]
    answer = await client.get("/v1/calls?limit=2&stage=bootstrapped&stage=final&phoneNumber=%2B15550179001")
    assert answer.headers["link"].endswith('>; rel="next"')
    target = answer.headers["link"].removeprefix("<").partition(">")[0]
    following = await client.get(target)
    assert [call["id"] for call in following.json()["data"]] == [seeded[0].call_id]
    assert "link" not in following.headers


async def seed_varied(database: Database) -> dict[str, Call]:
    """Calls of which each differs from the others in one thing that can be filtered by."""
    made = {
        "plain": await seed_call(database, started_at=START),
        "outbound": await seed_call(database, started_at=START + MINUTE, direction="Outbound"),
        "missed": await seed_call(database, started_at=START + 2 * MINUTE, outcome=Outcome.MISSED),
        "final": await seed_call(database, started_at=START + 3 * MINUTE, stage=Stage.FINAL),
        "recorded": await seed_call(database, started_at=START + 4 * MINUTE, has_recording=True),
        "ben": await seed_call(database, started_at=START + 5 * MINUTE, extensions=[BEN]),
        "other": await seed_call(
            database, started_at=START + 6 * MINUTE, external_number="+15550177777", extensions=[ANA, BEN]
        ),
        "noted": await seed_call(database, started_at=START + 7 * MINUTE),
        "sad": await seed_call(database, started_at=START + 8 * MINUTE),
        "linked": await seed_call(database, started_at=START + 9 * MINUTE),
        "live": await seed_call(
            database,
            started_at=START + 10 * MINUTE,
            stage=Stage.LIVE,
            ended_at=None,
            outcome=Outcome.IN_PROGRESS,
        ),
    }
    await seed_note(database, made["noted"].call_id)
    await seed_sentiment(database, made["sad"].call_id)
    await seed_link(database, made["linked"].call_id)
    return made


ALL = {"plain", "outbound", "missed", "final", "recorded", "ben", "other", "noted", "sad", "linked", "live"}


FILTERED: list[tuple[dict[str, Any], set[str]]] = [
    ({}, ALL),
    ({"direction": "Outbound"}, {"outbound"}),
    ({"direction": "outbound"}, {"outbound"}),
    ({"outcome": "missed"}, {"missed"}),
    ({"outcome": ["missed", "inProgress"]}, {"missed", "live"}),
    ({"stage": "final"}, {"final"}),
    ({"stage": ["final", "live"]}, {"final", "live"}),
    ({"hasRecording": True}, {"recorded"}),
    ({"hasRecording": False, "extensionId": BEN}, {"ben", "other"}),
    ({"extensionId": BEN}, {"ben", "other"}),
    ({"extensionId": BEN, "phoneNumber": "+15550177777"}, {"other"}),
    ({"phoneNumber": "+15550177777"}, {"other"}),
    ({"phoneNumber": " 15550177777"}, {"other"}),
    ({"phoneNumber": "1 (555) 017-7777"}, {"other"}),
    ({"phoneNumber": "+15550000000"}, set()),
    ({"sentiment": "negative"}, {"sad"}),
    ({"sentiment": "Negative"}, {"sad"}),
    ({"sentiment": "positive"}, set()),
    ({"hasNotes": True}, {"noted"}),
    ({"hasNotes": False}, ALL - {"noted"}),
    ({"unlinkedCrm": "hubspot"}, ALL - {"linked"}),
    ({"unlinkedCrm": "zoho"}, ALL),
    ({"startedAfter": "2026-03-10T18:15:41Z"}, {"sad", "linked", "live"}),
    ({"startedAfter": "2026-03-10T20:15:41 02:00"}, {"sad", "linked", "live"}),
    ({"startedBefore": "2026-03-10T18:08:41Z"}, {"plain"}),
    ({"startedAfter": "2026-03-10T18:08:41Z", "startedBefore": "2026-03-10T18:09:41Z"}, {"outbound"}),
    ({"startedAfter": "2026-03-10T18:14:41Z", "extensionId": ANA}, {"noted", "sad", "linked", "live"}),
    ({"endedAfter": "2026-03-10T18:18:17Z"}, {"linked"}),
    ({"endedBefore": "2026-03-10T18:10:18Z"}, {"plain", "outbound"}),
    (
        {"direction": "Inbound", "outcome": "answered", "stage": "bootstrapped", "hasNotes": True},
        {"noted"},
    ),
]


async def test_a_filter_finds_its_matches_in_every_order(
    client: httpx.AsyncClient, database: Database
) -> None:
    made = await seed_varied(database)
    names: dict[str, str] = {call.call_id: name for name, call in made.items()}
    for params, expected in FILTERED:
        newest_first = [name for name in reversed(made) if name in expected]
        assert [names[call_id] for call_id in await ids(client, **params)] == newest_first, params
        for order in ("updatedAt", "endTime"):
            found = {names[call_id] for call_id in await walk(client, limit=5, order=order, **params)}
            assert found == (expected - {"live"} if order == "endTime" else expected), (order, params)


async def test_calls_changed_since_a_moment_are_found_among_many_changes(
    client: httpx.AsyncClient, database: Database
) -> None:
    seeded = [await seed_call(database, started_at=START, now=START) for _ in range(5)]
    async with database.write() as db:
        for number in range(300):
            async with open_ledger(db, ACCOUNT, START + number * MINUTE) as ledger:
                ledger.change(seeded[0], "call.updated")
    late = START + 299 * MINUTE
    await touch(database, seeded[3], "call.updated", late - timedelta(seconds=1))
    await touch(database, seeded[1], "call.updated", late + timedelta(seconds=5))
    # Numbered last, by a replica whose clock is a little behind.
    await touch(database, seeded[2], "call.updated", late + timedelta(seconds=1))
    since = late.isoformat()
    assert await ids(client, updatedAfter=since, order="updatedAt") == [
        seeded[0].call_id,
        seeded[1].call_id,
        seeded[2].call_id,
    ]
    assert len(await ids(client, updatedAfter=START.isoformat())) == 5
    assert await ids(client, updatedAfter=(late + MINUTE).isoformat()) == []


async def test_a_cursor_is_refused_with_other_filters_or_another_order(
    client: httpx.AsyncClient, database: Database
) -> None:
    for number in range(3):
        await seed_call(database, started_at=START + number * MINUTE)
    cursor = (await client.get("/v1/calls", params={"limit": 1, "stage": "bootstrapped"})).json()[
        "nextCursor"
    ]
    for params in ({"stage": "final"}, {}, {"stage": "bootstrapped", "order": "startTime"}):
        answer = await client.get("/v1/calls", params={**params, "cursor": cursor})
        assert answer.status_code == 400
        assert "other filters" in answer.json()["detail"]
    assert len(await ids(client, stage="bootstrapped", limit=2, cursor=cursor)) == 2


async def test_an_invalid_cursor_is_refused(client: httpx.AsyncClient) -> None:
    for cursor in ("x", "!!!", "e30", "bnVsbA", "WzFd", "WzEsImEiLDFd", "W10", "MQ", "\0", "=" * 8, "é"):
        for order in Order:
            answer = await client.get("/v1/calls", params={"cursor": cursor, "order": order})
            assert answer.status_code == 400, cursor
            assert answer.json()["parameter"] == "cursor"


def forged(*place: Any, order: Order = Order.NEWEST) -> str:
    made = to_json([1, digest_of(ACCOUNT, ListQuery(order=order)), *place])
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


async def test_a_forged_cursor_does_no_harm(client: httpx.AsyncClient) -> None:
    assert await ids(client, cursor=forged(START.isoformat(), "call_x")) == []
    at = START.isoformat()
    for place in (
        ["9999-12-31T23:59:59-14:00", "call_x"],
        ["now", "call_x"],
        [at, "a\0b"],
        [at, 2],
        [1, at],
        [],
    ):
        answer = await client.get("/v1/calls", params={"cursor": forged(*place)})
        assert answer.status_code == 400, place
    for seq in (-1, 2**63, 1.5, "1", True, None):
        by_change = Order.EARLIEST_CHANGE
        params = {"cursor": forged(seq, order=by_change), "order": by_change}
        assert (await client.get("/v1/calls", params=params)).status_code == 400, seq


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"limit": 0}, "limit"),
    ({"limit": 201}, "limit"),
    ({"outcom": "missed"}, "outcom"),
    ({"outcome": "perfect"}, "outcome"),
    ({"startedAfter": "yesterday"}, "startedAfter"),
    ({"startedAfter": "2026-03-10T18:00:00"}, "startedAfter"),
    ({"startedAfter": "1741629600"}, "startedAfter"),
    ({"startedAfter": "0001-01-01T00:00:00+14:00"}, "startedAfter"),
    ({"phoneNumber": "\0"}, "phoneNumber"),
    ({"phoneNumber": ""}, "phoneNumber"),
    ({"phoneNumber": "Dana Field"}, "phoneNumber"),
    ({"phoneNumber": "+"}, "phoneNumber"),
    ({"phoneNumber": "XXXX"}, "phoneNumber"),
    ({"extensionId": ""}, "extensionId"),
    ({"extensionId": "ana"}, "extensionId"),
    ({"extensionId": "\u0661\u0660\u0661"}, "extensionId"),
    ({"sentiment": "cheerful"}, "sentiment"),
    ({"direction": "Sideways"}, "direction"),
    ({"unlinkedCrm": "my crm"}, "unlinkedCrm"),
    ({"main": "perhaps"}, "main"),
    ({"internal": "perhaps"}, "internal"),
    ({"isMain": "true"}, "isMain"),
    ({"started_after": "2026-03-10T18:00:00Z"}, "started_after"),
    ({"order": "duration"}, "order"),
]


async def test_a_wrong_parameter_is_refused_by_name(client: httpx.AsyncClient) -> None:
    for params, parameter in REFUSED:
        answer = await client.get("/v1/calls", params=params)
        assert answer.status_code == 422, params
        assert {error["parameter"] for error in answer.json()["errors"]} == {parameter}


@pytest.mark.parametrize(
    ("params", "accepted"),
    [
        ({"sentiment": "cheerful"}, "Must be one of positive, neutral, negative or mixed"),
        ({"direction": "in"}, "Must be one of Inbound or Outbound"),
        ({"extensionId": "ana"}, "Must be RingCentral's id of an extension, which has only digits"),
        ({"phoneNumber": "Dana"}, "Must be a phone number in E.164, such as +15550179001"),
        ({"outcom": "missed"}, "Unknown parameter `outcom`; did you mean `outcome`?"),
    ],
)
async def test_a_wrong_value_gets_the_accepted_ones(
    client: httpx.AsyncClient, params: dict[str, str], accepted: str
) -> None:
    answer = await client.get("/v1/calls", params=params)
    assert accepted in answer.json()["errors"][0]["detail"]
    assert "Dana" not in answer.text, "what was sent may be private"


@pytest.mark.parametrize(
    "number", ["anonymous", "+1555017XXXX", "*801", "101", "00 1 555 017 9001", "conference"]
)
async def test_values_in_place_of_a_number_can_be_filtered_by(client: httpx.AsyncClient, number: str) -> None:
    assert await ids(client, phoneNumber=number) == []
