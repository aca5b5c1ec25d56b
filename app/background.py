"""The background work of a worker process, collected from the packages."""

import asyncio
from collections.abc import Iterator

from app.accounts.context import AccountsContext
from app.accounts.loops import account_loops
from app.accounts.onboarding import Onboarding
from app.calls.listing import normal_numbers
from app.calls.related import upkeep
from app.enrichment.audio.archive_store import Archive
from app.enrichment.loops import enrichment_loops
from app.ops.loops import ops_loops
from app.settings import Settings
from app.webhooks.intake_service import IntakeService
from app.webhooks.loops import webhook_loops
from app.work.loops import Loop


def worker_loops(
    context: AccountsContext,
    settings: Settings,
    *,
    intake: IntakeService,
    archive: Archive | None,
    onboarding: Onboarding,
    serving: asyncio.Event,
) -> Iterator[Loop]:
    """Yield all loops of a worker; `serving` is set once the process accepts connections."""
    yield from webhook_loops(context, settings, intake, serving)
    yield from enrichment_loops(context, settings, archive)
    yield from account_loops(context, settings, onboarding)
    yield from ops_loops(context, settings)
    numbers = normal_numbers.NumberUpkeep(context.database, context.clock)
    yield Loop("numbers", numbers.step, (), normal_numbers.EVERY_SECONDS)
    main_calls = upkeep.MainCallUpkeep(context.database, context.clock)
    yield Loop("main calls", main_calls.step, (), upkeep.EVERY_SECONDS)
