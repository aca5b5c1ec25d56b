"""Compares the calls of the service's API with the truth of the simulator. No I/O.

It uses no rules of the service, only what the simulator knows, so that it can detect errors of the service.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from app.demo.notes import Attachment, Json, is_attached

_OUTCOMES = (
    ("answered", frozenset({"Accepted", "Call connected"})),
    ("voicemail", frozenset({"Voicemail"})),
    ("abandoned", frozenset({"Abandoned"})),
    ("busy", frozenset({"Busy"})),
    ("noAnswer", frozenset({"No Answer"})),
    ("missed", frozenset({"Missed"})),
    ("blocked", frozenset({"International Disabled"})),
)
"""In order of precedence: a queue call that one member answered is answered, though the others missed it."""

_ATTEMPTS = frozenset({"FindMe", "FollowMe", "Sip Forwarding", "Transfer", "Park Location"})
"""Actions of records that tell of a part of the call, such as the attempt to reach somebody's mobile."""

_TO_A_BOX = frozenset({"own_number", "internal_voicemail"})
"""Scripts of internal calls that only a voicemail box answers, for which the caller's record is connected."""

_FOUND = frozenset({"bootstrapped", "reconciled", "final"})


@dataclass(frozen=True, slots=True)
class Expected:
    """The expected values of a session. An internal call has two records, of which either may be shown."""

    outcome: str
    directions: frozenset[str]


@dataclass(frozen=True, slots=True)
class CallVerdict:
    """The result for one played call. `problems` is empty if the service has it as expected."""

    number: int
    script: str
    telephony_session_ids: tuple[str, ...]
    records: int
    is_enriched: bool
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DemoReport:
    """The verdicts in order of the calls, and the calls of the service that the demo did not play."""

    verdicts: tuple[CallVerdict, ...]
    unexpected: tuple[str, ...]

    @property
    def enriched(self) -> int:
        return sum(verdict.is_enriched for verdict in self.verdicts)

    @property
    def is_clean(self) -> bool:
        return not self.unexpected and not any(verdict.problems for verdict in self.verdicts)


def judge(
    truths: Mapping[int, Json], calls: Iterable[Json], attachments: Mapping[str, Sequence[Attachment]]
) -> DemoReport:
    """Judge all played calls.

    `truths` has the simulator's truth by call number, `calls` all calls that the API lists, and `attachments`
    what the connector sent, by `telephonySessionId`.
    """
    shown: dict[str, list[Json]] = defaultdict(list)
    for call in calls:
        shown[call["telephonySessionId"] or call["id"]].append(call)
    verdicts = [_judge_call(number, truth, shown, attachments) for number, truth in sorted(truths.items())]
    made = {name for verdict in verdicts for name in verdict.telephony_session_ids}
    return DemoReport(tuple(verdicts), tuple(sorted(set(shown) - made)))


def expect(session: Json, script: str = "") -> Expected:
    """Return the expected values by the final records of a session. Raises ValueError without any."""
    records = [record for record in session["records"] if record["action"] not in _ATTEMPTS]
    # The first outcome with a matching record wins.
    for outcome, results in _OUTCOMES:
        directions = {record["direction"] for record in records if record["result"] in results}
        if directions:
            return Expected("voicemail" if script in _TO_A_BOX else outcome, frozenset(directions))
    raise ValueError(f"{session['telephonySessionId']} has no record with a known result")


def _judge_call(
    number: int, truth: Json, shown: Mapping[str, list[Json]], attachments: Mapping[str, Sequence[Attachment]]
) -> CallVerdict:
    problems: list[str] = []
    names = tuple(session["telephonySessionId"] for session in truth["sessions"])
    found = [call for name in names for call in shown.get(name, ()) if call["stage"] in _FOUND]
    for session, name in zip(truth["sessions"], names, strict=True):
        problems += [
            f"{name}: {text}"
            for text in _problems(session, truth["script"], shown.get(name, []), attachments.get(name, ()))
        ]
    return CallVerdict(
        number=number,
        script=truth["script"],
        telephony_session_ids=names,
        records=sum(len(call["records"]) for call in found),
        is_enriched={call["telephonySessionId"] for call in found if call["records"]} == set(names),
        problems=tuple(problems),
    )


def _problems(
    session: Json, script: str, calls: Sequence[Json], attachments: Sequence[Attachment]
) -> list[str]:
    if not calls:
        return ["the service does not have this call"]
    if len(calls) > 1:
        return [f"the service has {len(calls)} calls for this session"]
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
        f"{attachment.kind} {attachment.key} is not attached"
        for attachment in attachments
        if not is_attached(attachment, call)
    ]
    return problems
