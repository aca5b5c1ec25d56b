"""Which other sessions belong with a call by its records. Does no input or output.

A warm transfer names the other session as `transferTarget` or `transferee`, on the record or on a leg. A leg
can belong to another session than its record (RingCentral's API description).
"""

from collections.abc import Iterable
from typing import Any

from app.calls.model import Call, LinkKind
from app.calls.related.links import Link
from app.ringcentral.models import BadRecord, CallRecord, read_call_record


def links_of_records(call: Call, records: Iterable[CallRecord]) -> list[Link]:
    """Return the links in a call's records, each once."""
    own = call.telephony_session_id
    found: dict[tuple[str, str], Link] = {}
    for record in records:
        for part in (record, *(record.legs or ())):
            for other in (part.transfer_target, part.transferee):
                if other and other != own:
                    found[(other, LinkKind.ATTENDED_TRANSFER)] = Link(own, other, LinkKind.ATTENDED_TRANSFER)
            elsewhere = part.telephony_session_id
            if elsewhere and elsewhere not in (own, record.telephony_session_id):
                found[(elsewhere, LinkKind.LINKED)] = Link(own, elsewhere, LinkKind.LINKED)
    return list(found.values())


def links_of_rows(call: Call, rows: Iterable[Any]) -> list[Link]:
    """Return the links in the stored records of a call (rows of `call_records`)."""
    records = [read_call_record(row.raw) for row in rows]
    return links_of_records(call, [record for record in records if not isinstance(record, BadRecord)])
