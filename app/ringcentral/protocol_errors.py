"""What RingCentral's error responses mean. Does no I/O."""

import re
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import TypeVar

from app.errors import (
    CredentialsRefused,
    FeatureMissing,
    PermissionMissing,
    RateLimited,
    RequestRefused,
    RingCentralError,
    RingCentralUnreachable,
)
from app.ringcentral.ports import Penalty, Silence
from app.ringcentral.wire import ErrorBody, Response, read_error, read_rate_headers

E = TypeVar("E", bound=RingCentralError)


_UNSATISFIED = re.compile(r"\s*bytes\s+\*/([0-9]{1,18})\s*", re.IGNORECASE)


DEFAULT_PENALTY_SECONDS = 60.0


PENALTY_MARGIN = 1.02
"""A request a moment too early would restart the whole penalty."""


IDENTICAL_REQUEST_SECONDS = 2.0
"""Pause after CMN-304, "an identical request is already running"."""


TOKEN_CODES = frozenset({"OAU-128", "OAU-129", "OAU-149", "OAU-213"})


HOPELESS_CODES = frozenset(
    {f"OAU-{number}" for number in (120, 121, 123, 125, 127, 134, 136, 140, 141, 142, 146, 165, 168)}
)
"""401 because of the application or its credentials: a new token would be refused just the same."""


NOT_ABOUT_TOKENS = frozenset({"OAU-151", "CMN-405"})


SYNC_TOKEN_CODES = frozenset({"CLG-101", "CLG-102", "CLG-103", "CLG-104", "CLG-105"})


PERMISSION_CODES = frozenset({"CMN-401", "CMN-402", "CMN-408", "CMN-419", "InsufficientPermissions"})


FEATURE_CODES = frozenset({"CMN-109", "CMN-403"})


class TokenRefused(CredentialsRefused):
    """401 that a new token may cure, once: expired, revoked, or pushed out by another session."""


class ParameterExcluded(RequestRefused):
    """CLG-110: `sessionId` does not go together with one of `names`, the parameters that the answer speaks of."""

    names: tuple[str, ...] = ()


class TooManyIds(RequestRefused):
    """CMN-106: the bulk read asked for more than `limit` ids; None if the answer names no figure."""

    limit: int | None = None


class SyncTokenRefused(RequestRefused):
    """CLG-101 to CLG-105: the sync token is not valid (any more), or too much has changed since: begin anew."""


class RangeRefused(RequestRefused):
    """416: the range begins behind the end; `total` is the size, None if the answer does not say."""

    total: int | None = None


def decode_error(
    answer: Response, now: datetime, *, penalty_seconds: float = DEFAULT_PENALTY_SECONDS
) -> RingCentralError:
    """Make the error of an answer that is no success. Decides by status and code, never by message.

    `now` (aware UTC) is when the answer came; `penalty_seconds` counts for a 429 that does not say how long.
    TokenRefused: renew the token and repeat once. RingCentralUnreachable: may be repeated after a pause.
    """
    body = read_error(answer)
    status = answer.status
    if status == 429:
        return _rate_limited(answer, body, now, penalty_seconds)
    if status == 408 or (status >= 500 and status != 501):
        return _error(RingCentralUnreachable, answer, body)
    if status == 401:
        return _error(_kind_of_401(body), answer, body)
    if status == 403 and body.code in FEATURE_CODES:
        return _error(FeatureMissing, answer, body)
    if status == 403 and PERMISSION_CODES.intersection(body.codes):
        return _permission_missing(answer, body)
    if "CLG-110" in body.codes:
        excluded = _error(ParameterExcluded, answer, body)
        excluded.names = body.names
        return excluded
    if SYNC_TOKEN_CODES.intersection(body.codes):
        return _error(SyncTokenRefused, answer, body)
    if "CMN-106" in body.codes:
        too_many = _error(TooManyIds, answer, body)
        too_many.limit = next((number for number in body.numbers if number > 0), None)
        return too_many
    if status == 416:
        beyond = _error(RangeRefused, answer, body)
        told = _UNSATISFIED.fullmatch(answer.headers.get("content-range", ""))
        beyond.total = int(told[1]) if told else None
        return beyond
    return _error(RequestRefused, answer, body)


def decode_token_error(
    answer: Response, now: datetime, *, penalty_seconds: float = DEFAULT_PENALTY_SECONDS
) -> RingCentralError:
    """Make the error of a token answer that is no success: what is not about time is about credentials."""
    error = decode_error(answer, now, penalty_seconds=penalty_seconds)
    if isinstance(error, RateLimited | RingCentralUnreachable):
        return error
    if answer.status in {404, 405} or answer.is_redirect:
        return CredentialsRefused(
            f"no token endpoint there (HTTP {answer.status}): is RC_SERVER_URL right?",
            status=answer.status,
            code=error.code,
            request_id=error.request_id,
        )
    return CredentialsRefused(error.detail, status=error.status, code=error.code, request_id=error.request_id)


def penalty_of(
    answer: Response, now: datetime, *, penalty_seconds: float = DEFAULT_PENALTY_SECONDS
) -> Penalty | None:
    """Say what has to fall silent because of this answer; None unless it is a 429."""
    if answer.status != 429:
        return None
    codes = read_error(answer).codes
    reach = Silence.BUCKET
    if "CMN-310" in codes:
        reach = Silence.EVERYTHING
    elif "CMN-304" in codes:
        reach = Silence.REQUEST
    return Penalty(reach=reach, until=_retry_at(answer, codes, now, penalty_seconds))


def _kind_of_401(body: ErrorBody) -> type[RingCentralError]:
    if HOPELESS_CODES.intersection(body.codes):
        return CredentialsRefused
    if NOT_ABOUT_TOKENS.intersection(body.codes) and not TOKEN_CODES.intersection(body.codes):
        return RequestRefused
    return TokenRefused


def _permission_missing(answer: Response, body: ErrorBody) -> PermissionMissing:
    return PermissionMissing(
        _detail(answer, body),
        permission=body.permission,
        status=answer.status,
        code=body.code,
        request_id=answer.request_id,
    )


def _rate_limited(answer: Response, body: ErrorBody, now: datetime, penalty_seconds: float) -> RateLimited:
    return RateLimited(
        _detail(answer, body),
        retry_at=_retry_at(answer, body.codes, now, penalty_seconds),
        code=body.code,
        request_id=answer.request_id,
    )


def _retry_at(answer: Response, codes: Collection[str], now: datetime, penalty_seconds: float) -> datetime:
    seconds = read_rate_headers(answer, now).retry_after_seconds
    if seconds is None:
        seconds = IDENTICAL_REQUEST_SECONDS if "CMN-304" in codes else penalty_seconds
    return now + timedelta(seconds=seconds * PENALTY_MARGIN)


def _error(kind: type[E], answer: Response, body: ErrorBody) -> E:
    return kind(_detail(answer, body), status=answer.status, code=body.code, request_id=answer.request_id)


def _detail(answer: Response, body: ErrorBody) -> str:
    said = " ".join(part for part in (body.code, body.text) if part)
    return f"RingCentral answered {answer.status}{': ' if said else ''}{said}"
