"""A small language to write scripts in: sessions, parties and what they do at which second. No I/O.

Scripts speak of seconds since the call's start in the unscaled world; the tape turns them into wall-clock
moments under its time factor, numbers the events of each session and makes up all ids. Ids are drawn from
seed, start time and number of the call, so that a restarted simulator does not repeat those of its last run.
"""

import base64
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from app.simulator.scripting.company import Extension, World
from app.simulator.scripting.model import (
    AUTOMATIC,
    SILENCE,
    Draws,
    Face,
    Json,
    Leg,
    PartyEvent,
    Record,
    Recording,
    ScriptedCall,
    Session,
    Sound,
    Stage,
)

SHORTEST_KEPT_RECORDING_SECONDS = 30.0
"""Recordings of calls that were shorter are dropped (guide "Call recordings")."""

SERVER_ID = "10.0.0.1.SIM"
_MAX_STAGES = 8


@dataclass(frozen=True, slots=True)
class _Mark:
    """An event before its session's end and sequence are known."""

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
    """The recordings that were begun on this party."""

    def turns(
        self,
        at: float,
        code: str,
        reason: str | None = None,
        *,
        peer: "PartyTimeline | None" = None,
        recording: bool | None = None,
        missed: bool | None = None,
    ) -> None:
        """Change the party's status at this second.

        `recording` says whether the latest announced recording is active, the ones before it having stopped;
        `missed` is remembered for later events.
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
        if missed is not None:
            self.body["missedCall"] = missed
        party = self.body | {"status": status}
        if recording is not None and self.recording_ids:
            latest = len(self.recording_ids) - 1
            party["recordings"] = [
                {"id": recording_id, "active": recording and place == latest}
                for place, recording_id in enumerate(self.recording_ids)
            ]
        self.session.mark(at, self.extension_id, party)


class SessionTimeline:
    """One telephony session while it is being written."""

    def __init__(self, tape: "Timeline", session_id: str, origin: str, starts: float) -> None:
        self.tape = tape
        self.session_id = session_id
        self.telephony_session_id = tape.make_telephony_session_id()
        self.origin = origin
        self.starts = starts
        self.ends: float | None = None
        self.marks: list[_Mark] = []
        self._parties = 0

    def party(
        self,
        direction: str,
        sender: Json,
        receiver: Json,
        extension: Extension | None = None,
        **extra: object,
    ) -> PartyTimeline:
        """Add a party; parties are numbered in the order in which they are added."""
        self._parties += 1
        party_id = f"p-{self.telephony_session_id[2:]}-{self._parties}"
        body: Json = {"accountId": self.tape.world.account_id}
        if extension is not None:
            body["extensionId"] = extension.id
        body |= {"id": party_id, "direction": direction, "from": sender, "to": receiver, "park": {}}
        body |= {"missedCall": False, "standAlone": False, "muted": False} | extra
        return PartyTimeline(party_id, self, body, None if extension is None else extension.id)

    def mark(self, at: float, extension_id: str | None, party: Json) -> None:
        self.marks.append(_Mark(at, len(self.marks), extension_id, party))

    def end_second(self) -> float:
        """Second of the last event, unless the script set another end."""
        return self.ends if self.ends is not None else max(mark.at for mark in self.marks)


@dataclass(slots=True)
class _RecordDraft:
    session: SessionTimeline
    extension_id: str
    stages: Sequence[tuple[float, Face, Sequence[Leg]]]
    sound: Sound
    message: bool
    target: SessionTimeline | None
    transferee: SessionTimeline | None


class Timeline:
    """Collects what a script writes; `finish()` makes the plan of it."""

    def __init__(self, world: World, start: datetime, speed: float, seed: int, number: int) -> None:
        self.world = world
        self.start = start
        self.speed = speed
        self.number = number
        self.rng = random.Random(f"{seed}/{number}")
        self._ids = random.Random(f"{seed}/{number}/{start.isoformat()}")
        self._sessions: list[SessionTimeline] = []
        self._drafts: list[_RecordDraft] = []
        self._recordings: list[Recording] = []
        self._true_names: dict[str, str] = {}

    def moment(self, second: float) -> datetime:
        return self.start + timedelta(seconds=second / self.speed)

    def lasting(self, begin: float, end: float, least: int = 1) -> int:
        """Whole wall-clock seconds between two script seconds, as a record's `duration` says them."""
        return max(least, round((end - begin) / self.speed))

    def knows(self, number: str, name: str) -> None:
        """Remember whom a number belongs to, for the later correction of the caller's name."""
        self._true_names[number] = name

    def session(
        self, origin: str = "Call", *, starts: float = 0.0, session_id: str | None = None
    ) -> SessionTimeline:
        chosen = session_id if session_id is not None else self._make_session_id(starts)
        session = SessionTimeline(self, chosen, origin, starts)
        self._sessions.append(session)
        return session

    def record(
        self,
        session: SessionTimeline,
        extension: Extension,
        stages: Sequence[tuple[float, Face, Sequence[Leg]]],
        *,
        sound: Sound = SILENCE,
        message: bool = False,
        target: SessionTimeline | None = None,
        transferee: SessionTimeline | None = None,
    ) -> None:
        """Plan a record by its stages; the last one is what it finally says."""
        self._drafts.append(_RecordDraft(session, extension.id, stages, sound, message, target, transferee))

    def announce_recording(self, party: PartyTimeline) -> None:
        """Give the party the id under which its next recording will be known."""
        party.recording_ids.append(str(self._ids.randrange(3_000_000_000, 3_999_999_999)))

    def keep_recording(self, party: PartyTimeline, begin: float, end: float, kind: str = AUTOMATIC) -> Sound:
        """Keep the latest announced recording if it is long enough; without one there is silence."""
        if not party.recording_ids:
            return SILENCE
        if end - begin < SHORTEST_KEPT_RECORDING_SECONDS:
            return Sound(is_short=True)
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
        return Sound((recording,))

    def _make_session_id(self, starts: float) -> str:
        """Digits that rise with time; sessions that belong together and start together lie 1000 apart."""
        milliseconds = int(self.moment(starts).timestamp() * 1000) % 10**10
        return str((milliseconds + len(self._sessions)) * 1000 + self.number % 1000)

    def make_telephony_session_id(self) -> str:
        draw = self._ids.getrandbits
        return f"s-a{draw(52):013x}z{draw(40):010x}z{draw(32):08x}0000"

    def _make_record_id(self) -> str:
        return "QX" + base64.urlsafe_b64encode(self._ids.randbytes(9)).decode() + "B"

    def finish(self, script: str) -> ScriptedCall:
        """Make the plan; the order of events is by time, numbered per session from 2 as RingCentral does."""
        sessions = {tape: self._close(tape) for tape in self._sessions}
        events = [event for tape, session in sessions.items() for event in self._number(tape, session)]
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

    def _close(self, tape: SessionTimeline) -> Session:
        return Session(
            tape.telephony_session_id,
            tape.session_id,
            tape.origin,
            self.moment(tape.starts),
            self.moment(tape.end_second()),
        )

    def _number(self, tape: SessionTimeline, session: Session) -> list[PartyEvent]:
        ordered = sorted(tape.marks, key=lambda mark: (mark.at, mark.order))
        return [
            PartyEvent(self.moment(mark.at), session, sequence, mark.extension_id, mark.party)
            for sequence, mark in enumerate(ordered, start=2)
        ]

    def _make_record(self, draft: _RecordDraft, session: Session) -> Record:
        return Record(
            id=self._make_record_id(),
            session=session,
            extension_id=draft.extension_id,
            stages=tuple(Stage(self.moment(at), face, tuple(legs)) for at, face, legs in draft.stages),
            draws=self._draw(),
            speed=self.speed,
            sound=draft.sound,
            message_id=str(self._ids.randrange(10**9, 10**10)) if draft.message else None,
            transfer_target=draft.target.telephony_session_id if draft.target else None,
            transferee=draft.transferee.telephony_session_id if draft.transferee else None,
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


def without(call: ScriptedCall, keep_last: int) -> ScriptedCall:
    """Lose all events but the last few, as a listener does that was down when they were sent."""
    lost = len(call.events) - keep_last
    events = tuple(
        replace(event, delivered=False) if place < lost else event for place, event in enumerate(call.events)
    )
    return replace(call, events=events)
