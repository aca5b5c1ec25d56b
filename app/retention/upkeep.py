"""The background work that removes: all kinds side by side, so that one that fails delays no other."""

from collections.abc import Iterator, Sequence
from functools import partial

from app.enrichment.audio.archive_store import Archive
from app.retention.audio import AudioRemover
from app.retention.batches import Remover
from app.retention.calls import CallRemover
from app.retention.notes import NoteRemover
from app.retention.records import RecordRemover
from app.retention.rows import (
    AttemptRemover,
    AuditRemover,
    DeliveryRemover,
    ParkedRemover,
    RequestRemover,
)
from app.retention.rules import RetentionRules, retention_rules
from app.retention.timeline import TimelineRemover
from app.settings import Settings
from app.work.context import WorkContext, Worker
from app.work.lanes import Lanes
from app.work.loops import Loop

EVERY_SECONDS = 600.0
REST_SECONDS = 0.05
"""Between two batches of one kind: requests and folding have their turns in between."""

_LONGEST_SECONDS = 300.0


class Retention(Worker):
    """Removes one batch of each kind in a step."""

    def __init__(self, context: WorkContext, rules: RetentionRules, archive: Archive | None = None) -> None:
        super().__init__(context)
        plain = (
            DeliveryRemover, RequestRemover, AttemptRemover, AuditRemover, ParkedRemover, RecordRemover,
            TimelineRemover, NoteRemover,
        )  # fmt: skip
        self._removers: Sequence[Remover] = (
            *(one(context.database, context.clock, rules) for one in plain),
            CallRemover(context.database, context.clock, rules, archive),
            AudioRemover(context.database, context.clock, rules, archive),
        )
        self._lanes: Lanes[int] = context.lanes(
            "upkeep", None, longest_seconds=_LONGEST_SECONDS, account_of=lambda _: None, at_once=2
        )

    async def step(self) -> float | None:
        """Remove one batch of each kind; return the pause until the next, if there may be more."""
        work = {number: partial(self._serve, one) for number, one in enumerate(self._removers)}
        return await self._lanes.run(work)

    async def close(self) -> None:
        """Stop; what is left is removed later."""
        await self._lanes.close()

    async def _serve(self, remover: Remover) -> float | None:
        return REST_SECONDS if await remover.remove() else None


def retention_loops(context: WorkContext, settings: Settings, archive: Archive | None) -> Iterator[Loop]:
    """Yield the loops of a worker."""
    retention = Retention(context, retention_rules(settings), archive)
    yield Loop("upkeep", retention.step, (), EVERY_SECONDS, retention.close)
