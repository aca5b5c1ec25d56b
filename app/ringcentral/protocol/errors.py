"""What RingCentral's error responses mean. Pure."""

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
"""Added to each penalty: a request a moment too early would restart it."""

IDENTICAL_REQUEST_SECONDS = 2.0
"""Pause after CMN-304, "an identical request is already running"."""

TOKEN_CODES = frozenset({"OAU-128", "OAU-129", "OAU-149", "OAU-213"})

HOPELESS_CODES = frozenset(
    {f"OAU-{number}" for number in (120, 121, 123, 125, 127, 134, 136, 140, 141, 142, 146, 165, 168)}
)
"""401 because of the app or its credentials: a new token would be refused as well."""

NOT_ABOUT_TOKENS = frozenset({"OAU-151", "CMN-405"})

SYNC_TOKEN_CODES = frozenset({"CLG-101", "CLG-102", "CLG-103", "CLG-104", "CLG-105"})

PERMISSION_CODES = frozenset({"CMN-401", "CMN-402", "CMN-408", "CMN-419", "InsufficientPermissions"})

FEATURE_CODES = frozenset({"CMN-109", "CMN-403"})


class TokenRefused(CredentialsRefused):
    """401 that a new token may cure, once: expired, revoked, or displaced by another session."""


class ParameterExcluded(RequestRefused):
    """CLG-110: `sessionId` cannot be combined with one of `names`, parameters that the response mentions."""

    names: tuple[str, ...] = ()


class TooManyIds(RequestRefused):
    """CMN-106: the bulk read had more than `limit` ids; None if the response gives no number."""

    limit: int | None = None


class SyncTokenRefused(RequestRefused):
    """CLG-101 to CLG-105: the sync token is invalid or expired, or too much has changed since: start again
    without it.
    """


class RangeRefused(RequestRefused):
    """416: the range begins beyond the end. `total` is the size, None if the response does not say."""

    total: int | None = None


def decode_error(
    response: Response, now: datetime, *, penalty_seconds: float = DEFAULT_PENALTY_SECONDS
) -> RingCentralError:
    """Make the error of an unsuccessful response. Decides by status and code, never by message.

    `now` (aware UTC) is when the response arrived. `penalty_seconds` applies to a 429 without a duration.
    TokenRefused: renew the token and repeat once. RingCentralUnreachable: may be repeated after a pause.
    """
    body = read_error(response)
    status = response.status
    if status == 429:
        return _rate_limited(response, body, now, penalty_seconds)
    if status == 408 or (status >= 500 and status != 501):
        return _error(RingCentralUnreachable, response, body)
    if status == 401:
        return _error(_kind_of_401(body), response, body)
    if status == 403 and body.code in FEATURE_CODES:
        return _error(FeatureMissing, response, body)
    if status == 403 and PERMISSION_CODES.intersection(body.codes):
        return _permission_missing(response, body)
    if "CLG-110" in body.codes:
        excluded = _error(ParameterExcluded, response, body)
        excluded.names = body.names
        return excluded
    if SYNC_TOKEN_CODES.intersection(body.codes):
        return _error(SyncTokenRefused, response, body)
    if "CMN-106" in body.codes:
        too_many = _error(TooManyIds, response, body)
        too_many.limit = next((number for number in body.numbers if number > 0), None)
        return too_many
    if status == 416:
        beyond = _error(RangeRefused, response, body)
        stated = _UNSATISFIED.fullmatch(response.headers.get("content-range", ""))
        beyond.total = int(stated[1]) if stated else None
        return beyond
    return _error(RequestRefused, response, body)


def decode_token_error(
    response: Response, now: datetime, *, penalty_seconds: float = DEFAULT_PENALTY_SECONDS
) -> RingCentralError:
    """Make the error of an unsuccessful token response: unless it will pass, the credentials are at fault."""
    error = decode_error(response, now, penalty_seconds=penalty_seconds)
    if isinstance(error, RateLimited | RingCentralUnreachable):
        return error
    if response.status in {404, 405} or response.is_redirect:
        return CredentialsRefused(
            f"no token endpoint there (HTTP {response.status}): is RC_SERVER_URL right?",
            status=response.status,
            code=error.code,
            request_id=error.request_id,
        )
    return CredentialsRefused(error.detail, status=error.status, code=error.code, request_id=error.request_id)


def penalty_of(
    response: Response, now: datetime, *, penalty_seconds: float = DEFAULT_PENALTY_SECONDS
) -> Penalty | None:
    """Return what may not be sent because of this response; None unless it is a 429."""
    if response.status != 429:
        return None
    codes = read_error(response).codes
    reach = Silence.BUCKET
    if "CMN-310" in codes:
        reach = Silence.EVERYTHING
    elif "CMN-304" in codes:
        reach = Silence.REQUEST
    return Penalty(reach=reach, until=_retry_at(response, codes, now, penalty_seconds))


def _kind_of_401(body: ErrorBody) -> type[RingCentralError]:
    if HOPELESS_CODES.intersection(body.codes):
        return CredentialsRefused
    if NOT_ABOUT_TOKENS.intersection(body.codes) and not TOKEN_CODES.intersection(body.codes):
        return RequestRefused
    return TokenRefused


def _permission_missing(response: Response, body: ErrorBody) -> PermissionMissing:
    return PermissionMissing(
        _detail(response, body),
        permission=body.permission,
        status=response.status,
        code=body.code,
        request_id=response.request_id,
    )


def _rate_limited(response: Response, body: ErrorBody, now: datetime, penalty_seconds: float) -> RateLimited:
    return RateLimited(
        _detail(response, body),
        retry_at=_retry_at(response, body.codes, now, penalty_seconds),
        code=body.code,
        request_id=response.request_id,
    )


def _retry_at(response: Response, codes: Collection[str], now: datetime, penalty_seconds: float) -> datetime:
    seconds = read_rate_headers(response, now).retry_after_seconds
    if seconds is None:
        seconds = IDENTICAL_REQUEST_SECONDS if "CMN-304" in codes else penalty_seconds
    return now + timedelta(seconds=seconds * PENALTY_MARGIN)


def _error(kind: type[E], response: Response, body: ErrorBody) -> E:
    return kind(
        _detail(response, body), status=response.status, code=body.code, request_id=response.request_id
    )


def _detail(response: Response, body: ErrorBody) -> str:
    said = " ".join(part for part in (body.code, body.text) if part)
    return f"RingCentral answered {response.status}{': ' if said else ''}{said}"
