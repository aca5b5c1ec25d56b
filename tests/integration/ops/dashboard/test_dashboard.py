"""The dashboard's page, stream and sign-in, without a browser."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import insert, update
from starlette.requests import Request

from app.accounts.access import Access
from app.api import keys
from app.api.dependencies import Services
from app.api.known_keys import Scope, find_key
from app.api.revocations import KeyRef
from app.calls.accounts import add
from app.calls.model import Stage
from app.clock import SystemClock
from app.db.engine import Database
from app.db.tables import api_keys, credentials
from app.enrichment import gaps
from app.enrichment.gaps import Reason
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.ops.dashboard.board import ViewerBoard
from app.ops.dashboard.router import Dashboard
from app.ops.dashboard.sign_in import REFUSAL_SECONDS, SESSION_HOURS, SignIn, TooManySignIns, Viewer
from app.vault import Vault
from tests.conftest import until
from tests.factories_calls import ACCOUNT, CUSTOMER, seed_call, seed_note, touch
from tests.fakes.clock import START, FakeClock

EVERYTHING = Viewer(account_id=None, may_unmask=False)


async def seed_waiting(database: Database, **fields: Any) -> Any:
    return await seed_call(
        database,
        stage=Stage.ENDED,
        ended_at=START,
        window_closes_at=START + timedelta(seconds=120),
        bootstrapped_at=None,
        bootstrapped_by=None,
        **fields,
    )


def first_data(page: str) -> dict[str, Any]:
    """What the page hands to its script."""
    found = re.search(r'<script type="application/json" id="first">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


async def test_page_is_complete_without_the_stream(
    database: Database, here: httpx.AsyncClient, account: AccountId
) -> None:
    await seed_waiting(database)
    response = await here.get("/dashboard")
    assert response.status_code == 200
    assert "1 call ended in the last hour.\n1 is being looked up." in response.text
    assert "+1 555 ••• 9001" in response.text
    assert CUSTOMER not in response.text
    assert first_data(response.text)["lanes"][0]["tone"] == "waiting"


async def test_board_includes_completeness_and_accounts(
    database: Database, board: Dashboard, account: AccountId, clock: FakeClock
) -> None:
    calm = await board.board(EVERYTHING, unmasked=False)
    assert calm["completeness"]["state"]["value"] == "Nothing missing"
    assert calm["accounts"]["lines"][0]["note"].startswith("No credentials")
    hour = timedelta(hours=1)
    async with database.write() as db:
        await gaps.note_gap(db, account, Reason.MISSING, START - hour, None, START, sweep_after=hour)
        refused = {"code": "CMN-401", "detail": "for want of ReadCallLog", "since": None}
        await db.execute(
            insert(credentials).values(
                account_id=account, name="ext-1", kind="jwt", updated_at=START,
                access=Access(problem=refused).to_json(),
            )
        )  # fmt: skip
    clock.advance(10)
    troubled = await board.board(EVERYTHING, unmasked=False)
    assert troubled["completeness"]["state"]["value"] == "No events"
    assert troubled["completeness"]["works"][0]["title"] == "The subscription was missing"
    assert troubled["accounts"]["state"]["note"] == "it needs attention"
    assert "for want of ReadCallLog" in troubled["accounts"]["lines"][0]["credentials"][0]["todo"]
    of_another = Viewer(account_id=AccountId("1"), may_unmask=False)
    assert (await board.board(of_another, unmasked=False))["accounts"]["lines"] == []


async def test_operator_sees_problems_but_no_calls_of_other_accounts(
    database: Database, board: Dashboard, clock: FakeClock
) -> None:
    await seed_waiting(database)
    refused = {"code": "CMN-401", "detail": "for want of ReadCallLog", "since": None}
    other = AccountId("908070002")
    async with database.write() as db:
        await add(db, other, START)
        await db.execute(
            insert(credentials).values(
                account_id=other, name="ext-1", kind="jwt", updated_at=START,
                access=Access(problem=refused).to_json(),
            )
        )  # fmt: skip
    reader = Viewer(account_id=UNBOUND_ACCOUNT, may_unmask=False)
    operator = replace(reader, is_admin=True)
    clock.advance(10)
    assert "for want of" not in json.dumps(await board.board(reader, unmasked=False))
    shown = await board.board(operator, unmasked=False)
    assert [one["detail"] for one in shown["problems"] if "for want of" in one["detail"]]
    assert [one["id"] for one in shown["accounts"]["lines"]].count(other) == 1
    of_other = Viewer(account_id=other, may_unmask=False, is_admin=True)
    assert (await board.board(of_other, unmasked=False))["lanes"] == []


async def test_empty_service_shows_the_first_steps(here: httpx.AsyncClient) -> None:
    page = (await here.get("/dashboard")).text
    assert "Waiting for the first call." in page
    assert "Set RC_CLIENT_ID, RC_CLIENT_SECRET and RC_JWT" in page


async def test_names_are_escaped(database: Database, here: httpx.AsyncClient, account: AccountId) -> None:
    evil = "</script><script>alert(1)</script>"
    await seed_waiting(database, callee={"name": evil, "extensionId": "1"})
    page = (await here.get("/dashboard")).text
    assert "<script>alert" not in page
    assert first_data(page)["lanes"][0]["to"] == evil


async def test_content_security_policy_of_the_dashboard(here: httpx.AsyncClient) -> None:
    response = await here.get("/dashboard")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "style=" not in response.text
    addresses = re.findall(r'(?:src|href)="([^"#]+)"', response.text)
    assert addresses
    assert all(address.startswith("/") for address in addresses)
    for address in {address for address in addresses if "/static/" in address}:
        assert (await here.get(address)).status_code == 200


async def test_remote_viewer_has_to_sign_in(elsewhere: httpx.AsyncClient) -> None:
    response = await elsewhere.get("/dashboard")
    assert (response.status_code, response.headers["location"]) == (303, "/dashboard/sign-in")
    assert (await elsewhere.get("/dashboard/events")).status_code == 401


async def test_public_service_requires_sign_in_even_locally(
    services: Services, here: httpx.AsyncClient, make_settings: Any, app: Any, database_url: str
) -> None:
    public = make_settings(database_url=database_url, public_url="https://aftercall.test")
    app.state.services = Services(public, services.database, services.wakeups, services.clock)
    assert (await here.get("/dashboard")).status_code == 303


async def test_key_opens_the_dashboard_for_twelve_hours(
    database: Database,
    elsewhere: httpx.AsyncClient,
    account: AccountId,
    api_key: str,
    clock: FakeClock,
) -> None:
    await seed_waiting(database)
    response = await elsewhere.post("/dashboard/sign-in", data={"key": f" {api_key} "})
    assert (response.status_code, response.headers["location"]) == (303, "/dashboard")
    cookie = response.headers["set-cookie"]
    assert cookie.startswith("__Host-aftercall=")
    for wanted in ("HttpOnly", "SameSite=strict", "Secure", "Path=/", f"Max-Age={SESSION_HOURS * 3600}"):
        assert wanted in cookie
    assert api_key not in cookie
    page = await elsewhere.get("/dashboard")
    assert page.status_code == 200
    assert "Show numbers" in page.text
    clock.advance(SESSION_HOURS * 3600 + 1)
    assert (await elsewhere.get("/dashboard")).status_code == 303


async def test_revoking_the_key_ends_the_session(
    database: Database, elsewhere: httpx.AsyncClient, account: AccountId, api_key: str
) -> None:
    await elsewhere.post("/dashboard/sign-in", data={"key": api_key})
    async with database.write() as db:
        await db.execute(update(api_keys).values(revoked_at=START))
    assert (await elsewhere.get("/dashboard")).status_code == 303


async def test_sign_out_ends_the_session(
    elsewhere: httpx.AsyncClient, account: AccountId, api_key: str
) -> None:
    await elsewhere.post("/dashboard/sign-in", data={"key": api_key})
    await elsewhere.post("/dashboard/sign-out")
    assert (await elsewhere.get("/dashboard")).status_code == 303


@pytest.mark.parametrize("key", ["", "ak_wrong", "x" * 600])
async def test_wrong_key_is_delayed_and_reveals_nothing(
    elsewhere: httpx.AsyncClient, clock: FakeClock, key: str
) -> None:
    response = await elsewhere.post("/dashboard/sign-in", data={"key": key})
    assert response.status_code == 401
    assert "key is invalid" in response.text
    assert "set-cookie" not in response.headers
    assert clock.slept == [REFUSAL_SECONDS]


async def test_key_without_read_scope_is_refused(
    database: Database, elsewhere: httpx.AsyncClient, account: AccountId
) -> None:
    async with database.write() as db:
        writer = await keys.create_key(db, account, "writer", START, [Scope.NOTES_WRITE])
    assert (await elsewhere.post("/dashboard/sign-in", data={"key": writer.plain})).status_code == 401


async def test_form_of_another_site_is_refused(
    elsewhere: httpx.AsyncClient, account: AccountId, api_key: str
) -> None:
    headers = {"Origin": "https://evil.test", "Sec-Fetch-Site": "cross-site"}
    response = await elsewhere.post("/dashboard/sign-in", data={"key": api_key}, headers=headers)
    assert response.status_code == 403
    assert "set-cookie" not in response.headers


async def test_huge_form_is_refused(elsewhere: httpx.AsyncClient) -> None:
    response = await elsewhere.post("/dashboard/sign-in", data={"key": "x" * 100_000})
    assert response.status_code == 413


async def test_key_shows_only_its_own_account(
    database: Database, elsewhere: httpx.AsyncClient, account: AccountId
) -> None:
    foreign = AccountId("908070002")
    await seed_waiting(database)
    async with database.write() as db:
        stranger = await keys.create_key(db, foreign, "stranger", START, [Scope.CALLS_READ])
    await elsewhere.post("/dashboard/sign-in", data={"key": stranger.plain})
    assert first_data((await elsewhere.get("/dashboard")).text)["lanes"] == []


# The stream


def a_request(client: str = "127.0.0.1") -> Request:
    return Request(
        {
            "type": "http",
            "path": "/dashboard/events",
            "headers": [],
            "client": (client, 50_000),
            "server": ("127.0.0.1", 8000),
        }
    )


def decode(message: bytes) -> dict[str, Any]:
    event, data = message.decode().strip().split("\n")
    assert event == "event: board"
    reported: dict[str, Any] = json.loads(data.removeprefix("data: "))
    return reported


async def follow(board: Dashboard, viewer: Viewer = EVERYTHING, *, unmasked: bool = False) -> Any:
    """A stream past its first line."""
    stream: AsyncIterator[bytes] = board.follow(a_request(), viewer, unmasked=unmasked)
    assert await anext(stream) == b"retry: 2000\n\n"
    return stream


async def test_stream_starts_complete_and_continues_with_changes(
    board: Dashboard, database: Database, account: AccountId, clock: FakeClock
) -> None:
    call = await seed_waiting(database)
    stream = await follow(board)
    first = decode(await anext(stream))
    assert first.keys() >= {"now", "lanes", "figures", "budget", "histogram", "minutes", "problems"}
    await seed_note(database, call.call_id)
    await touch(database, call, "note.created", clock.now())
    second = decode(await anext(stream))
    assert set(second) == {"now", "lanes"}
    assert second["lanes"][0]["notes"] == 1
    await stream.aclose()


async def test_stream_ends_when_the_service_stops(
    board: Dashboard, services: Services, account: AccountId
) -> None:
    stream = await follow(board)
    await anext(stream)
    services.stopping.set()
    services.wakeups.wake(["timeline"])
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_idle_stream_sends_keep_alive(
    board: Dashboard, services: Services, account: AccountId, clock: FakeClock
) -> None:
    stream = await follow(board)
    await anext(stream)
    clock.advance(16)  # within the same minute
    services.wakeups.wake(["timeline"])
    assert await anext(stream) == b": still here\n\n"
    await stream.aclose()


async def test_stream_ends_with_its_session(
    board: Dashboard, services: Services, account: AccountId, clock: FakeClock
) -> None:
    stream = board.follow(a_request("203.0.113.9"), EVERYTHING, unmasked=False)
    await anext(stream)
    await anext(stream)
    clock.advance(61)
    services.wakeups.wake(["timeline"])
    assert (await anext(stream)).startswith(b"event: signed-out")
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_only_bearers_of_a_key_see_full_numbers(
    board: Dashboard, database: Database, account: AccountId
) -> None:
    await seed_waiting(database)
    signed_in = Viewer(account_id=ACCOUNT, may_unmask=True, signed_in_as="Ops")
    for viewer, wish, shown in (
        (signed_in, True, True),
        (signed_in, False, False),
        (EVERYTHING, True, False),
    ):
        stream = await follow(board, viewer, unmasked=wish)
        assert (CUSTOMER.encode() in await anext(stream)) is shown
        await stream.aclose()


async def test_stream_reports_lost_database_and_continues(
    board: Dashboard,
    services: Services,
    account: AccountId,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = await follow(board)
    await anext(stream)
    board.boards.of(None)._database = Database("postgresql+asyncpg://nobody@127.0.0.1:9/nothing")
    services.wakeups.wake(["timeline"])
    assert "database does not respond" in decode(await anext(stream))["headline"]
    await stream.aclose()


async def test_concurrent_viewers_share_one_query(
    services: Services, account: AccountId, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = 0
    board = ViewerBoard(services.database, services.settings, clock, None)
    read = services.database.read

    def count_reads() -> Any:
        nonlocal counted
        counted += 1
        return read()

    monkeypatch.setattr(services.database, "read", count_reads)
    for _ in range(50):
        await board.snapshot()
    assert counted == 3, "lanes, figures, completeness"
    clock.advance(0.3)
    await board.snapshot()
    assert counted == 4
    clock.advance(0.8)
    await board.snapshot()
    assert counted == 6
    clock.advance(1.0)
    await board.snapshot()
    assert counted == 9


class HeldClock(SystemClock):
    """Nobody's sleep ends before `go` is set."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        await self.go.wait()


async def test_valid_key_is_accepted_among_many_wrong_ones(
    elsewhere: httpx.AsyncClient, board: Dashboard, app: FastAPI, services: Services, api_key: str
) -> None:
    clock = HeldClock()
    app.state.dashboard = Dashboard(replace(services, clock=clock))
    sign_in = "/dashboard/sign-in"
    wrong = [asyncio.ensure_future(elsewhere.post(sign_in, data={"key": f"wrong-{n}"})) for n in range(24)]
    right = await elsewhere.post(sign_in, data={"key": api_key})
    assert right.status_code == 303
    async with asyncio.timeout(30):
        await until(lambda: sum(one.done() for one in wrong) == 16)
    clock.go.set()
    answers = await asyncio.gather(*wrong)
    assert sorted(response.status_code for response in answers) == [401] * 8 + [429] * 16
    for response in answers:
        if response.status_code == 429:
            assert response.headers["retry-after"] == "1"
            assert "Too many sign-ins" in response.text
            assert "key is invalid" not in response.text


async def test_wrong_keys_of_one_address_do_not_delay_another(
    services: Services, database: Database, account: AccountId
) -> None:
    clock = HeldClock()
    sign_in = SignIn(replace(services, clock=clock), Vault(services.settings.secrets()[0]))
    wrong = [asyncio.ensure_future(sign_in.try_key("wrong", "2001:db8::1")) for _ in range(8)]
    async with asyncio.timeout(30):
        await until(lambda: sign_in._delayed.total() == 8)
    with pytest.raises(TooManySignIns):
        await sign_in.try_key("wrong", "2001:db8::2")
    other = asyncio.ensure_future(sign_in.try_key("wrong", "203.0.113.9"))
    async with asyncio.timeout(30):
        await until(lambda: sign_in._delayed.total() == 9)
    clock.go.set()
    assert await asyncio.gather(other, *wrong) == [None] * 9


async def test_form_from_another_page_is_not_reported_as_a_wrong_key(
    elsewhere: httpx.AsyncClient, api_key: str
) -> None:
    headers = {"origin": "https://evil.example"}
    response = await elsewhere.post("/dashboard/sign-in", data={"key": api_key}, headers=headers)
    assert response.status_code == 403
    assert "another page" in response.text
    assert "key is invalid" not in response.text


@pytest.mark.parametrize("path", ["/dashboard/sign-in", "/dashboard/sign-out"])
@pytest.mark.parametrize("origin", ["http://[::1", "http://[zz]"])
async def test_form_with_invalid_origin_is_refused(
    elsewhere: httpx.AsyncClient, api_key: str, path: str, origin: str
) -> None:
    response = await elsewhere.post(path, data={"key": api_key}, headers={"origin": origin})
    assert response.status_code == (403 if path.endswith("in") else 303)
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize("form", ["a=1&" * 9 + "key=x", "&" * 4_000])
async def test_form_with_many_fields_is_refused(elsewhere: httpx.AsyncClient, form: str) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    response = await elsewhere.post("/dashboard/sign-in", content=form, headers=headers)
    assert (response.status_code, response.json()["type"]) == (400, "/problems/bad-request")


async def test_revoked_key_ends_the_stream(
    elsewhere: httpx.AsyncClient, app: FastAPI, services: Services, database: Database, api_key: str
) -> None:
    dashboard = Dashboard(replace(services, clock=SystemClock()))
    async with database.write() as db:
        key = await find_key(db, api_key)
    assert key is not None
    viewer = Viewer(account_id=UNBOUND_ACCOUNT, may_unmask=True, key=KeyRef(key.owner, key.key_id))
    stream = dashboard.follow(Request({"type": "http", "headers": []}), viewer, unmasked=False)
    async with asyncio.timeout(30):
        await anext(stream)
        await anext(stream)
        async with database.write() as db:
            await keys.revoke_key(db, UNBOUND_ACCOUNT, key.key_id, START)
        said = [message async for message in stream]
    assert said[-1].startswith(b"event: signed-out")
