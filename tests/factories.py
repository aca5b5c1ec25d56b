"""Deliveries as RingCentral sends them: valid by default, any field by keyword, and whole calls as scripts.

The small company of all examples: Ana and Ben have extensions, Sales is a queue, the menu answers the main
number, Dana is a customer. `SCRIPTS` names every call that we know how to play; each returns its deliveries
in the order of sending.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

Json = dict[str, Any]

ACCOUNT = "908070001"
ANA = "711000101"
BEN = "711000102"
QUEUE = "711000900"
MENU = "711000800"
ANA_NUMBER = "+15550100101"
BEN_NUMBER = "+15550100102"
QUEUE_NUMBER = "+15550100900"
MAIN_NUMBER = "+15550100100"
DANA_NUMBER = "+15550179001"
SUBSCRIPTION = "7d2c6f10-0b5e-4f43-9c8a-2a41b7e0c111"
SESSION = "1229016182016"
TELEPHONY_SESSION = "s-a0c14f2b77d1ez1928b3f4c10z5e6f70000"
NOON = datetime(2026, 3, 10, 18, 7, 41, 12_000, tzinfo=UTC)

TRANSIT = timedelta(milliseconds=150)
"""From an event to its arrival."""


def rc_time(when: datetime) -> str:
    """A point in time as RingCentral mostly writes it."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}Z"


def party_id(ordinal: int, telephony_session_id: str = TELEPHONY_SESSION) -> str:
    return f"p-{telephony_session_id.removeprefix('s-')}-{ordinal}"


def party(ordinal: int = 2, code: str = "Setup", *, reason: str | None = None, **fields: Any) -> Json:
    """One entry of `parties`. The caller is number 1 and Outbound; `status` takes further status fields."""
    status: Json = {"code": code, "rcc": False, **fields.pop("status", {})}
    if reason:
        status["reason"] = reason
    session = fields.pop("telephony_session_id", TELEPHONY_SESSION)
    return {
        "accountId": ACCOUNT,
        "id": party_id(ordinal, session),
        "direction": "Outbound" if ordinal == 1 else "Inbound",
        "status": status,
        "park": {},
        "missedCall": False,
        "standAlone": False,
        "muted": False,
        **fields,
    }


def delivery(*parties: Json, at: datetime = NOON, sequence: int = 2, **fields: Any) -> Json:
    """One telephony session notification. Keywords of the envelope go there, all others into the body."""
    parties = parties or (party(),)
    session = fields.get("telephonySessionId", TELEPHONY_SESSION)
    extension = parties[0].get("extensionId")
    account_path = f"/restapi/v1.0/account/{ACCOUNT}"
    path = f"{account_path}/extension/{extension}" if extension else account_path
    envelope: Json = {
        "uuid": fields.pop("uuid", f"{session}:{sequence}"),
        "event": fields.pop("event", f"{path}/telephony/sessions"),
        "timestamp": fields.pop("timestamp", rc_time(at + timedelta(milliseconds=70))),
        "subscriptionId": fields.pop("subscriptionId", SUBSCRIPTION),
        "ownerId": fields.pop("ownerId", ANA),
    }
    body: Json = {
        "sequence": sequence,
        "sessionId": SESSION,
        "telephonySessionId": session,
        "serverId": "10.0.0.1.TAM",
        "eventTime": rc_time(at),
        "parties": list(parties),
        "origin": {"type": "Call"},
        **fields,
    }
    return {**envelope, "body": body}


def active_call(status: str = "CallConnected", *, final: bool = False, **fields: Any) -> Json:
    """One entry of a presence event's `activeCalls`: Dana and Ana."""
    entry: Json = {
        "id": "448115d0d81241fc",
        "direction": "Inbound",
        "from": DANA_NUMBER,
        "fromName": "Dana Field",
        "to": ANA_NUMBER,
        "toName": "Ana Ruiz",
        "telephonyStatus": status,
        "sessionId": SESSION,
        "telephonySessionId": TELEPHONY_SESSION,
        "partyId": party_id(2),
        "startTime": rc_time(NOON),
        **fields,
    }
    return {**entry, "terminationType": "final"} if final else entry


def presence(*calls: Json, at: datetime = NOON, extension: str = ANA, **fields: Any) -> Json:
    """One detailed presence notification of an extension."""
    path = f"/restapi/v1.0/account/{ACCOUNT}/extension/{extension}/presence?detailedTelephonyState=true"
    sequence = fields.pop("sequence", 34470)
    return {
        "uuid": fields.pop("uuid", f"presence-{extension}-{sequence}"),
        "event": path,
        "timestamp": rc_time(at),
        "subscriptionId": SUBSCRIPTION,
        "ownerId": ANA,
        "body": {
            "extensionId": int(extension),
            "telephonyStatus": calls[0]["telephonyStatus"] if calls else "NoCall",
            "sequence": sequence,
            "presenceStatus": "Available",
            "dndStatus": "TakeAllCalls",
            "totalActiveCalls": len(calls),
            "activeCalls": list(calls),
            **fields,
        },
    }


def sides(from_: Json | str, to: Json | str) -> Json:
    """The two sides of a party, ready to be spread: `from` is a word of Python's."""
    return {"from": from_, "to": to}


def received_at(payload: Json) -> datetime:
    """When a delivery arrives if nothing delays it."""
    return datetime.fromisoformat(payload["timestamp"]) + TRANSIT


class Tape:
    """Records the events of one session as a call is told."""

    def __init__(
        self,
        session_id: str = SESSION,
        telephony_session_id: str = TELEPHONY_SESSION,
        origin: str = "Call",
        start: datetime = NOON,
    ) -> None:
        self.session_id = session_id
        self.telephony_session_id = telephony_session_id
        self.origin = origin
        self.start = start
        self.deliveries: list[Json] = []

    def says(
        self, after: float, ordinal: int, code: str, extension: str | None = None, **fields: Any
    ) -> None:
        """A party enters a state `after` seconds from the start."""
        if extension:
            fields["extensionId"] = extension
        told = party(ordinal, code, telephony_session_id=self.telephony_session_id, **fields)
        self.deliveries.append(
            delivery(
                told,
                at=self.start + timedelta(seconds=after),
                sequence=len(self.deliveries) + 2,
                sessionId=self.session_id,
                telephonySessionId=self.telephony_session_id,
                origin={"type": self.origin},
            )
        )

    def customer_calls(self, number: str) -> None:
        caller = {"phoneNumber": DANA_NUMBER, "name": "Dana Field"}
        self.says(0, 1, "Setup", **sides(caller, {"phoneNumber": number}))

    def rings(self, after: float, ordinal: int, extension: str, name: str, number: str) -> None:
        shown = sides(
            {"phoneNumber": DANA_NUMBER}, {"phoneNumber": number, "name": name, "extensionId": extension}
        )
        self.says(after, ordinal, "Setup", extension, **shown)
        self.says(after + 0.276, ordinal, "Proceeding", extension)

    def ana_answers(self) -> None:
        """The common beginning: Dana calls Ana, who answers after 3 s."""
        self.customer_calls(ANA_NUMBER)
        self.rings(0.022, 2, ANA, "Ana Ruiz", ANA_NUMBER)
        self.says(3.008, 2, "Answered", ANA, recordings=[{"id": "3019664700", "active": True}])
        self.says(3.029, 1, "Answered")

    def ana_dials(self, number: str = DANA_NUMBER) -> None:
        shown = sides(
            {"phoneNumber": ANA_NUMBER, "name": "Ana Ruiz", "extensionId": ANA}, {"phoneNumber": number}
        )
        self.says(0, 1, "Setup", ANA, **shown)
        self.says(0.9, 2, "Proceeding", **shown)


def inbound_answered() -> list[Json]:
    """Dana calls Ana; held once, recorded. Over at +95.740 s."""
    tape = Tape()
    tape.ana_answers()
    tape.says(29.488, 2, "Hold", ANA, recordings=[{"id": "3019664700", "active": True}])
    tape.says(40.388, 2, "Answered", ANA, recordings=[{"id": "3019664700", "active": True}])
    tape.says(95.728, 2, "Disconnected", ANA, recordings=[{"id": "3019664700", "active": False}])
    tape.says(95.740, 1, "Disconnected")
    return tape.deliveries


def inbound_through_menu() -> list[Json]:
    """The menu answers, leaves without a reason in the middle of the call, then Ana rings and answers."""
    tape = Tape()
    tape.customer_calls(MAIN_NUMBER)
    tape.says(0.03, 2, "Setup", MENU, to={"phoneNumber": MAIN_NUMBER, "name": "Main menu"})
    tape.says(0.15, 2, "Answered", MENU)
    tape.says(0.17, 1, "Answered")
    tape.says(9.0, 2, "Disconnected", MENU)
    tape.rings(9.018, 3, ANA, "Ana Ruiz", ANA_NUMBER)
    tape.says(12.0, 3, "Answered", ANA)
    tape.says(60.0, 3, "Disconnected", ANA)
    tape.says(60.014, 1, "Disconnected")
    return tape.deliveries


def inbound_missed() -> list[Json]:
    """Ana does not answer and has no voicemail; Dana gives up."""
    tape = Tape()
    tape.customer_calls(ANA_NUMBER)
    tape.rings(0.022, 2, ANA, "Ana Ruiz", ANA_NUMBER)
    tape.says(20.0, 1, "Disconnected")
    tape.says(20.01, 2, "Disconnected", ANA, missedCall=True)
    return tape.deliveries


def voicemail() -> list[Json]:
    """Nobody answers; the caller speaks to the voicemail of Ana."""
    tape = Tape()
    tape.customer_calls(ANA_NUMBER)
    tape.rings(0.022, 2, ANA, "Ana Ruiz", ANA_NUMBER)
    tape.says(25.288, 2, "VoiceMail", ANA, missedCall=True)
    tape.says(25.308, 1, "Answered")
    tape.says(51.988, 2, "Disconnected", ANA, reason="Voicemail", missedCall=True)
    tape.says(51.999, 1, "Disconnected")
    return tape.deliveries


def outbound_answered() -> list[Json]:
    """Ana calls Dana, who answers."""
    tape = Tape()
    tape.ana_dials()
    tape.says(8.0, 2, "Answered")
    tape.says(8.03, 1, "Answered", ANA)
    tape.says(48.0, 2, "Disconnected")
    tape.says(48.015, 1, "Disconnected", ANA)
    return tape.deliveries


def outbound_busy() -> list[Json]:
    tape = Tape()
    tape.ana_dials()
    tape.says(3.0, 2, "Disconnected", reason="TargetBusy")
    tape.says(3.012, 1, "Disconnected", ANA)
    return tape.deliveries


def outbound_no_answer() -> list[Json]:
    tape = Tape()
    tape.ana_dials()
    tape.says(40.0, 2, "Disconnected", reason="NoAnswer")
    tape.says(40.012, 1, "Disconnected", ANA)
    return tape.deliveries


def internal() -> list[Json]:
    """Ana calls Ben; her own party is Answered seconds before he really answers."""
    tape = Tape()
    caller = {"phoneNumber": "101", "name": "Ana Ruiz", "extensionId": ANA}
    tape.says(0, 1, "Setup", ANA, **sides(caller, {"phoneNumber": "102"}))
    to_ben = sides({"phoneNumber": ANA_NUMBER}, {"phoneNumber": "102", "extensionId": BEN})
    tape.says(0.02, 2, "Setup", BEN, **to_ben)
    tape.says(0.3, 2, "Proceeding", BEN)
    tape.says(0.5, 1, "Answered", ANA)
    tape.says(5.0, 2, "Answered", BEN)
    tape.says(33.0, 1, "Disconnected", ANA)
    tape.says(33.012, 2, "Disconnected", BEN)
    return tape.deliveries


def own_number() -> list[Json]:
    """Ana calls her own number and hears her voicemail box."""
    tape = Tape()
    tape.says(0, 1, "Setup", ANA, **sides({"phoneNumber": "101"}, {"phoneNumber": ANA_NUMBER}))
    tape.says(0.02, 2, "Setup", ANA, **sides({"phoneNumber": "101"}, {"phoneNumber": ANA_NUMBER}))
    tape.says(0.4, 2, "VoiceMail", ANA)
    tape.says(0.43, 1, "Answered", ANA)
    tape.says(14.0, 1, "Disconnected", ANA)
    tape.says(14.01, 2, "Disconnected", ANA, reason="Voicemail")
    return tape.deliveries


def _queue_rings() -> Tape:
    tape = Tape()
    tape.customer_calls(QUEUE_NUMBER)
    tape.says(0.02, 2, "Setup", QUEUE, to={"phoneNumber": QUEUE_NUMBER, "name": "Sales"})
    tape.says(0.14, 1, "Answered")
    shown = {"primary": {"type": "QueueName", "value": "Sales"}}
    tape.says(3.39, 3, "Proceeding", ANA, queueCall=True, uiCallInfo=shown)
    tape.says(3.392, 4, "Proceeding", BEN, queueCall=True)
    return tape


def queue_answered() -> list[Json]:
    """Sales rings two members; Ana answers, the queue and Ben leave, the call goes on."""
    tape = _queue_rings()
    tape.says(9.09, 3, "Answered", ANA, queueCall=True)
    tape.says(9.095, 2, "Disconnected", QUEUE, reason="AgentAnswered")
    tape.says(9.1, 4, "Disconnected", BEN, queueCall=True, reason="Pickup")
    tape.says(100.69, 1, "Disconnected")
    tape.says(100.702, 3, "Disconnected", ANA, queueCall=True)
    return tape.deliveries


def queue_abandoned() -> list[Json]:
    """The caller hangs up while the members ring."""
    tape = _queue_rings()
    tape.says(15.0, 1, "Disconnected")
    tape.says(15.006, 3, "Disconnected", ANA, queueCall=True, reason="CallFinished", missedCall=True)
    tape.says(15.008, 4, "Disconnected", BEN, queueCall=True, reason="CallFinished", missedCall=True)
    tape.says(15.012, 2, "Disconnected", QUEUE)
    return tape.deliveries


def blind_transfer() -> list[Json]:
    """Ana answers and hands the call to Ben without a word."""
    tape = Tape()
    tape.ana_answers()
    tape.says(40.0, 2, "Disconnected", ANA, reason="BlindTransfer")
    tape.says(40.0, 3, "Proceeding", BEN)
    tape.says(45.2, 3, "Answered", BEN)
    tape.says(121.9, 3, "Disconnected", BEN)
    tape.says(121.915, 1, "Disconnected")
    return tape.deliveries


CONSULTATION = "s-a0c14f2b77d1ez1928b3f4d22z5e6f80000"


def warm_transfer() -> list[Json]:
    """Ana asks Ben in a second session, then joins the two: both sessions' events, the first one's first."""
    first = Tape()
    first.ana_answers()
    first.says(30.0, 2, "Hold", ANA)
    second = Tape("1229016184016", CONSULTATION, start=NOON + timedelta(seconds=31))
    second.says(0, 1, "Setup", ANA, **sides({"phoneNumber": "101"}, {"phoneNumber": "102"}))
    second.says(0.02, 2, "Proceeding", BEN)
    second.says(4.0, 2, "Answered", BEN)
    second.says(4.02, 1, "Answered", ANA)

    def peer(tape: Tape, ordinal: int) -> Json:
        linked = {"sessionId": tape.session_id, "telephonySessionId": tape.telephony_session_id}
        return {"peerId": {**linked, "partyId": party_id(ordinal, tape.telephony_session_id)}}

    second.says(20.0, 1, "Gone", ANA, reason="AttendedTransfer", status=peer(first, 2))
    first.says(51.01, 2, "Gone", ANA, reason="AttendedTransfer", status=peer(second, 1))
    second.says(80.0, 2, "Disconnected", BEN)
    first.says(111.015, 1, "Disconnected")
    return first.deliveries + second.deliveries


def parked_and_picked_up() -> list[Json]:
    """Ana parks the call, the caller waits, Ben picks it up."""
    tape = Tape()
    tape.ana_answers()
    tape.says(20.0, 2, "Disconnected", ANA, reason="CallPark", park={"id": "*801"})
    tape.says(80.0, 3, "Answered", BEN, direction="Outbound")
    tape.says(140.0, 3, "Disconnected", BEN, direction="Outbound")
    tape.says(140.01, 1, "Disconnected")
    return tape.deliveries


def parked_and_revived() -> list[Json]:
    """Ana parks the call; for a while no party is left at all, then Ben picks it up."""
    tape = Tape()
    tape.ana_answers()
    tape.says(20.0, 2, "Disconnected", ANA, reason="CallPark", park={"id": "*801"})
    tape.says(20.02, 1, "Disconnected", reason="CallPark")
    tape.says(80.0, 3, "Answered", BEN, direction="Outbound")
    tape.says(80.02, 1, "Answered")
    tape.says(140.0, 3, "Disconnected", BEN, direction="Outbound")
    tape.says(140.01, 1, "Disconnected")
    return tape.deliveries


CONFERENCE = "s-a0c14f2b77d1ez1928b60ab70z5e7000000"


def conference() -> list[Json]:
    """The conference session itself: Ana is host, two customers are in it; its sessionId is "0"."""
    tape = Tape("0", CONFERENCE, origin="Conference")
    tape.says(0, 1, "Setup", ANA, conferenceRole="Host", to={"phoneNumber": "conference"})
    tape.says(0.1, 1, "Answered", ANA, conferenceRole="Host")
    tape.says(5.0, 2, "Answered", conferenceRole="Participant")
    tape.says(6.0, 3, "Answered", conferenceRole="Participant")
    tape.says(60.0, 1, "Disconnected", ANA, conferenceRole="Host")
    tape.says(90.0, 2, "Disconnected", conferenceRole="Participant")
    tape.says(90.02, 3, "Disconnected", conferenceRole="Participant")
    return tape.deliveries


def merged_into_conference() -> list[Json]:
    """A two-party call that both parties leave for a conference."""
    tape = Tape()
    tape.ana_dials()
    tape.says(8.0, 2, "Answered")
    tape.says(8.03, 1, "Answered", ANA)
    for at, ordinal, extension in ((30.0, 1, ANA), (30.01, 2, None)):
        peer = {"sessionId": "0", "telephonySessionId": CONFERENCE, "partyId": party_id(ordinal, CONFERENCE)}
        tape.says(at, ordinal, "Gone", extension, reason="Conference", status={"peerId": peer})
    return tape.deliveries


RING_OUT_SECOND = "s-a0c14f2b77d1ez1928b3f4e33z5e6f90000"


def ring_out() -> list[Json]:
    """RingOut: one session to Ana's telephone, one to Dana's; their sessionIds are neighbours."""
    first = Tape(origin="RingOut")
    first.says(0, 1, "Setup", **sides({"phoneNumber": DANA_NUMBER}, {"phoneNumber": ANA_NUMBER}))
    first.says(0.3, 2, "Proceeding", ANA)
    first.says(3.0, 2, "Answered", ANA)
    first.says(3.02, 1, "Answered")
    second = Tape("1229016183016", RING_OUT_SECOND, "RingOut", NOON + timedelta(seconds=3.1))
    second.ana_dials()
    second.says(6.0, 2, "Answered")
    second.says(6.03, 1, "Answered", ANA)
    second.says(36.9, 2, "Disconnected")
    second.says(36.92, 1, "Disconnected", ANA)
    first.says(40.03, 2, "Disconnected", ANA)
    first.says(40.04, 1, "Disconnected")
    return first.deliveries + second.deliveries


def first_seen_disconnected() -> list[Json]:
    """We were down when the call began: its last two events are all that we have."""
    return inbound_answered()[-2:]


def presence_only() -> list[Json]:
    """Dana and Ana as presence alone shows it."""
    steps = ((0.3, "Ringing"), (3.1, "CallConnected"), (29.6, "OnHold"), (40.5, "CallConnected"))
    told = [
        presence(active_call(status), at=NOON + timedelta(seconds=after), sequence=34460 + step)
        for step, (after, status) in enumerate(steps)
    ]
    end = NOON + timedelta(seconds=96.089)
    return [*told, presence(active_call("NoCall", final=True), at=end)]


def both_sources() -> list[Json]:
    """The session stream and presence tell the same call."""
    return inbound_answered() + presence_only()


def trial_call() -> list[Json]:
    tape = Tape(origin="TestCall")
    tape.says(0, 1, "Setup", ANA)
    tape.says(2.0, 1, "Disconnected", ANA)
    return tape.deliveries


Script = Callable[[], list[Json]]

SCRIPTS: dict[str, Script] = {
    script.__name__: script
    for script in (
        inbound_answered,
        inbound_through_menu,
        inbound_missed,
        voicemail,
        outbound_answered,
        outbound_busy,
        outbound_no_answer,
        internal,
        own_number,
        queue_answered,
        queue_abandoned,
        blind_transfer,
        warm_transfer,
        parked_and_picked_up,
        parked_and_revived,
        conference,
        merged_into_conference,
        ring_out,
        first_seen_disconnected,
        presence_only,
        both_sources,
        trial_call,
    )
}
