"""Credentials that are replaced, and a missing secret key, while work with the old ones goes on."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from app.accounts import credentials
from app.accounts.access import Access
from app.accounts.connections import Connection, Connections
from app.accounts.credentials import CredentialKind, Secret
from app.accounts.overview import load_overview
from app.calls.accounts import open_unbound
from app.db.engine import Database
from app.errors import AccessReason, CredentialsRefused, PermissionMissing, RingCentralUnreachable
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.settings import Settings
from app.vault import Vault
from tests.fakes.clock import FakeClock
from tests.fakes.token_endpoint import SERVER, SIGNED_IN, TokenEndpoint

COFFEE = AccountId("908070002")
OLD, NEW = "o" * 32, "n" * 32


class House:
    """Replicas on one database, with one token endpoint."""

    def __init__(
        self, database: Database, clock: FakeClock, http: httpx.AsyncClient, settings: Settings
    ) -> None:
        self.database, self.clock, self.http, self.settings = database, clock, http, settings

    def replica(self, secret_key: str = OLD, **values: Any) -> Connections:
        settings = self.settings.model_copy(update=values)
        vault = Vault(secret_key)
        return Connections(settings, self.database, self.clock, vault, self.http, replica="one")


@pytest.fixture
def endpoint(clock: FakeClock) -> TokenEndpoint:
    return TokenEndpoint(clock)


@pytest.fixture
async def house(
    database: Database, clock: FakeClock, endpoint: TokenEndpoint, make_settings: Any
) -> AsyncIterator[House]:
    settings = make_settings(rc_client_id="app", rc_client_secret="hidden-secret", rc_server_url=SERVER)
    async with httpx.AsyncClient(transport=httpx.MockTransport(endpoint.answer)) as http:
        yield House(database, clock, http, settings)


def known(connection: Connection) -> Access:
    return replace(connection.access, fingerprint=None)


async def sign_in(house: House, endpoint: TokenEndpoint, name: str, secret_key: str = OLD) -> None:
    """Store a sign-in of this name, as the callback does."""
    fingerprint = replace(SIGNED_IN, sign_in=name).fingerprint
    token = replace(endpoint.sign_in(), fingerprint=fingerprint)
    async with house.database.write() as db:
        await credentials.save(
            db,
            Vault(secret_key),
            COFFEE,
            "ext-711000101",
            CredentialKind.OAUTH,
            Secret("app", sign_in=name),
            token,
            Access().to_json(),
            house.clock.now(),
        )


async def test_work_under_way_with_a_former_sign_in_does_not_overwrite_the_new_one(
    house: House, endpoint: TokenEndpoint, clock: FakeClock
) -> None:
    await sign_in(house, endpoint, "one")
    (former,) = await house.replica().of(COFFEE)
    await former.client.fetch_token()
    clock.advance(3600)
    await sign_in(house, endpoint, "two")
    with pytest.raises(RingCentralUnreachable, match="replaced"):
        await former.client.fetch_token()
    for _ in range(2):
        (present,) = await house.replica().of(COFFEE)
        assert endpoint.is_accepted(await present.client.fetch_token())
        clock.advance(3600)


async def test_a_former_sign_in_does_not_block_its_successor(
    house: House, endpoint: TokenEndpoint, clock: FakeClock
) -> None:
    await sign_in(house, endpoint, "one")
    (former,) = await house.replica().of(COFFEE)
    await former.client.fetch_token()
    secret = Secret("app", client_secret="hidden-secret", jwt="jwt")
    token = replace(endpoint.sign_in(), fingerprint="of the credential", refresh_token=None)
    async with house.database.write() as db:
        await credentials.save(
            db,
            Vault(OLD),
            COFFEE,
            "ext-711000101",
            CredentialKind.JWT,
            secret,
            token,
            Access().to_json(),
            clock.now(),
        )
    clock.advance(3600)
    with pytest.raises(RingCentralUnreachable, match="replaced"):
        await former.client.fetch_token()
    (present,) = await house.replica().of(COFFEE)
    assert endpoint.is_accepted(await present.client.fetch_token())


async def test_a_sign_in_with_unreadable_tokens_asks_for_its_key(
    house: House, endpoint: TokenEndpoint, clock: FakeClock
) -> None:
    await sign_in(house, endpoint, "one")
    clock.advance(3600)
    (ahead,) = await house.replica(f"{NEW},{OLD}").of(COFFEE)
    await ahead.client.fetch_token()
    async with house.database.read() as db:
        (account,) = await load_overview(db, house.settings, Vault(OLD), clock.now(), COFFEE)
        (fine,) = await load_overview(db, house.settings, Vault(f"{NEW},{OLD}"), clock.now(), COFFEE)
    assert account.problem is not None
    assert account.problem["code"] == "unreadable"
    assert fine.problem is None


@pytest.mark.parametrize(
    "error",
    [
        CredentialsRefused("no", status=400, code="OAU-210"),
        PermissionMissing("no", permission="ReadCompanyCallLog", code="CMN-408"),
    ],
)
async def test_new_credentials_in_the_environment_start_without_old_problems(
    house: House, error: CredentialsRefused | PermissionMissing
) -> None:
    former = house.replica(rc_jwt=SecretStr("jwt"))
    (own,) = await former.of(UNBOUND_ACCOUNT)
    await former.note(own, error)
    (same,) = await house.replica(rc_jwt=SecretStr("jwt")).of(UNBOUND_ACCOUNT)
    assert known(same) != known(own)
    settings = house.settings.model_copy(update={"rc_jwt": SecretStr("another")})
    (present,) = await house.replica(rc_jwt=SecretStr("another")).of(UNBOUND_ACCOUNT)
    assert known(present) == known(own)
    async with house.database.write() as db:
        await open_unbound(db, house.clock.now())
        (account,) = await load_overview(db, settings, Vault(OLD), house.clock.now())
    assert [member.problems for member in account.members] == [()]


async def test_a_late_refusal_of_former_credentials_does_not_affect_the_new(
    house: House, endpoint: TokenEndpoint
) -> None:
    await sign_in(house, endpoint, "one")
    busy = house.replica()
    (former,) = await busy.of(COFFEE)
    await sign_in(house, endpoint, "two")
    await busy.note(former, CredentialsRefused("over", status=400, code=AccessReason.SIGN_IN_AGAIN))
    (present,) = await house.replica().of(COFFEE)
    assert present.access.problem is None
    await busy.note(present, CredentialsRefused("over", status=400, code=AccessReason.SIGN_IN_AGAIN))
    (blocked,) = await house.replica().of(COFFEE)
    assert blocked.access.problem is not None


async def test_an_unreadable_token_is_replaced_if_there_is_a_credential(
    house: House, endpoint: TokenEndpoint
) -> None:
    (own,) = await house.replica(OLD, rc_jwt=SecretStr("jwt")).of(UNBOUND_ACCOUNT)
    first = await own.client.fetch_token()
    (own,) = await house.replica(NEW, rc_jwt=SecretStr("jwt")).of(UNBOUND_ACCOUNT)
    assert endpoint.is_accepted(await own.client.fetch_token())
    assert endpoint.is_accepted(first), "a session of its own"


async def test_a_continuing_refusal_is_logged_once_with_its_connection(
    house: House, endpoint: TokenEndpoint, clock: FakeClock
) -> None:
    await sign_in(house, endpoint, "one")
    replica = house.replica()
    with capture_logs() as lines:
        for _ in range(3):
            (connection,) = await replica.of(COFFEE)
            await replica.note(
                connection, CredentialsRefused("over", status=400, code=AccessReason.SIGN_IN_AGAIN)
            )
            clock.advance(400)
    told = [line for line in lines if "the access of" in line["event"]]
    assert [(line["account_id"], line["name"], line["log_level"]) for line in told] == [
        (COFFEE, "ext-711000101", "info")
    ]
    assert "level" not in told[0], "it would hide how grave the line is"
