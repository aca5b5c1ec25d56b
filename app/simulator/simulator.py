"""The running simulator: settings, clock, faults and the state of the platform, wired together."""

import itertools
import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from app.clock import Clock, SystemClock
from app.simulator.delivery.dispatcher import Dispatcher
from app.simulator.delivery.webhooks import Webhooks
from app.simulator.journal import CallJournal, StartedCall
from app.simulator.platform import truth
from app.simulator.platform.calls import CallStore, KnownRecording
from app.simulator.platform.request_log import RequestLog
from app.simulator.platform.subscriptions import Subscription, count_statuses, read_filter
from app.simulator.platform.tokens import Tokens
from app.simulator.platform.views import Links, iso
from app.simulator.scheduler import Scheduler, SimulatedClock
from app.simulator.scripting.casting import CallOptions
from app.simulator.scripting.company import COMPANY, Company, users_of
from app.simulator.scripting.model import Json, ScriptedCall
from app.simulator.scripting.traffic import CallGenerator, check_mix
from app.simulator.settings import Faults, SimulatorSettings

ACCOUNT_FILTER = "/restapi/v1.0/account/~/telephony/sessions"
FAR_FUTURE = timedelta(days=36500)


class Simulator:
    """A RingCentral with one account. Not thread-safe: everything runs on one event loop."""

    def __init__(
        self,
        settings: SimulatorSettings,
        *,
        clock: Clock | None = None,
        company: Company = COMPANY,
        holds_traffic: bool = False,
    ) -> None:
        check_mix(settings.mix)
        self.settings = settings
        self.company = replace(company, account_id=settings.account_id)
        self.faults = Faults()
        self.clock = SimulatedClock(clock or SystemClock(), settings.speed)
        self.scheduler = Scheduler(self.clock)
        # A generator for each purpose: drawing a fault does not change when deliveries arrive.
        self.chance = random.Random(f"{settings.seed}/faults")
        deliveries = random.Random(f"{settings.seed}/deliveries")
        self.webhooks = Webhooks(self.clock, self.scheduler, deliveries, lambda: self.faults, self.company)
        self.users = users_of(settings.jwt)
        self.links = Links(settings.platform_address, settings.media_address, settings.account_id)
        self.subscriptions: dict[str, Subscription] = {}
        self.dispatcher = Dispatcher(
            self.clock, self.scheduler, self.webhooks, self.subscriptions, self.links, lambda: self.faults
        )
        self._holds_traffic = holds_traffic
        self._numbers = itertools.count(1)
        self._journal = None if settings.journal is None else CallJournal(settings.journal)
        self._clear()

    def _clear(self) -> None:
        settings = self.settings
        self.tokens = Tokens(settings.token_rules, self.users)
        self.traffic = CallGenerator(settings.traffic, random.Random(f"{settings.seed}/company"))
        self._arrival_plan = 0
        self.limiter = settings.rate_limiter()
        self.calls = CallStore(settings.timing)
        self.requests = RequestLog()
        self.subscriptions.clear()
        self.webhooks.counts.clear()
        self.webhooks.latest.clear()

    def start(self) -> None:
        """Start playing calls; needs a running event loop.

        Raises OSError if the journal cannot be used, and ValueError if it is none.
        """
        self._restore()
        self.scheduler.start()
        self._add_direct_subscription()
        self._plan_arrival()

    async def stop(self) -> None:
        await self.scheduler.stop()
        await self.webhooks.close()

    def reset(self) -> None:
        """Remove calls, tokens, buckets, subscriptions and faults; addresses, speed and clock stay."""
        # Jobs first: a job that outlived the state would post events of calls that no longer exist.
        self.scheduler.clear()
        if self._journal is not None:
            self._journal.clear()
        self.faults = Faults()
        self._clear()
        self._add_direct_subscription()
        self._plan_arrival()

    def now(self) -> datetime:
        return self.clock.now()

    def advance(self, seconds: float) -> None:
        """Move the clock forward by real seconds; everything that falls due then happens at once."""
        self.clock.advance(seconds)
        self.scheduler.wake()

    def scaled(self, seconds: float) -> float:
        """Convert simulated seconds to real seconds."""
        return self.clock.scaled(seconds)

    # Calls

    def start_call(
        self, script: str, options: CallOptions | None = None, *, delay_seconds: float = 0.0
    ) -> ScriptedCall:
        """Plan a call that starts after `delay_seconds` of simulated time, and its events.

        Raises KeyError for an unknown script and UnknownNumberError for an unknown extension.
        """
        return self._start_call(script, options or CallOptions(), delay_seconds=delay_seconds)

    def _start_call(
        self, script: str, options: CallOptions, *, delay_seconds: float = 0.0, is_traffic: bool = False
    ) -> ScriptedCall:
        started = StartedCall(
            script=script,
            start=self.clock.after(delay_seconds),
            speed=self.clock.speed,
            seed=self.settings.seed,
            number=next(self._numbers),
            options=options,
            is_traffic=is_traffic,
        )
        call = self._add_call(started, since=started.start)
        if self._journal is not None:
            self._journal.add(started)
        return call

    def _add_call(self, started: StartedCall, *, since: datetime) -> ScriptedCall:
        """Plan a call, and its events from `since` on."""
        call = started.plan(self.company)
        self.calls.add(call)
        self.dispatcher.plan_call(call, self.calls, since=since)
        return call

    def _restore(self) -> None:
        """Add the calls of earlier runs. What would have been posted in the meantime is lost."""
        if self._journal is None:
            return
        now, latest, earlier = self.now(), 0, 0
        for started in self._journal.read():
            latest = max(latest, started.number)
            earlier += started.is_traffic
            self._add_call(started, since=now)
        self._numbers = itertools.count(latest + 1)
        self.traffic.resume(earlier)
        self._journal.open()

    def change_traffic(self, **fields: object) -> None:
        """Change how busy the company is, from now on; see `Traffic` for the fields."""
        mix = fields.get("mix")
        if isinstance(mix, Mapping):
            check_mix(mix)
        self.traffic.change(**fields)
        self._plan_arrival()

    def release_traffic(self) -> None:
        """Let the company start its calls, if the simulator was made to hold them."""
        if self._holds_traffic:
            self._holds_traffic = False
            self._plan_arrival()

    def _plan_arrival(self) -> None:
        """Plan the company's next call, in place of the one that was planned before."""
        # The scheduler cannot cancel a job, so a job whose number is not the latest does nothing.
        self._arrival_plan += 1
        if self._holds_traffic or self.traffic.is_done:
            return
        plan = self._arrival_plan

        async def arrive() -> None:
            if plan == self._arrival_plan and not self.traffic.is_done:
                self._start_call(*self.traffic.next_call(), is_traffic=True)
                self._plan_arrival()

        self.scheduler.at(self.clock.after(self.traffic.gap_seconds()), arrive)

    @property
    def all_ended(self) -> bool:
        """Whether the company starts no more calls and every call has ended."""
        now = self.now()
        return self.traffic.is_done and all(call.ended_at <= now for call in self.calls)

    def recording(self, recording_id: str) -> KnownRecording | None:
        """Return a recording that can be fetched now: ready, not purged and not withheld."""
        return (
            None if self.faults.recordings_withheld else self.calls.ready_recording(recording_id, self.now())
        )

    def purge_recordings(self, recording_ids: Iterable[str] | None = None) -> int:
        """Delete these recordings, or all of them by default; returns the number of purged ids."""
        return self.calls.purge_recordings(recording_ids)

    # Subscriptions

    def add_subscription(self, subscription: Subscription) -> None:
        self.subscriptions[subscription.id] = subscription
        self.dispatcher.plan_reminder(subscription)

    def _add_direct_subscription(self) -> None:
        """Subscribe the webhook address of the settings, without a handshake and without an expiry."""
        settings, now = self.settings, self.now()
        if settings.webhook_url is None:
            return
        owner = self.users[settings.jwt].extension_id
        subscription = Subscription(
            id="sim-direct",
            owner_id=owner,
            address=settings.webhook_url,
            token=settings.webhook_token,
            filters=[read_filter(ACCOUNT_FILTER, settings.account_id, owner)],
            disabled=[],
            created_at=now,
            expires_at=now + FAR_FUTURE,
            listed=False,
        )
        self.subscriptions[subscription.id] = subscription

    def listed_subscriptions(self, owner_id: str) -> list[Subscription]:
        """Return the unexpired subscriptions that this user created."""
        now = self.now()
        return [
            one
            for one in self.subscriptions.values()
            if one.listed and one.owner_id == owner_id and not one.is_expired(now)
        ]

    # Reports

    def truth(self, call: ScriptedCall) -> Json:
        """Return everything about a call, including what no API shows yet."""
        return truth.describe_call(self.calls, call, self.company.account_id, self.now())

    def statistics(self) -> Json:
        """Count requests, deliveries, calls and subscriptions since the start or the last reset."""
        return {
            "now": iso(self.now()),
            "requests": self.requests.summarize(),
            "refused429": self.requests.refused,
            "deliveries": dict(self.webhooks.counts),
            "calls": truth.count_calls(self.calls, self.now()),
            "subscriptions": count_statuses(self.subscriptions.values()),
        }
