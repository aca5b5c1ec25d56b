"""Calls are found by a number in any usual spelling, whichever spelling RingCentral used."""

from typing import Any

import httpx
import pytest

from app.calls.listing.normal_numbers import NumberUpkeep
from app.calls.regions import load_region, store_home_country
from app.db.engine import Database
from app.db.tables import accounts, call_parties
from app.ids import UNBOUND_ACCOUNT
from tests.factories_calls import ACCOUNT, seed_call
from tests.fakes.clock import FakeClock

SPELLINGS = [
    "+18665550106",
    "18665550106",
    "+1 866-555-0106",
    "(866) 555-0106",
    "866.555.0106",
    "8665550106",
    "1-866-555-0106",
    "011 1 866 555 0106",
    "00 1 866 555 0106",
    " 18665550106",
    "tel:+1-866-555-0106",
    "\u202a+1 866-555-0106\u202c",
]


async def found(client: httpx.AsyncClient, **params: Any) -> list[str]:
    answer = await client.get("/v1/calls", params=params)
    assert answer.status_code == 200, answer.text
    return [call["id"] for call in answer.json()["data"]]


async def set_country(database: Database, country: str | None) -> None:
    async with database.write() as db:
        await store_home_country(db, country)


@pytest.mark.parametrize("country", [None, "US"])
@pytest.mark.parametrize("raw", ["18665550106", "+18665550106", "+1 (866) 555-0106", "18665550106*102"])
async def test_every_spelling_finds_the_call(
    client: httpx.AsyncClient, database: Database, raw: str, country: str | None
) -> None:
    await set_country(database, country)
    call = await seed_call(database, external_number=raw)
    await seed_call(database)
    listed = {spelling: await found(client, phoneNumber=spelling) for spelling in SPELLINGS}
    assert listed == {spelling: [call.call_id] for spelling in SPELLINGS}


@pytest.mark.parametrize(
    "spelling",
    [
        "030 1234567",
        "+49 30 1234567",
        "0049301234567",
        "49301234567",
        "+49 (0)30 1234567",
        "+49030 1234567",
    ],
)
@pytest.mark.parametrize("raw", ["0301234567", "+49301234567", "49301234567"])
async def test_numbers_without_a_plus_are_read_in_the_home_country(
    client: httpx.AsyncClient, database: Database, raw: str, spelling: str
) -> None:
    await set_country(database, "DE")
    call = await seed_call(database, external_number=raw)
    assert await found(client, phoneNumber=spelling) == [call.call_id]


async def test_an_extension_behind_a_number_is_found(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_call(database, external_number="14567891230*102")
    other = await seed_call(database, external_number="14567891230*103")
    assert await found(client, phoneNumber="+1 456 789 1230 ext. 102") == [call.call_id]
    assert await found(client, phoneNumber="102") == [call.call_id]
    assert await found(client, phoneNumber="x103") == [other.call_id]
    assert await found(client, phoneNumber="(456) 789-1230") == [other.call_id, call.call_id]


async def test_words_for_a_withheld_number_find_each_other(
    client: httpx.AsyncClient, database: Database
) -> None:
    seeded = [await seed_call(database, external_number=word) for word in ("anonymous", "Restricted")]
    for word in ("anonymous", "RESTRICTED", "Unavailable"):
        assert set(await found(client, phoneNumber=word)) == {call.call_id for call in seeded}


@pytest.mark.parametrize(
    ("country", "reason"),
    [(None, "AFTERCALL_HOME_COUNTRY"), ("US", "is not a number in US")],
)
async def test_a_number_that_is_none_in_the_home_country_is_refused(
    client: httpx.AsyncClient, database: Database, country: str | None, reason: str
) -> None:
    await set_country(database, country)
    answer = await client.get("/v1/calls", params={"phoneNumber": "030 1234567"})
    assert (answer.status_code, answer.json()["parameter"]) == (422, "phoneNumber")
    assert reason in answer.json()["detail"]
    assert "1234567" not in answer.text


async def test_another_spelling_continues_the_list(client: httpx.AsyncClient, database: Database) -> None:
    seeded = [await seed_call(database, external_number="18665550106") for _ in range(3)]
    first = (await client.get("/v1/calls", params={"phoneNumber": SPELLINGS[0], "limit": 2})).json()
    again = {"phoneNumber": SPELLINGS[3], "limit": 2, "cursor": first["nextCursor"]}
    second = (await client.get("/v1/calls", params=again)).json()
    listed = [call["id"] for page in (first, second) for call in page["data"]]
    assert sorted(listed) == sorted(call.call_id for call in seeded)


async def store_raw(database: Database, call_id: str, *values: str) -> None:
    """Write numbers as an earlier version did."""
    async with database.write() as db:
        row = {"account_id": ACCOUNT, "call_id": call_id, "kind": "number"}
        started_at = (await db.execute(accounts.select().limit(1))).one().created_at
        rows = [row | {"value": value, "started_at": started_at} for value in values]
        await db.execute(call_parties.insert(), rows)


async def test_what_an_earlier_version_stored_is_found_before_it_is_rewritten(
    client: httpx.AsyncClient, database: Database
) -> None:
    national = await seed_call(database, numbers=[])
    await store_raw(database, national.call_id, "8665550106")
    twice = await seed_call(database, numbers=["+18665550106"])
    await store_raw(database, twice.call_id, "18665550106", "Unavailable")
    for spelling in SPELLINGS:
        assert sorted(await found(client, phoneNumber=spelling)) == sorted(
            [national.call_id, twice.call_id]
        ), spelling
    assert await found(client, phoneNumber="Unavailable") == [twice.call_id]
    assert await found(client, phoneNumber="(866) 555-0106", extensionId="711000101", limit=1)


async def numbers_of(database: Database, call_id: str) -> set[str]:
    query = call_parties.select().where(call_parties.c.call_id == call_id, call_parties.c.kind == "number")
    async with database.read() as db:
        return {row.value for row in await db.execute(query)}


async def run(upkeep: NumberUpkeep) -> int:
    steps = 0
    while await upkeep.step() is not None:
        steps += 1
        assert steps < 100
    return steps


async def test_stored_numbers_are_rewritten_in_batches(
    client: httpx.AsyncClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.calls.listing.normal_numbers._READ", 3)
    monkeypatch.setattr("app.calls.listing.normal_numbers._WRITTEN", 2)
    clock = FakeClock()
    upkeep = NumberUpkeep(database, clock)
    old = [await seed_call(database, external_number="18665550106", numbers=[]) for _ in range(4)]
    for call in old:
        await store_raw(database, call.call_id, "18665550106", "14567891230*102", "+15550179001")
    kept = await seed_call(database, external_number="+15550179001")
    assert await run(upkeep) > 5
    for call in old:
        normal = {"+18665550106", "+14567891230", "102", "+15550179001"}
        assert await numbers_of(database, call.call_id) == normal
        shown = (await client.get(f"/v1/calls/{call.call_id}")).json()
        assert (shown["externalNumber"], shown["version"]) == ("+18665550106", call.version + 1)
    assert (await client.get(f"/v1/calls/{kept.call_id}")).json()["version"] == kept.version

    # A replica of the earlier version goes on writing for a while.
    await store_raw(database, kept.call_id, "8665550106")
    assert kept.call_id in await found(client, phoneNumber="+18665550106")
    assert await run(upkeep) == 0
    clock.advance(3600)
    assert await run(upkeep) > 0
    assert await numbers_of(database, kept.call_id) == {"+18665550106", "+15550179001"}
    clock.advance(3600)
    assert await run(upkeep) == 0
    everything = {call.call_id for call in (*old, kept)}
    for spelling in SPELLINGS:
        assert set(await found(client, phoneNumber=spelling)) == everything, spelling


async def test_numbers_are_read_again_when_the_home_country_becomes_known(
    client: httpx.AsyncClient, database: Database
) -> None:
    upkeep = NumberUpkeep(database, FakeClock())
    call = await seed_call(database, external_number="0301234567")
    await run(upkeep)
    assert await numbers_of(database, call.call_id) == {"0301234567"}
    await set_country(database, "DE")
    await run(upkeep)
    assert await numbers_of(database, call.call_id) == {"+49301234567"}
    assert await found(client, phoneNumber="030/1234567") == [call.call_id]


async def test_the_setting_holds_for_every_account(database: Database) -> None:
    async with database.write() as db:
        await db.execute(accounts.delete().where(accounts.c.account_id == UNBOUND_ACCOUNT))
        await db.execute(accounts.insert().values(account_id=UNBOUND_ACCOUNT, created_at=FakeClock().now()))
    for country in ("DE", "US", None):
        await set_country(database, country)
        async with database.read() as db:
            assert [await load_region(db, one) for one in (ACCOUNT, UNBOUND_ACCOUNT)] == [country] * 2
