"""The call is the same whatever the network does to its deliveries."""

import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.calls.evidence.facts import Fact, SessionFacts
from app.calls.evidence.parties import read_parties
from app.webhooks.folding.ending import EndingAt, Live, Over, judge_end
from app.webhooks.payloads.notification import PresenceEvent, TelephonyEvent, peek, read_notification
from tests.derived import Seen
from tests.factories import (
    ANA,
    BEN,
    DANA_NUMBER,
    NOON,
    SCRIPTS,
    Json,
    Tape,
    active_call,
    party_id,
    presence,
    received_at,
    sides,
)

QUIET = 3.0
HANDOVER = 30.0
MANY_HOURS = timedelta(hours=3)

Arrival = tuple[Json, datetime]
Sessions = dict[str | None, SessionFacts]

CODES = ["Setup", "Proceeding", "Answered", "Hold", "Parked", "VoiceMail", "Disconnected", "Gone", "Newest"]
REASONS = [
    None,
    "BlindTransfer",
    "CallPark",
    "AgentAnswered",
    "Pickup",
    "CallFinished",
    "AttendedTransfer",
    "Conference",
    "Supervising",
    "NoAnswer",
    "TargetBusy",
    "Voicemail",
    "Newest",
]
HAND_OVERS = [
    "BlindTransfer",
    "RccTransfer",
    "DtmfTransfer",
    "CallerInputRedirect",
    "CallRedirected",
    "AgentAnswered",
    "Pickup",
    "CallFinished",
    "CallSwitch",
    "CallFlip",
    "TakeOver",
    "CallPark",
    "ParkLocation",
]


def fold(batches: Iterable[Iterable[Arrival]]) -> Sessions:
    """Fold batch by batch, with the facts of each call stored in between."""
    sessions: Sessions = {}
    for batch in batches:
        news: dict[str | None, list[Fact]] = defaultdict(list)
        for payload, arrived in batch:
            event = read_notification(payload, arrived)
            if isinstance(event, TelephonyEvent | PresenceEvent):
                for call in event.calls:
                    news[call.key.telephony_session_id].extend(call.facts)
        for session, facts in news.items():
            known = sessions.get(session, SessionFacts()).to_json()
            sessions[session] = SessionFacts.from_json(json.loads(json.dumps(known))).union(facts)
    return sessions


@st.composite
def made_up_calls(draw: st.DrawFn) -> list[Json]:
    """Arbitrary sequences of events."""
    tape = Tape(origin=draw(st.sampled_from(["Call", "Conference"])))
    after = 0.0
    for _ in range(draw(st.integers(1, 12))):
        ordinal = draw(st.integers(1, 4))
        extension = draw(st.sampled_from([None, ANA, BEN]))
        after += draw(st.sampled_from([0.0, 0.01, 1.0, 30.0]))
        code, reason = draw(st.sampled_from(CODES)), draw(st.sampled_from(REASONS))
        shown = sides({"phoneNumber": DANA_NUMBER}, {}) if draw(st.booleans()) else {}
        queue_call = {"queueCall": True} if draw(st.booleans()) else {}
        tape.says(after, ordinal, code, extension, reason=reason, **shown, **queue_call)
    if draw(st.booleans()):
        for payload in tape.deliveries[::2]:
            del payload["body"]["sequence"]
    return tape.deliveries + draw(
        st.lists(presence_events(), max_size=4, unique_by=lambda event: event["uuid"])
    )


@st.composite
def presence_events(draw: st.DrawFn) -> Json:
    """Presence events of one party, or of the extension without a party."""
    status = draw(st.sampled_from(["Ringing", "CallConnected", "OnHold", "ParkedCall", "NoCall"]))
    named = draw(st.sampled_from([None, party_id(1), party_id(2)]))
    entry = active_call(status, final=status == "NoCall" and draw(st.booleans()), partyId=named)
    at = NOON + timedelta(seconds=draw(st.integers(0, 120)))
    sequence = draw(st.integers(0, 9))
    return presence(entry, at=at, extension=draw(st.sampled_from([ANA, BEN])), sequence=sequence)


calls = st.one_of(st.sampled_from(sorted(SCRIPTS)).map(lambda name: SCRIPTS[name]()), made_up_calls())


@st.composite
def disturbed(draw: st.DrawFn) -> tuple[list[Arrival], list[list[Arrival]]]:
    """Deliveries in order, and the same in any order, some repeated later, in any batches."""
    in_order = [(payload, received_at(payload)) for payload in draw(calls)]
    again = draw(st.lists(st.sampled_from(in_order), max_size=6))
    late = [(payload, arrived + timedelta(seconds=draw(st.integers(0, 900)))) for payload, arrived in again]
    mixed = draw(st.permutations(in_order + late))
    cuts = sorted(draw(st.sets(st.integers(0, len(mixed)), max_size=5)) | {0, len(mixed)})
    return in_order, [mixed[start:end] for start, end in pairwise(cuts)]


@given(disturbed())
def test_order_repetition_and_batching_change_neither_call_nor_verdict(
    case: tuple[list[Arrival], list[list[Arrival]]],
) -> None:
    in_order, batches = case
    plain, mixed = fold([in_order]), fold(batches)
    assert mixed == plain
    for session, facts in plain.items():
        view = read_parties(facts)
        assert read_parties(mixed[session]) == view
        for silence in (0.0, 2.9, 3.0, 33.0, 99_999.0):
            now = (view.last_news_at or NOON) + timedelta(seconds=silence)
            assert judge_end(read_parties(mixed[session]), now, QUIET, HANDOVER) == judge_end(
                view, now, QUIET, HANDOVER
            )


@given(st.data(), calls)
def test_arrival_times_change_only_the_time_of_the_last_news(
    data: st.DataObject, payloads: list[Json]
) -> None:
    in_order = fold([[(payload, NOON) for payload in payloads]])
    order = data.draw(st.permutations(payloads))
    stepwise = fold([[(payload, NOON + timedelta(seconds=step))] for step, payload in enumerate(order)])
    for session, facts in in_order.items():
        one, other = Seen(facts), Seen(stepwise[session])
        assert [party.to_json() for party in one.parties] == [party.to_json() for party in other.parties]
        assert (one.outcome, one.direction, one.from_, one.to) == (
            other.outcome,
            other.direction,
            other.from_,
            other.to,
        )
        assert (one.started_at, one.answered_at, one.last_terminal_at) == (
            other.started_at,
            other.answered_at,
            other.last_terminal_at,
        )


@given(calls, calls, st.integers(0, 12), st.integers(0, 12))
def test_union_is_idempotent_commutative_and_associative(
    some: list[Json], others: list[Json], cut: int, other_cut: int
) -> None:
    in_order = [[(payload, received_at(payload)) for payload in payloads] for payloads in (some, others)]
    facts = [
        fact
        for sessions in map(fold, [[in_order[0]], [in_order[1]]])
        for one in sessions.values()
        for fact in one
    ]
    one, two, three = (
        SessionFacts.of(facts[:cut]),
        SessionFacts.of(facts[other_cut:]),
        SessionFacts.of(facts),
    )
    assert one.union(one) == one
    assert one.union(two) == two.union(one)
    assert one.union(two).union(three) == one.union(two.union(three))


@given(calls, st.floats(0, 200), st.data())
def test_no_call_is_over_before_it_is_quiet(in_order: list[Json], after: float, data: st.DataObject) -> None:
    seen = in_order[: data.draw(st.integers(1, len(in_order)))]
    for facts in fold([[(payload, received_at(payload)) for payload in seen]]).values():
        view = read_parties(facts)
        now = NOON + timedelta(seconds=after)
        verdict = judge_end(view, now, QUIET, HANDOVER)
        assert view.last_news_at is not None
        if isinstance(verdict, Over):
            assert now >= view.last_news_at + timedelta(seconds=QUIET)
            assert verdict.ended_at == view.last_terminal_at
        if isinstance(verdict, EndingAt):
            assert now < verdict.check_at
            assert isinstance(judge_end(view, verdict.check_at, QUIET, HANDOVER), Over)


@given(
    st.lists(
        st.tuples(st.integers(2, 5), st.sampled_from([*HAND_OVERS, None]), st.sampled_from([ANA, BEN])),
        min_size=1,
        max_size=8,
    ),
    st.floats(0, 1e6),
    st.data(),
)
def test_an_outside_caller_keeps_the_call_alive_whoever_leaves(
    leaving: list[tuple[int, str | None, str]], silence: float, data: st.DataObject
) -> None:
    tape = Tape()
    tape.ana_answers()
    for step, (ordinal, reason, extension) in enumerate(leaving):
        tape.says(10.0 + step, ordinal, "Answered", extension)
        tape.says(10.5 + step, ordinal, "Disconnected", extension, reason=reason)
    order = data.draw(st.permutations(tape.deliveries))
    for facts in fold([[(payload, received_at(payload)) for payload in order]]).values():
        now = NOON + timedelta(seconds=silence)
        assert isinstance(judge_end(read_parties(facts), now, QUIET, HANDOVER), Live)


@given(st.sampled_from(HAND_OVERS), st.floats(0, 1e6))
def test_a_hand_over_never_ends_a_call_while_an_inside_caller_is_alive(reason: str, silence: float) -> None:
    tape = Tape()
    tape.ana_dials()
    tape.says(8.0, 2, "Answered")
    tape.says(8.03, 1, "Answered", ANA)
    tape.says(20.0, 2, "Disconnected", reason=reason)
    for facts in fold([[(payload, received_at(payload)) for payload in tape.deliveries]]).values():
        now = NOON + timedelta(seconds=silence)
        assert isinstance(judge_end(read_parties(facts), now, QUIET, HANDOVER), Live)


@given(made_up_calls(), st.lists(st.sampled_from(REASONS), min_size=4, max_size=4), st.floats(33, 1e6))
def test_every_call_ends_within_quiet_and_hand_over_time_once_all_parties_left(
    in_order: list[Json], reasons: list[str | None], silence: float
) -> None:
    tape = Tape()
    tape.deliveries = [payload for payload in in_order if "parties" in payload["body"]]
    for ordinal, reason in enumerate(reasons, start=1):
        tape.says(1000.0, ordinal, "Disconnected", reason=reason)
        tape.deliveries[-1]["body"]["sequence"] = 1000 + ordinal
    for facts in fold([[(payload, received_at(payload)) for payload in tape.deliveries]]).values():
        view = read_parties(facts)
        assert view.last_news_at is not None
        now = view.last_news_at + timedelta(seconds=silence)
        assert isinstance(judge_end(view, now, QUIET, HANDOVER), Over)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def spoilt(draw: st.DrawFn) -> Any:
    """A real delivery with some of its values, at any depth, replaced by arbitrary ones."""

    def spoil(value: Any) -> Any:
        if draw(st.integers(0, 9)) == 0:
            return draw(json_values)
        if isinstance(value, dict):
            return {key: spoil(item) for key, item in value.items()}
        return [spoil(item) for item in value] if isinstance(value, list) else value

    return spoil(draw(st.sampled_from(draw(calls))))


@settings(max_examples=300)
@given(json_values | spoilt(), st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)))  # noqa: DTZ001
def test_no_payload_raises(payload: Any, arrived: datetime) -> None:
    received = arrived.replace(tzinfo=UTC)
    seen = peek(payload)
    assert seen.uuid
    assert seen.account_id
    event = read_notification(payload, received)
    if isinstance(event, TelephonyEvent | PresenceEvent):
        assert event.uuid == seen.uuid
        assert event.account_id == seen.account_id
        for call in event.calls:
            facts = SessionFacts.of(call.facts)
            assert SessionFacts.from_json(json.loads(json.dumps(facts.to_json()))) == facts
            view = read_parties(facts)
            json.dumps([party.to_json() for party in view.parties]).encode()
            judge_end(view, received + MANY_HOURS, QUIET, HANDOVER)
