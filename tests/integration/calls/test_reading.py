"""Reading one call: by any of its names, with its ETag, at once or when it reaches a stage."""

import asyncio
import re
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event

from app.api import keys
from app.api.dependencies import Services
from app.calls import accounts
from app.calls.feed.feeds import Feeds
from app.calls.feed.schemas import Timeline
from app.calls.ledger import open_ledger
from app.calls.model import NO_SESSION, Call, Stage
from app.calls.schemas import BatchAnswer, CallOut, CallPage, Legs, Recordings, Records
from app.db.engine import Database
from app.ids import UNBOUND_ACCOUNT, AccountId
from tests.conftest import build_app, open_client, until
from tests.factories_calls import (
    ACCOUNT,
    ANA,
    BEN,
    raw_record,
    seed_call,
    seed_disposition,
    seed_link,
    seed_note,
    seed_sentiment,
    touch,
)
from tests.fakes.clock import START
from tests.fakes.statements import counted

OTHER_ACCOUNT = AccountId("555000111")
RECORDING = {
    "id": "3019664700",
    "type": "Automatic",
    "uri": "https://platform.ringcentral.com/restapi/v1.0/account/908070001/recording/3019664700",
    "contentUri": "https://media.ringcentral.com/restapi/v1.0/account/908070001/recording/3019664700/content",
}
LEG = {"startTime": "2026-03-10T18:07:41.000Z", "duration": 96, "legType": "Accept", "master": True}


async def seed_full_call(database: Database) -> Call:
    """A call with two records, legs, one recording told thrice, and everything that can be attached."""
    other = await seed_call(database, session_id=None)
    call = await seed_call(
        database,
        records=[
            raw_record("R-primary", recording=RECORDING, legs=[LEG | {"recording": RECORDING}, LEG]),
            raw_record("A-missed", result="Missed", duration=0),
        ],
        details={
            "ringSeconds": 3.2,
            "talkSeconds": 92.8,
            "holdSeconds": 0.0,
            "recordingIds": ["3019664700", "9"],
        },
        parties=[{"id": "p-1", "direction": "Inbound", "status": "Disconnected"}],
        related=[
            {
                "kind": "attendedTransfer",
                "telephonySessionId": other.telephony_session_id,
                "sessionId": other.session_id,
                "callId": other.call_id,
            }
        ],
        has_recording=True,
    )
    await seed_note(database, call.call_id, text="first", at=START)
    await seed_note(database, call.call_id, text="second", at=START + timedelta(seconds=5))
    await seed_sentiment(database, call.call_id)
    await seed_disposition(database, call.call_id)
    await seed_link(database, call.call_id)
    return call


async def get(client: httpx.AsyncClient, path: str, **params: Any) -> Any:
    answer = await client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_call_is_found_by_each_of_its_names(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_call(database)
    for name in (call.call_id, call.session_id, call.telephony_session_id):
        assert (await get(client, f"/v1/calls/{name}"))["id"] == call.call_id


async def test_provenance_names_the_source_of_each_field(
    client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_call(
        database, stage=Stage.FINAL, records=[raw_record("R", result="Missed", duration=0)]
    )
    shown = await get(client, f"/v1/calls/{call.call_id}", include="provenance")
    source = shown["provenance"]["outcome"]
    assert (source["source"], source["recordId"], source["mayChange"]) == ("call-log", "R", False)
    assert {"from", "to", "direction", "externalNumber", "startTime"} <= set(shown["provenance"])
    assert set(shown["provenance"]) <= set(shown)
    CallOut.model_validate(shown)


async def test_calls_are_found_by_their_agent(client: httpx.AsyncClient, database: Database) -> None:
    mine = await seed_call(database, agent_extension_id=ANA)
    await seed_call(database, agent_extension_id=BEN)
    found = await get(client, "/v1/calls", agent=ANA)
    assert [call["id"] for call in found["data"]] == [mine.call_id]


async def test_a_call_matches_its_schema(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_full_call(database)
    shown = await get(client, f"/v1/calls/{call.call_id}")
    described = {field.alias or name for name, field in CallOut.model_fields.items()}
    assert set(shown) == described - {"provenance", "included"}, "only with `include`"
    assert CallOut.model_validate(shown).model_dump(mode="json", by_alias=True)["id"] == call.call_id
    assert shown["accountId"] == ACCOUNT
    assert shown["startTime"] == "2026-03-10T18:07:41.000Z"
    assert shown["timeToRecordSeconds"] == 5.0
    assert [record["id"] for record in shown["records"]] == ["R-primary", "A-missed"]
    assert [record["primary"] for record in shown["records"]] == [True, False]
    assert shown["records"][0]["legCount"] == 2
    assert "legs" not in shown["records"][0]
    assert [note["text"] for note in shown["notes"]] == ["first", "second"]
    assert shown["sentiments"][0]["label"] == "negative"
    assert shown["disposition"]["code"] == "interested"
    assert shown["links"][0]["crm"] == "hubspot"
    assert shown["related"][0]["callId"].startswith("call_")
    assert shown["talkSeconds"] == 92.8


async def test_every_attachment_matches_its_schema(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_full_call(database)
    shown = await get(client, f"/v1/calls/{call.call_id}")
    for name in ("notes", "sentiments", "links", "recordings", "records"):
        (model,) = CallOut.model_fields[name].annotation.__args__  # type: ignore[union-attr]
        described = {field.alias for field in model.model_fields.values()}
        assert described <= set(shown[name][0]), name
        assert set(shown[name][0]) <= described or model.model_config.get("extra") == "allow", name


async def test_a_recording_is_shown_once_however_often_it_is_named(
    client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_full_call(database)
    (full, announced) = (await get(client, f"/v1/calls/{call.call_id}/recordings"))["data"]
    unheard: dict[str, Any] = {"contentType": None, "duration": None, "active": False}
    assert full == {
        **RECORDING,
        **unheard,
        "recordIds": ["R-primary"],
        "announced": True,
        "state": "pending",
        "contentUrl": "/v1/recordings/3019664700/content",
    }
    assert announced == {
        "id": "9",
        "type": None,
        "uri": None,
        "contentUri": None,
        **unheard,
        "recordIds": [],
        "announced": True,
        "state": "announced",
        "contentUrl": "/v1/recordings/9/content",
    }


async def test_records_and_legs_are_returned_as_ringcentral_sent_them(
    client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_full_call(database)
    records = await get(client, f"/v1/calls/{call.session_id}/records")
    legs = await get(client, f"/v1/calls/{call.session_id}/legs")
    Records.model_validate(records)
    Legs.model_validate(legs)
    Recordings.model_validate(await get(client, f"/v1/calls/{call.session_id}/recordings"))
    assert records["data"][0]["legs"][1] == LEG
    assert [(leg["recordId"], leg["index"], leg["legType"]) for leg in legs["data"]] == [
        ("R-primary", 0, "Accept"),
        ("R-primary", 1, "Accept"),
    ]


async def test_unknown_words_of_ringcentral_pass_through(
    client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_call(database, result="Teleported", action="Beam Up", direction="Sideways")
    shown = await get(client, f"/v1/calls/{call.call_id}")
    assert (shown["result"], shown["action"], shown["direction"]) == ("Teleported", "Beam Up", "Sideways")


async def test_a_call_with_a_provisional_key_shows_no_telephony_session(
    client: httpx.AsyncClient, database: Database
) -> None:
    await seed_call(database, telephony_session_id=f"{NO_SESSION}777", session_id="777")
    assert (await get(client, "/v1/calls/777"))["telephonySessionId"] is None


async def test_readiness_lists_every_part(client: httpx.AsyncClient, database: Database) -> None:
    live = await seed_call(database, stage=Stage.LIVE, readiness={})
    gone = await seed_call(
        database, stage=Stage.ABSENT, readiness={"record": {"state": "none", "since": None}}
    )
    states = {
        part: told["state"]
        for part, told in (await get(client, f"/v1/calls/{live.call_id}"))["readiness"].items()
    }
    assert states == {
        "record": "pending",
        "legs": "pending",
        "recording": "pending",
        "voicemail": "pending",
        "insights": "none",
    }
    states = {
        part: told["state"]
        for part, told in (await get(client, f"/v1/calls/{gone.call_id}"))["readiness"].items()
    }
    assert set(states.values()) == {"none"}


async def test_an_unknown_name_is_404_with_the_number_of_parked_notes(
    client: httpx.AsyncClient, database: Database
) -> None:
    await seed_note(database, "424242", external_id="a")
    await seed_note(database, "424242", external_id="b")
    answer = await client.get("/v1/calls/424242")
    assert answer.status_code == 404
    assert answer.json()["parkedNotes"] == 2
    assert "2 notes wait for it" in answer.json()["detail"]
    assert (await client.get("/v1/calls/434343")).json()["parkedNotes"] == 0
    assert (await client.get("/v1/calls/424242/timeline")).status_code == 404


@pytest.mark.parametrize("name", ["0", "%00", "a%20b", "x" * 161, "call_", "s-", "~", "sessionId:1"])
async def test_strange_names_are_refused_or_not_found(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get(f"/v1/calls/{name}")
    assert answer.status_code in {404, 422}


async def test_a_name_of_several_calls_is_409_with_the_candidates(
    client: httpx.AsyncClient, database: Database
) -> None:
    one = await seed_call(database, session_id="555")
    two = await seed_call(database, session_id="555")
    answer = await client.get("/v1/calls/555")
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/ambiguous-call"
    assert answer.json()["candidates"] == sorted([one.call_id, two.call_id])


async def test_calls_of_another_account_are_not_found(client: httpx.AsyncClient, database: Database) -> None:
    foreign = await seed_call(database, OTHER_ACCOUNT)
    for name in (foreign.call_id, foreign.session_id, foreign.telephony_session_id):
        assert (await client.get(f"/v1/calls/{name}")).status_code == 404


async def test_a_matching_etag_saves_the_body(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_call(database)
    path = f"/v1/calls/{call.call_id}"
    etag = (await client.get(path)).headers["etag"]
    assert re.fullmatch(r'"v1-[0-9a-f]{12}"', etag)
    for known in (etag, f"W/{etag}", f'"v0", {etag}', "*"):
        answer = await client.get(path, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
    await touch(database, call, "call.updated", START)
    answer = await client.get(path, headers={"If-None-Match": etag})
    assert (answer.status_code, answer.headers["etag"][:4]) == (200, '"v2-')


async def test_without_wait_a_call_is_returned_as_it_is(
    client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_call(database, stage=Stage.LIVE)
    answer = await client.get(f"/v1/calls/{call.call_id}", params={"until": "bootstrapped"})
    assert (answer.status_code, answer.headers["aftercall-reached"]) == (200, "false")
    assert "aftercall-reached" not in (await client.get(f"/v1/calls/{call.call_id}")).headers


async def test_a_wait_ends_when_the_call_reaches_the_stage(
    waiting_client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_call(database, stage=Stage.ENDED)
    path = f"/v1/calls/{call.session_id}"
    waiting = asyncio.create_task(waiting_client.get(path, params={"wait": 30, "until": "bootstrapped"}))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    async with database.write() as db, open_ledger(db, ACCOUNT, START) as ledger:
        ledger.move(call, Stage.BOOTSTRAPPED, "call.bootstrapped")
    async with asyncio.timeout(20):
        answer = await waiting
    assert (answer.json()["stage"], answer.headers["aftercall-reached"]) == ("bootstrapped", "true")


async def test_a_wait_for_an_unknown_call_ends_when_it_appears(
    waiting_client: httpx.AsyncClient, database: Database
) -> None:
    waiting = asyncio.create_task(waiting_client.get("/v1/calls/98765", params={"wait": 30}))
    await asyncio.sleep(0.1)
    await seed_call(database, session_id="98765", stage=Stage.BOOTSTRAPPED)
    async with asyncio.timeout(20):
        answer = await waiting
    assert answer.status_code == 200


async def test_a_wait_finds_a_change_without_a_wake_up(
    waiting_client: httpx.AsyncClient, database: Database
) -> None:
    database.waker = None
    waiting = asyncio.create_task(waiting_client.get("/v1/calls/98765", params={"wait": 30}))
    await asyncio.sleep(0.05)
    await seed_call(database, session_id="98765")
    async with asyncio.timeout(20):
        assert (await waiting).status_code == 200


async def test_a_wait_that_times_out_returns_the_current_state(
    waiting_client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_call(database, stage=Stage.LIVE)
    answer = await waiting_client.get(f"/v1/calls/{call.call_id}", params={"wait": 0.05, "until": "final"})
    assert (answer.status_code, answer.headers["aftercall-reached"]) == (200, "false")
    answer = await waiting_client.get("/v1/calls/98765", params={"wait": 0.05})
    assert answer.status_code == 404


async def test_a_wait_for_an_absent_call_ends_at_once(
    waiting_client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_call(database, stage=Stage.ABSENT, absent_reason="test-call")
    async with asyncio.timeout(20):
        answer = await waiting_client.get(f"/v1/calls/{call.call_id}", params={"wait": 60, "until": "final"})
    assert (answer.json()["absentReason"], answer.headers["aftercall-reached"]) == ("test-call", "true")


async def test_no_connection_is_held_while_requests_wait(
    waiting_services: Services,
    waiting_app: FastAPI,
    database: Database,
    account: AccountId,
    waiting_client: httpx.AsyncClient,
) -> None:
    feeds: Feeds = waiting_app.state.feeds
    path = "/v1/calls/98765"
    waiting = [asyncio.create_task(waiting_client.get(path, params={"wait": 60})) for _ in range(30)]
    async with asyncio.timeout(20):
        await until(lambda: feeds.followers(account) == len(waiting))
        await until(lambda: database.engine.pool.checkedout() == 0)  # type: ignore[attr-defined]
        assert not any(request.done() for request in waiting)
        waiting_services.stopping.set()
        assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {404}


async def test_shutdown_ends_a_wait(waiting_services: Services, waiting_client: httpx.AsyncClient) -> None:
    waiting = asyncio.create_task(waiting_client.get("/v1/calls/98765", params={"wait": 60}))
    await asyncio.sleep(0.05)
    waiting_services.stopping.set()
    async with asyncio.timeout(20):
        assert (await waiting).status_code == 404


async def test_a_wait_continues_when_the_account_becomes_known(
    waiting_services: Services, database: Database, api_key: str
) -> None:
    async with database.write() as db:
        await accounts.open_unbound(db, START)
    async with open_client(build_app(waiting_services), api_key) as client:
        waiting = asyncio.create_task(client.get("/v1/calls/98765", params={"wait": 30}))
        await asyncio.sleep(0.05)
        async with database.write() as db:
            await accounts.bind(db, ACCOUNT, START)
        await seed_call(database, session_id="98765")
        async with asyncio.timeout(20):
            assert (await waiting).json()["accountId"] == ACCOUNT


async def test_the_timeline_is_ordered_and_paged(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_call(database, event="call.live")
    await seed_call(database)
    for number in range(4):
        await touch(database, call, "call.updated", START + timedelta(seconds=number), number=number)
    path = f"/v1/calls/{call.call_id}/timeline"
    first = await get(client, path, limit=2)
    rest = await get(client, path, limit=50, cursor=first["nextCursor"])
    Timeline.model_validate(first)
    events = first["data"] + rest["data"]
    assert [event["type"] for event in events] == ["call.live"] + ["call.updated"] * 4
    assert [event["version"] for event in events] == [1, 2, 3, 4, 5]
    assert rest["nextCursor"] is None
    assert (await client.get(path, params={"cursor": "nonsense"})).status_code == 400


async def test_a_batch_has_a_status_for_each_call(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_call(database)
    one = await seed_call(database, session_id="555")
    two = await seed_call(database, session_id="555")
    names = [call.telephony_session_id, "unknown", "555", call.session_id, call.call_id]
    answer = (await client.post("/v1/calls/batch-get", json={"calls": names})).json()
    BatchAnswer.model_validate(answer)
    assert [(item["name"], item["status"]) for item in answer["data"]] == list(
        zip(names, [200, 404, 409, 200, 200], strict=True)
    )
    assert answer["data"][2]["candidates"] == sorted([one.call_id, two.call_id])
    assert {item["call"]["id"] for item in answer["data"] if item["call"]} == {call.call_id}


@pytest.mark.parametrize("names", [[], ["x"] * 201, [""], ["a\0b"], ["a b"], "1229016182016", [1]])
async def test_a_batch_has_1_to_200_names(client: httpx.AsyncClient, names: Any) -> None:
    answer = await client.post("/v1/calls/batch-get", json={"calls": names})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith("/calls")


async def test_a_page_takes_as_many_queries_as_one_call(
    client: httpx.AsyncClient, database: Database
) -> None:
    statements: list[str] = []
    event.listen(
        database.engine.sync_engine,
        "before_cursor_execute",
        lambda *received: statements.append(received[2]),
    )
    counts = []
    await get(client, "/v1/calls")  # from then on, the key is known
    for _ in range(2):
        await seed_full_call(database)
        statements.clear()
        CallPage.model_validate(await get(client, "/v1/calls"))
        counts.append(len([statement for statement in statements if statement.startswith("SELECT")]))
    assert counts[0] == counts[1] <= 3


async def test_a_call_takes_few_queries(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_call(database)
    path = f"/v1/calls/{call.telephony_session_id}"
    await get(client, "/v1/calls", limit=1, hasNotes=True)  # from here on the key is known
    with counted(database) as statements:
        await get(client, path)
    assert len(statements) == 2, statements  # the call, and what hangs on it
    with counted(database) as statements:
        await get(client, path)
    assert len(statements) == 1, statements  # the version of the call


async def test_the_read_scope_is_required(services: Services, database: Database, account: AccountId) -> None:
    async with database.write() as db:
        writer = await keys.create_key(db, UNBOUND_ACCOUNT, "writer", START, ["notes:write"])
    async with open_client(build_app(services), writer.plain) as client:
        for path in ("/v1/calls", "/v1/calls/1", "/v1/calls/1/legs", "/v1/changes", "/v1/changes/stream"):
            assert (await client.get(path)).status_code == 403
    async with open_client(build_app(services)) as client:
        assert (await client.get("/v1/calls")).status_code == 401
