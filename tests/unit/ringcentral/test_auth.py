"""One token for all: renewed in time, requested once, and not after a refusal."""

import asyncio
import base64
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from urllib.parse import parse_qs

import httpx
import pytest
import respx

from app.errors import CredentialsRefused, RateLimited, RingCentralUnreachable
from app.ringcentral.auth import AuthConfig, MemoryTokenStore, TokenKeeper
from app.ringcentral.stored_tokens import StoredToken, load_refusal, load_token
from app.ringcentral.transport import Transport
from tests.fakes.clock import FakeClock
from tests.unit.ringcentral.conftest import AUTH, CONFIG, token_answer
from tests.unit.ringcentral.doubles import NOON, Ledger


@pytest.fixture
def transport(http: httpx.AsyncClient, budget: Ledger, clock: FakeClock) -> Transport:
    return Transport(http, CONFIG, budget, clock)


@pytest.fixture
def keeper(
    transport: Transport, store: MemoryTokenStore, clock: FakeClock, ringcentral: respx.MockRouter
) -> TokenKeeper:
    return TokenKeeper(transport, AUTH, store, clock)


def refused(code: str = "OAU-251", status: int = 400) -> httpx.Response:
    body = {
        "error": "unauthorized_client",
        "error_description": "no",
        "errors": [{"errorCode": code, "message": "no"}],
    }
    return httpx.Response(status, json=body)


async def test_the_assertion_is_presented_as_the_jwt_flow_says(
    keeper: TokenKeeper, ringcentral: respx.MockRouter, budget: Ledger
) -> None:
    token = await keeper.token()
    sent = ringcentral["token"].calls.last.request
    assert parse_qs(sent.content.decode()) == {
        "grant_type": ["urn:ietf:params:oauth:grant-type:jwt-bearer"],
        "assertion": ["hidden-jwt"],
    }
    assert base64.b64decode(sent.headers["authorization"].removeprefix("Basic ")) == b"app:hidden-secret"
    assert sent.headers["content-type"] == "application/x-www-form-urlencoded"
    assert budget.groups == ["Auth"]
    assert (token.owner_id, list(token.scopes), token.issued_at) == ("711000101", ["ReadCallLog"], NOON)


async def test_concurrent_callers_share_one_token_request(
    keeper: TokenKeeper, ringcentral: respx.MockRouter
) -> None:
    tokens = await asyncio.gather(*(keeper.token() for _ in range(20)))
    assert {token.access_token for token in tokens} == {"token-1"}
    assert ringcentral["token"].call_count == 1


async def test_replicas_share_one_token(
    transport: Transport, store: MemoryTokenStore, clock: FakeClock, ringcentral: respx.MockRouter
) -> None:
    replicas = [TokenKeeper(transport, AUTH, store, clock) for _ in range(5)]
    tokens = await asyncio.gather(*(replica.token() for replica in replicas))
    assert {token.access_token for token in tokens} == {"token-1"}
    assert ringcentral["token"].call_count == 1


async def test_replicas_renew_a_refused_token_once(
    transport: Transport, store: MemoryTokenStore, clock: FakeClock, ringcentral: respx.MockRouter
) -> None:
    replicas = [TokenKeeper(transport, AUTH, store, clock) for _ in range(5)]
    old = [await replica.token() for replica in replicas]
    clock.advance(1)
    new = await asyncio.gather(*(replica.renew(token) for replica, token in zip(replicas, old, strict=True)))
    assert {token.access_token for token in new} == {"token-2"}
    assert ringcentral["token"].call_count == 2


async def test_a_token_is_replaced_before_it_expires(
    keeper: TokenKeeper, ringcentral: respx.MockRouter, clock: FakeClock
) -> None:
    await keeper.token()
    clock.advance(3600 - 121)
    assert (await keeper.token()).access_token == "token-1"
    clock.advance(2)
    assert (await keeper.token()).access_token == "token-2"


async def test_a_short_lived_token_is_used_for_nine_tenths_of_its_life(
    keeper: TokenKeeper, ringcentral: respx.MockRouter, clock: FakeClock
) -> None:
    ringcentral["token"].mock(
        side_effect=[token_answer("a", expires_in=100), token_answer("b", expires_in=100)]
    )
    await keeper.token()
    clock.advance(89)
    assert (await keeper.token()).access_token == "a"
    clock.advance(2)
    assert (await keeper.token()).access_token == "b"


async def test_a_token_bought_with_other_credentials_is_not_used(
    transport: Transport, store: MemoryTokenStore, clock: FakeClock, ringcentral: respx.MockRouter
) -> None:
    await TokenKeeper(transport, AUTH, store, clock).token()
    other = TokenKeeper(transport, replace(AUTH, jwt="another-jwt"), store, clock)
    assert (await other.token()).access_token == "token-2"


@pytest.mark.parametrize(
    "answer", [refused(), refused("OAU-210"), refused("OAU-121", 401), refused("OAU-101", 403)]
)
async def test_refused_credentials_are_not_retried_for_some_minutes(
    keeper: TokenKeeper,
    transport: Transport,
    store: MemoryTokenStore,
    ringcentral: respx.MockRouter,
    clock: FakeClock,
    answer: httpx.Response,
) -> None:
    ringcentral["token"].mock(return_value=answer)
    another_replica = TokenKeeper(transport, AUTH, store, clock)
    for asker in (keeper, keeper, another_replica):
        with pytest.raises(CredentialsRefused) as refusal:
            await asker.token()
        assert refusal.value.code
        assert refusal.value.status == answer.status_code
    assert ringcentral["token"].call_count == 1
    clock.advance(AUTH.refusal_seconds + 1)
    ringcentral["token"].mock(return_value=token_answer())
    assert (await keeper.token()).access_token == "token-1"


async def test_retries_of_refused_credentials_become_less_frequent(
    keeper: TokenKeeper, ringcentral: respx.MockRouter, clock: FakeClock
) -> None:
    ringcentral["token"].mock(return_value=refused())
    asked: list[datetime] = []
    for _ in range(24 * 60):
        with pytest.raises(CredentialsRefused):
            await keeper.token()
        if ringcentral["token"].call_count > len(asked):
            asked.append(clock.now())
        clock.advance(60)
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(asked)]
    assert gaps == sorted(gaps)
    assert (gaps[0], gaps[-1]) == (AUTH.refusal_seconds, AUTH.longest_refusal_seconds)
    assert len(asked) < 30


async def test_a_response_that_is_not_ringcentrals_is_retried_after_some_minutes(
    keeper: TokenKeeper, ringcentral: respx.MockRouter, clock: FakeClock
) -> None:
    ringcentral["token"].mock(return_value=httpx.Response(404, text="a proxy's page"))
    for _ in range(12):
        with pytest.raises(CredentialsRefused):
            await keeper.token()
        clock.advance(AUTH.refusal_seconds)
    assert ringcentral["token"].call_count == 12


async def test_changed_credentials_are_tried_at_once_after_a_refusal(
    keeper: TokenKeeper,
    transport: Transport,
    store: MemoryTokenStore,
    ringcentral: respx.MockRouter,
    clock: FakeClock,
) -> None:
    ringcentral["token"].mock(return_value=refused())
    with pytest.raises(CredentialsRefused):
        await keeper.token()
    ringcentral["token"].mock(return_value=token_answer())
    changed = AuthConfig(client_id="app", client_secret="other", jwt="hidden-jwt", server_url=AUTH.server_url)
    assert (await TokenKeeper(transport, changed, store, clock).token()).access_token == "token-1"


@pytest.mark.parametrize("status", [302, 404, 405])
async def test_a_wrong_server_address_is_reported(
    keeper: TokenKeeper, ringcentral: respx.MockRouter, status: int
) -> None:
    ringcentral["token"].mock(
        return_value=httpx.Response(status, headers={"Location": "https://evil.example.net/"})
    )
    with pytest.raises(CredentialsRefused, match="RC_SERVER_URL"):
        await keeper.token()


@pytest.mark.parametrize("failure", [httpx.Response(500), httpx.Response(408), httpx.ReadTimeout("slow")])
async def test_a_failing_token_endpoint_gets_three_more_tries_with_pauses(
    keeper: TokenKeeper, ringcentral: respx.MockRouter, clock: FakeClock, failure: httpx.Response | Exception
) -> None:
    ringcentral["token"].mock(side_effect=[failure, failure, failure, token_answer()])
    assert (await keeper.token()).access_token == "token-1"
    assert clock.slept == [10.0, 10.0, 10.0]


async def test_after_all_tries_the_token_endpoint_is_left_alone_for_a_pause(
    keeper: TokenKeeper, ringcentral: respx.MockRouter, clock: FakeClock
) -> None:
    ringcentral["token"].mock(return_value=httpx.Response(500))
    for _ in range(3):
        with pytest.raises(RingCentralUnreachable):
            await keeper.token()
    assert ringcentral["token"].call_count == AUTH.tries
    clock.advance(AUTH.pause_seconds)
    with pytest.raises(RingCentralUnreachable):
        await keeper.token()
    assert ringcentral["token"].call_count == 2 * AUTH.tries


@pytest.mark.parametrize(("status", "kind"), [(429, RateLimited), (503, RingCentralUnreachable)])
async def test_retry_after_of_the_token_endpoint_is_respected(
    keeper: TokenKeeper, ringcentral: respx.MockRouter, clock: FakeClock, status: int, kind: type[Exception]
) -> None:
    ringcentral["token"].mock(return_value=httpx.Response(status, headers={"Retry-After": "40"}))
    for _ in range(3):
        with pytest.raises(kind):
            await keeper.token()
    assert ringcentral["token"].call_count == 1
    clock.advance(41)
    ringcentral["token"].mock(return_value=token_answer())
    assert await keeper.token()


async def test_a_valid_token_bridges_a_failing_token_endpoint(
    keeper: TokenKeeper, ringcentral: respx.MockRouter, clock: FakeClock
) -> None:
    await keeper.token()
    ringcentral["token"].mock(return_value=httpx.Response(500))
    clock.advance(3600 - 60)
    assert (await keeper.token()).access_token == "token-1"
    assert (await keeper.token()).access_token == "token-1"
    assert clock.slept == []
    assert ringcentral["token"].call_count == 2
    clock.advance(61)
    with pytest.raises(RingCentralUnreachable):
        await keeper.token()


async def test_a_shared_token_that_nears_its_end_bridges_too(
    transport: Transport, store: MemoryTokenStore, clock: FakeClock, ringcentral: respx.MockRouter
) -> None:
    await TokenKeeper(transport, AUTH, store, clock).token()
    ringcentral["token"].mock(return_value=httpx.Response(500))
    clock.advance(3600 - 60)
    assert (await TokenKeeper(transport, AUTH, store, clock).token()).access_token == "token-1"


async def test_a_refused_token_bridges_nothing(
    keeper: TokenKeeper, ringcentral: respx.MockRouter, clock: FakeClock
) -> None:
    token = await keeper.token()
    ringcentral["token"].mock(return_value=httpx.Response(500))
    with pytest.raises(RingCentralUnreachable):
        await keeper.renew(token)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"access_token": "a\nb", "expires_in": 60},
        {"access_token": "a"},
        {"access_token": 1, "expires_in": 60},
        [],
    ],
)
async def test_a_response_without_a_usable_token_is_rejected(
    keeper: TokenKeeper, ringcentral: respx.MockRouter, body: object
) -> None:
    ringcentral["token"].mock(return_value=httpx.Response(200, json=body))
    with pytest.raises(RingCentralUnreachable):
        await keeper.token()


async def test_a_missing_slot_for_the_token_is_reported_as_the_rate_limit(
    keeper: TokenKeeper, budget: Ledger, ringcentral: respx.MockRouter
) -> None:
    budget.empty_until = NOON + timedelta(seconds=30)
    with pytest.raises(RateLimited):
        await keeper.token()
    assert not ringcentral["token"].called


async def test_a_cancelled_caller_does_not_block_the_next(
    keeper: TokenKeeper, ringcentral: respx.MockRouter
) -> None:
    asked = asyncio.Event()

    async def never(_: httpx.Request) -> httpx.Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    ringcentral["token"].mock(side_effect=never)
    first = asyncio.create_task(keeper.token())
    await asked.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    ringcentral["token"].mock(return_value=token_answer())
    assert (await keeper.token()).access_token == "token-1"


async def test_a_token_and_a_refusal_survive_their_storage(
    keeper: TokenKeeper, store: MemoryTokenStore, ringcentral: respx.MockRouter, clock: FakeClock
) -> None:
    token = await keeper.token()
    assert load_token(token.dump()) == token
    ringcentral["token"].mock(return_value=refused())
    with pytest.raises(CredentialsRefused):
        await keeper.renew(token)
    assert store.refusal is not None
    assert load_refusal(store.refusal.dump()) == store.refusal


@pytest.mark.parametrize("stored", [b"", b"[]", b"{}", b"\xff", b'{"access_token": "a", "fingerprint": "f"}'])
def test_unknown_stored_values_are_not_tokens(stored: bytes) -> None:
    assert load_token(stored) is None
    assert load_refusal(stored) is None


def test_secrets_are_not_in_the_repr(keeper: TokenKeeper) -> None:
    token = StoredToken(access_token="hidden", issued_at=NOON, expires_at=NOON, fingerprint="f")
    assert "hidden" not in f"{AUTH!r} {token!r} {AUTH.fingerprint}"


def test_the_lock_is_held_no_longer_than_all_tries_take() -> None:
    quick = AuthConfig(
        client_id="a",
        client_secret="s",
        jwt="j",
        tries=2,
        pause_seconds=1,
        request_seconds=3,
        slot_wait_seconds=5,
    )
    assert quick.longest_grant_seconds == 2 * (3 + 5) + 1
