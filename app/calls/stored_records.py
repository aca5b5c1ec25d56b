"""The stored records of a call, as versions that its derivation reads. No I/O."""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from app.calls.evidence.versions import RecordVersion
from app.calls.model import Call, Source, Stage
from app.ringcentral.models import BadRecord, read_call_record


def read_versions(call: Call, rows: Iterable[Row[Any]]) -> Iterator[RecordVersion]:
    """Read the stored records of a call (rows of `call_records`); damaged ones are left out."""
    for row in rows:
        record = read_call_record(row.raw)
        if not isinstance(record, BadRecord):
            early = is_early(call, row.fetched_at)
            yield RecordVersion(record, Source(row.source), row.fetched_at, early)


def are_removed(call: Call, rows: Collection[Row[Any]]) -> bool:
    """Whether the call had records and has none any more: they were removed after their retention.

    Such a call stays as it is, since it cannot be derived without them. Events are kept as facts, and records
    that are read again derive it together with these.
    """
    return call.primary_record_id is not None and not rows


def is_early(call: Call, fetched_at: datetime) -> bool:
    """Whether the call was still going on at `fetched_at`: records of that time are provisional in every
    field."""
    return call.stage == Stage.LIVE or (call.ended_at is not None and fetched_at < call.ended_at)
