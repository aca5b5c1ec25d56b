"""What is erased, and how far it is. No I/O."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

Counts = Counter[str]
"""Rows by kind: the name of a table in camelCase, or `archivedFiles` or `mentions`."""


class SubjectKind(StrEnum):
    """What an erasure is about; the fields of the API."""

    PHONE_NUMBER = "phoneNumber"
    EXTENSION = "extensionId"
    CALL = "call"


@dataclass(frozen=True, slots=True)
class Subject:
    """Who or what is erased. `value`: a number in E.164, the id of an extension, or our id of a call.

    `values` are the forms under which calls are found: a number may be stored in several.
    """

    kind: SubjectKind
    value: str
    values: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind.value, "value": self.value, "values": list(self.values)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        return cls(SubjectKind(stored["kind"]), stored["value"], tuple(stored["values"]))


class Status(StrEnum):
    """The state of an erasure. `PLANNED`: only counted; nothing is erased yet."""

    PLANNED = "planned"
    RUNNING = "running"
    DONE = "done"


class Phase(StrEnum):
    """What a running erasure does next."""

    CALLS = "calls"
    """Erase the calls of the subject, a batch at a time."""

    MENTIONS = "mentions"
    """Look through all tables for what else names the subject."""

    FILES = "files"
    """Delete the archived audio of erased calls."""

    CHECK = "check"
    """Count again. What came meanwhile is erased as well."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running erasure is.

    `place` is the table that is looked through, `after` the key of the last row that was. `waits`: something
    has to be folded before it can be deleted, so the tables are looked through again.
    """

    phase: Phase = Phase.CALLS
    place: str | None = None
    after: tuple[Any, ...] | None = None
    waits: bool = False

    def to_json(self) -> dict[str, Any]:
        after = None if self.after is None else list(self.after)
        return {"phase": self.phase.value, "place": self.place, "after": after, "waits": self.waits}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        after = stored.get("after")
        return cls(
            Phase(stored.get("phase", Phase.CALLS)),
            stored.get("place"),
            None if after is None else tuple(after),
            bool(stored.get("waits")),
        )

    def after_calls(self, found: int, places: Iterable[str]) -> Self:
        """Return what comes after a batch of calls: the next one until there are none."""
        return (
            self if found else replace(self, phase=Phase.MENTIONS, place=next(iter(places), None), after=None)
        )

    def after_rows(self, last: tuple[Any, ...] | None, places: Iterable[str], *, waits: bool) -> Self:
        """Return what comes after some rows of `place`. `last`: the key of the last one; None at the end."""
        waits = self.waits or waits
        if last is not None:
            return replace(self, after=last, waits=waits)
        order = list(places)
        rest = order[order.index(self.place) + 1 :] if self.place in order else []
        if rest:
            return replace(self, place=rest[0], after=None, waits=waits)
        return replace(self, phase=Phase.FILES, place=None, after=None, waits=waits)

    def after_files(self) -> Self:
        """Return what comes once no file is left."""
        return replace(self, phase=Phase.CHECK)

    def after_check(self, left: int) -> Self | None:
        """Return what comes after counting `left` calls: another round, or None when all is erased."""
        return (
            replace(self, phase=Phase.CALLS, place=None, after=None, waits=False)
            if left or self.waits
            else None
        )


@dataclass(frozen=True, slots=True)
class Order:
    """Who ordered an erasure or a legal hold. `kind`: `apiKey` or `command`; a command has no id."""

    kind: str
    key_id: str | None = None
    name: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "keyId": self.key_id, "name": self.name}


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """One row of `erasures`; the table documents the fields."""

    account_id: str
    erasure_id: str
    kind: str
    subject: bytes | None
    subject_hash: str
    status: str
    planned: dict[str, int]
    erased: dict[str, int]
    held: int
    spare_held: bool
    progress: dict[str, Any]
    ordered_by: dict[str, Any]
    planned_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    due_at: datetime | None
    problem: str | None
    lease_owner: str | None
    lease_until: datetime | None


def camel(table: str) -> str:
    """Return the kind of a table's rows, as counts name it."""
    first, *rest = table.split("_")
    return first + "".join(part.capitalize() for part in rest)
