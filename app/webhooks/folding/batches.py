"""What a number of stored deliveries say together, sorted by call; no more than one transaction may take."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from app.calls.insights.model import Version
from app.calls.insights.store import BY_EVENT, InsightsArrival
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.values.storable import BadJson
from app.webhooks.intake.deliveries import BARE
from app.webhooks.payloads.decoding import decode_body
from app.webhooks.payloads.facts import Fact
from app.webhooks.payloads.notification import (
    CallKey,
    Ignored,
    InsightsEvent,
    Notification,
    PresenceEvent,
    ReminderEvent,
    TelephonyEvent,
    read_notification,
)

MOST_CALLS = 100
MOST_FACTS = 1000
"""Of one batch. The delivery that reaches a limit is still part of it: one delivery alone is bounded as well, see
`webhooks.notification`."""

Telling = tuple[str, CallKey]
"""What one delivery, by its uuid, says of one call."""


@dataclass(slots=True)
class Batch:
    """What deliveries say. `notes` says by uuid why nothing came of one, or not all; None when all became calls.

    `reminded` has the subscriptions that will end soon.
    """

    facts: dict[CallKey, list[Fact]] = field(default_factory=dict)
    insights: list[InsightsArrival] = field(default_factory=list)
    notes: dict[str, str | None] = field(default_factory=dict)
    reminded: set[str] = field(default_factory=set)
    fact_count: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    """By delivery, how many of its calls or parties are not read."""
    told_by: dict[str, set[Telling]] = field(default_factory=dict)
    """By delivery, what it says of calls; the uuid of a telling is that of its facts."""

    @property
    def is_full(self) -> bool:
        return len(self.facts) >= MOST_CALLS or self.fact_count >= MOST_FACTS

    @property
    def tellings(self) -> set[Telling]:
        return set().union(*self.told_by.values())

    def without(
        self, folded: Collection[Telling], most_calls: int | None = None
    ) -> dict[CallKey, list[Fact]]:
        """Return the facts that are not folded yet, of at most so many calls."""
        rest = (
            (key, [fact for fact in told if (fact.uuid, key) not in folded])
            for key, told in self.facts.items()
        )
        return dict(islice(((key, told) for key, told in rest if told), most_calls))

    def put_off(self, folded: Collection[Telling]) -> None:
        """Leave the deliveries for later of which something is not folded yet; the others are done with."""
        for uuid, tellings in list(self.told_by.items()):
            if tellings.issubset(folded):
                del self.told_by[uuid]
            else:
                del self.notes[uuid]


def read_batch(rows: Iterable[Any], owner: AccountId) -> Batch:
    """Read rows of `deliveries` until there are no more or the batch is full."""
    batch = Batch()
    for row in rows:
        told = read_delivery(row.raw, row.received_at)
        note = batch.notes[row.uuid] = note_of(told, owner, row.uuid)
        if isinstance(told, ReminderEvent) and told.subscription_id is not None:
            batch.reminded.add(told.subscription_id)
        elif isinstance(told, InsightsEvent) and note is None:
            batch.insights.append(_arrival(told, row.received_at))
        elif isinstance(told, TelephonyEvent | PresenceEvent) and (note is None or note in _PARTLY.values()):
            for call in told.calls:
                batch.facts.setdefault(call.key, []).extend(call.facts)
                batch.fact_count += len(call.facts)
                batch.told_by.setdefault(row.uuid, set()).update((fact.uuid, call.key) for fact in call.facts)
            if told.left_out:
                batch.left_out[row.uuid] = told.left_out
        if batch.is_full:
            break
    return batch


def read_delivery(raw: bytes, received_at: datetime) -> Notification:
    """Decode a stored delivery."""
    try:
        payload = decode_body(raw)
    except BadJson:
        return Ignored("not-json", "The body is not JSON.")
    return read_notification(payload, received_at)


_PARTLY = {TelephonyEvent: "truncated: too many parties", PresenceEvent: "truncated: too many calls"}


def note_of(told: Notification, owner: AccountId, uuid: str) -> str | None:
    """Say why nothing comes of a delivery, or not all of it; None when it belongs to a call."""
    match told:
        case Ignored(reason=reason):
            return f"ignored: {reason}"
        case _ if uuid.startswith(BARE):
            return "error: refused by the database under its names"
        case InsightsEvent(telephony_session_id=None, recording_id=None):
            return "ignored: insights-of-nothing"
        case ReminderEvent():
            return "kept: reminder"
        case _ if owner == UNBOUND_ACCOUNT:
            return "ignored: unknown-account"
        case TelephonyEvent() | PresenceEvent() if told.left_out:
            return _PARTLY[type(told)]
        case _:
            return None


def _arrival(told: InsightsEvent, at: datetime) -> InsightsArrival:
    version = Version(
        telephony_session_id=told.telephony_session_id,
        recording_id=told.recording_id,
        last_modified_at=told.last_modified_at,
        raw=told.body,
    )
    return InsightsArrival(version, BY_EVENT, at)
