"""Builds a call from what its script adds: sessions, parties, their status changes and records. No I/O.

Scripts count simulated seconds from the start of the call. The timeline converts them to points in time with
the call's speed, numbers the events of each session and generates all ids. Ids are drawn from seed, start
time and number of the call, so that a restarted simulator does not repeat the ids of its last run.
"""

import base64
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from app.simulator.scripting.company import Company, Extension
from app.simulator.scripting.model import (
    AUTOMATIC,
    NO_RECORDING,
    CallSummary,
    Draws,
    Json,
    Leg,
    PartyEvent,
    Record,
    Recording,
    RecordingResult,
    ScriptedCall,
    Session,
    Stage,
)

SHORTEST_KEPT_RECORDING_SECONDS = 30.0
"""Recordings of shorter calls are discarded (guide "Call recordings")."""

SERVER_ID = "10.0.0.1.SIM"
_MAX_STAGES = 8


@dataclass(frozen=True, slots=True)
class CallSetup:
    """Where and when a call takes place. `number` is its ordinal in this run."""

    company: Company
    start: datetime
    speed: float
    seed: int
    number: int


@dataclass(frozen=True, slots=True)
class _PlannedEvent:
    """An event before the end of its session and its sequence number are known."""

    at: float
    order: int
    extension_id: str | None
    party: Json


@dataclass(slots=True)
class PartyTimeline:
    """One party of a session."""

    id: str
    session: "SessionTimeline"
    body: Json
    extension_id: str | None
    recording_ids: list[str] = field(default_factory=list)
    """The recordings that were started on this party, in order."""

    def set_status(
        self,
        at: float,
        code: str,
        reason: str | None = None,
        *,
        peer: "PartyTimeline | None" = None,
        recording: bool | None = None,
        missed: bool | None = None,
        park_data: str | None = None,
    ) -> None:
        """Change the party's status at this second.

        `recording` tells whether the latest announced recording is active; earlier ones have stopped.
        `missed` also applies to later events.
        """
        status: Json = {"code": code, "rcc": False}
        if reason is not None:
            status["reason"] = reason
        if peer is not None:
            status["peerId"] = {
                "sessionId": peer.session.session_id,
                "telephonySessionId": peer.session.telephony_session_id,
                "partyId": peer.id,
            }
        if park_data is not None:
            status["parkData"] = park_data
        if missed is not None:
            self.body["missedCall"] = missed
        party = self.body | {"status": status}
        if recording is not None and self.recording_ids:
            latest = len(self.recording_ids) - 1
            party["recordings"] = [
                {"id": recording_id, "active": recording and place == latest}
                for place, recording_id in enumerate(self.recording_ids)
            ]
        self.session.add_event(at, self.extension_id, party)


class SessionTimeline:
    """One telephony session while its script runs."""

    def __init__(self, timeline: "Timeline", session_id: str, origin: str, starts: float) -> None:
        self.timeline = timeline
        self.session_id = session_id
        self.telephony_session_id = timeline.make_telephony_session_id()
        self.origin = origin
        self.starts = starts
        self.events: list[_PlannedEvent] = []
        self._parties = 0

    def add_party(
        self,
        direction: str,
        sender: Json,
        receiver: Json,
        extension: Extension | None = None,
        **extra: object,
    ) -> PartyTimeline:
        """Add a party. Parties are numbered in the order in which they are added."""
        self._parties += 1
        party_id = f"p-{self.telephony_session_id[2:]}-{self._parties}"
        body: Json = {"accountId": self.timeline.company.account_id}
        if extension is not None:
            body["extensionId"] = extension.id
        body |= {"id": party_id, "direction": direction, "from": sender, "to": receiver, "park": {}}
        body |= {"missedCall": False, "standAlone": False, "muted": False} | extra
        return PartyTimeline(party_id, self, body, None if extension is None else extension.id)

    def add_event(self, at: float, extension_id: str | None, party: Json) -> None:
        self.events.append(_PlannedEvent(at, len(self.events), extension_id, party))

    def end_second(self) -> float:
        """Return the second of the last event."""
        return max(event.at for event in self.events)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordExtras:
    """The parts of a record that are added late or link it to another session."""

    recordings: RecordingResult = NO_RECORDING
    has_message: bool = False
    transfer_target: SessionTimeline | None = None
    transferee: SessionTimeline | None = None


NO_EXTRAS = RecordExtras()


@dataclass(frozen=True, slots=True)
class _RecordDraft:
    session: SessionTimeline
    extension_id: str
    stages: Sequence[tuple[float, CallSummary, Sequence[Leg]]]
    extras: RecordExtras


class Timeline:
    """Collects what a script adds; `finish()` returns the planned call."""

    def __init__(self, setup: CallSetup) -> None:
        self.company = setup.company
        self.start = setup.start
        self.speed = setup.speed
        self.number = setup.number
        # Two generators: the events of a call depend on its number alone, its ids also on its start.
        self.rng = random.Random(f"{setup.seed}/{setup.number}")
        self._ids = random.Random(f"{setup.seed}/{setup.number}/{setup.start.isoformat()}")
        self._sessions: list[SessionTimeline] = []
        self._drafts: list[_RecordDraft] = []
        self._recordings: list[Recording] = []
        self._true_names: dict[str, str] = {}

    def moment(self, second: float) -> datetime:
        return self.start + timedelta(seconds=second / self.speed)

    def duration(self, begin: float, end: float) -> int:
        """Return the whole real seconds between two script seconds, at least 1, as a record's `duration`."""
        return max(1, round((end - begin) / self.speed))

    def add_name(self, number: str, name: str) -> None:
        """Store the name of a number's owner, for the later correction of the caller's name."""
        self._true_names[number] = name

    def add_session(
        self, origin: str = "Call", *, starts: float = 0.0, session_id: str | None = None
    ) -> SessionTimeline:
        chosen = session_id if session_id is not None else self._make_session_id(starts)
        session = SessionTimeline(self, chosen, origin, starts)
        self._sessions.append(session)
        return session

    def add_record(
        self,
        session: SessionTimeline,
        extension: Extension,
        stages: Sequence[tuple[float, CallSummary, Sequence[Leg]]],
        extras: RecordExtras = NO_EXTRAS,
    ) -> None:
        """Plan a record by its stages; the last stage is its final content."""
        self._drafts.append(_RecordDraft(session, extension.id, stages, extras))

    def announce_recording(self, party: PartyTimeline) -> None:
        """Assign an id to the party's next recording."""
        party.recording_ids.append(str(self._ids.randrange(3_000_000_000, 3_999_999_999)))

    def keep_recording(
        self, party: PartyTimeline, begin: float, end: float, kind: str = AUTOMATIC
    ) -> RecordingResult:
        """Keep the party's latest announced recording if it is long enough."""
        if not party.recording_ids:
            return NO_RECORDING
        if end - begin < SHORTEST_KEPT_RECORDING_SECONDS:
            return RecordingResult(too_short=True)
        recording = Recording(
            party.recording_ids[-1],
            party.session.telephony_session_id,
            party.extension_id,
            self.moment(begin),
            self.moment(end),
            (end - begin) / self.speed,
            kind,
        )
        self._recordings.append(recording)
        return RecordingResult((recording,))

    def _make_session_id(self, starts: float) -> str:
        """Return digits that rise with time. Two sessions of one call that start together are 1000 apart."""
        milliseconds = int(self.moment(starts).timestamp() * 1000) % 10**10
        return str((milliseconds + len(self._sessions)) * 1000 + self.number % 1000)

    def make_telephony_session_id(self) -> str:
        draw = self._ids.getrandbits
        return f"s-a{draw(52):013x}z{draw(40):010x}z{draw(32):08x}0000"

    def _make_record_id(self) -> str:
        return "QX" + base64.urlsafe_b64encode(self._ids.randbytes(9)).decode() + "B"

    def finish(self, script: str) -> ScriptedCall:
        """Return the call. Its events are in order of time, numbered per session from 2 as at RingCentral."""
        sessions = {planned: self._close(planned) for planned in self._sessions}
        events = [event for planned, session in sessions.items() for event in self._number(planned, session)]
        events.sort(key=lambda event: event.at)
        return ScriptedCall(
            id=f"sim-{self.number:06d}",
            script=script,
            speed=self.speed,
            sessions=tuple(sessions.values()),
            events=tuple(events),
            records=tuple(self._make_record(draft, sessions[draft.session]) for draft in self._drafts),
            recordings=tuple(self._recordings),
        )

    def _close(self, planned: SessionTimeline) -> Session:
        return Session(
            planned.telephony_session_id,
            planned.session_id,
            planned.origin,
            self.moment(planned.starts),
            self.moment(planned.end_second()),
        )

    def _number(self, planned: SessionTimeline, session: Session) -> list[PartyEvent]:
        ordered = sorted(planned.events, key=lambda event: (event.at, event.order))
        return [
            PartyEvent(self.moment(event.at), session, sequence, event.extension_id, event.party)
            for sequence, event in enumerate(ordered, start=2)
        ]

    def _make_record(self, draft: _RecordDraft, session: Session) -> Record:
        # One seed gives one call only if the draws keep their order: record id, chances, message id.
        extras = draft.extras
        target, transferee = extras.transfer_target, extras.transferee
        return Record(
            id=self._make_record_id(),
            session=session,
            extension_id=draft.extension_id,
            stages=tuple(Stage(self.moment(at), summary, tuple(legs)) for at, summary, legs in draft.stages),
            draws=self._draw(),
            speed=self.speed,
            recordings=extras.recordings,
            message_id=str(self._ids.randrange(10**9, 10**10)) if extras.has_message else None,
            transfer_target=target.telephony_session_id if target else None,
            transferee=transferee.telephony_session_id if transferee else None,
            true_names=self._true_names,
        )

    def _draw(self) -> Draws:
        chance = self.rng.random
        return Draws(
            lags=tuple(chance() for _ in range(_MAX_STAGES)),
            log_delay=chance(),
            straggler=chance(),
            straggler_delay=chance(),
            provisional=chance(),
            provisional_kind=chance(),
            correction=chance(),
            correction_delay=chance(),
            media_delay=chance(),
            attach_delay=chance(),
            quirk=chance(),
        )


def drop_events(call: ScriptedCall, keep_last: int) -> ScriptedCall:
    """Mark all events but the last ones as undelivered, as if the receiver had been down before."""
    lost = len(call.events) - keep_last
    events = tuple(
        replace(event, delivered=False) if place < lost else event for place, event in enumerate(call.events)
    )
    return replace(call, events=events)
