"""Proves that a delivery could be stored, for probes: at most once a second, however many ask."""

import asyncio
from collections.abc import Awaitable, Callable

from app.api.dependencies import Services
from app.errors import StorageUnavailable
from app.webhooks.intake.deliveries import open_writer
from app.webhooks.intake.inbox import COMMIT_SECONDS

_FRESH_SECONDS = 1.0
_LONGEST_SECONDS = 3.0
_STANDBY = (
    "The server takes no writes: it is a standby, or was set to read-only, as hosters do when a disk fills up. Let "
    "AFTERCALL_DATABASE_URL name the primary, or all hosts, of which the one that takes writes is used."
)
_DISK = "The database's disk is full: make room on it."
_LOCK = (
    "Find out who locks the table `deliveries` (on PostgreSQL: pg_stat_activity, pg_locks) and end that transaction; "
    "make indexes with CREATE INDEX CONCURRENTLY."
)
_FILE = "See that the user of the service may write to the database's file and to its folder."
_OTHER = "See what the log of the database says, and that AFTERCALL_DATABASE_URL leads to a server that takes writes."

_BY_STATE = {"25006": _STANDBY, "53100": _DISK, "55P03": _LOCK, "57014": _LOCK}
_BY_WORDS = {
    "read-only transaction": _STANDBY,
    "takes writes": _STANDBY,
    "is full": _DISK,
    "no space left": _DISK,
    "readonly database": _FILE,
    "unable to open": _FILE,
    "locked": _LOCK,
    "too long": _LOCK,
}


class WriteProof:
    """Shares one proof among all who ask within a second. `prove` is the intake's own, where there is one."""

    def __init__(self, services: Services, prove: Callable[[], Awaitable[None]] | None = None) -> None:
        self._services = services
        self._prove = prove or self._prove_alone
        self._asked: asyncio.Task[StorageUnavailable | None] | None = None
        self._asked_at = 0.0

    async def prove(self) -> None:
        """Return when a delivery could be stored just now. Raises StorageUnavailable when not."""
        loop = asyncio.get_running_loop()
        if self._asked is None or (self._asked.done() and loop.time() - self._asked_at >= _FRESH_SECONDS):
            self._asked, self._asked_at = loop.create_task(self._ask(), name="write proof"), loop.time()
        asked = self._asked
        await asyncio.wait({asked}, timeout=_LONGEST_SECONDS)
        error = asked.result() if asked.done() else StorageUnavailable("the database took too long to commit")
        if error is not None:
            raise error

    async def _ask(self) -> StorageUnavailable | None:
        try:
            await self._prove()
        except StorageUnavailable as error:
            return error
        return None

    async def _prove_alone(self) -> None:
        writer = open_writer(self._services.database)
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await writer.prove(self._services.clock.now())
        except TimeoutError:
            raise StorageUnavailable("the database took too long to commit") from None
        finally:
            await writer.close()


def todo_about(error: BaseException) -> str:
    """Say what to do when deliveries cannot be stored, by what the database said."""
    at: BaseException | None = error
    while at is not None:
        state = getattr(at, "sqlstate", None) or getattr(getattr(at, "orig", None), "sqlstate", None)
        if state in _BY_STATE:
            return _BY_STATE[state]
        at = at.__cause__
    said = str(error).lower()
    return next((todo for words, todo in _BY_WORDS.items() if words in said), _OTHER)
