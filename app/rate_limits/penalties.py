"""Long silences that RingCentral has requested, reported with their end.

A penalty of a minute passes without anyone's help. One of an hour or a day stops all requests: operators
should know why no records come, and until when.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import rate_buckets
from app.errors import AccessReason
from app.rate_limits.bucket_state import BucketState

LONG = timedelta(minutes=5)
"""A longer silence is reported."""

_STOPS = {
    "heavy": "no call records, recordings or lists are read",
    "auth": "no new token is requested",
    "light": "no subscription is renewed and no insights are read",
    "medium": "some requests are not sent",
}


async def load_silences(db: AsyncConnection, now: datetime) -> list[tuple[str, str, dict[str, Any]]]:
    """Return account, credentials' name and problem of each bucket with a long silence."""
    query = select(rate_buckets.c.account_id, rate_buckets.c.bucket, rate_buckets.c.state)
    query = query.order_by(rate_buckets.c.account_id, rate_buckets.c.bucket)
    found = []
    for row in await db.execute(query):
        name, _, group = row.bucket.rpartition(":")
        problem = describe_silence(group, row.state, now)
        if problem is not None:
            found.append((row.account_id, name, problem))
    return found


def describe_silence(group: str, stored: Mapping[str, Any], now: datetime) -> dict[str, Any] | None:
    """Return {code, detail, since} for a bucket with a long silence, None for any other."""
    state = BucketState.from_json(stored)
    until, since = state.penalty_until, state.penalty_since or now
    if until is None or until <= now or until - since <= LONG:
        return None
    ends = until.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return {
        "code": AccessReason.SILENCED,
        "detail": f"RingCentral asked us to wait until {ends} (429, Retry-After; rate group "
        f"{group.capitalize()}): "
        f"until then {_STOPS.get(group, 'its requests are not sent')}. Calls are recorded from the Call Log "
        "afterwards. If that is unexpected, ask RingCentral's support why.",
        "since": since.isoformat(),
    }
