"""The background work of webhooks: folding, ends of calls, and subscriptions."""

import asyncio
from collections.abc import Iterator

from app.accounts.context import AccountsContext
from app.settings import Settings
from app.webhooks.folding import due_calls, unfolded
from app.webhooks.folding.end_watch import EndWatch
from app.webhooks.folding.fold import Folder
from app.webhooks.intake_service import IntakeService
from app.webhooks.rules import end_rules
from app.webhooks.subscriptions.choice import Wanted
from app.webhooks.subscriptions.supervisor import SubscriptionSupervisor
from app.work import wakeups
from app.work.lookout import LOOKS
from app.work.loops import Loop


def webhook_loops(
    context: AccountsContext, settings: Settings, intake: IntakeService, serving: asyncio.Event
) -> Iterator[Loop]:
    """Yield the loops of a worker; `serving` is set once connections are accepted."""
    rules, step = end_rules(settings), settings.step_seconds
    folder = Folder(context, rules, intake.inbox)
    yield Loop(
        "fold", folder.step, (wakeups.INBOX,), step * LOOKS, folder.close, gather=step / 20,
        is_due=unfolded.ANY_WAITING,
    )  # fmt: skip
    ends = EndWatch(context, rules)
    # Each call that seems over wakes it; when the first of them is due is asked once for many. Calls in doubt
    # for another reason than time are searched every few steps.
    yield Loop(
        "ends", ends.step, (wakeups.ENDS,), step * 5, ends.close, gather=step / 20, is_due=due_calls.ANY_DUE
    )
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
