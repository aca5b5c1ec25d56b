"""Proves that a delivery could be stored, for probes: at most once a second, however many probes ask."""

import asyncio
from collections.abc import Awaitable, Callable

from app.api.dependencies import Services
from app.errors import StorageUnavailable
from app.webhooks.intake.deliveries import open_writer
from app.webhooks.intake.inbox import COMMIT_SECONDS

_FRESH_SECONDS = 1.0
_LONGEST_SECONDS = 3.0


class WriteProof:
    """Shares one proof among all probes of a second. `prove` is that of the intake, if there is one."""

    def __init__(self, services: Services, prove: Callable[[], Awaitable[None]] | None = None) -> None:
        self._services = services
        self._prove = prove or self._prove_alone
        self._attempt: asyncio.Task[StorageUnavailable | None] | None = None
        self._attempted_at = 0.0

    async def prove(self) -> None:
        """Return if a delivery could be stored within the last second. Raises StorageUnavailable if not."""
        loop = asyncio.get_running_loop()
        attempt = self._attempt
        if attempt is None or (attempt.done() and loop.time() - self._attempted_at >= _FRESH_SECONDS):
            attempt = self._attempt = loop.create_task(self._try(), name="write proof")
            self._attempted_at = loop.time()
        # Not `wait_for`, which would cancel the attempt that other probes wait for.
        await asyncio.wait({attempt}, timeout=_LONGEST_SECONDS)
        error = attempt.result() if attempt.done() else _too_long()
        if error is not None:
            raise error

    async def _try(self) -> StorageUnavailable | None:
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
            raise _too_long() from None
        finally:
            await writer.close()


def _too_long() -> StorageUnavailable:
    return StorageUnavailable("the database took too long to commit")
