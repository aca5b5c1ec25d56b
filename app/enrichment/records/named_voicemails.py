"""Which voicemails a call has by its records, and what that means for its readiness."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from app.calls.ledger import Ledger
from app.calls.media import voicemails
from app.calls.media.voicemails import PART, VoicemailRow, VoicemailState, may_have_voicemail, readiness_of
from app.calls.model import Call, Outcome, ReadinessState, Stage
from app.enrichment.records.reasons import MissingReason
from app.ringcentral.models import CallRecord, Message


async def take_named_voicemails(
    ledger: Ledger, calls: Mapping[str, Call], records: Mapping[str, Sequence[CallRecord]]
) -> list[VoicemailRow]:
    """Return the rows of voicemails that the records of each call name for the first time, and set the calls'
    readiness.

    `calls` and `records` are by call id. The rows refer to those of the calls: save them after these.
    """
    may_be_known = [
        call_id
        for call_id, of_call in records.items()
        if may_have_voicemail(calls[call_id].readiness) or any(_messages(record) for record in of_call)
    ]
    known = await voicemails.load_of_calls(ledger.db, ledger.account_id, may_be_known)
    opened: list[VoicemailRow] = []
    for call_id, of_call in records.items():
        call, stored = calls[call_id], known.get(call_id, {})
        new = open_rows(call, of_call, stored, ledger.now)
        set_readiness(call, (*stored.values(), *new), ledger.now)
        ledger.keep(call)
        opened += new
    return opened


def open_rows(
    call: Call, records: Iterable[CallRecord], known: Mapping[str, VoicemailRow], now: datetime
) -> list[VoicemailRow]:
    """Return a row for each voicemail that the records name for the first time.

    The mailbox is that of the message's `uri`, or else the extension of the record or of its leg.
    """
    rows: dict[str, VoicemailRow] = {}
    for record in records:
        parts = (record, *(record.legs or ()))
        extension_id = next((part.extension_id for part in parts if part.extension_id), None)
        for message in _messages(record):
            mailbox = message.extension_id or extension_id
            if mailbox is not None and message.id not in known:
                row = VoicemailRow(
                    account_id=call.account_id,
                    voicemail_id=message.id,
                    call_id=call.call_id,
                    extension_id=mailbox,
                    state=VoicemailState.PENDING,
                    due_at=now,
                    created_at=now,
                    updated_at=now,
                )
                rows.setdefault(message.id, row)
    return list(rows.values())


def _messages(record: CallRecord) -> list[Message]:
    """Return the voicemails that a record and its legs name."""
    named = (part.message for part in (record, *(record.legs or ())))
    return [message for message in named if message is not None and message.is_voicemail]


def set_readiness(call: Call, rows: Sequence[VoicemailRow], now: datetime) -> None:
    """Set the readiness of the call's voicemail.

    A record often names the voicemail seconds after it shows that there is one. Until then, and while the
    record is still read, the voicemail is pending.
    """
    if rows:
        state, reason = readiness_of(rows)
        call.ready(PART, state, now, reason)
    elif call.outcome != Outcome.VOICEMAIL:
        call.ready(PART, ReadinessState.NONE, now)
    elif call.stage == Stage.FINAL:
        call.ready(PART, ReadinessState.NONE, now, MissingReason.NOT_NAMED)
    else:
        call.ready(PART, ReadinessState.PENDING, now, MissingReason.NOT_NAMED)


def stop_waiting_for_name(call: Call, now: datetime) -> None:
    """Give up a voicemail that no record of a call named while they were read."""
    if call.readiness.get(PART, {}).get("reason") == MissingReason.NOT_NAMED:
        call.ready(PART, ReadinessState.NONE, now, MissingReason.NOT_NAMED)
