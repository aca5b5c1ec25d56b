"""Compares what the service's API says with what the simulator knows to be true. No I/O.

Written from the simulator's side alone: it uses none of the service's own rules, so that it can find it
wrong.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.demo.notes import Piece, is_attached

Json = dict[str, Any]

_OUTCOMES = (
    ("answered", frozenset({"Accepted", "Call connected"})),
    ("voicemail", frozenset({"Voicemail"})),
    ("abandoned", frozenset({"Abandoned"})),
    ("busy", frozenset({"Busy"})),
    ("noAnswer", frozenset({"No Answer"})),
    ("missed", frozenset({"Missed"})),
)
"""From the strongest down: a queue call that one member took is answered, though the others missed it."""

_TO_ONESELF = "own_number"
"""The script of a call to one's own number: its records say Accepted, and it was the voicemail box that did."""

_FOUND = frozenset({"bootstrapped", "reconciled", "final"})


@dataclass(frozen=True, slots=True)
class Expected:
    """What must be said of a session. Both sides of an internal call have a record, so either direction is right."""

    outcome: str
    directions: frozenset[str]


@dataclass(frozen=True, slots=True)
class CallVerdict:
    """What is wrong with one played call; `problems` is empty if all is well."""

    number: int
    script: str
    telephony_session_ids: tuple[str, ...]
    records: int
    is_enriched: bool
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DemoReport:
    """The verdicts in order of the calls, and calls that the service has and nobody made."""

    verdicts: tuple[CallVerdict, ...]
    invented: tuple[str, ...]

    @property
    def enriched(self) -> int:
        return sum(verdict.is_enriched for verdict in self.verdicts)

    @property
    def is_clean(self) -> bool:
        return not self.invented and not any(verdict.problems for verdict in self.verdicts)


def judge(
    truths: Mapping[int, Json], calls: Iterable[Json], pieces: Mapping[str, Sequence[Piece]]
) -> DemoReport:
    """Judge all played calls.

    `truths` are the simulator's, by number; `calls` all that the API lists; `pieces` what was attached, by
    `telephonySessionId`.
    """
    shown: dict[str, list[Json]] = defaultdict(list)
    for call in calls:
        shown[call["telephonySessionId"] or call["id"]].append(call)
    verdicts = [_judge_call(number, truth, shown, pieces) for number, truth in sorted(truths.items())]
    made = {name for verdict in verdicts for name in verdict.telephony_session_ids}
    return DemoReport(tuple(verdicts), tuple(sorted(set(shown) - made)))


def expect(session: Json, script: str = "") -> Expected:
    """Say what must become of a session by its final records. Raises ValueError for one without any."""
    for outcome, results in _OUTCOMES:
        directions = {record["direction"] for record in session["records"] if record["result"] in results}
        if directions:
            return Expected("voicemail" if script == _TO_ONESELF else outcome, frozenset(directions))
    raise ValueError(f"{session['telephonySessionId']} has no record with a known result")


def _judge_call(
    number: int, truth: Json, shown: Mapping[str, list[Json]], pieces: Mapping[str, Sequence[Piece]]
) -> CallVerdict:
    problems: list[str] = []
    names = tuple(session["telephonySessionId"] for session in truth["sessions"])
    found = [call for name in names for call in shown.get(name, ()) if call["stage"] in _FOUND]
    for session, name in zip(truth["sessions"], names, strict=True):
        problems += [
            f"{name}: {text}"
            for text in _problems(session, truth["script"], shown.get(name, []), pieces.get(name, ()))
        ]
    return CallVerdict(
        number=number,
        script=truth["script"],
        telephony_session_ids=names,
        records=sum(len(call["records"]) for call in found),
        is_enriched={call["telephonySessionId"] for call in found if call["records"]} == set(names),
        problems=tuple(problems),
    )


def _problems(session: Json, script: str, calls: Sequence[Json], pieces: Sequence[Piece]) -> list[str]:
    if not calls:
        return ["the service has never heard of it"]
    if len(calls) > 1:
        return [f"the service has {len(calls)} calls of this session"]
    call, expected = calls[0], expect(session, script)
    if call["stage"] not in _FOUND or not call["records"]:
        return [f"no record; it is {call['stage']} ({call['absentReason'] or 'no reason given'})"]
    problems = []
    if call["sessionId"] != session["sessionId"]:
        problems.append(f"sessionId is {call['sessionId']}, should be {session['sessionId']}")
    if call["outcome"] != expected.outcome:
        problems.append(f"outcome is {call['outcome']}, should be {expected.outcome}")
    if call["direction"] not in expected.directions:
        problems.append(
            f"direction is {call['direction']}, should be {' or '.join(sorted(expected.directions))}"
        )
    problems += [
        f"{piece.kind} {piece.key} is not attached" for piece in pieces if not is_attached(piece, call)
    ]
    return problems
