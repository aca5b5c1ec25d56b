"""The background work of webhooks: folding, ends of calls, subscriptions, and retention."""

import asyncio
from collections.abc import Iterator

from app.accounts.context import AccountsContext
from app.settings import Settings
from app.webhooks.folding.end_watch import EndWatch
from app.webhooks.folding.fold import Folder
from app.webhooks.intake_service import IntakeService
from app.webhooks.retention import Retention
from app.webhooks.rules import end_rules
from app.webhooks.subscriptions.choice import Wanted
from app.webhooks.subscriptions.supervisor import SubscriptionSupervisor
from app.work import wakeups
from app.work.loops import Loop

_RETENTION_SECONDS = 600.0


def webhook_loops(
    context: AccountsContext, settings: Settings, intake: IntakeService, serving: asyncio.Event
) -> Iterator[Loop]:
    """Yield the loops of a worker; `serving` is set once connections are accepted."""
    rules, step = end_rules(settings), settings.step_seconds
    folder = Folder(context, rules, intake.inbox)
    yield Loop("fold", folder.step, (wakeups.INBOX,), step, folder.close, gather=step / 20)
    ends = EndWatch(context, rules)
    yield Loop("ends", ends.step, (wakeups.ENDS,), step, ends.close)
    retention = Retention(context.database, context.clock, settings)
    yield Loop("upkeep", retention.step, (), _RETENTION_SECONDS)
    if settings.webhook_address is not None:
        supervisor = SubscriptionSupervisor(
            context,
            Wanted(
                address=settings.webhook_address,
                filters=settings.event_filters,
                token=intake.token,
                expires_in_seconds=settings.subscription_expires_seconds,
            ),
            check_seconds=settings.subscription_check_seconds,
            sweep_after_seconds=settings.first_reading_seconds,
        )
        # RingCentral validates the address while it creates a subscription: be reachable first.
        yield Loop(
            "subscriptions",
            supervisor.step,
            (wakeups.SUBSCRIPTIONS,),
            settings.subscription_check_seconds,
            supervisor.close,
            after=serving,
        )
