"""The day of a delivery, by which PostgreSQL partitions the table. Does no input or output.

It is the day on which RingCentral sent the delivery, as the body says: a delivery that comes again has the
same day, even after midnight, so the primary key still recognises it. A body that says nothing, or something
that is not believable, has the day of its arrival.
"""

from datetime import date, datetime, timedelta

_EARLIEST = timedelta(days=2)
_LATEST = timedelta(days=1)

PAST_ITS_DAY = _EARLIEST + timedelta(days=1)
"""Every delivery of a day arrived before this time after the day's beginning."""


def day_of(received_at: datetime, sent_at: datetime | None) -> date:
    """Return the day (UTC) of a delivery. Both times are aware UTC."""
    arrived = received_at.date()
    if sent_at is not None and arrived - _EARLIEST <= sent_at.date() <= arrived + _LATEST:
        return sent_at.date()
    return arrived
