"""The background work of erasures."""

from collections.abc import Iterator
from pathlib import Path

from app.accounts.context import AccountsContext
from app.enrichment.audio.archive_store import Archive
from app.erasure.eraser import Eraser
from app.settings import Settings
from app.vault import Vault
from app.work import wakeups
from app.work.loops import Loop

_EVERY_SECONDS = 30.0


def erasure_loops(context: AccountsContext, settings: Settings, archive: Archive | None) -> Iterator[Loop]:
    """Yield the loops of a worker."""
    eraser = Eraser(
        context.database,
        context.clock,
        Vault(settings.secrets()[0]),
        archive,
        replica=context.replica,
        lease_seconds=settings.lease_seconds,
        spool=Path(settings.archive_spool_folder) if settings.archive_spool_folder else None,
    )
    yield Loop("erasures", eraser.step, (wakeups.ERASURES,), _EVERY_SECONDS)
