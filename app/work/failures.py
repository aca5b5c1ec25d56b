"""Logs failures of background work, without repeating what is logged elsewhere."""

from typing import Any

from structlog.contextvars import get_contextvars

from app.errors import (
    AftercallError,
    RateLimited,
    RingCentralError,
    RingCentralUnreachable,
    StorageUnavailable,
)
from app.log_repeats import STILL_SECONDS, Repeats

_repeats = Repeats(every_seconds=STILL_SECONDS)
"""Of the whole process: a reason that persists is logged every few minutes."""


def log_failure(log: Any, event: str, error: AftercallError, **facts: Any) -> None:
    """Log a failure that is retried.

    An outage of RingCentral or of the database is logged once for all work, where it is noticed, and a 429
    with the response. Here these are logged at debug level.
    """
    fields: dict[str, Any] = {"why": str(error), **facts}
    if isinstance(error, RingCentralError):
        fields |= {"code": error.code, "status": error.status, "rc_request_id": error.request_id}
    if is_logged_elsewhere(error):
        log.debug(event, **fields)
        return
    account_id = facts.get("account_id") or get_contextvars().get("account_id")
    _repeats.tell(log.warning, event, key=(account_id, fields.get("code"), type(error).__name__), **fields)


def is_logged_elsewhere(error: AftercallError) -> bool:
    """Whether an error means an outage, or a rate limit."""
    if isinstance(error, RingCentralUnreachable):
        return error.status is None or error.status >= 500
    return isinstance(error, RateLimited | StorageUnavailable)
