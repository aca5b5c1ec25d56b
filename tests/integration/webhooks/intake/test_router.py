"""POST /webhooks/ringcentral: handshake, token, and storing before the response, on both databases."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import select

from app.api import problems
from app.clock import SystemClock
from app.db.engine import Database
from app.db.tables import deliveries
from app.ids import UNBOUND_ACCOUNT
from app.webhooks.folding.batches import read_delivery
from app.webhooks.intake.inbox import Inbox
from app.webhooks.intake.router import PATH, IntakeApp, NotificationEndpoint, mount
from app.webhooks.payloads.notification import TelephonyEvent
from tests.cluster import free_port
from tests.conftest import open_client
from tests.factories import ACCOUNT, TELEPHONY_SESSION, delivery, party, presence

TOKEN = "a-verification-token"
LARGEST = 4096
SIGNED = {"Verification-Token": TOKEN}


async def rows(database: Database) -> list[Any]:
    async with database.read() as db:
        return list((await db.execute(select(deliveries).order_by(deliveries.c.uuid))).all())


def serve_intake(inbox: Inbox) -> FastAPI:
    """The intake as the service mounts it."""
    app = IntakeApp()
    mount(app, NotificationEndpoint(inbox, TOKEN, LARGEST, SystemClock()))
    problems.install(app)
    return app


@pytest.fixture
async def intake(database: Database) -> AsyncIterator[FastAPI]:
    inbox = Inbox(database, SystemClock())
    inbox.start()
    yield serve_intake(inbox)
    await inbox.stop()


@pytest.fixture
async def sender(intake: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with open_client(intake) as opened:
        yield opened


def assert_problem(answer: httpx.Response, status: int, kind: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == f"/problems/{kind}"
    assert answer.json()["status"] == status


# The handshake


@pytest.mark.parametrize("body", [None, b"", b"{}", b"  ", b"null", b"[]"])
async def test_a_handshake_is_echoed_with_any_empty_body(
    sender: httpx.AsyncClient, database: Database, body: bytes | None
) -> None:
    answer = await sender.post(PATH, content=body, headers={"Validation-Token": "6f3d-echo-me"})
    assert answer.status_code == 200
    assert answer.headers["validation-token"] == "6f3d-echo-me"
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.content == b""
    assert await rows(database) == []


async def test_a_handshake_needs_no_verification_token(sender: httpx.AsyncClient) -> None:
    answer = await sender.post(PATH, headers={"Validation-Token": "echo", "Verification-Token": "something"})
    assert (answer.status_code, answer.headers["validation-token"]) == (200, "echo")


@pytest.mark.parametrize("token", [b"x" * 257, b"two words", b"caf\xc3\xa9", b"tab\there", b""])
async def test_a_handshake_token_that_is_long_or_not_printable_is_refused(
    sender: httpx.AsyncClient, token: bytes
) -> None:
    answer = await sender.post(PATH, headers=[(b"Validation-Token", token)])
    assert_problem(answer, 400, "bad-request")
    assert "validation-token" not in answer.headers


@pytest.mark.parametrize("length", [1, 36, 256])
async def test_the_response_to_a_handshake_has_at_most_1024_bytes(intake: FastAPI, length: int) -> None:
    # With every header that a server adds by default: ours omits `server`.
    config = uvicorn.Config(intake, port=free_port(), lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(20):
        while not server.started:  # noqa: ASYNC110 - the server has a flag and no event
            await asyncio.sleep(0.01)
    answer = await asyncio.to_thread(shake_hands, config.port, "t" * length)
    server.should_exit = True
    await serving
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"validation-token: " + b"t" * length + b"\r\n" in answer
    assert len(answer) <= 1024


def shake_hands(port: int, token: str) -> bytes:
    """Return the whole response as it is on the wire."""
    request = (
        f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nValidation-Token: {token}\r\n"
        "Content-Length: 0\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=5) as wire:
        wire.sendall(request.encode())
        answer = b""
        while chunk := wire.recv(4096):
            answer += chunk
    return answer


# Who can deliver


async def test_a_delivery_is_stored_unchanged_before_the_response(
    sender: httpx.AsyncClient, database: Database
) -> None:
    raw = json.dumps(delivery(uuid="7841958329667892286"), indent=1).encode()
    answer = await sender.post(PATH, content=raw, headers=SIGNED)
    assert (answer.status_code, answer.content) == (200, b"")
    [row] = await rows(database)
    assert (row.account_id, row.uuid) == (ACCOUNT, "7841958329667892286")
    assert row.telephony_session_id == TELEPHONY_SESSION
    assert row.raw == raw


@pytest.mark.parametrize(
    "headers",
    [{}, {"Verification-Token": "wrong"}, {"Verification-Token": ""}, {"Validation-Token": "wrong"}],
)
async def test_a_delivery_without_the_token_is_refused_and_not_stored(
    sender: httpx.AsyncClient, database: Database, headers: dict[str, str]
) -> None:
    answer = await sender.post(PATH, json=delivery(), headers=headers)
    assert_problem(answer, 401, "unauthenticated")
    assert TOKEN not in answer.text
    assert await rows(database) == []


async def test_subscriptions_with_refused_deliveries_are_remembered(database: Database) -> None:
    inbox = Inbox(database, SystemClock())
    endpoint = NotificationEndpoint(inbox, TOKEN, LARGEST, SystemClock())
    app = IntakeApp()
    mount(app, endpoint)
    problems.install(app)
    async with open_client(app) as sender:
        await sender.post(
            PATH, json=delivery(subscriptionId="foreign"), headers={"Verification-Token": "wrong"}
        )
        await sender.post(PATH, json={"uuid": "1", "subscriptionId": ["no id"]})
        await sender.post(PATH, content=b"[", headers={"Verification-Token": "wrong"})
    assert set(endpoint.take_refused()) == {"foreign"}
    assert endpoint.take_refused() == {}


async def test_the_token_is_also_accepted_in_the_header_that_the_guide_names(
    sender: httpx.AsyncClient, database: Database
) -> None:
    answer = await sender.post(PATH, json=delivery(), headers={"Validation-Token": TOKEN})
    assert answer.status_code == 200
    assert "validation-token" not in answer.headers
    assert len(await rows(database)) == 1


async def test_verification_token_decides_if_both_headers_are_sent(
    sender: httpx.AsyncClient, database: Database
) -> None:
    wrong = {"Verification-Token": "wrong", "Validation-Token": TOKEN}
    assert_problem(await sender.post(PATH, json=delivery(), headers=wrong), 401, "unauthenticated")
    right = {"Verification-Token": TOKEN, "Validation-Token": "anything"}
    assert (await sender.post(PATH, json=delivery(), headers=right)).status_code == 200
    assert len(await rows(database)) == 1


# What is delivered


NOT_JSON = {
    "cut short": b'{"uuid": "1"',
    "a form": b"uuid=1",
    "empty": b"",
    "blank": b"  \n",
    "UTF-16": '{"uuid": "1"}'.encode("utf-16"),
    "no such constant": b'{"uuid": NaNs}',
    "trailing garbage": b'{"uuid": "1"} x',
    "gzip": b"\x1f\x8b\x08\x00",
    "NUL": b"\x00",
    "deep": b"[" * 4000,
}


@pytest.mark.parametrize("raw", NOT_JSON.values(), ids=NOT_JSON)
@pytest.mark.parametrize(
    "headers", [SIGNED, {"Validation-Token": TOKEN}, {**SIGNED, "Validation-Token": "x"}]
)
async def test_a_body_that_is_not_json_is_stored_unchanged(
    sender: httpx.AsyncClient, database: Database, raw: bytes, headers: dict[str, str]
) -> None:
    if not raw.strip() and "Validation-Token" in headers:
        pytest.skip("a handshake")
    for _ in range(2):
        answer = await sender.post(PATH, content=raw, headers=headers)
        assert (answer.status_code, answer.content) == (200, b"")
    [row] = await rows(database)
    assert (row.account_id, row.raw, row.telephony_session_id) == (UNBOUND_ACCOUNT, raw, None)
    assert row.uuid.startswith("content-")


async def test_a_body_that_is_not_json_needs_the_token_as_well(
    sender: httpx.AsyncClient, database: Database
) -> None:
    for headers in ({}, {"Verification-Token": "wrong"}):
        assert_problem(await sender.post(PATH, content=b"{", headers=headers), 401, "unauthenticated")
    assert await rows(database) == []


def damaged() -> dict[str, bytes]:
    """Deliveries that a strict decoder refuses and whose call can still be recognised."""
    name = json.dumps(delivery(party(2, to={"name": "Zoe @"}))).encode()
    odd = json.dumps(delivery(extra="@")).encode()
    return {
        "half an emoji": name.replace(b"@", rb"\ud83d"),
        "an invalid byte": name.replace(b"@", b"\xff"),
        "a NUL": name.replace(b"@", rb"\u0000"),
        "a byte order mark": b"\xef\xbb\xbf" + odd,
        "deep nesting": odd.replace(b'"@"', b"[" * 250 + b"]" * 250),
        "a long integer": odd.replace(b'"@"', b"9" * 1500),
        "not a number": odd.replace(b'"@"', b"NaN"),
        "infinite": odd.replace(b'"@"', b"-Infinity"),
        "too large a number": odd.replace(b'"@"', b"1e400"),
        "a key twice": odd.replace(b'"sequence"', b'"sequence": 1, "sequence"', 1),
    }


@pytest.mark.parametrize("raw", damaged().values(), ids=damaged())
async def test_a_damaged_delivery_is_stored_under_its_ids(
    sender: httpx.AsyncClient, database: Database, raw: bytes
) -> None:
    assert (await sender.post(PATH, content=raw, headers=SIGNED)).status_code == 200
    [row] = await rows(database)
    assert (row.account_id, row.telephony_session_id, row.raw) == (ACCOUNT, TELEPHONY_SESSION, raw)
    event = read_delivery(row.raw, row.received_at)
    assert isinstance(event, TelephonyEvent)
    assert event.uuid == row.uuid


@pytest.mark.parametrize(
    "uuid",
    ["a\x00b", "\ud800", "a\ufffd", "x" * 129, "", " \n", None, [], 1.5, True, 10**128, -(10**127), 9**200],
)
async def test_an_unusable_uuid_is_replaced_by_a_digest_of_the_content(
    sender: httpx.AsyncClient, database: Database, uuid: Any
) -> None:
    for sequence in (2, 3, 3):
        raw = json.dumps(delivery(uuid=uuid, sequence=sequence)).encode()
        assert (await sender.post(PATH, content=raw, headers=SIGNED)).status_code == 200
    stored = await rows(database)
    assert len(stored) == 2
    assert all(row.uuid.startswith("content-") and row.account_id == ACCOUNT for row in stored)


async def test_a_body_that_is_too_large_is_refused(sender: httpx.AsyncClient, database: Database) -> None:
    assert_problem(
        await sender.post(PATH, content=b" " * (LARGEST + 1), headers=SIGNED), 413, "payload-too-large"
    )
    assert await rows(database) == []


async def test_a_body_that_is_too_large_is_refused_in_any_chunks(sender: httpx.AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(LARGEST // 512 + 1):
            yield b" " * 512

    assert_problem(await sender.post(PATH, content=pieces(), headers=SIGNED), 413, "payload-too-large")


@pytest.mark.parametrize(
    "payload",
    [
        {"uuid": "1", "event": "/restapi/v1.0/account/~/something/new", "body": {"any": "thing"}},
        {"uuid": "1"},
        {"uuid": "1", "event": 5, "body": "text"},
        presence(uuid="1"),
    ],
)
async def test_an_unknown_event_is_stored(
    sender: httpx.AsyncClient, database: Database, payload: dict[str, Any]
) -> None:
    assert (await sender.post(PATH, json=payload, headers=SIGNED)).status_code == 200
    [row] = await rows(database)
    assert row.uuid == "1"
    assert json.loads(row.raw) == payload


@pytest.mark.parametrize("payload", [[], ["a"], "text", 5, None, True, {}])
async def test_json_that_is_no_event_is_stored_under_a_digest_of_its_content(
    sender: httpx.AsyncClient, database: Database, payload: Any
) -> None:
    for _ in range(2):
        answer = await sender.post(PATH, content=json.dumps(payload), headers=SIGNED)
        assert answer.status_code == 200
    [row] = await rows(database)
    assert row.account_id == UNBOUND_ACCOUNT
    assert row.uuid.startswith("content-")


async def test_a_repeated_delivery_is_stored_once(sender: httpx.AsyncClient, database: Database) -> None:
    answers = [await sender.post(PATH, json=delivery(), headers=SIGNED) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert len(await rows(database)) == 1


async def test_many_concurrent_deliveries_are_all_stored(
    sender: httpx.AsyncClient, database: Database
) -> None:
    crowd = [sender.post(PATH, json=delivery(uuid=f"{number:03d}"), headers=SIGNED) for number in range(100)]
    answers = await asyncio.gather(*crowd)
    assert {answer.status_code for answer in answers} == {200}
    assert [row.uuid for row in await rows(database)] == [f"{number:03d}" for number in range(100)]


# When a delivery cannot be stored


async def test_without_the_database_the_response_is_503_with_a_retry() -> None:
    database = Database(f"postgresql+asyncpg://nobody@127.0.0.1:{free_port()}/none")
    inbox = Inbox(database, SystemClock())
    inbox.start()
    async with open_client(serve_intake(inbox)) as sender:
        answer = await sender.post(PATH, json=delivery(), headers=SIGNED)
    assert_problem(answer, 503, "storage-unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    await inbox.stop()
    await database.close()


async def test_a_missing_table_is_a_503_and_stores_nothing(
    postgres_database: Database,
) -> None:
    async with postgres_database.write() as db:
        await db.exec_driver_sql("ALTER TABLE deliveries RENAME TO away")
    inbox = Inbox(postgres_database, SystemClock())
    inbox.start()
    async with open_client(serve_intake(inbox)) as sender:
        assert_problem(await sender.post(PATH, json=delivery(), headers=SIGNED), 503, "storage-unavailable")
        async with postgres_database.write() as db:
            await db.exec_driver_sql("ALTER TABLE away RENAME TO deliveries")
        assert await rows(postgres_database) == []
        assert (await sender.post(PATH, json=delivery(), headers=SIGNED)).status_code == 200
    assert len(await rows(postgres_database)) == 1
    await inbox.stop()


async def test_an_unexpected_error_is_a_500_with_an_id_for_the_log(
    sender: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr(Inbox, "accept", fail)
    answer = await sender.post(PATH, json=delivery(), headers=SIGNED)
    assert_problem(answer, 500, "internal")
    assert answer.json()["errorId"]
    assert "foresaw" not in answer.text


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_other_methods_get_the_allowed_one(sender: httpx.AsyncClient, method: str) -> None:
    answer = await sender.request(method, PATH)
    assert_problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "POST"
