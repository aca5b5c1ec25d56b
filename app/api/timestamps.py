"""Points in time as callers send them."""

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, PlainSerializer

from app.values.times import time_text

_YEARS = range(1970, 2200)
_FORMAT = "Must be a time in the format of RFC 3339, such as 2026-03-10T18:00:00Z"


def check_year(value: datetime) -> datetime:
    """Return the time. Raises ValueError if its year is out of range."""
    if value.year not in _YEARS:
        raise ValueError(f"The year must be between {_YEARS[0]} and {_YEARS[-1]}")
    return value


def _check_is_text(value: Any) -> Any:
    # Pydantic would read a bare number as seconds or as milliseconds, by its size.
    if not isinstance(value, str | datetime):
        raise ValueError(_FORMAT)  # noqa: TRY004 - pydantic's protocol
    return value


def _restore_offset(value: Any) -> Any:
    """Undo what URLs do to `+02:00`, which arrives as ` 02:00` if it was not escaped."""
    if not isinstance(value, str):
        return value
    if value.lstrip("+-").replace(".", "").isdecimal():
        # Could be seconds, milliseconds or a date without dashes; a guess would list the wrong calls.
        raise ValueError(_FORMAT)
    return re.sub(r" (\d\d:?\d\d)$", r"+\1", value)


Timestamp = Annotated[
    AwareDatetime,
    BeforeValidator(_check_is_text),
    AfterValidator(check_year),
    PlainSerializer(time_text),
]
"""A point in time with its offset in a body; stored and shown in UTC."""

QueryTimestamp = Annotated[AwareDatetime, BeforeValidator(_restore_offset), AfterValidator(check_year)]
"""A point in time with its offset in a query string."""
