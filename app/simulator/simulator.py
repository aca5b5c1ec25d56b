"""The running company: its calls, tokens, buckets, subscriptions and faults, in one place.

Everything that is shown is computed from here by the pure modules; this one holds the state, starts calls and
sends their events at the right moment.
"""

import itertools
import random
from bisect import bisect_left, bisect_right, insort
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from app.clock import Clock, SystemClock
from app.simulator.delivery.webhooks import Webhooks
from app.simulator.platform.insights import analysed_at, show_insights
from app.simulator.platform.rate_limits import DEFAULT_LIMITS, Bucket, Rule, Verdict
from app.simulator.platform.subscriptions import Subscription, event_path, read_filter
from app.simulator.platform.tokens import TokenRules, Tokens
from app.simulator.platform.views import (
    Links,
    Revision,
    current_revision,
    iso,
    recording_ready_at,
    revisions,
    shown_at,
    shown_until,
)
from app.simulator.scheduler import MovableClock, Scheduler
from app.simulator.scripting.casting import Wishes
from app.simulator.scripting.catalogue import play
from app.simulator.scripting.company import COMPANY, World, users_of
from app.simulator.scripting.model import Json, PartyEvent, Record, Recording, ScriptedCall
from app.simulator.scripting.traffic import Company, Traffic, check_mix
from app.simulator.settings import Faults, SimulatorSettings

ACCOUNT_FILTER = "/restapi/v1.0/account/~/telephony/sessions"
FAR_FUTURE = timedelta(days=36500)


@dataclass(frozen=True, slots=True)
class KnownRecording:
    """A kept recording with the record that it belongs to."""

    recording: Recording
    record: Record


class Simulator:
    """A RingCentral with one account. Not thread-safe: everything happens on one event loop."""

    def __init__(
        self,
        settings: SimulatorSettings,
        *,
        clock: Clock | None = None,
        world: World = COMPANY,
    ) -> None:
        check_mix(settings.mix)
        self.settings = settings
        self.world = world = replace(world, account_id=settings.account_id)
        self.timing = settings.timing
        self.speed = settings.speed
        self.faults = Faults()
        self.clock = MovableClock(clock or SystemClock())
        self.scheduler = Scheduler(self.clock)
        self.chance = random.Random(f"{settings.seed}/faults")
        self.webhooks = Webhooks(
            self.clock,
            self.scheduler,
            random.Random(f"{settings.seed}/deliveries"),
            lambda: self.faults,
            lambda: self.speed,
        )
        self.users = users_of(settings.jwt)
        self.links = Links(
            settings.public_url or _address(settings.host, settings.port),
            settings.media_url or _address(settings.host, settings.media_port),
            world.account_id,
        )
        self._numbers = itertools.count(1)
        self._clear()

    def _clear(self) -> None:
        settings = self.settings
        self.tokens = Tokens(
            TokenRules(
                settings.client_id,
                settings.client_secret,
                settings.scopes,
                settings.access_token_seconds,
                settings.refresh_token_seconds,
                settings.max_sessions,
            ),
            self.users,
        )
        self.company = Company(
            Traffic(settings.calls_per_minute, settings.calls, settings.talk_seconds, dict(settings.mix)),
            random.Random(f"{settings.seed}/company"),
        )
        self._arrivals = 0
        self.buckets: dict[tuple[str, str], Bucket] = {}
        self.subscriptions: dict[str, Subscription] = {}
        self.calls: dict[str, ScriptedCall] = {}
        self._records: list[Record] = []
        self._recent: list[Record] = []
        self._by_record: dict[str, Record] = {}
        self._by_session: dict[str, ScriptedCall] = {}
        self._revisions: dict[str, list[Revision]] = {}
        self._recordings: dict[str, KnownRecording] = {}
        self.deleted: set[str] = set()
        self.purged: set[str] = set()
        self.served_active: dict[str, datetime] = {}
        self.served_log: dict[str, datetime] = {}
        self.requests: deque[Json] = deque(maxlen=1000)
        self.request_counts: dict[str, Counter[str]] = {}
        self.webhooks.counts.clear()
        self.webhooks.latest.clear()

    # Life

    def start(self) -> None:
        """Begin to play; needs a running event loop."""
        self.scheduler.start()
        self._subscribe_directly()
        self._plan_arrival()

    async def stop(self) -> None:
        await self.scheduler.stop()
        await self.webhooks.close()

    def reset(self) -> None:
        """Forget calls, tokens, buckets, subscriptions and faults; address, speed and clock stay."""
        self.scheduler.clear()
        self.faults = Faults()
        self._clear()
        self._subscribe_directly()
        self._plan_arrival()

    def now(self) -> datetime:
        return self.clock.now()

    def advance(self, seconds: float) -> None:
        """Set the clock forward by wall-clock seconds; what falls due meanwhile happens at once."""
        self.clock.advance(seconds)
        self.scheduler.wake()

    def scaled(self, seconds: float) -> float:
        """Turn seconds of the unscaled world into wall-clock seconds."""
        return seconds / self.speed

    def _subscribe_directly(self) -> None:
        """Serve the address given at start, without a create call and for ever."""
        settings, now = self.settings, self.now()
        if settings.webhook_url is None:
            return
        owner = self.users[settings.jwt].extension_id
        self.subscriptions["sim-direct"] = Subscription(
            id="sim-direct",
            owner_id=owner,
            address=settings.webhook_url,
            token=settings.webhook_token,
            filters=[read_filter(ACCOUNT_FILTER, self.world.account_id, owner)],
            disabled=[],
            created_at=now,
            expires_at=now + FAR_FUTURE,
            listed=False,
        )

    # Calls

    def start_call(
        self, script: str, wishes: Wishes | None = None, *, delay_seconds: float = 0.0
    ) -> ScriptedCall:
        """Plan a call that starts after `delay_seconds` of the unscaled world, and send its events.

        Raises KeyError for an unknown script and UnknownNumberError for an unknown extension.
        """
        call = play(
            script,
            world=self.world,
            start=self.now() + timedelta(seconds=self.scaled(delay_seconds)),
            speed=self.speed,
            seed=self.settings.seed,
            number=next(self._numbers),
            wishes=wishes or Wishes(),
        )
        self._remember(call)
        for event in call.events:
            if event.delivered:
                self._plan_event(event)
        for recording in call.recordings:
            self._plan_insights(recording.id)
        return call

    def _remember(self, call: ScriptedCall) -> None:
        self.calls[call.id] = call
        for session in call.sessions:
            self._by_session[session.telephony_session_id] = call
        for record in call.records:
            insort(self._records, record, key=lambda known: known.started_at)
            self._recent.append(record)
            self._by_record[record.id] = record
            self._revisions[record.id] = revisions(record, self.timing)
            for recording in record.sound.kept:
                self._recordings[recording.id] = KnownRecording(recording, record)

    def _plan_event(self, event: PartyEvent) -> None:
        async def publish() -> None:
            self.webhooks.publish(event, self.world.account_id, list(self.subscriptions.values()))

        self.scheduler.at(event.at, publish)

    def _plan_insights(self, recording_id: str) -> None:
        """Send each version of a recording's insights when it comes into being, if the product is there then."""
        known = self._recordings[recording_id]

        async def publish() -> None:
            body = self.insights(recording_id)
            if body is not None and self.faults.insights_licensed:
                session_id = known.recording.telephony_session_id
                everybody = list(self.subscriptions.values())
                self.webhooks.publish_insights(body, self.world.account_id, everybody, session_id)

        for moment in analysed_at(
            known.record, known.recording, self.timing, notes=self.faults.insights_notes
        ):
            self.scheduler.at(moment, publish)

    def insights(self, recording_id: str) -> Json | None:
        """Return the insights of a recording as they are now, None before their time or after its deletion."""
        known = self._recordings.get(recording_id)
        if known is None or recording_id in self.purged:
            return None
        versions = analysed_at(known.record, known.recording, self.timing, notes=self.faults.insights_notes)
        call = self._by_session[known.recording.telephony_session_id]
        return show_insights(call, known.recording, versions, self.now(), self.links.platform)

    def recent_records(self) -> list[Record]:
        """Return the records that active calls may still show, and let go of the others."""
        now = self.now()
        self._recent = [record for record in self._recent if now < shown_until(record, self.timing)]
        return list(self._recent)

    def records_between(self, begin: datetime | None, end: datetime | None) -> list[Record]:
        """Return the records by start time in whole seconds, both ends inclusive."""

        def key(record: Record) -> datetime:
            return record.started_at.replace(microsecond=0)

        first = 0 if begin is None else bisect_left(self._records, begin, key=key)
        last = len(self._records) if end is None else bisect_right(self._records, end, key=key)
        return self._records[first:last]

    def record(self, record_id: str) -> Record | None:
        return self._by_record.get(record_id)

    def revisions_of(self, record: Record) -> list[Revision]:
        """Return everything the call log ever says of a record, computed once."""
        return self._revisions[record.id]

    def logged(self, record: Record) -> Revision | None:
        """Return what the call log says of a record now."""
        return current_revision(self._revisions[record.id], self.now())

    def call_of_session(self, telephony_session_id: str) -> ScriptedCall | None:
        return self._by_session.get(telephony_session_id)

    def recording(self, recording_id: str) -> KnownRecording | None:
        """Find a recording that can be fetched now: ready, not purged, and not withheld."""
        known = self._recordings.get(recording_id)
        if known is None or recording_id in self.purged or self.faults.recordings_withheld:
            return None
        ready_at = recording_ready_at(known.record, self.timing)
        return known if ready_at is not None and ready_at <= self.now() else None

    def purge_recordings(self, recording_ids: Iterable[str] | None = None) -> int:
        """Delete recordings, all by default; returns how many are gone now."""
        self.purged |= set(self._recordings if recording_ids is None else recording_ids)
        return len(self.purged)

    # Company

    def change_traffic(self, **fields: object) -> None:
        """Change how busy the company is, from now on; see `Traffic` for the fields."""
        mix = fields.get("mix")
        if isinstance(mix, Mapping):
            check_mix(mix)
        self.company.change(**fields)
        self._plan_arrival()

    def _plan_arrival(self) -> None:
        """Plan the next call of the company; a plan that was overtaken by a newer one does nothing."""
        self._arrivals += 1
        if self.company.is_done:
            return
        plan, wait = self._arrivals, self.scaled(self.company.gap_seconds())

        async def arrive() -> None:
            if plan == self._arrivals and not self.company.is_done:
                name, wishes = self.company.next_call()
                self.start_call(name, wishes)
                self._plan_arrival()

        self.scheduler.at(self.now() + timedelta(seconds=wait), arrive)

    @property
    def all_ended(self) -> bool:
        """Whether the company starts no more calls and every call is over."""
        now = self.now()
        return self.company.is_done and all(call.ended_at <= now for call in self.calls.values())

    # Limits

    def rule(self, group: str) -> Rule:
        settings = self.settings
        limit = settings.rate_limits.get(group, DEFAULT_LIMITS[group])
        return Rule(
            limit, self.scaled(settings.rate_window_seconds), self.scaled(settings.rate_penalty_seconds)
        )

    def count_request(self, user: str, group: str) -> Verdict:
        """Put a request into its bucket; with limits switched off everything is allowed."""
        rule = self.rule(group)
        if not self.faults.rate_limits_enforced:
            return Verdict(True, rule.limit)
        return self.buckets.setdefault((user, group), Bucket()).ask(rule, self.now())

    def note_request(
        self, group: str, method: str, path: str, status: int, user: str, parameters: Sequence[str] = ()
    ) -> None:
        """Count a request and keep it among the latest; `parameters` are the names of its query parameters."""
        counts = self.request_counts.setdefault(group, Counter())
        counts["total"] += 1
        counts[f"{status}"] += 1
        self.requests.append(
            {
                "at": iso(self.now()),
                "group": group,
                "method": method,
                "path": path,
                "parameters": list(parameters),
                "status": status,
                "user": user,
            }
        )

    # Subscriptions

    def add_subscription(self, subscription: Subscription) -> None:
        self.subscriptions[subscription.id] = subscription
        self.plan_reminder(subscription)

    def plan_reminder(self, subscription: Subscription) -> None:
        """Send reminders before the end, until the subscription is renewed or gone."""
        reminder = subscription.reminder
        if reminder is None:
            return
        renewals = subscription.renewals

        async def remind() -> None:
            now = self.now()
            still = self.subscriptions.get(subscription.id) is subscription
            if not still or subscription.renewals != renewals or not subscription.may_receive(now):
                return
            body = subscription.show(self.links.platform, now)
            path = f"/restapi/v1.0/subscription/{subscription.id}"
            self.webhooks.post_event(subscription, path, body)
            self.scheduler.at(now + timedelta(seconds=reminder.interval), remind)

        self.scheduler.at(subscription.expires_at - timedelta(seconds=reminder.threshold), remind)

    def listed_subscriptions(self, owner_id: str) -> list[Subscription]:
        """Return the living subscriptions that this user created."""
        now = self.now()
        return [
            one
            for one in self.subscriptions.values()
            if one.listed and one.owner_id == owner_id and not one.is_expired(now)
        ]

    # Truth

    def truth(self, call: ScriptedCall) -> Json:
        """Tell everything about a call, also what no API shows yet."""
        now = self.now()
        return {
            "id": call.id,
            "script": call.script,
            "speed": call.speed,
            "startedAt": iso(call.started_at),
            "endedAt": iso(call.ended_at),
            "isOver": call.ended_at <= now,
            "sessions": [self._session_truth(call, place) for place in range(len(call.sessions))],
        }

    def _session_truth(self, call: ScriptedCall, place: int) -> Json:
        session = call.sessions[place]
        events = [event for event in call.events if event.session == session]
        delivered = [event for event in events if event.delivered]
        return {
            "sessionId": session.session_id,
            "telephonySessionId": session.telephony_session_id,
            "origin": session.origin,
            "startedAt": iso(session.started_at),
            "endedAt": iso(session.ended_at),
            "events": len(events),
            "eventsDelivered": len(delivered),
            "lastEventSentAt": iso(delivered[-1].at) if delivered else None,
            "eventPaths": sorted(
                {event_path(self.world.account_id, one.extension_id, "telephony/sessions") for one in events}
            ),
            "records": [self._record_truth(record) for record in call.records if record.session == session],
            "recordings": [
                self._recording_truth(recording)
                for recording in call.recordings
                if recording.telephony_session_id == session.telephony_session_id
            ],
        }

    def _record_truth(self, record: Record) -> Json:
        final, moments = record.final, shown_at(record, self.timing)
        return {
            "id": record.id,
            "extensionId": record.extension_id,
            "direction": final.face.direction,
            "action": final.face.action,
            "result": final.face.result,
            "duration": final.face.duration,
            "activeFrom": iso(moments[0]),
            "finalInActiveCallsFrom": iso(moments[-1]),
            "activeUntil": iso(shown_until(record, self.timing)),
            "callLog": [
                {"at": iso(revision.at), "kind": revision.kind, "result": revision.stage.face.result}
                for revision in self.revisions_of(record)
            ],
            "firstServedFinalByActiveCalls": _maybe(self.served_active.get(record.id)),
            "firstServedFinalByCallLog": _maybe(self.served_log.get(record.id)),
        }

    def _recording_truth(self, recording: Recording) -> Json:
        ready_at = recording_ready_at(self._recordings[recording.id].record, self.timing)
        return {
            "id": recording.id,
            "type": recording.kind,
            "seconds": round(recording.seconds, 3),
            "readyAt": _maybe(ready_at),
            "purged": recording.id in self.purged,
            "insightsFrom": iso(self._insights_from(recording)),
        }

    def _insights_from(self, recording: Recording) -> datetime:
        known = self._recordings[recording.id]
        return analysed_at(known.record, known.recording, self.timing, notes=False)[0]

    def statistics(self) -> Json:
        """Count what was asked, sent and played since the start or the last reset."""
        now = self.now()
        over = [call for call in self.calls.values() if call.ended_at <= now]
        refused = sum(counts["429"] for counts in self.request_counts.values())
        return {
            "now": iso(now),
            "requests": {group: dict(counts) for group, counts in sorted(self.request_counts.items())},
            "refused429": refused,
            "deliveries": dict(self.webhooks.counts),
            "calls": {
                "started": sum(call.started_at <= now for call in self.calls.values()),
                "ended": len(over),
                "byScript": dict(Counter(call.script for call in self.calls.values())),
            },
            "subscriptions": dict(Counter(one.status for one in self.subscriptions.values())),
        }


def _address(host: str, port: int) -> str:
    """Return where to reach what listens here; a host that means all interfaces is reached on loopback."""
    reachable = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104 - compared, not bound
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def _maybe(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment.astimezone(UTC))
