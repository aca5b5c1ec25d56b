"""Values in the form that a field wants: times, durations, choices. Pure."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo

from app.projections.mappings.model import Scalar
from app.values.times import time_text


def _without_zone(moment: datetime, _: tzinfo) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _local(moment: datetime, zone: tzinfo) -> str:
    return moment.astimezone(zone).isoformat(timespec="seconds")


def _local_date(moment: datetime, zone: tzinfo) -> str:
    return moment.astimezone(zone).date().isoformat()


TIMES: Mapping[str, Callable[[datetime, tzinfo], Scalar]] = {
    "utc": lambda moment, _: time_text(moment),
    "utc without zone": _without_zone,
    "local": _local,
    "local date": _local_date,
    "unix milliseconds": lambda moment, _: round(moment.timestamp() * 1000),
}
"""Each form of a time. The zone is that of the call's owner."""

ZONED = frozenset({"local", "local date"})


def whole_seconds(seconds: float) -> int:
    """Return whole seconds, halves rounded up."""
    return int(seconds + 0.5)


def whole_minutes(seconds: float) -> int:
    """Return whole minutes, halves rounded up; at least one if there is any time at all."""
    return max(int(seconds / 60 + 0.5), 1 if seconds > 0 else 0)


def minutes_and_seconds(seconds: float) -> str:
    """Return `mm:ss`; calls of an hour and more have more than 59 minutes."""
    minutes, rest = divmod(whole_seconds(seconds), 60)
    return f"{minutes:02}:{rest:02}"


DURATIONS: Mapping[str, Callable[[float], Scalar]] = {
    "milliseconds": lambda seconds: round(seconds * 1000),
    "seconds": whole_seconds,
    "minutes": whole_minutes,
    "mm:ss": minutes_and_seconds,
}
"""Each form of a duration."""
