"""Requests and responses as values, and what every response has: JSON, codes, rate headers. Pure.

`protocol` builds requests and decodes responses with these; `transport` carries them.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from app.ringcentral.models.fields import read_text
from app.values.storable import BadJson, decode_json

LIGHT = "Light"
MEDIUM = "Medium"
HEAVY = "Heavy"
AUTH = "Auth"
"""RingCentral's names of its rate groups; an open set (guide "Rate limits")."""

LONGEST_WAIT_SECONDS = 86_400.0
"""Longest wait that a `Retry-After` can impose, seconds: a day."""

LARGEST_LIMIT = 10_000
"""Largest limit accepted from a header. RingCentral's own are 5 to 50 requests per window."""

SHORTEST_WINDOW_SECONDS = 0.01
LONGEST_WINDOW_SECONDS = 3600.0
"""Bounds of a window in a header: RingCentral's is 60 s, that of a sped-up simulation a fraction of a second.
"""

_RATE_HEADERS = frozenset(
    {"x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-window", "retry-after"}
)
_HEADER_NUMBER = re.compile(r"\s*[0-9]{1,400}(?:\.[0-9]{1,12})?\s*", re.ASCII)
_LONG_DIGITS = re.compile(r"\+?[0-9]{5,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request to RingCentral.

    `url` is a path that begins with `/`, or a complete address that RingCentral gave us. `route` is the path
    with placeholders for its ids, for logs and metrics. `is_repeatable`: repeating it after a lost response
    does no harm. `is_slow`: it gets the long timeout.
    """

    method: str
    url: str
    route: str
    group: str
    params: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    form: Mapping[str, str] | None = field(default=None, repr=False)
    is_repeatable: bool = True
    is_slow: bool = False

    @property
    def is_conditional(self) -> bool:
        """Whether 304 is a possible response."""
        return "If-None-Match" in self.headers


@dataclass(frozen=True, slots=True)
class Response:
    """A response with its complete body. Names of `headers` are in lower case.

    `sent_at` is when the request left, by our clock: the response describes the state then or later.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    sent_at: datetime

    @classmethod
    def of(
        cls,
        status: int,
        headers: Mapping[str, str] | Iterable[tuple[str, str]],
        body: bytes = b"",
        *,
        sent_at: datetime,
    ) -> "Response":
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        read: dict[str, str] = {}
        for given, value in pairs:
            name = given.lower()
            # Two different limits would make one that is wrong, so both are dropped. Of any other header the
            # last one counts.
            differs = name in _RATE_HEADERS and read.get(name, value) != value
            read[name] = f"{read[name]}, {value}" if differs else value
        return cls(status, read, body, sent_at)

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_not_modified(self) -> bool:
        return self.status == 304

    @property
    def is_redirect(self) -> bool:
        return self.status in {301, 302, 303, 307, 308}

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    @property
    def request_id(self) -> str | None:
        """RingCentral's own id of the exchange, worth logging."""
        value = self.headers.get("rcrequestid", "")[:80]
        return value if value and value.isprintable() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RateHeaders:
    """What a response says about its rate limit; every part may be missing.

    `group` is spelled like our constants (`heavy` becomes `Heavy`). `window_seconds` is the length of the
    window, not the time left in it. `ignored` names the headers whose value cannot be right; their part is
    None.
    """

    group: str | None = None
    limit: int | None = None
    remaining: int | None = None
    window_seconds: float | None = None
    retry_after_seconds: float | None = None
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBody:
    """What an error response says, on both of its levels; any part may be missing.

    `codes` has numbered codes (`CMN-408`, `OAU-128`) before words (`InsufficientPermissions`). `names` are
    the parameters that it mentions. Texts are for people: long runs of digits are masked.
    """

    codes: tuple[str, ...] = ()
    text: str | None = None
    names: tuple[str, ...] = ()
    permission: str | None = None
    numbers: tuple[int, ...] = ()

    @property
    def code(self) -> str | None:
        return self.codes[0] if self.codes else None


def decode_object(response: Response) -> Mapping[str, Any]:
    """Decode a body that must be one object. Raises BadJson."""
    value = decode_json(response.body)
    if not isinstance(value, dict):
        raise BadJson("the body is not an object")
    return value


def read_rate_headers(response: Response, now: datetime) -> RateHeaders:
    """Read the rate headers. Fractions are accepted; a value that cannot be right is None.

    `Retry-After` may be a date, as HTTP allows; `now` (aware UTC) turns it into seconds. A wait of zero, or
    until a past date, counts as none, so that the default penalty of a 429 applies.
    """
    headers = response.headers
    group = headers.get("x-rate-limit-group", "").strip()[:64]
    limit = _number_within(headers.get("x-rate-limit-limit"), 1, LARGEST_LIMIT)
    remaining = _number_within(headers.get("x-rate-limit-remaining"), 0, limit or LARGEST_LIMIT)
    window = _number_within(
        headers.get("x-rate-limit-window"), SHORTEST_WINDOW_SECONDS, LONGEST_WINDOW_SECONDS
    )
    retry_after = _retry_after(headers.get("retry-after"), now)
    read = {
        "x-rate-limit-limit": limit,
        "x-rate-limit-remaining": remaining,
        "x-rate-limit-window": window,
        "retry-after": retry_after,
    }
    return RateHeaders(
        group=group.capitalize() if group.isprintable() and group else None,
        limit=None if limit is None else int(limit),
        remaining=None if remaining is None else int(remaining),
        window_seconds=window,
        retry_after_seconds=retry_after or None,
        ignored=tuple(name for name, value in read.items() if value is None and name in headers),
    )


def read_error(response: Response) -> ErrorBody:
    """Read an error body: RingCentral's own form, the OAuth form, or nothing readable."""
    try:
        top = decode_json(response.body)
    except BadJson:
        return ErrorBody()
    return _read_error_object(top) if isinstance(top, dict) else ErrorBody()


def _read_error_object(top: Mapping[str, Any]) -> ErrorBody:
    inner = top.get("errors")
    levels = [*(item for item in inner if isinstance(item, dict)), top] if isinstance(inner, list) else [top]
    codes = _each(levels, "errorCode") + _each(levels, "error")
    texts = _each(levels, "message") + _each(levels, "error_description")
    bracketed = [name for text in texts for name in re.findall(r"\[([A-Za-z]{1,64})\]", text)]
    permissions = _each(levels, "permissionName")
    return ErrorBody(
        codes=tuple(dict.fromkeys(sorted(codes, key=lambda code: "-" not in code))),
        text=_LONG_DIGITS.sub("#", texts[0])[:300] if texts else None,
        names=tuple(dict.fromkeys([*_each(levels, "parameterName"), *bracketed])),
        permission=next(iter([*permissions, *bracketed]), None),
        numbers=tuple(
            int(number) for text in texts for number in re.findall(r"(?<![\w-])[0-9]{1,6}(?!\w)", text)
        ),
    )


def _each(levels: Iterable[Mapping[str, Any]], name: str) -> list[str]:
    found = (read_text(level.get(name)) for level in levels)
    return [text for text in found if text]


def _retry_after(value: str | None, now: datetime) -> float | None:
    if value is None:
        return None
    seconds = _number_within(value, 0, math.inf)
    if seconds is None:
        seconds = _seconds_until(value, now)
    return None if seconds is None else min(seconds, LONGEST_WAIT_SECONDS)


def _seconds_until(value: str, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(value)
        if moment.tzinfo is None:  # "-0000", or no zone at all
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, (moment - now).total_seconds())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _number_within(value: str | None, least: float, most: float) -> float | None:
    """Read a plain decimal number within bounds. Two headers of one name ("10, 10") are not a number."""
    if value is None or not _HEADER_NUMBER.fullmatch(value):
        return None
    number = float(value)
    return number if least <= number <= most else None
