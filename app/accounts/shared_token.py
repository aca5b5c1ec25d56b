"""The token that all replicas share, encrypted in the database, and the lease under which it is bought.

Each taking of the lease has a name of its own. Within it, a token is saved only while the row has that name:
a replica that was delayed beyond its lease must not overwrite the pair of its successor.
"""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from cryptography.fernet import InvalidToken
from sqlalchemy import select, update

from app.clock import Clock
from app.db.engine import Database, upsert_into
from app.db.tables import credentials
from app.errors import AccessReason, CredentialsRefused, RingCentralUnreachable
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.ringcentral.stored_tokens import Refusal, StoredToken, TokenUnreadable, load_refusal, load_token
from app.vault import Vault
from app.work.leases import Lease, renewing

_LOOK_AGAIN_SECONDS = 0.2


class SharedTokenStore:
    """The client's `TokenStore`: one row of `credentials`."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        vault: Vault,
        *,
        replica: str,
        lease_seconds: float,
        longest_seconds: float | None = None,
        holder: AccountId = UNBOUND_ACCOUNT,
        name: str = "own",
    ) -> None:
        self._database = database
        self._clock = clock
        self._vault = vault
        self._replica = replica
        self._lease_seconds = lease_seconds
        self._longest = timedelta(seconds=longest_seconds or lease_seconds)
        self._key = {"account_id": holder, "name": name}
        self._mine = (credentials.c.account_id == holder) & (credentials.c.name == name)
        # The environment's credentials have no row until something is stored about them. A missing row of
        # others was removed by somebody, and must not come back.
        self._may_open = holder == UNBOUND_ACCOUNT
        self._held: Lease | None = None

    async def load(self) -> StoredToken | None:
        """Return the newest token. Raises TokenUnreadable if it was encrypted with another secret key."""
        async with self._database.read() as db:
            encrypted = await db.scalar(select(credentials.c.token).where(self._mine))
        if encrypted is None:
            return None
        try:
            return load_token(self._vault.decrypt(encrypted))
        except InvalidToken as error:
            raise TokenUnreadable(
                "the token was encrypted with a key that this process's AFTERCALL_SECRET_KEY does not hold"
            ) from error

    async def save(self, token: StoredToken) -> None:
        """Save the token for all replicas, and clear the refusal.

        Raises LeaseLost within `lock` if the lease ran out and another replica took it.
        """
        await self._write({"token": self._vault.encrypt(token.dump()), "refused": None})

    async def load_refusal(self) -> Refusal | None:
        """Return the last refusal, unless a token was saved since."""
        async with self._database.read() as db:
            return load_refusal(await db.scalar(select(credentials.c.refused).where(self._mine)))

    async def save_refusal(self, refusal: Refusal) -> None:
        """Save the refusal for all replicas. Raises LeaseLost as `save` does."""
        await self._write({"refused": refusal.dump()})

    async def _write(self, values: dict[str, object]) -> None:
        values = {**values, "updated_at": self._clock.now()}
        async with self._database.write() as db:
            if self._held is not None:
                await self._held.save(db, **values)
            elif not self._may_open:
                await db.execute(update(credentials).where(self._mine).values(values))
            else:
                insert = upsert_into(db, credentials).values({**self._key, **values})
                await db.execute(
                    insert.on_conflict_do_update(index_elements=["account_id", "name"], set_=values)
                )

    @asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        """Prevent every other replica from requesting a token; the lease of a crashed one soon runs out.

        Raises RingCentralUnreachable if another replica keeps holding it, CredentialsRefused if the
        credentials were removed meanwhile.
        """
        owner = f"{self._replica[:48]}:{secrets.token_hex(6)}"
        lease = Lease(credentials, self._key, owner, self._lease_seconds, "the lease of a token")
        give_up_at = self._clock.now() + self._longest
        while not await self._take(lease):
            if self._clock.now() >= give_up_at:
                raise RingCentralUnreachable("another replica has been requesting a token for too long")
            await self._clock.sleep(_LOOK_AGAIN_SECONDS)
        self._held = lease
        try:
            async with renewing(self._database, self._clock, lease):
                yield
        finally:
            self._held = None
            async with self._database.write() as db:
                await lease.drop(db)

    async def _take(self, lease: Lease) -> bool:
        now = self._clock.now()
        async with self._database.write() as db:
            if self._may_open:
                opened = upsert_into(db, credentials).values({**self._key, "updated_at": now})
                await db.execute(opened.on_conflict_do_nothing())
            elif await db.scalar(select(credentials.c.name).where(self._mine)) is None:
                raise CredentialsRefused("these credentials were removed", code=AccessReason.REMOVED)
            return await lease.take(db, now) is not None
