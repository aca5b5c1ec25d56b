"""The token that replicas share, on both databases."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import select, update

from app.accounts.shared_token import SharedTokenStore
from app.db.engine import Database
from app.db.tables import credentials
from app.errors import CredentialsRefused, LeaseLost, RingCentralUnreachable
from app.ids import AccountId
from app.ringcentral.auth import TokenKeeper
from app.ringcentral.stored_tokens import Refusal, StoredToken, TokenUnreadable
from app.ringcentral.transport import ClientConfig, Transport
from app.vault import Vault
from tests.fakes.clock import START, FakeClock
from tests.fakes.token_endpoint import SERVER, SIGNED_IN, TokenEndpoint
from tests.unit.ringcentral.doubles import Ledger

TOKEN = StoredToken(
    access_token="EXAMPLE-ACCESS-1",
    issued_at=START,
    expires_at=START + timedelta(hours=1),
    fingerprint="f",
    owner_id="711000101",
)


def store(
    database: Database, clock: FakeClock, replica: str = "one", secret: str = "s" * 32
) -> SharedTokenStore:
    return SharedTokenStore(database, clock, Vault(secret), replica=replica, lease_seconds=10.0)


async def test_replicas_share_the_token_and_the_database_cannot_read_it(
    database: Database, clock: FakeClock
) -> None:
    await store(database, clock).save(TOKEN)
    assert await store(database, clock, "other").load() == TOKEN
    async with database.read() as db:
        kept = await db.scalar(select(credentials.c.token))
    assert kept is not None
    assert b"EXAMPLE-ACCESS-1" not in kept


async def test_a_token_of_another_secret_key_is_not_treated_as_missing(
    database: Database, clock: FakeClock
) -> None:
    await store(database, clock).save(TOKEN)
    with pytest.raises(TokenUnreadable, match="AFTERCALL_SECRET_KEY"):
        await store(database, clock, secret="t" * 32).load()


async def test_a_refusal_is_shared_and_cleared_by_the_next_token(
    database: Database, clock: FakeClock
) -> None:
    refusal = Refusal(detail="invalid_grant", until=START, fingerprint="f", code="OAU-210")
    await store(database, clock).save_refusal(refusal)
    assert await store(database, clock, "other").load_refusal() == refusal
    await store(database, clock).save(TOKEN)
    assert await store(database, clock).load_refusal() is None


async def test_one_replica_at_a_time_buys_a_token(database: Database, clock: FakeClock) -> None:
    inside = 0

    async def buy(replica: str) -> None:
        nonlocal inside
        async with store(database, clock, replica).lock():
            inside += 1
            assert inside == 1
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(buy(f"replica-{number}") for number in range(4)))


async def test_the_lease_of_a_crashed_replica_runs_out(database: Database, clock: FakeClock) -> None:
    first = store(database, clock, "crashed")
    async with first.lock():
        pass
    async with database.write() as db:
        await db.execute(
            update(credentials).values(lease_owner="crashed", lease_until=clock.now() + timedelta(seconds=5))
        )
    async with store(database, clock, "other").lock():
        assert clock.now() >= START + timedelta(seconds=5)


async def test_waiting_for_a_token_is_limited(database: Database, clock: FakeClock) -> None:
    async with store(database, clock).lock():
        async with database.write() as db:
            await db.execute(update(credentials).values(lease_until=clock.now() + timedelta(hours=1)))
        with pytest.raises(RingCentralUnreachable):
            async with store(database, clock, "other").lock():
                pass


async def test_a_token_bought_under_a_lost_lease_is_not_saved(database: Database, clock: FakeClock) -> None:
    slow, quick = store(database, clock, "slow"), store(database, clock, "quick")
    newer = replace(TOKEN, access_token="EXAMPLE-ACCESS-2")
    async with slow.lock():
        clock.advance(11)
        async with quick.lock():
            await quick.save(newer)
        with pytest.raises(LeaseLost):
            await slow.save(TOKEN)
    assert await slow.load() == newer


async def test_removed_credentials_do_not_come_back(database: Database, clock: FakeClock) -> None:
    of_account = SharedTokenStore(
        database,
        clock,
        Vault("s" * 32),
        replica="one",
        lease_seconds=10.0,
        holder=AccountId("908070001"),
        name="ext-711000101",
    )
    await of_account.save(TOKEN)
    await of_account.save_refusal(Refusal(detail="no", until=START, fingerprint="f"))
    with pytest.raises(CredentialsRefused, match="removed"):
        async with of_account.lock():
            pass
    async with database.read() as db:
        assert await db.scalar(select(credentials.c.name)) is None


async def test_the_lease_is_renewed_while_a_token_is_being_bought(
    database: Database, clock: FakeClock
) -> None:
    buying = SharedTokenStore(database, clock, Vault("s" * 32), replica="one", lease_seconds=0.03)
    async with buying.lock():
        clock.advance(60)
        async with asyncio.timeout(20):
            while True:
                async with database.read() as db:
                    until = await db.scalar(select(credentials.c.lease_until))
                if until is not None and until > clock.now():
                    break
                await asyncio.sleep(0.01)
        await buying.save(TOKEN)
    assert await buying.load() == TOKEN


class SignedIn:
    """A user has signed in. Replicas share the pair through the database, and each may be delayed when it
    requests one.
    """

    def __init__(self, database: Database, clock: FakeClock, http: httpx.AsyncClient) -> None:
        self.database, self.clock = database, clock
        self.endpoint = TokenEndpoint(clock)
        self.http = http
        self.held_up: list[Callable[[], Awaitable[None]]] = []

    def replica(self, name: str, secret: str = "s" * 32) -> TokenKeeper:
        # So long a lease is renewed by nobody while a test runs, however slow the machine.
        shared = SharedTokenStore(
            self.database, self.clock, Vault(secret), replica=name, lease_seconds=LEASE_SECONDS
        )
        transport = Transport(self.http, ClientConfig(server_url=SERVER), Ledger(), self.clock)
        return TokenKeeper(transport, SIGNED_IN, shared, self.clock)


LEASE_SECONDS = 1800.0


@pytest.fixture
async def signed_in(database: Database, clock: FakeClock) -> AsyncIterator[SignedIn]:
    async def answer(request: httpx.Request) -> httpx.Response:
        if made.held_up:
            await made.held_up.pop()()
        return made.endpoint.answer(request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        made = SignedIn(database, clock, http)
        await store(database, clock).save(made.endpoint.sign_in())
        yield made


async def test_a_replica_that_lost_the_lease_does_not_end_a_renewed_sign_in(
    signed_in: SignedIn, database: Database, clock: FakeClock
) -> None:
    slow, quick = signed_in.replica("slow"), signed_in.replica("quick")

    async def meanwhile() -> None:
        clock.advance(LEASE_SECONDS + 1)
        assert signed_in.endpoint.is_accepted(await quick.token())
        clock.advance(11)

    clock.advance(3600)
    signed_in.held_up.append(meanwhile)
    with pytest.raises(RingCentralUnreachable, match="another replica"):
        await slow.token()
    assert await store(database, clock).load_refusal() is None
    clock.advance(3600)
    for keeper in (slow, quick):
        assert signed_in.endpoint.is_accepted(await keeper.token())


async def test_a_replica_without_the_new_secret_key_does_not_end_a_sign_in(
    signed_in: SignedIn, database: Database, clock: FakeClock
) -> None:
    old, new = "s" * 32, f"{'n' * 32},{'s' * 32}"
    behind, ahead = signed_in.replica("behind", old), signed_in.replica("ahead", new)
    await behind.token()
    clock.advance(3600)
    assert signed_in.endpoint.is_accepted(await ahead.token())
    clock.advance(3600)
    asked = signed_in.endpoint.asked
    for keeper in (behind, signed_in.replica("started anew", old)):
        with pytest.raises(RingCentralUnreachable, match="AFTERCALL_SECRET_KEY"):
            await keeper.token()
    assert signed_in.endpoint.asked == asked
    assert signed_in.endpoint.is_accepted(await ahead.token())
