"""When calls are read in the Call Log. Made from the settings."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.ringcentral.models import CallRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLogPlan:
    """Durations in seconds; see `Settings`."""

    first_after: float
    gap: float
    horizon: float
    settled_after: float
    """Two equal reads this far apart mean that a record does not change any more."""

    recording_after: float = 3600.0
    """From the end of a call to the first request for a recording that its records have not settled. While
    the records are still read, such a request would take from the budget that those reads need."""

    archives: bool = False
    """Whether recordings are copied to the archive once they are ready."""

    call_types: tuple[str, ...] = ("Voice",)
    """RingCentral's types of the records that become calls: Voice, Fax."""

    page_size: int = 1000
    """Records per page."""

    insights_after: float | None = None
    """From the end of a recorded call to the request for its insights; None: they are not requested."""

    kept: float | None = None
    """How long after its end a call is kept. One that ended earlier may have been removed; None: no limit."""

    def is_kept(self, ended_at: datetime | None, now: datetime) -> bool:
        """Whether a call with this end is still kept, so that records may open it."""
        return self.kept is None or ended_at is None or ended_at >= now - timedelta(seconds=self.kept)

    def may_open(self, records: Iterable[CallRecord]) -> bool:
        """Whether a call that only these records know is one that the operator wants.

        A record without a type is a voice call's: older ones have none.
        """
        wanted = {one.casefold() for one in self.call_types}
        return all(record.type is None or record.type.casefold() in wanted for record in records)
