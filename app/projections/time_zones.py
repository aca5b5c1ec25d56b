"""Time zones by their IANA names. The tables are those of the operating system."""

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo


def find_zone(name: str) -> tzinfo | None:
    """Return the time zone with this name; None if there is none."""
    # "UTC" works on systems without the tables.
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    # A name can be that of a folder, too long for a file, or lead out of the tables.
    except (KeyError, OSError, ValueError):
        return None
