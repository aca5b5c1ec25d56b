"""Records what responses say about a connection's access, in its row: every replica knows it, and operators
see it.
"""

from collections.abc import Callable
from dataclasses import replace

import structlog
from sqlalchemy import ColumnElement, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.access import Access, after_response, for_account, lacks_company, visible, without_problem
from app.accounts.connection import Connection
from app.accounts.credentials import OWN
from app.clock import Clock
from app.db.engine import Database, upsert_into, wake
from app.db.tables import credentials
from app.errors import AccessReason, CredentialsRefused, PermissionMissing, RingCentralError
from app.ids import UNBOUND_ACCOUNT, ExtensionId
from app.ringcentral.stored_tokens import StoredToken, load_refusal
from app.work.wakeups import CREDENTIALS, POLLS, READINGS, SUBSCRIPTIONS

log = structlog.get_logger(__name__)


class AccessRecords:
    """The access of connections, as it is stored. What others have recorded meanwhile is preserved."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def forget(self) -> None:
        """Called when something has changed: whoever caches connections reads them again."""

    async def note(self, connection: Connection, error: RingCentralError | None) -> None:
        """Record what a response says about access: the account refused, everything refused, or fine."""
        if error is not None and not isinstance(error, PermissionMissing | CredentialsRefused):
            return
        used, now = connection.access, self._clock.now()
        owner = None
        if lacks_company(used, error):
            owner = (await connection.client.fetch_token()).owner_id
        kind = connection.kind
        await self._change(connection, lambda before: after_response(before, used, error, owner, kind, now))

    async def note_account(self, connection: Connection, error: RingCentralError | None) -> None:
        """Record that the credentials are of another account than the events; None: of the same one."""
        now = self._clock.now()
        await self._change(connection, lambda before: for_account(before, error, now))

    async def forget_problem(self, connection: Connection) -> None:
        """Use a connection again that has a token and was left out: the next response decides."""
        if connection.access.problem is None:
            return
        await self._change(connection, without_problem)
        async with self._database.write() as db:
            wake(db, CREDENTIALS, POLLS, READINGS, SUBSCRIPTIONS)

    async def forget_refusal(self, connection: Connection, *, at_least_old: float = 0.0) -> bool:
        """End the wait after a refusal that is `at_least_old` seconds old, so that RingCentral is asked again
        at once.

        For a restart, and for an operator who looks at the problem. Return False if the refusal is more
        recent. A sign-in that is over stays so. The time of the first refusal is kept, so that another one
        waits as long as before.
        """
        mine, now = _row_of(connection), self._clock.now()
        async with self._database.write() as db:
            refusal = load_refusal(
                await db.scalar(select(credentials.c.refused).where(mine).with_for_update())
            )
            if refusal is None or refusal.code == AccessReason.SIGN_IN_AGAIN or refusal.until <= now:
                return True
            if refusal.at is not None and (now - refusal.at).total_seconds() < at_least_old:
                return False
            expired = replace(refusal, until=now).dump()
            await db.execute(update(credentials).where(mine).values(refused=expired))
        return True

    async def learn_scopes(self, connection: Connection, token: StoredToken) -> None:
        """Record the owner and the scopes of a token, for those who do not ask RingCentral."""
        owner = ExtensionId(token.owner_id) if token.owner_id else None
        if (connection.access.owner_id, connection.access.scopes) == (owner, token.scopes):
            return
        async with self._database.write() as db:
            before = await self._stored_access(db, connection)
            await self._store_access(db, connection, replace(before, owner_id=owner, scopes=token.scopes))
        self.forget()

    async def _change(self, connection: Connection, change: Callable[[Access], Access]) -> None:
        if change(connection.access) == connection.access:
            return
        async with self._database.write() as db:
            # Applied to what is stored now: another replica may have recorded something else since we read
            # it.
            before = await self._stored_access(db, connection)
            access = change(before)
            await self._store_access(db, connection, access)
            if visible(access) != visible(before):
                wake(db, CREDENTIALS)
        if visible(access) != visible(before):
            log.info(
                "the access of a connection has changed",
                account_id=connection.holder,
                name=connection.name,
                reach=access.level.value,
                problem=access.problem,
                lacks=sorted(access.lacks),
            )
        self.forget()

    async def _stored_access(self, db: AsyncConnection, connection: Connection) -> Access:
        stored = select(credentials.c.access).where(_row_of(connection)).with_for_update()
        return Access.known(await db.scalar(stored), connection.access.fingerprint)

    async def _store_access(self, db: AsyncConnection, connection: Connection, access: Access) -> None:
        values = {"access": access.to_json(), "updated_at": self._clock.now()}
        if connection.holder != UNBOUND_ACCOUNT:
            # Never inserted: a row that is gone was removed or replaced, and must stay so.
            await db.execute(update(credentials).where(_row_of(connection)).values(values))
            return
        key = {"account_id": connection.holder, "name": connection.name}
        insert = upsert_into(db, credentials).values({**key, **values})
        await db.execute(insert.on_conflict_do_update(index_elements=["account_id", "name"], set_=values))


def _row_of(connection: Connection) -> ColumnElement[bool]:
    """Select the row of these credentials. A response to them says nothing about others that have replaced
    them.
    """
    mine = (credentials.c.account_id == connection.holder) & (credentials.c.name == connection.name)
    return mine if connection.kind == OWN else mine & (credentials.c.secret == connection.secret)
