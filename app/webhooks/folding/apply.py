"""Applies facts to the calls that they are about, and opens the calls that are not known yet."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.calls import store
from app.calls.attachments.parking import join_parked
from app.calls.derivation.fields import derive_fields, extension_ids, phone_numbers
from app.calls.evidence.call_view import CallView
from app.calls.evidence.facts import Fact, SessionFacts, known_until
from app.calls.evidence.parties import read_parties
from app.calls.insights.store import join
from app.calls.ledger import Ledger
from app.calls.model import NO_SESSION, Call
from app.calls.related.links import Link, key_of
from app.calls.related.store import link_calls
from app.calls.stored_records import are_removed, read_versions
from app.clock import Clock
from app.ids import CallId, new_id
from app.webhooks.folding.stages import EndRules, judge
from app.webhooks.payloads.notification import CallKey

MOST_WORK = 5000
"""Facts, known and new, that one transaction computes with. The call that reaches the limit is still part of
it; a single call has a limit of its own, see `SessionFacts`. The rest of a batch is folded in the next
transactions."""

WORK_AT_A_STRETCH = 100
"""What is computed before other tasks of the process have a turn: facts, and as many for each call as it
costs besides. Some milliseconds."""

_WORK_OF_A_CALL = 15


class Breaks:
    """Gives other tasks of the process a turn between calls that have many facts."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._work = 0

    async def before(self, facts: int) -> None:
        """Count the call that comes next, with its facts; let others run first when it would be too much."""
        work = facts + _WORK_OF_A_CALL
        self._work += work
        if self._work > WORK_AT_A_STRETCH:
            await self._clock.sleep(0)
            self._work = work


@dataclass(slots=True)
class _Addition:
    """New facts about one call, and the keys under which they came."""

    call: Call
    is_new: bool
    facts: list[Fact] = field(default_factory=list)
    keys: list[CallKey] = field(default_factory=list)

    @property
    def work(self) -> int:
        return len(self.call.facts) + len(self.facts)


@dataclass(frozen=True, slots=True)
class Applied:
    """The keys whose facts are dealt with; `refused` are those of calls that are not kept any more."""

    reached: set[CallKey]
    refused: set[CallKey]


async def apply_facts(
    ledger: Ledger, facts: Mapping[CallKey, list[Fact]], rules: EndRules, clock: Clock, most: int = MOST_WORK
) -> Applied:
    """Apply facts to their calls. Stops at the call that makes `most` facts, known and new."""
    found, refused = await _find_calls(ledger, facts, rules)
    additions = _first_of(found, most)
    # What records say about a call depends on its facts, so they are applied again.
    with_record = [one.call.call_id for one in additions if one.call.primary_record_id is not None]
    records = await store.load_records(ledger.db, ledger.account_id, with_record)
    links: dict[str, list[Link]] = {}
    named: dict[str, Call] = {}
    breaks = Breaks(clock)
    for one in additions:
        await breaks.before(one.work)
        view, names = _apply(ledger, one, records.get(one.call.call_id, ()), rules)
        links[one.call.call_id] = links_of_events(one.call, view)
        named |= dict.fromkeys(sorted(names), one.call)
    # Links and attachments refer to the calls' rows: write those first.
    await ledger.flush()
    await link_calls(ledger, links, {one.call.call_id: one.call for one in additions}, named)
    await join_parked(ledger, named)
    await join(ledger, named, {})
    return Applied({key for one in additions for key in one.keys} | refused, refused)


async def _find_calls(
    ledger: Ledger, facts: Mapping[CallKey, list[Fact]], rules: EndRules
) -> tuple[list[_Addition], set[CallKey]]:
    """Return the calls that facts are about, each once, and the keys of those that are not kept any more.

    Two keys can name the same call.
    """
    known = await _load_calls(ledger, facts)
    additions: dict[str, _Addition] = {}
    refused: set[CallKey] = set()
    for key, new_facts in facts.items():
        call, is_new = known.find(key), False
        if call is None and not rules.may_open(ledger.now, (fact.event_time for fact in new_facts)):
            refused.add(key)
            continue
        if call is None:
            call, is_new = _new_call(ledger, key, new_facts), True
            known.add(call, key)
        addition = additions.setdefault(call.call_id, _Addition(call, is_new))
        addition.facts += new_facts
        addition.keys.append(key)
    return list(additions.values()), refused


def _first_of(additions: Iterable[_Addition], most: int) -> list[_Addition]:
    """Return as many calls as have `most` facts together, the last one included."""
    first: list[_Addition] = []
    work = 0
    for addition in additions:
        if work >= most:
            break
        first.append(addition)
        work += addition.work
    return first


@dataclass(slots=True)
class _Known:
    """The calls that a batch is about, by the ids that its events use."""

    by_key: dict[str, Call]
    by_session: dict[str, Call]

    def find(self, key: CallKey) -> Call | None:
        if key.telephony_session_id is None:
            return self.by_session.get(key.session_id or "")
        call = self.by_key.get(key.telephony_session_id)
        if call is None and key.session_id is not None:
            call = self.by_session.get(key.session_id)
            if call is None or not call.telephony_session_id.startswith(NO_SESSION):
                return None
            # A presence event named this call by its sessionId alone; now its key is known.
            call.telephony_session_id = key.telephony_session_id
            self.by_key[key.telephony_session_id] = call
        return call

    def add(self, call: Call, key: CallKey) -> None:
        self.by_key[call.telephony_session_id] = call
        if key.session_id is not None:
            self.by_session.setdefault(key.session_id, call)


async def _load_calls(ledger: Ledger, keys: Iterable[CallKey]) -> _Known:
    db, account_id = ledger.db, ledger.account_id
    telephony_ids = {key.telephony_session_id for key in keys if key.telephony_session_id}
    by_key = await store.load_by_sessions(db, account_id, telephony_ids)
    unmatched = {key.session_id for key in keys if key.session_id and key.telephony_session_id not in by_key}
    by_session: dict[str, Call] = await store.find_nameless(db, account_id, unmatched)
    alone = {key.session_id for key in keys if key.session_id and key.telephony_session_id is None}
    by_session |= await store.find_by_aliases(db, account_id, alone & (unmatched - by_session.keys()))
    return _Known(by_key, by_session)


def _new_call(ledger: Ledger, key: CallKey, facts: Sequence[Fact]) -> Call:
    return Call(
        account_id=ledger.account_id,
        call_id=CallId(new_id("call", ledger.now)),
        telephony_session_id=key.telephony_session_id or f"{NO_SESSION}{key.session_id}",
        session_id=key.session_id,
        started_at=min((fact.event_time for fact in facts), default=ledger.now),
        created_at=ledger.now,
        updated_at=ledger.now,
    )


def _apply(
    ledger: Ledger, addition: _Addition, records: Sequence[Any], rules: EndRules
) -> tuple[CallView, set[str]]:
    """Apply new facts to one call; return what all its facts show together, and the call's new names.

    `records` has the rows of a call's records once it has a primary record.
    """
    call, is_new = addition.call, addition.is_new
    before = _visible(call)
    stored = SessionFacts.from_json(call.facts)
    old_names = set() if is_new else {call.session_id, *(fact.telephony_session_id for fact in stored)}
    facts = stored.union(addition.facts)
    call.facts = facts.to_json()
    view = read_parties(facts)
    if are_removed(call, records):
        ledger.keep(call)
        return view, set()
    derived = derive_fields(call, view, (), ledger.company) if not records else None
    if is_new:
        call.ready("record", "pending", ledger.now)
        ledger.open(call, "call.live", direction=call.direction)
    elif not records:
        _announce_change(ledger, call, before)
    judge(ledger, call, view, rules)
    call.state_known_at = known_until(facts, call.state_known_at)
    versions = list(read_versions(call, records))
    if derived is None:
        # After the end is known: it decides which of the records are provisional.
        derived = derive_fields(call, view, versions, ledger.company)
        _announce_change(ledger, call, before)
    ledger.keep(call)
    names = {name for name in (*view.session_ids, call.telephony_session_id) if name not in old_names}
    ledger.name(call, view.session_ids)
    ledger.involve(call, extension_ids(view, versions), phone_numbers(derived, view, versions))
    return view, names


def links_of_events(call: Call, view: CallView) -> list[Link]:
    """Return the links to other sessions that a call's events name."""
    named = [(key_of(link.telephony_session_id, link.session_id), link) for link in view.related]
    return [Link(call.telephony_session_id, key, link.kind, link.session_id) for key, link in named if key]


def _announce_change(ledger: Ledger, call: Call, before: tuple[Any, ...]) -> None:
    if _visible(call) != before:
        ledger.change(call, "call.updated", source="webhook")


def _visible(call: Call) -> tuple[Any, ...]:
    return (
        call.session_id, call.direction, call.internal, call.outcome, call.caller, call.callee,
        call.external_number, call.queue_name, call.started_at, call.answered_at, call.parties, call.details,
        call.has_recording, call.primary_record_id, call.result, call.action, call.duration_seconds,
        call.agent_extension_id,
    )  # fmt: skip
