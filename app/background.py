"""The background work of a process, collected from the packages."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator

from app.accounts.context import AccountsContext
from app.accounts.loops import account_loops
from app.accounts.onboarding import Onboarding
from app.api.usage.loops import request_loop as request_loop
from app.calls.listing import normal_numbers
from app.calls.related import upkeep
from app.enrichment.audio.archive_store import Archive
from app.enrichment.loops import enrichment_loops
from app.erasure.forgetting import forget_erased as forget_erased
from app.erasure.loops import erasure_loops
from app.ops.loops import ops_loops
from app.push.loops import open_webhook_client as open_webhook_client
from app.push.loops import push_loops as push_loops
from app.retention.upkeep import retention_loops
from app.settings import Settings
from app.webhooks.intake_service import IntakeService
from app.webhooks.loops import webhook_loops
from app.work.context import WorkContext
from app.work.lookout import Lookout
from app.work.loops import Loop


def watched(
    context: WorkContext,
    settings: Settings,
    wake: Callable[[Collection[str]], None],
    loops: Iterable[Loop],
) -> Iterator[Loop]:
    """Yield the loops of a worker, and the one that looks for the work of them all.

    `wake` wakes topics in this process alone.
    """
    found = list(loops)
    yield from found
    lookout = Lookout(context, wake, found)
    yield Loop("lookout", lookout.step, (), settings.step_seconds)


def worker_loops(
    context: AccountsContext,
    settings: Settings,
    *,
    intake: IntakeService,
    archive: Archive | None,
    onboarding: Onboarding,
    serving: asyncio.Event,
) -> Iterator[Loop]:
    """Yield the loops of a worker, but for those of webhooks.

    `serving` is set once the process accepts connections.
    """
    yield from webhook_loops(context, settings, intake, serving)
    yield from enrichment_loops(context, settings, archive)
    yield from account_loops(context, settings, onboarding)
    yield from ops_loops(context, settings)
    yield from erasure_loops(context, settings, archive)
    yield from retention_loops(context, settings, archive)
    numbers = normal_numbers.NumberUpkeep(context.database, context.clock)
    yield Loop("numbers", numbers.step, (), normal_numbers.EVERY_SECONDS)
    main_calls = upkeep.MainCallUpkeep(context.database, context.clock)
    yield Loop("main calls", main_calls.step, (), upkeep.EVERY_SECONDS)
