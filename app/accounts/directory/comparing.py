"""What a read of the directory changes about the extensions that are known. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.ringcentral.models.directory import DirectoryEntry


class Source(StrEnum):
    """Which of RingCentral's lists was read."""

    DIRECTORY = "directory"
    EXTENSIONS = "extensions"
    """Read where the directory is refused; it has no direct numbers."""


@dataclass(frozen=True, slots=True)
class KnownExtension:
    """An extension as it is stored.

    `phone_numbers` are objects with `phoneNumber` and `usageType` as RingCentral wrote them. `kind` is
    RingCentral's type. `left_at`: it was in the directory, but is not any more.
    """

    extension_id: str
    number: str | None = None
    name: str | None = None
    email: str | None = None
    kind: str | None = None
    status: str | None = None
    phone_numbers: Sequence[Mapping[str, Any]] = ()
    left_at: datetime | None = None


def compare(
    known: Iterable[KnownExtension], entries: Iterable[DirectoryEntry], source: Source, now: datetime
) -> Sequence[KnownExtension]:
    """Return the extensions that a complete list changes, in their new state. One not in it has left.

    Of several entries with one id the last counts.
    """
    before = {one.extension_id: one for one in known}
    listed = {entry.id: _extension_of(entry, before.get(entry.id), source) for entry in entries}
    changed = [one for one in listed.values() if before.get(one.extension_id) != one]
    left = [
        replace(one, left_at=now)
        for one in before.values()
        if one.extension_id not in listed and one.left_at is None
    ]
    return [*changed, *left]


def _extension_of(entry: DirectoryEntry, before: KnownExtension | None, source: Source) -> KnownExtension:
    numbers = [{"phoneNumber": one.phone_number, "usageType": one.usage_type} for one in entry.phone_numbers]
    if source is Source.EXTENSIONS and before is not None:
        # This list has fewer numbers than the directory, which may have been readable before.
        numbers = [*(dict(one) for one in before.phone_numbers if one not in numbers), *numbers]
        numbers.sort(key=lambda one: (str(one["phoneNumber"]), str(one["usageType"])))
    return KnownExtension(
        extension_id=entry.id,
        number=entry.extension_number,
        name=entry.name or (before.name if before else None),
        email=entry.email,
        kind=entry.type,
        status=entry.status,
        phone_numbers=tuple(numbers),
    )
