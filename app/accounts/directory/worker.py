"""Keeps the directory of each account up to date: the background work that reads it from time to time.

Everything works without it, with fewer names. So its requests have the lowest priority, and an account that
refuses it is asked again rarely.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog

from app.accounts.connections import Connection
from app.accounts.context import AccountsContext, AccountsWorker
from app.accounts.directory import store
from app.accounts.directory.reading import DirectoryRead, read_directory
from app.accounts.remedies import describe
from app.errors import (
    AccessReason,
    CredentialsRefused,
    LeaseLost,
    PermissionMissing,
    RateLimited,
    RequestRefused,
    RingCentralError,
)
from app.ids import AccountId
from app.work.backoff import Backoff
from app.work.failures import log_failure
from app.work.lanes import Lanes
from app.work.leases import Lease, leased

_MOST_TRIED = 3
"""Connections of one account that are tried in a row."""

_LONGEST_TURN_SECONDS = 900.0
_NO_CREDENTIALS_SECONDS = 60.0
_FAILED = Backoff(first=60.0, longest=3600.0)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Later:
    """Not read. `problem` is what a person has to do, None for what passes by itself."""

    until: datetime
    problem: dict[str, Any] | None = None
    has_failed: bool = False


class DirectoryReader(AccountsWorker):
    """The background work that reads directories, every `refresh_seconds`."""

    def __init__(self, context: AccountsContext, refresh_seconds: float) -> None:
        super().__init__(context)
        self._context = context
        self._refresh = timedelta(seconds=refresh_seconds)
        self._seen: set[AccountId] = set()
        self._lanes: Lanes[AccountId] = context.lanes(
            "directory", None, longest_seconds=_LONGEST_TURN_SECONDS
        )

    async def step(self) -> float | None:
        """Read the directories that are due, accounts side by side."""
        async with self._database.read() as db:
            due = await store.find_due(db, self._clock.now())
        return await self._lanes.run({account_id: partial(self._serve, account_id) for account_id in due})

    async def retry(self) -> None:
        """Read the directories that could not be read the last time, and those that were never read.

        For an operator who may have granted what was missing.
        """
        async with self._database.write() as db:
            await store.make_due(db, self._clock.now())
        await self.step()

    async def close(self) -> None:
        """Stop what is under way; it is due again."""
        await self._lanes.close()

    async def _serve(self, account_id: AccountId) -> float | None:
        lease = self._context.lease(account_id, store.KIND)
        async with leased(self._database, self._clock, lease) as has_turn:
            if not has_turn:
                return None
            async with self._database.read() as db:
                stored = await store.load(db, account_id)
            found = await self._read(account_id, stored)
            try:
                await self._write(account_id, lease, found)
            except LeaseLost:
                log.debug("another replica reads the directory", account_id=account_id)
        return None

    async def _read(self, account_id: AccountId, stored: store.StoredDirectory) -> DirectoryRead | _Later:
        """Try the connections of an account until one may read the directory."""
        known = await self._connections.of(account_id)
        usable = [one for one in known if one.access.problem is None]
        # The first read of a process is a whole one: a new release may read more of the same entries.
        etags = stored.etags if account_id in self._seen else ()
        refusal: PermissionMissing | RequestRefused | None = None
        for connection in usable[:_MOST_TRIED]:
            try:
                found = await read_directory(connection.client, account_id, etags)
            except (PermissionMissing, RequestRefused) as error:
                log.debug("the directory is refused", name=connection.name, code=error.code, why=error.detail)
                refusal = refusal or error
            except RingCentralError as error:
                later = await self._failed(connection, error)
                if later is not None:
                    return later
            else:
                self._seen.add(account_id)
                return found
        now = self._clock.now()
        if refusal is not None:
            return _Later(now + self._refresh, problem_of(refusal))
        # Credentials may be added or corrected at any time, and asking the database costs little.
        problem = {"code": AccessReason.NO_CREDENTIALS, "detail": _NO_CREDENTIALS, "permission": None}
        return _Later(now + timedelta(seconds=_NO_CREDENTIALS_SECONDS), problem)

    async def _failed(self, connection: Connection, error: RingCentralError) -> _Later | None:
        """Return when to try again; None if another connection may succeed."""
        log_failure(log, "reading the directory failed", error, name=connection.name)
        now = self._clock.now()
        if isinstance(error, CredentialsRefused):
            if error.code == AccessReason.WRONG_ACCOUNT:
                await self._connections.note_account(connection, error)
            else:
                await self._connections.note(connection, error)
            return None
        if isinstance(error, RateLimited):
            return _Later(error.retry_at)
        return _Later(now, has_failed=True)

    async def _write(self, account_id: AccountId, lease: Lease, found: DirectoryRead | _Later) -> None:
        now = self._clock.now()
        async with self._database.write() as db:
            if isinstance(found, DirectoryRead):
                # The lease decides: what another replica has read meanwhile is newer.
                due_at = now + self._refresh
                await lease.save(db, due_at=due_at, failures=0)
                changed = await store.save_read(db, account_id, found, now)
            else:
                failures = await store.count_failure(db, account_id) if found.has_failed else 0
                pause = timedelta(seconds=_FAILED.pause(failures) if found.has_failed else 0.0)
                await lease.save(db, due_at=found.until + pause, failures=failures)
                changed = 0
                if found.problem is not None:
                    await store.save_problem(db, account_id, found.problem, now)
        if changed:
            log.info("the directory has changed", account_id=account_id, extensions=changed)


_NO_CREDENTIALS = "No credentials that work serve this account."


def problem_of(refusal: PermissionMissing | RequestRefused) -> dict[str, Any]:
    """Return {code, detail, permission} of a refusal: who can do something about it, and what."""
    permission = refusal.permission if isinstance(refusal, PermissionMissing) else None
    described = describe(refusal) or {
        "code": refusal.code or f"refused-{refusal.status}",
        "detail": f"RingCentral refuses the directory of this account: {refusal.detail}.",
    }
    return {**described, "permission": permission}
