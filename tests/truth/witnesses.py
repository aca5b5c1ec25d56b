"""Plays a script without a server, and renders what RingCentral would send of it. No I/O, no clock.

A witness is one way in which a call is told: the notifications of telephony sessions, those of presence, the
records of Active Calls and of the call log, company-wide or of one user alone. Everything here is rendered
by the simulator's own functions, so it has the same form as what its servers send.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Literal

from app.simulator.platform.events import Envelope, presence_body, session_body
from app.simulator.platform.subscriptions import event_path
from app.simulator.platform.views import DETAILED, SIMPLE, Links, Revision, revisions, show_logged, show_stage
from app.simulator.quirks import PLAIN, Forms, Quirks
from app.simulator.scripting.casting import CallOptions, Casting, choose_casting
from app.simulator.scripting.catalogue import SCRIPTS, plan_call
from app.simulator.scripting.company import ANA_ID, COMPANY, Company
from app.simulator.scripting.model import Json, PartyEvent, Record, ScriptedCall
from app.simulator.scripting.timeline import CallSetup, Timeline
from app.simulator.timing import Timing

START = datetime(2026, 3, 10, 18, 7, 41, tzinfo=UTC)
"""A whole second, so that the times of records and of events start equal."""

USUAL = CallOptions(
    talk_seconds=60.0,
    ring_seconds=7.3,
    hold_seconds=6.0,
    agent="101",
    colleague="102",
    customer="+15550179001",
    recorded=False,
)
"""Dana Field calls, Ana Ruiz is the agent and Ben Cho the colleague."""

View = Literal["Simple", "Detailed"]
_TIMING = Timing()


@dataclass(frozen=True)
class Played:
    """A planned call, and who takes part in it.

    `casting` has the script's times before the script alters them. `quirks` are the forms in which the
    platform writes the call's events and records.
    """

    call: ScriptedCall
    casting: Casting
    company: Company
    quirks: Quirks = PLAIN

    @property
    def script(self) -> str:
        return self.call.script

    @cached_property
    def links(self) -> Links:
        return Links("https://platform.example.com", "https://media.example.com", self.company.account_id)

    @property
    def forms(self) -> Forms:
        return Forms(self.quirks, self.company)

    @property
    def extension_ids(self) -> tuple[str, ...]:
        """Whose records the call has, in the order of the records."""
        return tuple(dict.fromkeys(record.extension_id for record in self.call.records))


def play_script(
    script: str,
    options: CallOptions = USUAL,
    *,
    start: datetime = START,
    speed: float = 1.0,
    seed: int = 1,
    number: int = 1,
    company: Company = COMPANY,
    quirks: Quirks = PLAIN,
) -> Played:
    """Plan a call; raises KeyError for an unknown script."""
    setup = CallSetup(company, start, speed, seed, number)
    call = plan_call(script, setup, options)
    return Played(call, cast(setup, options), company, quirks)


def cast(setup: CallSetup, options: CallOptions) -> Casting:
    """Return who takes part in a call that was planned with these values."""
    # Chosen anew from an equal generator: the same people and times as in the plan.
    return choose_casting(Timeline(setup), setup.company, options)


def play_every_script(options: CallOptions = USUAL) -> Iterator[Played]:
    """Plan a call of each script, each with its own number, so that no two calls share an id."""
    for number, script in enumerate(SCRIPTS, start=1):
        yield play_script(script, options, number=number)


# Events


def session_payloads(
    played: Played, session: str | None = None, *, delivered_only: bool = True
) -> list[bytes]:
    """Return what is posted of the telephony session stream, in order.

    `session`: the `telephonySessionId` of the only session to tell of. `delivered_only`: leave out the events
    that the platform loses.
    """
    return [
        _wrap(played, event, played.forms.session_event(session_body(event, "Z")), "telephony/sessions")
        for event in _events(played, session, delivered_only)
    ]


def session_notifications(
    played: Played, session: str | None = None, *, delivered_only: bool = True
) -> list[Json]:
    """Return the same parsed, with what is no UTF-8 replaced."""
    return [_read(one) for one in session_payloads(played, session, delivered_only=delivered_only)]


def presence_payloads(
    played: Played, session: str | None = None, *, extension_id: str | None = None
) -> list[bytes]:
    """Return what is posted of the presence of all people, or of one, in order of time."""
    payloads = []
    for sequence, event in enumerate(_events(played, session, delivered_only=False), start=34_001):
        body = presence_body(event, "Z", sequence)
        extension = played.company.extension(event.extension_id or "")
        # Queues and menus have no presence.
        if body is None or extension is None or not extension.is_person:
            continue
        if extension_id in (None, extension.id):
            body = played.forms.presence_event(body, event)
            payloads.append(_wrap(played, event, body, "presence?detailedTelephonyState=true"))
    return payloads


def presence_notifications(
    played: Played, session: str | None = None, *, extension_id: str | None = None
) -> list[Json]:
    """Return the same parsed, with what is no UTF-8 replaced."""
    return [_read(one) for one in presence_payloads(played, session, extension_id=extension_id)]


def _events(played: Played, session: str | None, delivered_only: bool) -> list[PartyEvent]:
    return [
        event
        for event in played.call.events
        if session in (None, event.session.telephony_session_id) and (event.delivered or not delivered_only)
    ]


def _wrap(played: Played, event: PartyEvent, body: Json, family: str) -> bytes:
    uuid = f"{event.session.telephony_session_id}-{family[:8]}-{event.sequence}"
    path = event_path(played.company.account_id, event.extension_id, family)
    envelope = Envelope(uuid, path, event.at, "7d2c6f10-0b5e-4f43-9c8a-2a41b7e0c111", ANA_ID)
    return envelope.wrap(body, "Z", pn_apns=False)


def _read(posted: bytes) -> Json:
    notification: Json = json.loads(posted.decode(errors="replace"))
    return notification


# Records


def final_records(
    played: Played, session: str | None = None, *, view: View = "Detailed", extension_id: str | None = None
) -> list[Json]:
    """Return the final records of the call log, with all that is added late.

    Without `extension_id` those of the whole company, as its call log shows them; with it those of this
    extension, as its own call log shows them.
    """
    return [
        _show(played, record, revisions(record, _TIMING)[-1], view, company_level=extension_id is None)
        for record in _records(played, session, extension_id)
    ]


def active_records(
    played: Played, session: str | None = None, *, view: View = "Simple", extension_id: str | None = None
) -> list[Json]:
    """Return the records as Active Calls shows them after the end of the call."""
    shown_view = DETAILED if view == "Detailed" else SIMPLE
    return [
        played.forms.record(show_stage(record, record.final, None, played.links, shown_view), record)
        for record in _records(played, session, extension_id)
    ]


def record_history(
    played: Played, session: str | None = None, *, view: View = "Detailed"
) -> list[tuple[datetime, Json]]:
    """Return every version of every record in the company's call log, provisional ones too, with its time."""
    versions = [
        (revision.at, _show(played, record, revision, view, company_level=True))
        for record in _records(played, session, None)
        for revision in revisions(record, Timing(provisional_share=1.0))
    ]
    return sorted(versions, key=lambda version: version[0])


def _show(played: Played, record: Record, revision: Revision, view: View, *, company_level: bool) -> Json:
    shown_view = DETAILED if view == "Detailed" else SIMPLE
    shown = show_logged(record, revision, played.links, shown_view, company_level=company_level)
    return played.forms.record(shown, record)


def _records(played: Played, session: str | None, extension_id: str | None) -> list[Record]:
    return [
        record
        for record in played.call.records
        if session in (None, record.session.telephony_session_id)
        and extension_id in (None, record.extension_id)
    ]
