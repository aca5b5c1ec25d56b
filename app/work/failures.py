"""Logs what background work could not do, without repeating what is logged elsewhere."""

from typing import Any

from structlog.contextvars import get_contextvars

from app.errors import (
    AftercallError,
    RateLimited,
    RingCentralError,
    RingCentralUnreachable,
    StorageUnavailable,
)
from app.repeats import STILL_SECONDS, Repeats

_repeats = Repeats(every_seconds=STILL_SECONDS)
"""Of the whole process: a reason that stays is told every few minutes."""


def log_failure(log: Any, event: str, error: AftercallError, **facts: Any) -> None:
    """Log a failure that is tried again.

    An outage of RingCentral or of the database is logged where it is noticed, once for all work, and 429s are logged
    with the answers: those are told at debug level.
    """
    told: dict[str, Any] = {"why": str(error), **facts}
    if isinstance(error, RingCentralError):
        told |= {"code": error.code, "status": error.status, "rc_request_id": error.request_id}
    if is_logged_elsewhere(error):
        log.debug(event, **told)
        return
    account_id = facts.get("account_id") or get_contextvars().get("account_id")
    _repeats.tell(log.warning, event, key=(account_id, told.get("code"), type(error).__name__), **told)


def is_logged_elsewhere(error: AftercallError) -> bool:
    """Whether an error tells of an outage, or of a rate limit."""
    if isinstance(error, RingCentralUnreachable):
        return error.status is None or error.status >= 500
    return isinstance(error, RateLimited | StorageUnavailable)
