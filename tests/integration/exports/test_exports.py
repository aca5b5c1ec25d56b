"""Exports: what they contain, how they end, how they go on, and how many may run."""

import csv
import io
import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.api import keys
from app.api.auth import Key
from app.api.dependencies import Services
from app.calls.listing.bodies import ShownPage
from app.calls.listing.filters import ListFilters
from app.calls.model import Stage
from app.db.engine import Database
from app.db.pool import pool_state
from app.errors import StorageUnavailable
from app.exports.formats import Csv, Ndjson
from app.exports.slots import MOST_PER_ACCOUNT, ExportSlots
from app.exports.stream import Export, open_export
from app.ids import UNBOUND_ACCOUNT
from tests.factories_calls import ACCOUNT, seed_call, seed_note, touch
from tests.fakes.clock import START

Json = dict[str, Any]


@pytest.fixture
async def key(services: Services, account: str, api_key: str) -> Key:
    found = await services.known_keys.find(api_key)
    assert found is not None
    return found


@pytest.fixture
def export(services: Services, key: Key) -> Export:
    """An export of everything, in pages of two."""
    return Export(
        services=services,
        slots=ExportSlots(),
        key=key,
        filters=ListFilters(),
        format=Ndjson(),
        page_size=2,
    )


async def pieces(export: Export, cursor: str | None = None) -> Any:
    response = await open_export(export, cursor)
    return response.body_iterator


async def read(client: httpx.AsyncClient, path: str, **params: Any) -> str:
    answer = await client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.content.decode("utf-8-sig")


def lines_of(text: str) -> tuple[list[Json], list[Json]]:
    """Return the calls, and what the export says of itself."""
    lines = [json.loads(line) for line in text.splitlines()]
    return [one for one in lines if "export" not in one], [one["export"] for one in lines if "export" in one]


async def test_an_export_has_every_call_as_lists_show_it(
    client: httpx.AsyncClient, database: Database
) -> None:
    for _ in range(3):
        await seed_call(database, session_id=None)
    listed = (await client.get("/v1/calls", params={"order": "updatedAt"})).json()["data"]
    calls, (end,) = lines_of(await read(client, "/v1/export/calls.ndjson"))
    assert calls == listed
    feed_end = (await client.get("/v1/changes", params={"cursor": "now"})).json()["nextCursor"]
    assert end == {"state": "complete", "rows": 3, "changes": feed_end, "reason": None, "cursor": None}


async def test_filters_fields_and_parts_are_those_of_lists(
    client: httpx.AsyncClient, database: Database
) -> None:
    final = await seed_call(database, stage=Stage.FINAL)
    await seed_call(database, session_id=None, stage=Stage.LIVE)
    text = await read(client, "/v1/export/calls.ndjson", stage="final", fields="id", include="legs")
    calls, (end,) = lines_of(text)
    assert calls == [{"id": final.call_id, "included": {"legs": []}}]
    assert end["rows"] == 1
    rows = list(csv.DictReader(io.StringIO(await read(client, "/v1/export/calls.csv", stage="final"))))
    assert [row["id"] for row in rows][:-1] == [final.call_id]
    assert (await client.get("/v1/export/calls.csv", params={"fields": "id"})).status_code == 422


async def test_csv_is_safe_and_says_how_it_ended(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_call(database, caller={"phoneNumber": "+15550179001", "name": "=1+1"})
    await seed_note(database, call.call_id, text="-Grüße,\n2 lines")
    answer = await client.get("/v1/export/calls.csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="calls.csv"'
    assert answer.content.startswith(b"\xef\xbb\xbfid,")
    row, end = csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline=""))
    assert (row["fromNumber"], row["fromName"]) == ("+15550179001", "'=1+1")
    assert row["notes"] == "'-Grüße,\n2 lines"
    assert end["id"].startswith("#export complete rows=1 changes=")


async def test_calls_that_change_meanwhile_come_again_and_none_is_missed(
    database: Database, export: Export
) -> None:
    calls = [await seed_call(database, session_id=None) for _ in range(5)]
    stream = await pieces(export)
    text = (await anext(stream)) + (await anext(stream))
    for call in (calls[0], calls[4]):
        await touch(database, call, "call.updated", START)
    late = await seed_call(database, session_id=None)
    text += b"".join([piece async for piece in stream])
    shown, ends = lines_of(text.decode())
    ids = [call["id"] for call in shown]
    assert set(ids) == {call.call_id for call in [*calls, late]}
    assert ids.count(calls[0].call_id) == 2
    assert shown[0]["version"] < shown[ids.index(calls[0].call_id, 1)]["version"]
    assert ids.count(calls[4].call_id) == 1
    assert (ends[-1]["state"], ends[-1]["rows"]) == ("complete", 7)


@pytest.mark.parametrize("format_", [Ndjson(), Csv()])
async def test_a_cut_export_goes_on_from_its_last_cursor(
    database: Database, export: Export, format_: Any
) -> None:
    for _ in range(5):
        await seed_call(database, session_id=None)
    export = replace(export, format=format_)
    whole = b"".join([piece async for piece in await pieces(export)])
    stream = await pieces(export)
    first = (await anext(stream)) + (await anext(stream))
    await stream.aclose()
    if isinstance(format_, Csv):
        cursor = list(csv.reader(io.StringIO(first.decode())))[-1][-1]
    else:
        cursor = json.loads(first.splitlines()[-1])["export"]["cursor"]
    rest = b"".join([piece async for piece in await pieces(export, cursor)])
    # Rows are counted from the start of each request.
    assert (first + rest).replace(b"rows=3", b"rows=5").replace(b'"rows":3', b'"rows":5') == whole


async def test_an_export_has_no_connection_between_its_pages(database: Database, export: Export) -> None:
    for _ in range(3):
        await seed_call(database, session_id=None)
    stream = await pieces(export)
    for _ in range(2):
        await anext(stream)
        state = pool_state(database.engine)
        assert state is None or state.in_use == 0
    await stream.aclose()


async def test_the_third_export_of_an_account_waits(
    app: FastAPI, client: httpx.AsyncClient, export: Export
) -> None:
    slots = app.state.export_slots = export.slots
    held = [await open_export(export, None) for _ in range(MOST_PER_ACCOUNT)]
    refused = await client.get("/v1/export/calls.csv")
    assert refused.status_code == 429
    assert refused.json()["type"] == "/problems/too-many-exports"
    assert int(refused.headers["Retry-After"]) > 0
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    await held[0]({"type": "http", "asgi": {"spec_version": "2.4"}}, receive, send)
    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert (await client.get("/v1/export/calls.csv")).status_code == 200
    with slots.take(ACCOUNT):
        pass  # another account's place is its own


async def test_a_stop_of_the_service_ends_an_export_with_a_cursor(
    database: Database, export: Export, services: Services
) -> None:
    for _ in range(3):
        await seed_call(database, session_id=None)
    stream = await pieces(export)
    text = (await anext(stream)) + (await anext(stream))
    services.stopping.set()
    text += b"".join([piece async for piece in stream])
    _, (checkpoint, end) = lines_of(text.decode())
    assert (end["state"], end["reason"], end["rows"]) == ("incomplete", "shutting-down", 2)
    assert end["cursor"] == checkpoint["cursor"]


async def test_a_revoked_key_ends_an_export(database: Database, export: Export, services: Services) -> None:
    for _ in range(3):
        await seed_call(database, session_id=None)
    stream = await pieces(export)
    text = (await anext(stream)) + (await anext(stream))
    async with database.write() as db:
        await keys.revoke_key(db, UNBOUND_ACCOUNT, export.key.key_id, services.clock.now())
    text += b"".join([piece async for piece in stream])
    assert lines_of(text.decode())[1][-1]["reason"] == "unauthenticated"


async def test_an_outage_ends_an_export_with_a_cursor(database: Database, export: Export) -> None:
    for _ in range(3):
        await seed_call(database, session_id=None)

    class Outage(Export):
        async def load(self, cursor: str | None) -> ShownPage:
            if cursor is not None:
                raise StorageUnavailable("gone")
            return await super().load(cursor)

    fields = {name: getattr(export, name) for name in Export.__dataclass_fields__}
    text = b"".join([piece async for piece in await pieces(Outage(**fields))])
    end = lines_of(text.decode())[1][-1]
    assert (end["state"], end["reason"], end["rows"]) == ("incomplete", "storage-unavailable", 2)
    assert end["cursor"]


async def test_what_cannot_start_is_refused(client: httpx.AsyncClient, app: FastAPI, export: Export) -> None:
    app.state.export_slots = export.slots
    for _ in range(MOST_PER_ACCOUNT + 1):
        assert (await client.get("/v1/export/calls.ndjson", params={"cursor": "x"})).status_code == 400
    assert (await client.head("/v1/export/calls.ndjson")).status_code == 405
    assert (await client.get("/v1/export/calls.ndjson", params={"limit": 5})).status_code == 422
    del client.headers["Authorization"]
    assert (await client.get("/v1/export/calls.ndjson")).status_code == 401
