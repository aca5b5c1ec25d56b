"""Derives scripted calls from one witness or several, and compares them with their truth. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.calls.derivation import DerivedCall, derive_call
from app.calls.evidence.events import state_events
from app.calls.evidence.facts import Fact, SessionFacts
from app.calls.evidence.parties import read_parties
from app.calls.evidence.people import UNKNOWN_COMPANY, Company, Person
from app.calls.evidence.records import state_records
from app.calls.evidence.versions import RecordVersion
from app.calls.model import Source
from app.ringcentral.models import CallRecord, read_call_record
from app.simulator.scripting.company import COMPANY
from app.simulator.scripting.model import Json
from app.webhooks.payloads.notification import PresenceEvent, TelephonyEvent, read_notification
from tests.truth.expected import NOT_CALLS, truths_of
from tests.truth.model import EVENTS, RECORDS, Side, Truth
from tests.truth.witnesses import Played, final_records, play_every_script, session_notifications

ALL = "all"
ONE_USER = "one user's records"
WAYS = (EVENTS, RECORDS, ONE_USER, ALL)

DIRECTORY = Company.of(
    [
        Person(
            extension_id=one.id,
            extension_number=one.number,
            name=one.name,
            kind=one.kind,
            numbers=() if one.direct_number == COMPANY.main_number else (one.direct_number,),
        )
        for one in COMPANY.extensions
    ],
    region="US",
    main_numbers=[COMPANY.main_number],
)
SLACK_SECONDS = 2.0
"""Records count in whole seconds."""

COMPARED = (
    "direction", "internal", "caller", "called", "external_number", "outcome", "queue_name", "agents",
    "answered_at", "talk_seconds", "ring_seconds", "transferred_to", "park_id", "origin",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Telling:
    """One way in which one session of a call is told. `who`: the only extension that tells, if it is one."""

    played: Played
    truth: Truth
    way: str
    facts: Sequence[Fact]
    records: Sequence[CallRecord]
    who: str | None = None

    def derive(self, company: Company = DIRECTORY) -> DerivedCall:
        return derive(self.facts, self.records, company)

    def untold_by(self, name: str) -> bool:
        """Whether this way cannot know the field. Everything together knows what any of them knows."""
        if name in self.truth.undecided:
            return True
        if self.way == ALL:
            return not (self.truth.is_told(name, EVENTS) or self.truth.is_told(name, RECORDS))
        told = self.truth.is_told(name, RECORDS if self.who else self.way)
        return not told or (self.who is not None and not self.truth.is_told(name, self.who))


@dataclass(frozen=True, slots=True)
class Difference:
    script: str
    way: str
    field: str
    right: Any
    derived: Any

    def __str__(self) -> str:
        return f"{self.script}, {self.way}: {self.field} is {self.derived}, not {self.right}"


def tellings(played: Iterable[Played] | None = None) -> Iterator[Telling]:
    """Yield each session of each script in each way in which it is told at all."""
    for one in played if played is not None else play_every_script():
        for truth in () if one.script in NOT_CALLS else truths_of(one):
            session = truth.telephony_session_id
            facts = facts_of(session_notifications(one, session))
            records = read_all(final_records(one, session))
            if facts:
                yield Telling(one, truth, EVENTS, facts, ())
            if records:
                yield Telling(one, truth, RECORDS, (), records)
            for extension_id in one.extension_ids:
                own = read_all(final_records(one, session, extension_id=extension_id))
                if own:
                    yield Telling(one, truth, ONE_USER, (), own, extension_id)
            if facts and records:
                yield Telling(one, truth, ALL, facts, records)


def facts_of(notifications: Iterable[Json]) -> list[Fact]:
    facts: list[Fact] = []
    for payload in notifications:
        event = read_notification(payload, datetime.fromisoformat(payload["timestamp"]))
        if isinstance(event, TelephonyEvent | PresenceEvent):
            facts += [fact for call in event.calls for fact in call.facts]
    return facts


def read_all(records: Iterable[Json]) -> list[CallRecord]:
    read = [read_call_record(one) for one in records]
    return [one for one in read if isinstance(one, CallRecord)]


def derive(
    facts: Iterable[Fact], records: Iterable[CallRecord], company: Company = UNKNOWN_COMPANY
) -> DerivedCall:
    statement = state_events(read_parties(SessionFacts.of(facts)))
    fetched_at = datetime.fromisoformat("2026-03-11T12:00:00+00:00")
    versions = [RecordVersion(one, Source.CALL_LOG, fetched_at) for one in records]
    return derive_call([*([statement] if statement else []), *state_records(versions)], company)


def compare(telling: Telling, call: DerivedCall) -> tuple[int, list[Difference]]:
    """Return how many values were compared, and those that are wrong."""
    names = [name for name in COMPARED if not telling.untold_by(name)]
    wrong = []
    for name in names:
        right, derived = getattr(telling.truth, name), _value(name, call)
        if not _is_right(name, right, derived, exact_roles=telling.way in (EVENTS, ALL)):
            who = f"{telling.way} of {telling.who}" if telling.who else telling.way
            wrong.append(Difference(telling.played.script, who, name, right, derived))
    return len(names), wrong


def is_right(telling: Telling, name: str, call: DerivedCall, *, exact_agents: bool = True) -> bool:
    """Whether a field has its right value. `exact_agents`: with their order."""
    right, derived = getattr(telling.truth, name), _value(name, call)
    if name == "agents" and not exact_agents:
        # The order of agents is that of events.
        return sorted(str(who) for who, _ in derived) == sorted(agent.extension_id for agent in right)
    return _is_right(name, right, derived, exact_roles=exact_agents and telling.way in (EVENTS, ALL))


def _value(name: str, call: DerivedCall) -> Any:
    match name:
        case "caller":
            return Side((call.from_json or {}).get("phoneNumber"), call.from_.extension_id)
        case "called":
            return Side((call.to_json or {}).get("phoneNumber"), call.to.extension_id)
        case "origin":
            return call.origin or "Call"
        case "agents":
            return [(agent.extension_id, agent.role.value) for agent in call.agents]
        case _:
            return getattr(call, name)


def _is_right(name: str, right: Any, derived: Any, *, exact_roles: bool) -> bool:
    if name in ("caller", "called"):
        return _is_same_side(right, derived)
    if name == "agents":
        expected = [(agent.extension_id, agent.role) for agent in right]
        if exact_roles:
            derived = [(who, "answered" if role == "placed" else role) for who, role in derived]
            return list(derived) == expected
        return [who for who, _ in derived] == [who for who, _ in expected]
    if name == "answered_at" and right is not None and derived is not None:
        return bool(abs((derived - right).total_seconds()) <= SLACK_SECONDS)
    if name.endswith("_seconds") and right is not None and derived is not None:
        return bool(abs(derived - right) <= SLACK_SECONDS)
    return bool(right == derived)


def _is_same_side(right: Side, derived: Side) -> bool:
    """Whether both mean the same person, or the same number where nobody is known."""
    if right.extension_id and derived.extension_id:
        return right.extension_id == derived.extension_id
    shown = right.number or right.raw
    return derived.number == shown or (right.extension_id is not None and derived.number == right.raw)
