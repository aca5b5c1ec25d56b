"""A refresh token works once: what that means for crashes, for replicas and for users who have to sign in
again.

The token endpoint is the simulator's, which follows RingCentral's rules for refresh tokens.
"""

import asyncio
from datetime import timedelta

import httpx
import pytest
import respx

from app.errors import AccessReason, CredentialsRefused, LeaseLost, RingCentralUnreachable, StorageUnavailable
from app.ringcentral.auth import AuthConfig, MemoryTokenStore, TokenKeeper
from app.ringcentral.stored_tokens import StoredToken, load_token
from app.ringcentral.transport import Transport
from tests.fakes.clock import FakeClock
from tests.fakes.token_endpoint import SERVER, SIGNED_IN, TokenEndpoint
from tests.unit.ringcentral.conftest import CONFIG
from tests.unit.ringcentral.doubles import NOON, Ledger


class FailingStore(MemoryTokenStore):
    """A store that can fail to save."""

    failure: Exception | None = None

    async def save(self, token: StoredToken) -> None:
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        await super().save(token)


@pytest.fixture
def endpoint(clock: FakeClock, ringcentral: respx.MockRouter) -> TokenEndpoint:
    endpoint = TokenEndpoint(clock)
    ringcentral["token"].mock(side_effect=endpoint.answer)
    return endpoint


@pytest.fixture
def shared(endpoint: TokenEndpoint) -> FailingStore:
    store = FailingStore()
    store.token = endpoint.sign_in()
    return store


@pytest.fixture
def transport(http: httpx.AsyncClient, budget: Ledger, clock: FakeClock) -> Transport:
    return Transport(http, CONFIG, budget, clock)


@pytest.fixture
def keeper(transport: Transport, shared: FailingStore, clock: FakeClock) -> TokenKeeper:
    return TokenKeeper(transport, SIGNED_IN, shared, clock)


async def test_the_token_of_the_sign_in_is_used_first(
    keeper: TokenKeeper, endpoint: TokenEndpoint, shared: FailingStore
) -> None:
    assert await keeper.token() == shared.token
    assert endpoint.asked == 0


async def test_a_new_pair_takes_the_place_of_the_old_one(
    keeper: TokenKeeper, endpoint: TokenEndpoint, shared: FailingStore, clock: FakeClock
) -> None:
    first = await keeper.token()
    clock.advance(3600)
    second = await keeper.token()
    assert second == shared.token
    assert second.refresh_token not in (None, first.refresh_token)
    assert endpoint.is_accepted(second)
    assert not endpoint.is_accepted(first)
    clock.advance(3600)
    assert endpoint.is_accepted(await keeper.token())
    assert endpoint.asked == 2


async def test_a_pair_that_was_not_saved_is_neither_used_nor_lost(
    keeper: TokenKeeper, endpoint: TokenEndpoint, shared: FailingStore, clock: FakeClock, transport: Transport
) -> None:
    clock.advance(3600)
    shared.failure = StorageUnavailable("away")
    with pytest.raises(StorageUnavailable):
        await keeper.token()
    (session,) = endpoint.tokens.sessions
    assert session.used_at is None
    clock.advance(50 * 60)
    survivor = TokenKeeper(transport, SIGNED_IN, shared, clock)
    assert (await survivor.token()).access_token == session.access_token
    assert shared.token is not None
    assert shared.token.refresh_token == session.refresh_token


async def test_after_an_hour_without_the_new_pair_a_person_has_to_sign_in(
    keeper: TokenKeeper, endpoint: TokenEndpoint, shared: FailingStore, clock: FakeClock, transport: Transport
) -> None:
    clock.advance(3600)
    shared.failure = StorageUnavailable("away")
    with pytest.raises(StorageUnavailable):
        await keeper.token()
    clock.advance(61 * 60)
    asked = endpoint.asked
    for asker in (keeper, keeper, TokenKeeper(transport, SIGNED_IN, shared, clock)):
        with pytest.raises(CredentialsRefused) as refusal:
            await asker.token()
        assert refusal.value.code == AccessReason.SIGN_IN_AGAIN
        clock.advance(timedelta(days=30).total_seconds())
    assert endpoint.asked == asked + 1


async def test_a_refused_token_is_not_used_again(
    keeper: TokenKeeper, endpoint: TokenEndpoint, clock: FakeClock
) -> None:
    dead = await keeper.token()
    endpoint.tokens.revoke_all()
    with pytest.raises(CredentialsRefused):
        await keeper.renew(dead)
    for _ in range(3):
        with pytest.raises(CredentialsRefused) as refusal:
            await keeper.token()
        assert refusal.value.code == AccessReason.SIGN_IN_AGAIN
        clock.advance(60)
    assert endpoint.asked == 1


async def test_another_sign_in_is_tried_at_once(
    keeper: TokenKeeper, endpoint: TokenEndpoint, shared: FailingStore, clock: FakeClock, transport: Transport
) -> None:
    endpoint.tokens.revoke_all()
    clock.advance(3600)
    with pytest.raises(CredentialsRefused):
        await keeper.token()
    again = AuthConfig(client_id="app", client_secret="hidden-secret", sign_in="two", server_url=SERVER)
    token = endpoint.sign_in()
    shared.token = StoredToken(
        access_token=token.access_token,
        issued_at=token.issued_at,
        expires_at=token.expires_at,
        fingerprint=again.fingerprint,
        refresh_token=token.refresh_token,
    )
    assert endpoint.is_accepted(await TokenKeeper(transport, again, shared, clock).token())


async def test_a_wrong_client_secret_of_one_replica_does_not_affect_others(
    keeper: TokenKeeper, endpoint: TokenEndpoint, shared: FailingStore, clock: FakeClock, transport: Transport
) -> None:
    clock.advance(3600)
    wrong = AuthConfig(client_id="app", client_secret="old", sign_in="one", server_url=SERVER)
    with pytest.raises(CredentialsRefused) as refusal:
        await TokenKeeper(transport, wrong, shared, clock).token()
    assert refusal.value.code == "OAU-140"
    assert endpoint.is_accepted(await keeper.token())


async def test_replicas_exchange_the_refresh_token_once(
    endpoint: TokenEndpoint, shared: FailingStore, clock: FakeClock, transport: Transport
) -> None:
    replicas = [TokenKeeper(transport, SIGNED_IN, shared, clock) for _ in range(5)]
    old = [await one.token() for one in replicas]
    clock.advance(3600)
    new = await asyncio.gather(*(one.renew(token) for one, token in zip(replicas, old, strict=True)))
    assert len({token.access_token for token in new}) == 1
    assert endpoint.asked == 1


async def test_the_stored_pair_is_used_even_if_its_replicas_clock_is_behind(
    endpoint: TokenEndpoint, shared: FailingStore, clock: FakeClock, transport: Transport
) -> None:
    late = FakeClock(NOON - timedelta(minutes=5))
    here, there = (
        TokenKeeper(transport, SIGNED_IN, shared, clock),
        TokenKeeper(transport, SIGNED_IN, shared, late),
    )
    old = await here.token()
    renewed = await there.renew(old)
    assert renewed.issued_at < old.issued_at
    assert endpoint.is_accepted(await here.renew(old))
    assert endpoint.asked == 1


async def test_a_pair_bought_under_a_lost_lease_is_dropped(
    keeper: TokenKeeper, endpoint: TokenEndpoint, shared: FailingStore, clock: FakeClock
) -> None:
    clock.advance(3600)
    shared.failure = LeaseLost("too slow")
    with pytest.raises(RingCentralUnreachable):
        await keeper.token()
    assert endpoint.is_accepted(await keeper.token())


async def test_a_lost_token_response_does_not_end_the_sign_in(
    keeper: TokenKeeper, endpoint: TokenEndpoint, shared: FailingStore, clock: FakeClock
) -> None:
    old = await keeper.token()
    clock.advance(3600 - 60)
    endpoint.loses_answers = True
    bridged = await keeper.token()
    assert bridged == old
    assert not endpoint.is_accepted(bridged), "the server has traded it, though we do not know"
    endpoint.loses_answers = False
    clock.advance(60)
    assert endpoint.is_accepted(await keeper.renew(bridged))


async def test_without_a_stored_pair_a_person_has_to_sign_in(
    keeper: TokenKeeper, endpoint: TokenEndpoint, shared: FailingStore
) -> None:
    shared.token = None
    with pytest.raises(CredentialsRefused) as refusal:
        await keeper.token()
    assert refusal.value.code == AccessReason.SIGN_IN_AGAIN
    assert endpoint.asked == 0


def test_the_refresh_token_survives_storage_and_is_not_in_the_repr(shared: FailingStore) -> None:
    token = shared.token
    assert token is not None
    assert token.refresh_token
    assert load_token(token.dump()) == token
    assert token.refresh_token not in repr(token)


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (400, "invalid_grant", "OAU-210"),
        (400, "invalid_grant", "OAU-213"),
        (400, "invalid_grant", None),
        (401, "invalid_token", "OAU-213"),
    ],
)
async def test_an_ended_sign_in_is_not_retried_whatever_the_error(
    keeper: TokenKeeper,
    ringcentral: respx.MockRouter,
    clock: FakeClock,
    status: int,
    error: str,
    code: str | None,
) -> None:
    body = {"error": error, "error_description": "Token not found"}
    told = {"errors": [{"errorCode": code, "message": "Token not found"}]} if code else {}
    ringcentral["token"].mock(return_value=httpx.Response(status, json=body | told))
    for _ in range(3):
        clock.advance(3600)
        with pytest.raises(CredentialsRefused) as refusal:
            await keeper.token()
        assert refusal.value.code == AccessReason.SIGN_IN_AGAIN
    assert ringcentral["token"].call_count == 1
