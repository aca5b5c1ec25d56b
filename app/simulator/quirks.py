"""Forms of events and records that RingCentral sends to some accounts and at some times. No I/O, no clock.

The platform renders every event and record in its plain form; the functions here rewrite what it rendered.
So any script can be played with any of them. Each switch names where the form was seen.
"""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.simulator.scripting.company import Company, Extension
from app.simulator.scripting.model import Json, PartyEvent, Record

HALF_EMOJI = "\ud83d"
_BAD_BYTE = "\udcff"
_SPLIT_IDS = 500_000_000
"""How far the two session ids of one call are apart: more than those of two sessions of one conversation."""

_DETAILS = ("legs", "lastModifiedTime", "transport", "billing", "internalType")


@dataclass(frozen=True, slots=True)
class Quirks:
    """The forms that are switched on."""

    numbers_without_plus: bool = False
    """`18665550106`: RingCentral's sample response of a call-log sync."""
    numbers_with_extension: bool = False
    """`15550100100*102` for a person: main number and extension, as payloads in issue threads show."""
    names_cut_in_emoji: bool = False
    r"""Names end in `\ud83d`, the first half of an emoji: cut by length. RFC 8259 section 8.2 allows it."""
    names_not_utf8: bool = False
    """Names hold a byte that is no UTF-8: old caller names of the public network."""
    missed_as_no_answer: bool = False
    """Inbound records say `No Answer` or `Hang Up` instead of Missed: `CallLogRecord.result` lists them."""
    split_session_ids: bool = False
    """Records of missed calls have another `sessionId` than the events, and no `telephonySessionId`:
    developer community, 2016."""
    presence_queue_info: bool = False
    """Calls of presence events carry `queueCall` and `callInfo`: `ActiveCallInfo` of RingCentral's SDKs."""
    presence_without_end: bool = False
    """The last entry of a call in presence events, NoCall, has no `terminationType`: optional in the SDKs."""
    records_without_extension: bool = False
    """Neither records nor legs nor their sides say whose extension they are of: optional in the schema."""
    simple_records_only: bool = False
    """Every view is Simple: guide "Finding active calls"."""


PLAIN = Quirks()


@dataclass(frozen=True, slots=True)
class Forms:
    """Rewrites what the platform rendered for a company. Nothing that it is given is changed."""

    quirks: Quirks
    company: Company

    def session_event(self, body: Json) -> Json:
        """Rewrite a telephony session event, or a session as its resource shows it."""
        return body | {"parties": [self._party(party) for party in body["parties"]]}

    def presence_event(self, body: Json, event: PartyEvent) -> Json:
        return body | {"activeCalls": [self._active_call(call, event) for call in body["activeCalls"]]}

    def record(self, shown: Json, record: Record) -> Json:
        """Rewrite a record as Active Calls or the call log shows it."""
        ids = shown_ids(record, self.quirks)
        shown = self._common(shown, ids, record) | {"sessionId": ids.session_id}
        if "legs" in shown:
            shown["legs"] = [self._common(leg, ids, record) for leg in shown["legs"]]
        if self.quirks.simple_records_only:
            shown = {key: value for key, value in shown.items() if key not in _DETAILS}
        return shown

    def _common(self, shown: Json, ids: "ShownIds", record: Record) -> Json:
        """Rewrite what records and legs have in common."""
        shown = self._sides(shown)
        if ids.telephony_session_id is None:
            shown.pop("telephonySessionId", None)
        if self.quirks.records_without_extension:
            shown.pop("extension", None)
            for side in (shown["from"], shown["to"]):
                side.pop("extensionId", None)
        is_missed = (shown["direction"], shown["result"]) == ("Inbound", "Missed")
        if self.quirks.missed_as_no_answer and is_missed:
            # By the record's id, so that a record keeps its result from one read to the next.
            shown["result"] = "Hang Up" if zlib.crc32(record.id.encode()) % 2 else "No Answer"
        return shown

    def _party(self, party: Json) -> Json:
        party = self._sides(party)
        if "uiCallInfo" in party:
            party["uiCallInfo"] = _names_of_info(party["uiCallInfo"], self._name)
        return party

    def _active_call(self, call: Json, event: PartyEvent) -> Json:
        quirks, call = self.quirks, dict(call)
        for side in ("from", "to"):
            person = self._person(event.party[side])
            if person is not None and quirks.numbers_with_extension:
                call[side] = self._main_and_extension(person)
            call[side] = self._number(call[side])
            call[f"{side}Name"] = self._name(call[f"{side}Name"]) if call[f"{side}Name"] else ""
        if quirks.presence_queue_info:
            call["queueCall"] = event.party.get("queueCall", False)
            if "uiCallInfo" in event.party:
                call["callInfo"] = _names_of_info(event.party["uiCallInfo"], self._name)
        if quirks.presence_without_end and call["telephonyStatus"] == "NoCall":
            del call["terminationType"]
        return call

    def _sides(self, shown: Json) -> Json:
        return shown | {side: self._side(shown[side]) for side in ("from", "to") if side in shown}

    def _side(self, side: Json) -> Json:
        side, person = dict(side), self._person(side)
        if person is not None and self.quirks.numbers_with_extension:
            side["phoneNumber"] = self._main_and_extension(person)
        if side.get("phoneNumber"):
            side["phoneNumber"] = self._number(side["phoneNumber"])
        if side.get("name"):
            side["name"] = self._name(side["name"])
        return side

    def _person(self, side: Json) -> Extension | None:
        found = self.company.extension(str(side.get("extensionId", "")))
        if found is None and side.get("phoneNumber") not in (None, self.company.main_number):
            found = self.company.find(side["phoneNumber"])
        return found if found is not None and found.is_person else None

    def _main_and_extension(self, person: Extension) -> str:
        return f"{self.company.main_number.lstrip('+')}*{person.number}"

    def _number(self, number: str) -> str:
        return number.lstrip("+") if self.quirks.numbers_without_plus else number

    def _name(self, name: str) -> str:
        if self.quirks.names_cut_in_emoji:
            name = f"{name} {HALF_EMOJI}"
        if self.quirks.names_not_utf8:
            name = f"{_BAD_BYTE}{name}"
        return name


@dataclass(frozen=True, slots=True)
class ShownIds:
    """The session ids in a record, which are not always those of the events."""

    session_id: str
    telephony_session_id: str | None


def shown_ids(record: Record, quirks: Quirks) -> ShownIds:
    session, final = record.session, record.final.summary
    is_missed = final.direction == "Inbound" and final.result in ("Missed", "Voicemail")
    if quirks.split_session_ids and is_missed and session.session_id != "0":
        return ShownIds(str(int(session.session_id) + _SPLIT_IDS), None)
    return ShownIds(session.session_id, session.telephony_session_id)


def _names_of_info(info: Json, rewrite: Callable[[str], str]) -> Json:
    """Rewrite the names beside a queue call; its lines are `primary` and `additional`."""
    return {place: line | {"value": rewrite(line["value"])} for place, line in info.items()}


def to_wire(body: Any) -> bytes:
    """Write JSON as it is sent: half an emoji as an escape, and a byte that is no UTF-8 as that byte."""
    text = json.dumps(body, separators=(",", ":"))
    return text.encode().replace(rb"\udcff", b"\xff")
