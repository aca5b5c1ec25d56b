"""The wire format of events: telephony sessions, presence, and the envelope. No I/O."""

import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from app.simulator.quirks import to_wire
from app.simulator.scripting.model import Json, PartyEvent, ScriptedCall
from app.simulator.scripting.timeline import SERVER_ID

TimeForm = Literal["Z", "+0000"]
TERMINAL = frozenset({"Disconnected", "Gone"})


def stamp(moment: datetime, form: TimeForm) -> str:
    """Format a time with milliseconds and the given form of UTC."""
    text = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.")
    return f"{text}{moment.microsecond // 1000:03d}{form}"


def session_body(event: PartyEvent, form: TimeForm) -> Json:
    """Return the body of a telephony session event: one party and the time of its change."""
    session = event.session
    return {
        "sequence": event.sequence,
        "sessionId": session.session_id,
        "telephonySessionId": session.telephony_session_id,
        "serverId": SERVER_ID,
        "eventTime": stamp(event.at, form),
        "parties": [event.party],
        "origin": {"type": session.origin},
    }


_PRESENCE = {
    "Setup": "Ringing",
    "Proceeding": "Ringing",
    "Answered": "CallConnected",
    "Hold": "OnHold",
    "Parked": "ParkedCall",
}


def presence_body(event: PartyEvent, form: TimeForm, sequence: int) -> Json | None:
    """Return the presence event of the party's extension, None for a party without one."""
    if event.extension_id is None:
        return None
    party, code = event.party, event.party["status"]["code"]
    over = code in TERMINAL or code == "VoiceMail"
    status = "NoCall" if over else _PRESENCE.get(code, "CallConnected")
    if status == "Ringing" and party["direction"] == "Outbound":
        status = "CallConnected"
    call = {
        "id": f"{zlib.crc32(party['id'].encode()):08x}{event.sequence:08x}",
        "direction": party["direction"],
        "from": party["from"].get("phoneNumber", ""),
        "fromName": party["from"].get("name", ""),
        "to": party["to"].get("phoneNumber", ""),
        "toName": party["to"].get("name", ""),
        "telephonyStatus": status,
        "terminationType": "final" if over else "intermediate",
        "sessionId": event.session.session_id,
        "telephonySessionId": event.session.telephony_session_id,
        "partyId": party["id"],
        "startTime": stamp(event.session.started_at, form),
    }
    return {
        "extensionId": int(event.extension_id),
        "telephonyStatus": status,
        "sequence": sequence,
        "presenceStatus": "Available" if over else "Busy",
        "userStatus": "Available",
        "dndStatus": "TakeAllCalls",
        "allowSeeMyPresence": True,
        "ringOnMonitoredCall": False,
        "pickUpCallsOnHold": False,
        "totalActiveCalls": 1,
        "activeCalls": [call],
    }


@dataclass(frozen=True, slots=True)
class Envelope:
    """The fields around an event's body; `owner_id` is the subscriber's extension."""

    uuid: str
    event: str
    timestamp: datetime
    subscription_id: str
    owner_id: str

    def wrap(self, body: Json, form: TimeForm, *, pn_apns: bool) -> bytes:
        """Return the bytes to post; with `pn_apns` in the form of mobile pushes."""
        inner: Json = {"event": self.event, "timestamp": stamp(self.timestamp, form), "body": body}
        outer: Json = {"uuid": self.uuid, "subscriptionId": self.subscription_id, "ownerId": self.owner_id}
        whole = outer | ({"pn_apns": inner} if pn_apns else inner)
        return to_wire(whole)


def read_session(call: ScriptedCall, telephony_session_id: str, now: datetime) -> Json | None:
    """Return a session as the telephony resource shows it, None before its start and after its end.

    It has no `sessionId`, and its parties have an `owner` in addition to the ids.
    """
    session = next(one for one in call.sessions if one.telephony_session_id == telephony_session_id)
    if not session.started_at <= now < session.ended_at:
        return None
    parties: dict[str, Json] = {}
    for event in call.events:
        if event.session != session or event.at > now:
            continue
        party = event.party
        owner = {"accountId": party["accountId"]}
        if event.extension_id is not None:
            owner["extensionId"] = event.extension_id
        parties[party["id"]] = party | {"owner": owner}
    return {
        "id": telephony_session_id,
        "creationTime": stamp(session.started_at, "Z"),
        "origin": {"type": session.origin},
        "parties": list(parties.values()),
        "voiceCallToken": f"vct-{telephony_session_id[-12:]}",
    }
