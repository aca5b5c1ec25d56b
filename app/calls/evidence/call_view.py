"""The shape of what a call's events show together. Pure."""

from dataclasses import dataclass
from datetime import datetime

from app.calls.evidence.facts import Announced
from app.calls.evidence.party_view import PartyView
from app.calls.evidence.roles import Roles


@dataclass(frozen=True, slots=True)
class RelatedSession:
    """Another session that this one is linked with."""

    kind: str
    telephony_session_id: str | None
    session_id: str | None
    party_id: str | None


@dataclass(frozen=True, slots=True)
class CallView:
    """A call as all its facts together show it. Points in time are aware UTC.

    `roles` says who is who. `session_ids` never contains "0". `saw_start` is False when the first events were
    missed; then `started_at` is only the earliest known moment. `has_first_event`: the first session event is
    known, `is_whole`: and so are all others up to the last. `last_terminal_at` is the latest event time
    at which a party left, and the call's end if it is over. `last_news_at` is when the last event with news
    arrived, None if there was none.
    """

    telephony_session_id: str | None
    session_ids: tuple[str, ...]
    origin: str | None
    roles: Roles
    started_at: datetime | None
    saw_start: bool
    has_first_event: bool
    is_whole: bool
    last_terminal_at: datetime | None
    last_news_at: datetime | None
    queue_name: str | None
    caller_name: str | None
    park_id: str | None
    on_behalf_of: str | None
    recordings: tuple[Announced, ...]
    related: tuple[RelatedSession, ...]
    is_presence_only: bool

    @property
    def parties(self) -> tuple[PartyView, ...]:
        return self.roles.parties

    @property
    def caller(self) -> PartyView | None:
        return self.roles.caller

    @property
    def recording_ids(self) -> tuple[str, ...]:
        return tuple(recording.id for recording in self.recordings)

    @property
    def extension_ids(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(party.extension_id for party in self.parties if party.extension_id))

    @property
    def session_id(self) -> str | None:
        return self.session_ids[0] if self.session_ids else None

    @property
    def alive(self) -> tuple[PartyView, ...]:
        return tuple(party for party in self.parties if party.alive)
