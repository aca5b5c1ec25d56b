"""Entries of the audit: written with their change or not at all, listed with filters, seen by whom they
concern."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select
from structlog.contextvars import bound_contextvars

from app.api import keys
from app.audit import COMMAND, SERVICE, AuditAction, AuditOutcome, record
from app.audit.model import Actor, ActorKind
from app.calls import accounts
from app.calls.attachments.parking import bind_account
from app.db.engine import Database
from app.db.tables import api_keys, audit_entries
from app.erasure.model import SubjectKind
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.ops.accounts import router as accounts_router
from app.ops.audit import router as audit_router
from app.ops.startup import prepare_database
from tests.conftest import open_client
from tests.factories_calls import ACCOUNT, CUSTOMER
from tests.fakes.clock import START, FakeClock
from tests.integration.erasure.conftest import Office, office

__all__ = ["office"]

OTHER = AccountId("908070002")
HOUR = timedelta(hours=1)
KEY = Actor(ActorKind.API_KEY, "key_1")


@pytest.fixture
def app(app: FastAPI) -> FastAPI:
    for module in (accounts_router, audit_router):
        app.include_router(module.router)
    return app


async def seed(database: Database) -> None:
    """Four entries, an hour apart: of `~`, of both accounts, and one without a change."""
    rows: list[tuple[AccountId, AuditAction, Actor, AuditOutcome]] = [
        (UNBOUND_ACCOUNT, AuditAction.KEY_CREATED, COMMAND, AuditOutcome.DONE),
        (ACCOUNT, AuditAction.KEY_REVOKED, KEY, AuditOutcome.UNCHANGED),
        (OTHER, AuditAction.ENDPOINT_DISABLED, SERVICE, AuditOutcome.DONE),
        (ACCOUNT, AuditAction.HOLD_PLACED, KEY, AuditOutcome.DONE),
    ]
    async with database.write() as db:
        for number, (account_id, action, by, outcome) in enumerate(rows):
            at = START + number * HOUR
            await record(db, at, account_id, action, by, target=f"thing_{number}", outcome=outcome)


async def targets(client: httpx.AsyncClient, **params: Any) -> list[str]:
    answer = await client.get("/v1/audit", params=params)
    assert answer.status_code == 200, answer.text
    return [one["target"] for one in answer.json()["data"]]


@pytest.fixture
async def listed(app: FastAPI, database: Database) -> httpx.AsyncClient:
    """The operator's client, in a database with the four entries and without an account for `~`."""
    await seed(database)
    async with database.write() as db:
        await accounts.open_unbound(db, START)
        plain = (await keys.create_key(db, UNBOUND_ACCOUNT, "operator", START)).plain
    return open_client(app, plain)


async def test_entries_are_listed_newest_first_with_filters(listed: httpx.AsyncClient) -> None:
    async with listed as client:
        assert await targets(client) == ["thing_3", "thing_2", "thing_1", "thing_0"]
        assert await targets(client, accountId=ACCOUNT) == ["thing_3", "thing_1"]
        assert await targets(client, accountId="~") == ["thing_0"]
        assert await targets(client, keyId="key_1") == ["thing_3", "thing_1"]
        assert await targets(client, action=["api-key.created", "api-key.revoked"]) == ["thing_1", "thing_0"]
        assert await targets(client, outcome="unchanged") == ["thing_1"]
        assert await targets(client, target="thing_2") == ["thing_2"]
        since, until = (START + HOUR).isoformat(), (START + 3 * HOUR).isoformat()
        assert await targets(client, since=since) == ["thing_3", "thing_2", "thing_1"]
        assert await targets(client, since=since, until=until) == ["thing_2", "thing_1"]
        assert len(await targets(client, since="1970-01-01T00:00:00+05:00")) == 4


async def test_pages_continue_at_their_cursor(listed: httpx.AsyncClient) -> None:
    async with listed as client:
        first = (await client.get("/v1/audit", params={"limit": 3})).json()
        rest = (await client.get("/v1/audit", params={"limit": 3, "cursor": first["nextCursor"]})).json()
    assert [one["target"] for one in first["data"]] == ["thing_3", "thing_2", "thing_1"]
    assert [one["target"] for one in rest["data"]] == ["thing_0"]
    assert rest["nextCursor"] is None


async def test_wrong_filters_are_refused(listed: httpx.AsyncClient) -> None:
    async with listed as client:
        for wrong in ({"action": "api-key.lost"}, {"since": "yesterday"}, {"keyId": "1"}, {"cursor": "1"}):
            answer = await client.get("/v1/audit", params=wrong)
            assert answer.status_code == 422, answer.text
            assert [one["parameter"] for one in answer.json()["errors"]] == list(wrong)


async def test_an_account_sees_its_own_entries_alone(
    app: FastAPI, database: Database, account: AccountId
) -> None:
    await seed(database)
    async with database.write() as db:
        made = await keys.create_key(db, ACCOUNT, "admin of the account", START)
        reader = await keys.create_key(db, ACCOUNT, "crm", START, ["calls:read"])
        operator = await keys.create_key(db, UNBOUND_ACCOUNT, "operator", START)
    async with open_client(app, made.plain) as client:
        assert await targets(client) == ["thing_3", "thing_1"]
        assert await targets(client, accountId=ACCOUNT) == ["thing_3", "thing_1"]
        for other in (OTHER, "~"):
            assert (await client.get("/v1/audit", params={"accountId": other})).status_code == 403
    async with open_client(app, reader.plain) as client:
        assert (await client.get("/v1/audit")).status_code == 403
    async with open_client(app, operator.plain) as client:
        # `~` is bound to the account of the entries.
        assert await targets(client, accountId="~") == ["thing_3", "thing_1", "thing_0"]


async def test_a_change_that_fails_leaves_no_entry(
    app: FastAPI, database: Database, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("the audit cannot be written")

    monkeypatch.setattr("app.audit.trail.record", fail)
    assert (await client.post("/v1/api-keys", json={"name": "crm"})).status_code == 500
    async with database.read() as db:
        assert await db.scalar(select(api_keys.c.key_id).where(api_keys.c.name == "crm")) is None
        told = select(audit_entries.c.target).where(audit_entries.c.action == AuditAction.KEY_CREATED.value)
        assert (await db.execute(told)).all() == []


async def test_changes_of_a_key_have_values_before_and_after(
    app: FastAPI, database: Database, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    made = (await client.post("/v1/api-keys", json={"name": "crm", "scopes": ["calls:read"]})).json()
    path = f"/v1/api-keys/{made['keyId']}"
    for method, body in (
        ("PATCH", {"origins": ["https://crm.example.com"], "requestsPerMinute": 600}),
        ("PATCH", {"requestsPerMinute": 600.0}),
        ("DELETE", None),
        ("DELETE", None),
    ):
        clock.advance(1)
        assert (await client.request(method, path, json=body)).is_success
    answer = await client.get("/v1/audit", params={"target": made["keyId"]})
    told = [(one["action"], one["outcome"], one["details"]) for one in answer.json()["data"]]
    origins = {"from": [], "to": ["https://crm.example.com"]}
    limit = {"from": None, "to": 600}
    rights = {"scopes": ["calls:read"], "origins": [], "requestsPerMinute": None}
    assert told == [
        ("api-key.revoked", "unchanged", {}),
        ("api-key.revoked", "done", {}),
        ("api-key.changed", "unchanged", {}),
        ("api-key.changed", "done", {"origins": origins, "requestsPerMinute": limit}),
        ("api-key.created", "done", rights),
    ]


async def test_a_refusal_is_told_again_after_a_minute(
    app: FastAPI, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    path = "/v1/api-keys/key_01kdv6x3q8m7a2c5e9r4t1y6wz"
    for seconds in (0, 30, 31):
        clock.advance(seconds)
        assert (await client.delete(path)).status_code == 404
    answer = await client.get("/v1/audit", params={"outcome": "refused"})
    told = [(one["at"], one["details"]) for one in answer.json()["data"]]
    assert len(told) == 2
    assert {one["status"] for _, one in told} == {404}


async def test_what_the_service_does_itself_is_told(
    database: Database, clock: FakeClock, make_settings: Any
) -> None:
    for key in ("ak_first-key-of-the-tests-0123456789", "ak_first-key-of-the-tests-9876543210"):
        for _ in range(2):
            clock.advance(1)
            settings = make_settings(home_country="DE", api_key=key)
            await prepare_database(database, clock, settings)
    clock.advance(1)
    async with database.write() as db:
        await bind_account(db, ACCOUNT, clock.now())
    async with database.read() as db:
        rows = (await db.execute(select(audit_entries).order_by(audit_entries.c.at))).all()
    told = sorted((row.at, row.account_id, row.action, row.target) for row in rows)
    assert [one[1:] for one in told] == [
        ("~", "api-key.created", "key_first"),
        ("~", "settings.changed", None),
        ("~", "api-key.changed", "key_first"),
        (ACCOUNT, "account.bound", None),
    ]
    assert {(row.actor, row.key_id, row.request_id) for row in rows} == {("service", None, None)}


async def test_an_erasure_tells_when_it_is_done_and_takes_numbers_out_of_request_ids(
    database: Database, office: Office
) -> None:
    with bound_contextvars(request_id=f"hubspot-{CUSTOMER}"):
        async with database.write() as db:
            await record(db, START, ACCOUNT, AuditAction.KEY_REVOKED, KEY, target="key_2")
    done = await office.erase(SubjectKind.PHONE_NUMBER, CUSTOMER)
    assert done.status == "done"
    async with database.read() as db:
        rows = {row.action: row for row in await db.execute(select(audit_entries))}
    told = rows[AuditAction.ERASURE_DONE]
    assert (told.target, told.actor, told.details["erased"]["mentions"]) == (done.erasure_id, "service", 1)
    assert "017" not in str(told.details)
    revoked = rows[AuditAction.KEY_REVOKED]
    assert (revoked.key_id, revoked.target) == ("key_1", "key_2")
    assert "9001" not in revoked.request_id
