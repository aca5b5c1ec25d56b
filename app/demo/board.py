"""What is known about each call, and the sums over all calls. No I/O, no clock: `now` is an argument.

A call is what one script plays. A warm transfer or a RingOut consists of two telephony sessions, each with
its own records. A call counts as enriched when all its sessions have records.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median

from app.demo.notes import Attachment, Json, NoteKind, When, is_attached

NOT_YET_FOUND = frozenset({"planned", "live", "ended", "absent"})


@dataclass(slots=True)
class SentAttachment:
    """One attachment that the connector sent. `parked`: the service did not know the call yet."""

    attachment: Attachment
    parked: bool
    joined: bool = False


@dataclass(slots=True)
class Line:
    """One telephony session, shown as one line. Only its times and script come from the simulator.

    `is_main`: whether it is the main call of its conversation, as far as the connector has read.
    """

    number: int
    script: str
    session_id: str
    telephony_session_id: str
    begins_at: datetime
    ends_at: datetime
    stage: str = "planned"
    who: str = ""
    outcome: str | None = None
    source: str | None = None
    found_at: datetime | None = None
    is_answered: bool = False
    has_live_note: bool = False
    is_complete: bool = False
    is_main: bool = True
    sent: list[SentAttachment] = field(default_factory=list)

    @property
    def seconds_to_record(self) -> float | None:
        """Real seconds from the hang-up until a connector could know the record."""
        return None if self.found_at is None else max(0.0, (self.found_at - self.ends_at).total_seconds())


@dataclass(frozen=True, slots=True)
class DemoSummary:
    """The sums over all calls. Seconds are simulated ones, None without any record."""

    started: int
    ended: int
    enriched: int
    in_window: int
    sessions_ended: int
    sessions_enriched: int
    median_seconds: float | None
    p95_seconds: float | None
    longest_seconds: float | None
    sent: int
    joined: int
    parked: int
    parked_joined: int

    @property
    def window_share(self) -> float | None:
        """The share of the enriched calls that got their record while Active Calls still showed them."""
        return self.in_window / self.enriched if self.enriched else None


class DemoBoard:
    """All calls of a run. `speed` converts real seconds to simulated seconds."""

    def __init__(self, speed: float, window_seconds: float) -> None:
        self._speed = speed
        self._window_seconds = window_seconds
        self._lines: dict[str, Line] = {}
        self._calls: dict[int, list[Line]] = {}

    def add_call(self, number: int, truth: Json) -> list[Line]:
        """Add a call that is about to start, from the simulator's truth."""
        for session in truth["sessions"]:
            line = Line(
                number=number,
                script=truth["script"],
                session_id=session["sessionId"],
                telephony_session_id=session["telephonySessionId"],
                begins_at=datetime.fromisoformat(session["startedAt"]),
                ends_at=datetime.fromisoformat(session["endedAt"]),
            )
            self._lines[line.telephony_session_id] = line
            self._calls.setdefault(number, []).append(line)
        return self._calls[number]

    def find(self, telephony_session_id: str | None) -> Line | None:
        return self._lines.get(telephony_session_id or "")

    def apply_change(self, change: Json, now: datetime) -> Line | None:
        """Apply a change of the feed; returns the call's line, None for a call that the demo did not play."""
        line = self.find(change["telephonySessionId"])
        kind = change["type"].removeprefix("call.")
        if line is None:
            return None
        if kind == "revived":
            line.stage = "live"
        elif kind in {"live", "ended", "absent", "bootstrapped", "reconciled", "final"}:
            line.stage = kind
        # The first record counts; later stages only improve it.
        if line.found_at is None and line.stage not in NOT_YET_FOUND:
            line.found_at, line.source = now, change["data"].get("source")
        return line

    def apply_call(self, line: Line, call: Json) -> None:
        """Apply a call as the API shows it."""
        line.who, line.outcome = describe_sides(call), call["outcome"]
        line.is_main = call["conversation"]["isMain"]
        line.is_answered = line.is_answered or call["answerTime"] is not None
        for sent in line.sent:
            sent.joined = sent.joined or is_attached(sent.attachment, call)

    def lines(self) -> Iterator[Line]:
        return iter(self._lines.values())

    def open_lines(self, now: datetime) -> list[Line]:
        """Return the sessions that have started and are not complete."""
        return [line for line in self._lines.values() if line.begins_at <= now and not line.is_complete]

    def is_settled(self, now: datetime) -> bool:
        """Whether every call has ended and is complete."""
        return all(line.ends_at <= now and line.is_complete for line in self._lines.values())

    @property
    def last_end(self) -> datetime | None:
        return max((line.ends_at for line in self._lines.values()), default=None)

    def summarize(self, now: datetime) -> DemoSummary:
        calls = list(self._calls.values())
        ended = [lines for lines in calls if all(line.ends_at <= now for line in lines)]
        enriched = [lines for lines in ended if all(line.found_at is not None for line in lines)]
        waits = sorted(self._waits(self._lines.values()))
        sent = [one for line in self._lines.values() for one in line.sent]
        parked = [one for one in sent if one.parked]
        over = [line for line in self._lines.values() if line.ends_at <= now]
        return DemoSummary(
            started=sum(any(line.begins_at <= now for line in lines) for lines in calls),
            ended=len(ended),
            enriched=len(enriched),
            in_window=sum(max(self._waits(lines)) <= self._window_seconds for lines in enriched),
            sessions_ended=len(over),
            sessions_enriched=sum(line.found_at is not None for line in over),
            median_seconds=median(waits) if waits else None,
            p95_seconds=waits[int(0.95 * (len(waits) - 1))] if waits else None,
            longest_seconds=waits[-1] if waits else None,
            sent=len(sent),
            joined=sum(one.joined for one in sent),
            parked=len(parked),
            parked_joined=sum(one.joined for one in parked),
        )

    def _waits(self, lines: Iterable[Line]) -> list[float]:
        return [line.seconds_to_record * self._speed for line in lines if line.seconds_to_record is not None]


def describe_sides(call: Json) -> str:
    """Return who called whom, by name if known."""
    sides = [_name(call.get(side)) for side in ("from", "to")]
    queue = call.get("queueName")
    if queue and queue not in sides[1]:
        sides[1] = f"{sides[1]} ({queue})"
    return " → ".join(sides)


def _name(side: Json | None) -> str:
    side = side or {}
    return str(side.get("name") or side.get("phoneNumber") or side.get("extensionNumber") or "?")


_WORDS = {
    (NoteKind.NOTE, When.BEFORE): "note",
    (NoteKind.NOTE, When.DURING): "note during the call",
    (NoteKind.NOTE, When.AFTER): "note",
    (NoteKind.SENTIMENT, When.DURING): "",
    (NoteKind.DISPOSITION, When.AFTER): "call back",
}


def describe_attachments(sent: Sequence[SentAttachment]) -> str:
    """Summarize the attachments: `note (was parked), note, mood +0.6`."""
    words = []
    for one in sent:
        attachment = one.attachment
        if attachment.kind is NoteKind.SENTIMENT and attachment.when is When.AFTER:
            words.append(f"mood {attachment.body['score']:+.1f}")
        elif _WORDS[attachment.kind, attachment.when]:
            parked = " (was parked)" if one.parked and one.joined else " (PARKED)" if one.parked else ""
            words.append(_WORDS[attachment.kind, attachment.when] + parked)
    return ", ".join(words)
