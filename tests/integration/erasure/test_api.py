"""/v1/erasures and legal holds over HTTP, and `aftercall erase`."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select
from typer.testing import CliRunner, Result

from app.api import keys
from app.api.known_keys import CONNECTOR_SCOPES
from app.calls import accounts
from app.cli.commands import app as commands
from app.db.engine import Database
from app.db.tables import calls, erasures
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.ops.privacy import erasures as erasures_router
from app.ops.privacy import legal_holds as holds_router
from tests.conftest import SECRETS, open_client
from tests.factories_calls import ACCOUNT, CUSTOMER, seed_call, seed_note
from tests.fakes.clock import START, FakeClock
from tests.integration.erasure.conftest import Office

JSON = dict[str, Any]


@pytest.fixture
def app(app: FastAPI) -> FastAPI:
    for module in (erasures_router, holds_router):
        app.include_router(module.router)
    return app


async def plan(client: httpx.AsyncClient, **subject: str | None) -> JSON:
    answer = await client.post("/v1/erasures", json=subject)
    assert answer.status_code == 201, answer.text
    body: JSON = answer.json()
    return body


async def test_a_plan_is_run_by_its_id_and_leaves_a_receipt(
    database: Database, client: httpx.AsyncClient, office: Office
) -> None:
    call = await seed_call(database)
    await seed_note(database, call.call_id)
    planned = await plan(client, phoneNumber="(555) 017-9001")
    assert (planned["status"], planned["planned"]["calls"], planned["planned"]["notes"]) == ("planned", 1, 1)
    path = f"/v1/erasures/{planned['id']}"
    assert (await client.get(f"{path}/receipt")).status_code == 409
    assert (await client.get(f"/v1/calls/{call.call_id}")).status_code == 200, "only counted"
    started = await client.post(f"{path}/run", json={})
    assert (started.status_code, started.json()["status"]) == (202, "running")
    while await office.eraser.step() == 0.0:
        pass
    assert (await client.get(path)).json()["status"] == "done"
    receipt = (await client.get(f"{path}/receipt")).json()
    assert (receipt["complete"], receipt["erased"]["calls"], receipt["heldCalls"]) == (True, 1, 0)
    assert receipt["orderedBy"]["name"] == "tests"
    listed = (await client.get("/v1/erasures")).json()
    assert [one["id"] for one in listed["data"]] == [planned["id"]]
    for shown in (receipt, listed, planned):
        assert "017" not in json.dumps(shown), "nobody is named"
    assert (await client.get(f"/v1/calls/{call.call_id}")).status_code == 410
    for number, matches in ((CUSTOMER, True), ("+15550170000", False)):
        proof = await client.post(f"{path}/verification", json={"phoneNumber": number})
        assert proof.json() == {"matches": matches}


async def test_nothing_is_erased_of_an_account_that_does_not_exist(
    database: Database, client: httpx.AsyncClient
) -> None:
    unknown = {"accountId": "6"}
    planned = await client.post("/v1/erasures", params=unknown, json={"extensionId": "711000101"})
    assert (planned.status_code, planned.json()["detail"]) == (404, "There is no account 6")
    assert (await client.get("/v1/erasures", params=unknown)).status_code == 404
    async with database.read() as db:
        assert not await accounts.is_known(db, AccountId("6")), "nor is it opened"


async def test_a_subject_that_is_null_was_not_sent(client: httpx.AsyncClient) -> None:
    planned = await plan(client, extensionId="711000101", phoneNumber=None)
    assert planned["kind"] == "extensionId"


async def test_an_erasure_was_not_about_a_call_that_is_not_known(
    database: Database, client: httpx.AsyncClient
) -> None:
    call, other = await seed_call(database), await seed_call(database)
    path = f"/v1/erasures/{(await plan(client, call=call.session_id))['id']}/verification"
    for name, matches in (
        (call.session_id, True), (call.call_id, True), (other.session_id, False), ("s-never-heard-of", False),
    ):  # fmt: skip
        proof = await client.post(path, json={"call": name})
        assert (proof.status_code, proof.json()) == (200, {"matches": matches})
    missing = await client.post(f"/v1/erasures/erasure_{'0' * 26}/verification", json={"call": "1"})
    assert missing.status_code == 404


async def test_lists_continue_at_their_cursor(database: Database, client: httpx.AsyncClient) -> None:
    ids = [(await plan(client, phoneNumber=CUSTOMER))["id"] for _ in range(3)]
    first = (await client.get("/v1/erasures", params={"limit": 2})).json()
    rest = (await client.get("/v1/erasures", params={"limit": 2, "cursor": first["nextCursor"]})).json()
    found = [one["id"] for one in (*first["data"], *rest["data"])]
    assert (sorted(found), found) == (sorted(ids), sorted(found, reverse=True))
    assert rest["nextCursor"] is None


@pytest.mark.parametrize(
    "body", [{}, {"phoneNumber": CUSTOMER, "call": "1"}, {"extensionId": "Ana"}, {"number": CUSTOMER}]
)
async def test_exactly_one_subject_is_accepted(client: httpx.AsyncClient, body: JSON) -> None:
    assert (await client.post("/v1/erasures", json=body)).status_code == 422


async def test_held_calls_are_refused_with_their_number(
    database: Database, client: httpx.AsyncClient, office: Office
) -> None:
    held, free = await seed_call(database), await seed_call(database)
    hold = f"/v1/calls/{held.session_id}/legal-hold"
    assert (await client.get(hold)).status_code == 404
    placed = await client.put(hold, json={"reason": "Case 1"})
    assert (placed.status_code, placed.json()["callId"]) == (200, held.call_id)
    assert (await client.put(hold, json={})).json()["reason"] is None
    assert (await client.get("/v1/legal-holds")).json()["data"] == [(await client.get(hold)).json()]
    planned = await plan(client, phoneNumber=CUSTOMER)
    run = f"/v1/erasures/{planned['id']}/run"
    refused = await client.post(run, json={})
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/legal-hold")
    assert refused.json()["heldCalls"] == 1
    assert (await client.post(run, json={"spareHeld": True})).status_code == 202
    while await office.eraser.step() == 0.0:
        pass
    receipt = (await client.get(f"/v1/erasures/{planned['id']}/receipt")).json()
    assert (receipt["complete"], receipt["heldCalls"], receipt["erased"]["calls"]) == (False, 1, 1)
    assert (await client.get(f"/v1/calls/{free.call_id}")).status_code == 410
    assert (await client.delete(hold)).status_code == 204
    assert (await client.delete(hold)).status_code == 404


async def test_connectors_may_not_erase_or_hold(
    app: FastAPI, database: Database, account: AccountId, clock: FakeClock
) -> None:
    async with database.write() as db:
        await accounts.open_unbound(db, START)
        made = await keys.create_key(db, UNBOUND_ACCOUNT, "crm", clock.now(), CONNECTOR_SCOPES)
    async with open_client(app, made.plain) as connector:
        assert (await connector.post("/v1/erasures", json={"phoneNumber": CUSTOMER})).status_code == 403
        assert (await connector.put("/v1/calls/1/legal-hold", json={})).status_code == 403


async def test_an_erasure_of_another_account_is_unknown(
    app: FastAPI, database: Database, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    planned = await plan(client, phoneNumber=CUSTOMER)
    async with database.write() as db:
        made = await keys.create_key(db, AccountId("555000111"), "other", clock.now(), ["admin"])
    async with open_client(app, made.plain) as other:
        assert (await other.get(f"/v1/erasures/{planned['id']}")).status_code == 404
        run = await other.post(f"/v1/erasures/{planned['id']}/run", json={})
        assert run.status_code == 404
        theirs = await other.post("/v1/erasures", params={"accountId": ACCOUNT}, json={"call": "1"})
        assert theirs.status_code == 403


@pytest.fixture
def command_line(
    monkeypatch: pytest.MonkeyPatch, make_settings: Any, database_url: str, tmp_path: Path, account: AccountId
) -> Any:
    for name, value in SECRETS.items():
        monkeypatch.setenv(f"AFTERCALL_{name.upper()}", value)
    monkeypatch.setenv("AFTERCALL_DATABASE_URL", database_url)
    monkeypatch.setenv("AFTERCALL_ARCHIVE_URL", f"file://{tmp_path}/archive")

    async def run(*words: str) -> Result:
        return await asyncio.to_thread(lambda: CliRunner().invoke(commands, ["erase", *words]))

    return run


async def test_the_command_counts_by_default(database: Database, command_line: Any) -> None:
    await seed_call(database)
    result = await command_line("--phone-number", CUSTOMER)
    assert result.exit_code == 0, result.output
    assert "Nothing was erased" in result.output
    async with database.read() as db:
        assert await db.scalar(select(func.count()).select_from(calls)) == 1


async def test_the_command_erases_and_prints_the_receipt(database: Database, command_line: Any) -> None:
    call = await seed_call(database)
    result = await command_line("--call", call.session_id, "--run")
    assert result.exit_code == 0, result.output
    receipt = json.loads(result.stdout.splitlines()[-1])
    assert (receipt["complete"], receipt["erased"]["calls"]) == (True, 1)
    assert receipt["orderedBy"] == {"kind": "command", "keyId": None, "name": None}
    async with database.read() as db:
        assert await db.scalar(select(func.count()).select_from(calls)) == 0
        assert list(await db.scalars(select(erasures.c.subject))) == [None]


async def test_the_command_takes_one_subject(command_line: Any) -> None:
    assert (await command_line()).exit_code == 2
    assert (await command_line("--call", "1", "--phone-number", CUSTOMER)).exit_code == 2
