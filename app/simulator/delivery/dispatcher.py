"""Plans when events, the insights of recordings and the reminders of subscriptions are posted."""

from collections.abc import Callable
from datetime import datetime, timedelta

from app.simulator.delivery.webhooks import Webhooks
from app.simulator.platform.calls import CallStore
from app.simulator.platform.insights import analysed_at, find_insights
from app.simulator.platform.subscriptions import Subscription
from app.simulator.platform.views import Links
from app.simulator.scheduler import Scheduler, SimulatedClock
from app.simulator.scripting.model import PartyEvent, Recording, ScriptedCall
from app.simulator.settings import Faults


class Dispatcher:
    """Passes events to the webhooks when they are due. `faults` is called each time, as faults can change."""

    def __init__(
        self,
        clock: SimulatedClock,
        scheduler: Scheduler,
        webhooks: Webhooks,
        subscriptions: dict[str, Subscription],
        links: Links,
        faults: Callable[[], Faults],
    ) -> None:
        self._clock = clock
        self._scheduler = scheduler
        self._webhooks = webhooks
        self._subscriptions = subscriptions
        self._links = links
        self._faults = faults

    def plan_call(self, call: ScriptedCall, store: CallStore, *, since: datetime) -> None:
        """Plan the events of a call that `store` already contains; those before `since` are lost."""
        for event in call.events:
            if event.delivered and event.at >= since:
                self._plan_event(event)
        for recording in call.recordings:
            self._plan_insights(recording, store, since)

    def _plan_event(self, event: PartyEvent) -> None:
        async def publish() -> None:
            self._webhooks.publish(event, self._links.account_id, list(self._subscriptions.values()))

        self._scheduler.at(event.at, publish)

    def _plan_insights(self, recording: Recording, store: CallStore, since: datetime) -> None:
        """Plan one event for each version of a recording's insights."""

        async def publish() -> None:
            # The licence counts when the version appears, not when the call starts.
            faults, platform = self._faults(), self._links.platform
            now, notes = self._clock.now(), faults.insights_notes
            body = find_insights(store, recording.id, now, platform, notes=notes)
            if body is not None and faults.insights_licensed:
                subscriptions, session_id = list(self._subscriptions.values()), recording.telephony_session_id
                self._webhooks.publish_insights(body, self._links.account_id, subscriptions, session_id)

        record, notes = store.record_of(recording), self._faults().insights_notes
        for moment in analysed_at(record, recording, store.timing, notes=notes):
            if moment >= since:
                self._scheduler.at(moment, publish)

    def plan_reminder(self, subscription: Subscription) -> None:
        """Send reminders before the subscription ends, until it is renewed or deleted."""
        reminder = subscription.reminder
        if reminder is None:
            return
        renewals = subscription.renewals

        async def remind() -> None:
            now = self._clock.now()
            # A renewal plans reminders of its own, so those of the earlier lifetime must stop.
            is_current = self._subscriptions.get(subscription.id) is subscription
            if not is_current or subscription.renewals != renewals or not subscription.may_receive(now):
                return
            body = subscription.show(self._links.platform, now)
            self._webhooks.post_event(subscription, f"/restapi/v1.0/subscription/{subscription.id}", body)
            self._scheduler.at(now + timedelta(seconds=reminder.interval), remind)

        self._scheduler.at(subscription.expires_at - timedelta(seconds=reminder.threshold), remind)
