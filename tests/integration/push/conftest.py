"""Webhook endpoints with a receiver on loopback, and replicas that send to it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import select

from app.calls import accounts
from app.calls.feed.positions import load_last_number
from app.db.engine import Database
from app.db.tables import webhook_attempts, webhook_messages
from app.ids import AccountId, new_id
from app.push.endpoints import store
from app.push.endpoints.model import Condition, Endpoint, EndpointKey, Rules
from app.push.endpoints.secrets import Secret, new_secret, seal
from app.push.sending.address_rules import AddressRules, read_networks
from app.push.sending.client import WebhookClient
from app.push.sending.sender import Sender
from app.push.spreading.spreader import Spreader
from app.vault import Vault
from tests.conftest import SECRETS
from tests.factories_calls import ACCOUNT
from tests.fakes.clock import FakeClock
from tests.fakes.context import work_context
from tests.fakes.receiver import Receiver

LOOPBACK = AddressRules(allows_http=True, networks=read_networks("127.0.0.0/8"))
VAULT = Vault(SECRETS["secret_key"])
_MANY_STEPS = 50


@dataclass
class Replica:
    """The two loops of one worker."""

    spreader: Spreader
    sender: Sender

    async def settle(self) -> None:
        """Spread and send until nothing is due."""
        for _ in range(_MANY_STEPS):
            if await self.spreader.step() is None:
                break
        for _ in range(_MANY_STEPS):
            if await self.sender.step() is None:
                return
        raise AssertionError("the replica has something to do again and again")

    async def close(self) -> None:
        await self.spreader.close()
        await self.sender.close()


@dataclass
class World:
    """One account, its endpoints, a receiver, and replicas."""

    database: Database
    clock: FakeClock
    receiver: Receiver
    client: WebhookClient
    secret: Secret = field(default_factory=new_secret)
    replicas: list[Replica] = field(default_factory=list)

    def replica(self, name: str = "one", database: Database | None = None) -> Replica:
        context = work_context(database or self.database, self.clock, replica=name)
        made = Replica(Spreader(context), Sender(context, VAULT, self.client, luck=lambda: 0.0))
        self.replicas.append(made)
        return made

    async def add_endpoint(
        self, url: str | None = None, account_id: AccountId = ACCOUNT, **rules: Any
    ) -> EndpointKey:
        """Store an endpoint that begins at the current end of the timeline."""
        now = self.clock.now()
        async with self.database.write() as db:
            endpoint = Endpoint(
                key=EndpointKey(account_id, new_id("whe", now)),
                url=url or self.receiver.url,
                rules=Rules.model_validate(rules),
                position=await load_last_number(db, account_id),
                condition=Condition(),
                created_at=now,
                updated_at=now,
            )
            await store.insert_endpoint(db, endpoint, seal(VAULT, [self.secret]), None)
        return endpoint.key

    async def endpoint(self, key: EndpointKey) -> Endpoint:
        async with self.database.read() as db:
            return await store.load_endpoint(db, key)

    async def waiting(self) -> Sequence[Any]:
        async with self.database.read() as db:
            return (await db.execute(select(webhook_messages).order_by(webhook_messages.c.seq))).all()

    async def attempts(self) -> Sequence[Any]:
        async with self.database.read() as db:
            query = select(webhook_attempts).order_by(webhook_attempts.c.attempt_id)
            return (await db.execute(query)).all()


@pytest.fixture
async def world(database: Database, clock: FakeClock, account: AccountId) -> AsyncIterator[World]:
    async with _opened(database, clock) as made:
        yield made


@pytest.fixture
async def world_on_postgres(postgres_database: Database, clock: FakeClock) -> AsyncIterator[World]:
    """The same for what SQLite cannot do: two transactions that lock rows."""
    async with postgres_database.write() as db:
        await accounts.create(db, ACCOUNT, clock.now())
    async with _opened(postgres_database, clock) as made:
        yield made


@asynccontextmanager
async def _opened(database: Database, clock: FakeClock) -> AsyncIterator[World]:
    async with Receiver() as receiver, WebhookClient(LOOPBACK, clock) as client:
        made = World(database, clock, receiver, client)
        yield made
        for replica in made.replicas:
            await replica.close()
