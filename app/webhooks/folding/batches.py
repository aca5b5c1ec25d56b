"""What a batch of stored deliveries says, sorted by call. A batch fits into one transaction."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, islice

from app.calls.evidence.facts import Fact
from app.calls.insights.model import Version
from app.calls.insights.store import BY_EVENT, InsightsArrival
from app.clock import Clock
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.values.packed_bodies import pack_body
from app.values.storable import BadJson
from app.webhooks.folding.unfolded import Unfolded, Waiting
from app.webhooks.intake.deliveries import BARE
from app.webhooks.payloads.decoding import decode_body
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

MOST_CALLS = 200
MOST_FACTS = 2000
"""Limits of one batch. The delivery that reaches a limit is still part of it; a single delivery has limits of
its own, see `app.webhooks.payloads.notification`."""

MOST_BYTES = 8 * 2**20
"""Bytes of the bodies that are loaded for one batch."""

ROWS_AT_A_STRETCH = 20
"""Deliveries that are decoded before other tasks of the process have a turn."""

PAST_RETENTION = "ignored: past-retention"
"""The note of a delivery about a call that ended so long ago that it may have been removed."""

Statement = tuple[str, CallKey]
"""What one delivery, by its uuid, says about one call."""


@dataclass(slots=True)
class Batch:
    """What deliveries say.

    `notes` has each delivery by uuid, with the reason why nothing, or not everything, of it became a call;
    None when everything did. `statements` has what each delivery says about calls, `left_out` how many of its
    calls or parties are not read. `reminded` are the subscriptions that will end soon, `erased` the
    deliveries that tell of erased calls. `insights` are by uuid, and so are `packed`, the bodies as they are
    stored from now on.
    """

    facts: dict[CallKey, list[Fact]] = field(default_factory=dict)
    insights: dict[str, InsightsArrival] = field(default_factory=dict)
    notes: dict[str, str | None] = field(default_factory=dict)
    statements: dict[str, set[Statement]] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    reminded: set[str] = field(default_factory=set)
    erased: set[str] = field(default_factory=set)
    packed: dict[str, bytes] = field(default_factory=dict)
    fact_count: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.facts) >= MOST_CALLS or self.fact_count >= MOST_FACTS

    @property
    def all_statements(self) -> set[Statement]:
        return set().union(*self.statements.values())

    def facts_without(
        self, folded: Collection[Statement], most_calls: int | None = None
    ) -> dict[CallKey, list[Fact]]:
        """Return the facts that are not folded yet, of at most `most_calls` calls."""
        rest = (
            (key, [fact for fact in facts if (fact.uuid, key) not in folded])
            for key, facts in self.facts.items()
        )
        return dict(islice(((key, facts) for key, facts in rest if facts), most_calls))

    def note_refused(self, keys: Collection[CallKey]) -> None:
        """Note the deliveries that are only about calls that are not kept any more."""
        for uuid, statements in self.statements.items():
            if keys and all(key in keys for _, key in statements):
                self.notes[uuid] = PAST_RETENTION

    def keep_unfinished(self, folded: Collection[Statement]) -> None:
        """Take the deliveries of which something is not folded yet out of `notes`: they stay in the inbox."""
        for uuid, statements in list(self.statements.items()):
            if statements.issubset(folded):
                del self.statements[uuid]
            else:
                del self.notes[uuid]


def choose(waiting: Sequence[Waiting], most_calls: int) -> list[str]:
    """Return the deliveries to load for a batch, by uuid: all that wait of one call, then of the next.

    So a call is derived and written once, however many deliveries it has. The call whose delivery has waited
    longest comes first; a delivery without a session is one of its own.
    """
    of_call: dict[str, list[Waiting]] = {}
    for one in waiting:
        of_call.setdefault(one.telephony_session_id or f"uuid {one.uuid}", []).append(one)
    chosen: list[str] = []
    size = 0
    for one in chain.from_iterable(islice(of_call.values(), most_calls)):
        size += one.size
        if chosen and size > MOST_BYTES:
            break
        chosen.append(one.uuid)
    return chosen


async def read_batch(rows: Iterable[Unfolded], owner: AccountId, clock: Clock) -> Batch:
    """Read deliveries until there are no more or the batch is full; let other tasks run in between."""
    batch = Batch()
    for count, row in enumerate(rows, 1):
        _add(batch, row, owner)
        if batch.is_full:
            break
        if count % ROWS_AT_A_STRETCH == 0:
            await clock.sleep(0)
    return batch


def _add(batch: Batch, row: Unfolded, owner: AccountId) -> None:
    event = read_delivery(row.raw, row.received_at)
    note = batch.notes[row.uuid] = note_of(event, owner, row.uuid)
    batch.packed[row.uuid] = pack_body(row.raw)
    if isinstance(event, ReminderEvent) and event.subscription_id is not None:
        batch.reminded.add(event.subscription_id)
    elif isinstance(event, InsightsEvent) and note is None:
        batch.insights[row.uuid] = _arrival(event, row.received_at)
    elif isinstance(event, TelephonyEvent | PresenceEvent) and (note is None or note in _TRUNCATED.values()):
        for call in event.calls:
            batch.facts.setdefault(call.key, []).extend(call.facts)
            batch.fact_count += len(call.facts)
            # A fact's uuid is the one inside the body. It can differ from that of the row.
            batch.statements.setdefault(row.uuid, set()).update((fact.uuid, call.key) for fact in call.facts)
        if event.left_out:
            batch.left_out[row.uuid] = event.left_out


def read_delivery(raw: bytes, received_at: datetime) -> Notification:
    """Decode a stored delivery."""
    try:
        payload = decode_body(raw)
    except BadJson:
        return Ignored("not-json", "The body is not JSON.")
    return read_notification(payload, received_at)


_TRUNCATED = {TelephonyEvent: "truncated: too many parties", PresenceEvent: "truncated: too many calls"}


def note_of(event: Notification, owner: AccountId, uuid: str) -> str | None:
    """Return why nothing, or not everything, of a delivery becomes a call; None when everything does."""
    match event:
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
        case TelephonyEvent() | PresenceEvent() if event.left_out:
            return _TRUNCATED[type(event)]
        case _:
            return None


def _arrival(event: InsightsEvent, at: datetime) -> InsightsArrival:
    version = Version(
        telephony_session_id=event.telephony_session_id,
        recording_id=event.recording_id,
        last_modified_at=event.last_modified_at,
        raw=event.body,
    )
    return InsightsArrival(version, BY_EVENT, at)
