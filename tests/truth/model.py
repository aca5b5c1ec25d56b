"""What is true of one session of a scripted call. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.truth.witnesses import Played

Role = str
ANSWERED: Role = "answered"
RANG: Role = "rang"
TRANSFERRED_TO: Role = "transferredTo"
TRANSFERRED_FROM: Role = "transferredFrom"
SUPERVISED: Role = "supervised"
PLACED: Role = "answered"
"""Who made the call. The API has no word for it: who calls and is answered takes part as who answers does."""

EVENTS = "events"
RECORDS = "records"
TIMES = frozenset({"answered_at", "talk_seconds", "ring_seconds"})


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a call, as dialled. `number` is in E.164; `raw` is what is no number (`conference`, `*80`).

    `extension_id` names the person, queue or menu of the company, if the side is one.
    """

    number: str | None = None
    extension_id: str | None = None
    raw: str | None = None


@dataclass(frozen=True, slots=True)
class Agent:
    """A person of the company in the call. `answered_at` None: did not talk."""

    extension_id: str
    role: Role
    answered_at: datetime | None = None
    talk_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """One session of a call, with the fields of the API in Python's spelling.

    Times and seconds are real ones. `talk_seconds` leaves out the time on hold; 0: nobody talked.
    `main`: the place of the conversation's main session among the sessions of the script.

    `untold` has the fields that a way of learning the call cannot know: `events`, `records` (of the whole
    company) and, by extension id, one user's own records. `undecided` are fields that the published facts do
    not settle; compare them with nothing.
    """

    telephony_session_id: str
    direction: str
    internal: bool
    caller: Side
    called: Side
    external_number: str | None
    outcome: str
    agents: tuple[Agent, ...]
    queue_name: str | None = None
    answered_at: datetime | None = None
    talk_seconds: float = 0.0
    ring_seconds: float | None = None
    main: int = 0
    is_main: bool = True
    transferred_to: str | None = None
    park_id: str | None = None
    origin: str = "Call"
    untold: Mapping[str, frozenset[str]] = field(default_factory=dict)
    undecided: frozenset[str] = frozenset()

    def is_told(self, name: str, way: str) -> bool:
        """Whether this field can be compared when the call was learnt this way (see `untold`)."""
        return name not in self.undecided and name not in self.untold.get(way, frozenset())


@dataclass(frozen=True)
class Plan:
    """The times and people of a played script, in the terms in which its truth is written.

    Seconds are those of the script, from the start of the call.
    """

    played: Played

    @property
    def ring(self) -> float:
        return self.played.casting.ring

    @property
    def talk(self) -> float:
        return self.played.casting.talk

    @property
    def hold(self) -> float:
        return self.played.casting.hold

    @property
    def ana(self) -> str:
        """The agent's extension id."""
        return self.played.casting.agent.id

    @property
    def ben(self) -> str:
        """The colleague's extension id."""
        return self.played.casting.colleague.id

    @property
    def dana(self) -> str:
        """The customer's number."""
        return self.played.casting.customer.number

    @property
    def main_number(self) -> str:
        return self.played.company.main_number

    def person(self, extension_id: str) -> Side:
        extension = self.played.company.extension(extension_id)
        assert extension is not None
        return Side(extension.direct_number, extension.id)

    def at(self, second: float) -> datetime:
        return self.played.call.started_at + timedelta(seconds=second / self.played.call.speed)

    def lasting(self, seconds: float) -> float:
        return seconds / self.played.call.speed

    def session(self, place: int = 0) -> str:
        return self.played.call.sessions[place].telephony_session_id

    def agent(
        self, extension_id: str, role: Role, answered: float | None = None, talk: float | None = None
    ) -> Agent:
        return Agent(
            extension_id,
            role,
            None if answered is None else self.at(answered),
            None if talk is None else self.lasting(talk),
        )
