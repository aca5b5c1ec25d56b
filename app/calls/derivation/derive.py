"""Derives a call from all statements about it. The one place that decides what a field of the record is.

The order of the statements makes no difference. A further witness never makes a known field unknown, and a
better one may correct a worse one: what the rules below prefer is noted at each of them. Costs microseconds
for each party and record, and does no input or output.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from pydantic.alias_generators import to_camel

from app.calls.derivation.agents import CallAgent, find_agents, owner_of
from app.calls.derivation.answers import Answers
from app.calls.derivation.sides import Sides, Where
from app.calls.derivation.times import first_told, hold_seconds, ring_seconds, talk_times
from app.calls.evidence.facts import Endpoint
from app.calls.evidence.people import UNKNOWN_COMPANY, Company
from app.calls.evidence.records import QUEUE_SEPARATORS
from app.calls.evidence.statements import Line, Role, Statement, Witness
from app.calls.model import Outcome
from app.values.phone_numbers import NumberKind

OUTBOUND = "Outbound"
INBOUND = "Inbound"

_NOT_TAKEN = (None, Outcome.UNKNOWN, Outcome.NO_ANSWER)
"""What records say of a phone that nobody took, whatever became of the call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedCall:
    """A call by all that is known of it. Durations are in seconds, points in time are aware UTC.

    `from_` and `to` are the sides as dialled. `sources` says for each field of the API which statement it
    comes from, by the statement's place in the order of `derive_call`.
    """

    direction: str | None
    internal: bool | None
    from_: Endpoint
    to: Endpoint
    from_json: Mapping[str, str] | None
    to_json: Mapping[str, str] | None
    external_number: str | None
    outcome: Outcome
    outcome_if_over: Outcome
    started_at: datetime | None
    answered_at: datetime | None
    ring_seconds: float | None
    talk_seconds: float | None
    hold_seconds: float | None
    queue_name: str | None
    origin: str | None
    park_id: str | None
    transferred_to: str | None
    on_behalf_of: str | None
    agents: tuple[CallAgent, ...]
    sources: Mapping[str, Statement]

    @property
    def agent(self) -> CallAgent | None:
        return owner_of(self.agents)

    @property
    def answered_by(self) -> str | None:
        """The id of the extension that answered first."""
        answered = [one for one in self.agents if one.answered_at is not None and not one.has_placed]
        return min(answered, key=lambda agent: str(agent.answered_at)).extension_id if answered else None


def derive_call(statements: Iterable[Statement], company: Company = UNKNOWN_COMPANY) -> DerivedCall:
    """Derive a call. Records must come in the order of `evidence.records.state_records`."""
    return _Derivation(list(statements), company).run()


class _Derivation:
    """One derivation. `_records` are of the call itself, the primary one first."""

    def __init__(self, statements: list[Statement], company: Company) -> None:
        self._all = statements
        own = [one for one in statements if one.is_record and not one.is_side_attempt]
        self._records = [one for one in own if not one.is_step]
        self._attempts = [one for one in statements if one.is_side_attempt]
        self._events = [one for one in statements if not one.is_record]
        self._sides = Sides.of(statements, company)
        self._company = company
        self._sources: dict[str, Statement] = {}
        self._begun = first_told(self._records) or first_told(statements)

    def run(self) -> DerivedCall:
        origin = self._first("origin", [*self._events, *self._records])
        from_, to = self._from(), self._to()
        direction = self._direction(from_, origin)
        answers = Answers.of(self._all, self._sides, direction)
        internal = self._internal(from_, to, direction)
        direction = OUTBOUND if internal and direction is not None else direction
        queue_name = self._queue_name(to)
        is_own_number = self._is_own_number(from_, to, origin)
        answered = {} if is_own_number else answers.answered()
        over = self._outcome(answered, direction, to, is_own_number=is_own_number)
        is_answered = over is Outcome.ANSWERED
        agents = find_agents(self._all, self._sides, answers, is_answered=is_answered and bool(answered))
        times = talk_times(self._all, answered, is_over=self._is_over())
        self._note("answerTime", times.source)
        from_, to = self._named(from_, queue_name), self._sides.complete(to)
        call = DerivedCall(
            direction=direction,
            internal=internal,
            from_=from_,
            to=to,
            from_json=self._sides.to_json(from_),
            to_json=self._sides.to_json(to),
            external_number=self._external(from_, to, direction, internal),
            outcome=over if is_answered or self._is_over() else Outcome.IN_PROGRESS,
            outcome_if_over=over,
            started_at=self._begun.started_at if self._begun else None,
            answered_at=times.answered_at,
            ring_seconds=ring_seconds(self._all, self._records, self._sides, times.answered_at),
            talk_seconds=times.talk_seconds,
            hold_seconds=hold_seconds(self._all),
            queue_name=queue_name,
            origin=origin,
            park_id=self._first("park_id", self._all),
            transferred_to=self._transferred_to(),
            on_behalf_of=self._first("on_behalf_of", [*self._records, *self._events]),
            agents=agents,
            sources=self._sources,
        )
        self._note_rest(call)
        return call

    # Who

    def _from(self) -> Endpoint:
        """Return the caller. Events that saw the start show it as dialled; else the primary record does."""
        ordered = self._by_start()
        self._note("from", next((one for one in ordered if one.caller.has_identity), None))
        return self._sides.merge([one.caller for one in ordered])

    def _to(self) -> Endpoint:
        """Return the first destination: as events saw it, else as the record that began first has it."""
        ordered = self._by_start(earliest=True)
        # After lost events, the first party that is known may be one to whom the call was transferred.
        ordered = [one for one in ordered if one.saw_callee and one.callee.has_identity] or ordered
        self._note("to", next((one for one in ordered if one.callee.has_identity), None))
        return self._sides.merge([one.callee for one in ordered])

    def _by_start(self, *, earliest: bool = False) -> list[Statement]:
        saw = [one for one in self._events if _saw_start(one)]
        late = [one for one in self._events if one not in saw]
        records = self._records or self._steps() or self._attempts
        if earliest:
            records = sorted(
                records, key=lambda one: (one.is_provisional, one.started_at is None, str(one.started_at))
            )
        return [*saw, *records, *late, *(one for one in self._attempts if one not in records)]

    def _steps(self) -> list[Statement]:
        return [one for one in self._all if one.is_step]

    def _direction(self, from_: Endpoint, origin: str | None) -> str | None:
        """Return who began the call. A transfer, a FindMe attempt and a RingOut's inner leg do not count."""
        claims = [one for one in (*self._by_start(), *self._steps()) if one.direction]
        if origin == "RingOut" and (self._sides.where(from_) is Where.INSIDE or not claims):
            self._note("direction", next(iter(claims), None))
            return OUTBOUND
        whole = [one for one in claims if not one.is_side_attempt and not one.is_step]
        # Events that saw the start show who began. Without them, an outbound record or event names an
        # extension as its caller: nobody else has one. Events without the caller only guess.
        seen = [one for one in whole if _saw_start(one)]
        whole = seen or [one for one in whole if one.is_record or _shows_caller(one)] or whole
        outbound = [one for one in whole if one.direction == OUTBOUND]
        decisive = outbound or whole or claims
        self._note("direction", next(iter(decisive), None))
        if outbound:
            return OUTBOUND
        if whole:
            return OUTBOUND if self._caller_is_inside(from_) else INBOUND
        if not claims:
            return None
        # An attempt alone shows the caller of the call.
        return OUTBOUND if self._sides.where(from_) is Where.INSIDE else INBOUND

    def _caller_is_inside(self, from_: Endpoint) -> bool:
        """Whether the caller of an inbound view is a colleague.

        A caller who shows the very number that was dialled, without an extension, is not: caller ids can be
        chosen freely.
        """
        number = self._sides.number(from_)
        called = [self._sides.number(one.callee) for one in self._all]
        dialled = {one.e164 for one in called} - {None}
        if number.extension and number.e164 in dialled:
            # An extension behind the number that was dialled, unless it is the very one that was.
            return number.extension not in {one.extension for one in called}
        if self._sides.where(from_) is not Where.INSIDE:
            return False
        if from_.extension_id or from_.extension_number or number.extension:
            return True
        return number.e164 is None or number.e164 not in dialled

    def _internal(self, from_: Endpoint, to: Endpoint, direction: str | None) -> bool | None:
        """Return whether everybody belongs to the company: one outside line is enough for no."""
        inside_caller = direction == OUTBOUND or self._caller_is_inside(from_)
        if direction == INBOUND and not inside_caller:
            known = from_.has_identity or any(one.direction for one in self._all)
            return False if known else None
        lines = [
            line
            for one in self._all
            for line in one.lines
            if line.role in (Role.CALLED, Role.HANDED_TO) and line.side.has_identity
        ]
        places = [self._sides.where(line.side) for line in lines if not self._is_sought(line)]
        where_to = self._sides.where(to) if to.has_identity else Where.UNKNOWN
        if Where.OUTSIDE in places or where_to is Where.OUTSIDE:
            return False
        nameless = any(self._is_nameless_far_side(one) for one in self._events)
        if nameless and where_to is not Where.INSIDE:
            return False
        if Where.INSIDE in places or where_to is Where.INSIDE:
            return True
        is_ring_out = any(one.origin == "RingOut" for one in self._all)
        return True if is_ring_out and not lines and direction == OUTBOUND else None

    def _is_sought(self, line: Line) -> bool:
        """Whether a line is a private phone of somebody of the company."""
        return self._sides.owner_of(line.side) is not None

    def _is_nameless_far_side(self, statement: Statement) -> bool:
        """Whether a called party has no extension and no number: the public network's side of a call."""
        return any(line.role is Role.CALLED and not line.side.has_identity for line in statement.lines)

    def _external(
        self, from_: Endpoint, to: Endpoint, direction: str | None, internal: bool | None
    ) -> str | None:
        """Return the outside side's number in E.164. Of an internal call that was transferred outside, that
        is the number to which it went."""
        if internal or direction is None:
            return None
        if direction == INBOUND:
            return self._outside_number([one.caller for one in self._by_start()], from_)
        shown = [one.callee for one in self._by_start(earliest=True)]
        number = self._sides.number(to)
        if number.kind is NumberKind.WITHHELD or number.raw.casefold() == "conference":
            return None
        found = self._outside_number(shown, to)
        if found is not None:
            return found
        outside = [
            line.side
            for one in self._all
            for line in one.lines
            if line.role in (Role.CALLED, Role.HANDED_TO) and self._sides.where(line.side) is Where.OUTSIDE
        ]
        return self._outside_number(outside, Endpoint())

    def _outside_number(self, shown: Iterable[Endpoint], side: Endpoint) -> str | None:
        """Return the first full number of an outside side; one witness may mask it."""
        for one in (side, *shown):
            number = self._sides.number(one)
            if number.kind is NumberKind.FULL and self._sides.where(one) is Where.OUTSIDE:
                return number.e164
        return None

    def _named(self, from_: Endpoint, queue_name: str | None) -> Endpoint:
        """Return the caller with the best name: without the queue's label that some records put before it."""
        side = self._sides.complete(from_)
        for one in [*self._records, *self._events]:
            name = one.caller_name or (one.caller.name if self._sides.is_same(from_, one.caller) else None)
            name = _without_label(name, queue_name)
            if name:
                return Endpoint(
                    side.phone_number, name, side.extension_id, side.extension_number, side.location
                )
        return side

    # What became of it

    def _outcome(
        self,
        answered: Mapping[str, list[tuple[Statement, Line]]],
        direction: str | None,
        to: Endpoint,
        *,
        is_own_number: bool,
    ) -> Outcome:
        """Return the outcome if the call is over: answered if anybody of the called side talked, else what
        the best witness says of an unanswered call."""
        if answered:
            claims = [claim for lines in answered.values() for claim in lines]
            self._note("outcome", max(claims, key=lambda claim: _trust(claim[0]))[0])
            return Outcome.ANSWERED
        final = [one for one in self._records if not one.is_provisional]
        early = [one for one in self._records if one.is_provisional]
        # Who calls his own number rings at no phone, so what partial events lack tells nothing.
        events = [one for one in self._events if not (one.is_partial and is_own_number)]
        # A missed call in the record of one member of a queue may have gone on to the queue's voicemail.
        saw_voicemail = [one for one in events if one.unanswered is Outcome.VOICEMAIL and not one.is_partial]
        if saw_voicemail and all(one.unanswered in _NOT_TAKEN for one in final):
            final = []
        for one in [*final, *events, *early, *self._attempts]:
            is_known = one.unanswered not in (None, Outcome.UNKNOWN)
            if is_known and not (is_own_number and one.unanswered is Outcome.ANSWERED):
                self._note("outcome", one)
                return self._unanswered(one.unanswered or Outcome.UNKNOWN, direction, to)
        if direction == INBOUND and self._met_machines_only():
            return Outcome.ABANDONED
        return Outcome.VOICEMAIL if is_own_number else Outcome.UNKNOWN

    def _unanswered(self, outcome: Outcome, direction: str | None, to: Endpoint) -> Outcome:
        if outcome is not Outcome.NO_ANSWER:
            return outcome
        if direction == OUTBOUND:
            return Outcome.NO_ANSWER
        # The records of a queue's members say Missed: that is about their phones, not about the call.
        person = self._sides.person(to)
        is_queue = any(one.names_queue for one in self._all) or (person is not None and person.is_queue)
        return Outcome.ABANDONED if is_queue or self._met_machines_only() else Outcome.MISSED

    def _met_machines_only(self) -> bool:
        """Whether the caller came no further than to menus, as the directory tells."""
        lines = [
            line for one in self._all for line in one.lines if line.role not in (Role.CALLER, Role.JOINED)
        ]
        machines = [line for line in lines if self._sides.is_machine(line.side)]
        return bool(machines) and all(line in machines or line.role is Role.MACHINE for line in lines)

    def _is_own_number(self, from_: Endpoint, to: Endpoint, origin: str | None) -> bool:
        """Whether an extension called itself, which only its voicemail can answer. A RingOut does that to
        reach the initiator."""
        if origin == "RingOut":
            return False
        # A number alone does not do: caller ids can be chosen freely.
        if not (from_.extension_id or from_.extension_number):
            return False
        caller, called = self._sides.extension_id(from_), self._sides.extension_id(to)
        if caller is None and called is None:
            return from_.extension_number is not None and from_.extension_number == to.extension_number
        return caller is not None and caller == called and not self._is_shared(from_, to)

    def _is_shared(self, from_: Endpoint, to: Endpoint) -> bool:
        """Whether another extension answered, although both sides look like one."""
        own = self._sides.extension_id(from_)
        others = {
            self._sides.extension_id(line.side)
            for one in self._all
            for line in one.lines
            if line.role is Role.CALLED and line.side.has_identity
        }
        return bool(others - {own, None})

    def _is_over(self) -> bool:
        return bool(self._records or self._attempts) or all(one.is_over for one in self._events)

    # How it was handled

    def _queue_name(self, to: Endpoint) -> str | None:
        found = self._first("queue_name", [*self._events, *self._records])
        if found:
            return found
        person = self._sides.person(to)
        if person is not None and person.is_queue:
            return person.name
        # A menu in which the caller hung up has such a record too, but no members with theirs.
        named = [one for one in self._records if one.machine_name]
        others = {one.told_by for one in self._records} - {one.told_by for one in named}
        known = self._company.find(extension_id=named[0].told_by) if named else None
        if named and (known.is_queue if known else others):
            return named[0].machine_name
        return None

    def _transferred_to(self) -> str | None:
        raw = self._first("transferred_to", self._all)
        if raw is None:
            return None
        number = self._sides.number(Endpoint(raw))
        return number.e164 or raw

    def _first(self, name: str, statements: Iterable[Statement]) -> str | None:
        for one in statements:
            value = getattr(one, name)
            if value is not None:
                self._note(to_camel(name), one)
                return cast("str", value)
        return None

    def _note_rest(self, call: DerivedCall) -> None:
        """Note the sources of the fields that follow from several statements: the best of them."""
        best = max(self._all, key=_trust, default=None)
        events = next(iter(self._events), None)
        timed = self._sources.get("answerTime")
        outside = self._sources.get("from" if call.direction == INBOUND else "to")
        record = next(iter(self._records), None)
        for field, value, source in (
            ("internal", call.internal, best),
            ("externalNumber", call.external_number, outside or best),
            ("agents", call.agents or None, best),
            ("startTime", call.started_at, self._begun),
            ("talkSeconds", call.talk_seconds, timed or best),
            ("ringSeconds", call.ring_seconds, events or timed),
            ("holdSeconds", call.hold_seconds, events),
            ("duration", record, record),
            ("result", record, record),
            ("action", record, record),
        ):
            if value is not None:
                self._note(field, source)

    def _note(self, field: str, statement: Statement | None) -> None:
        if statement is not None:
            self._sources.setdefault(field, statement)


_TRUST = {Witness.PRESENCE: 0, Witness.SESSION_EVENTS: 1, Witness.ACTIVE_CALLS: 2, Witness.CALL_LOG: 3}


def _saw_start(statement: Statement) -> bool:
    """Whether a statement is that of session events which show the beginning of the call."""
    return statement.saw_start and statement.witness is Witness.SESSION_EVENTS


def _shows_caller(statement: Statement) -> bool:
    return any(line.role is Role.CALLER for line in statement.lines)


def _trust(statement: Statement) -> tuple[bool, int]:
    return (not statement.is_provisional, _TRUST[statement.witness])


def _without_label(name: str | None, queue_name: str | None) -> str | None:
    """Take the queue's name from before a caller's."""
    if name and queue_name:
        for separator in QUEUE_SEPARATORS:
            name = name.removeprefix(queue_name + separator)
    return name
