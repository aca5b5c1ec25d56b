"""The token that all replicas share, encrypted in the database, and the lease under which it is bought."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from cryptography.fernet import InvalidToken
from sqlalchemy import or_, select, update

from app.clock import Clock
from app.db.engine import Database, upsert_into
from app.db.tables import credentials
from app.errors import RingCentralUnreachable
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.ringcentral.ports import Refusal, StoredToken, load_refusal, load_token
from app.vault import Vault

_LOOK_AGAIN_SECONDS = 0.2


class SharedTokens:
    """The client's `TokenStore`: one row of `credentials`."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        vault: Vault,
        *,
        replica: str,
        lease_seconds: float,
        holder: AccountId = UNBOUND_ACCOUNT,
        name: str = "own",
    ) -> None:
        self._database = database
        self._clock = clock
        self._vault = vault
        self._replica = replica
        self._lease = timedelta(seconds=lease_seconds)
        self._key = {"account_id": holder, "name": name}
        self._mine = (credentials.c.account_id == holder) & (credentials.c.name == name)

    async def load(self) -> StoredToken | None:
        """Return the newest token; one that was encrypted with another secret key is none."""
        async with self._database.read() as db:
            encrypted = await db.scalar(select(credentials.c.token).where(self._mine))
        if encrypted is None:
            return None
        try:
            return load_token(self._vault.decrypt(encrypted))
        except InvalidToken:
            return None

    async def save(self, token: StoredToken) -> None:
        """Keep the token for all replicas; a refusal is forgotten."""
        await self._write({"token": self._vault.encrypt(token.dump()), "refused": None})

    async def load_refusal(self) -> Refusal | None:
        """Return the last refusal, unless a token was saved since."""
        async with self._database.read() as db:
            return load_refusal(await db.scalar(select(credentials.c.refused).where(self._mine)))

    async def save_refusal(self, refusal: Refusal) -> None:
        """Keep the refusal for all replicas."""
        await self._write({"refused": refusal.dump()})

    async def _write(self, values: dict[str, object]) -> None:
        values = {**values, "updated_at": self._clock.now()}
        async with self._database.write() as db:
            insert = upsert_into(db, credentials).values({**self._key, **values})
            await db.execute(insert.on_conflict_do_update(index_elements=["account_id", "name"], set_=values))

    @asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        """Keep every other replica from asking for a token; a crashed one's lease runs out.

        Raises RingCentralUnreachable when another replica holds it for longer than a lease lasts.
        """
        give_up_at = self._clock.now() + self._lease
        while not await self._take():
            if self._clock.now() >= give_up_at:
                raise RingCentralUnreachable("another replica has been asking for a token for too long")
            await self._clock.sleep(_LOOK_AGAIN_SECONDS)
        try:
            yield
        finally:
            async with self._database.write() as db:
                mine = self._mine & (credentials.c.lease_owner == self._replica)
                await db.execute(update(credentials).where(mine).values(lease_owner=None, lease_until=None))

    async def _take(self) -> bool:
        now = self._clock.now()
        async with self._database.write() as db:
            await db.execute(
                upsert_into(db, credentials).values({**self._key, "updated_at": now}).on_conflict_do_nothing()
            )
            free = or_(credentials.c.lease_until.is_(None), credentials.c.lease_until < now)
            taken = await db.execute(
                update(credentials)
                .where(self._mine, free)
                .values(lease_owner=self._replica, lease_until=now + self._lease)
            )
        return taken.rowcount == 1
