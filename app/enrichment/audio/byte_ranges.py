"""Byte ranges of HTTP (RFC 9110, sections 13.1.5 and 14): requested, received, and resolved. No I/O."""

import re
from dataclasses import dataclass

_RANGE = re.compile(r"\s*bytes\s*=\s*([0-9]{0,18})-([0-9]{0,18})\s*", re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"\s*bytes\s+([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """One range: from `first` to `last`, both inclusive, or to the end; without `first`, the last `last`
    bytes."""

    first: int | None
    last: int | None

    def __str__(self) -> str:
        first, last = ("" if end is None else str(end) for end in (self.first, self.last))
        return f"bytes={first}-{last}"


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `first` to `last` inclusive, out of `total`. `total` None: unknown; `last` None: to the end."""

    first: int
    last: int | None
    total: int | None

    @property
    def size(self) -> int | None:
        return None if self.last is None else self.last - self.first + 1

    @property
    def content_range(self) -> str:
        """The header of a 206; only where `last` is known."""
        return f"bytes {self.first}-{self.last}/{'*' if self.total is None else self.total}"


def read_range(header: str | None) -> ByteRange | None:
    """Read a Range header; None without one, and for what may be ignored: other units, several ranges,
    nonsense."""
    match = _RANGE.fullmatch(header) if header else None
    if match is None or not (match[1] or match[2]):
        return None
    asked = ByteRange(int(match[1]) if match[1] else None, int(match[2]) if match[2] else None)
    if asked.first is not None and asked.last is not None and asked.last < asked.first:
        return None
    return asked


def is_same_version(if_range: str | None, etag: str | None) -> bool:
    """Whether a range may be answered with a part, by the header If-Range and the current strong ETag.

    A date never matches, since no response has one; nor does a tag where the current version has none.
    """
    return if_range is None or if_range.strip() == etag


def satisfy(asked: ByteRange, total: int) -> Span | None:
    """Return which bytes of `total` a range means; None if it means none, which is answered with 416."""
    if asked.first is None:
        wanted = min(asked.last or 0, total)
        return Span(total - wanted, total - 1, total) if wanted else None
    if asked.first >= total:
        return None
    last = total - 1 if asked.last is None else min(asked.last, total - 1)
    return Span(asked.first, last, total)


def read_content_range(header: str | None) -> Span | None:
    """Read the Content-Range of a 206; None if it is missing or invalid."""
    match = _CONTENT_RANGE.fullmatch(header) if header else None
    if match is None or int(match[2]) < int(match[1]):
        return None
    return Span(int(match[1]), int(match[2]), None if match[3] == "*" else int(match[3]))
