"""Loads what hangs on the calls of a page in one statement.

Each table has its own columns. The statement has places for values of each type, as many as any of the tables
needs, and each row fills those of its table. So values keep their types, and seven round trips become one.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    CompoundSelect,
    Float,
    Integer,
    Table,
    Text,
    bindparam,
    cast,
    literal_column,
    null,
    select,
    type_coerce,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from app.calls.attachments.stored import KINDS, StoredAttachment
from app.calls.media.recordings import RecordingRow, State
from app.calls.media.voicemails import VoicemailRow, VoicemailState
from app.db.lists import is_one_of_bound
from app.db.tables import call_records, recordings, voicemails
from app.db.types import ExactJson, Json, UtcDateTime
from app.ids import AccountId

_TYPES: dict[str, Any] = {
    "text": Text(),
    "whole": BigInteger(),
    "number": Float(),
    "flag": Boolean(),
    "time": UtcDateTime(),
    "json": Json,
    "exact": ExactJson(),
}


class RecordRow(NamedTuple):
    """A call-log record of a call, as `call_records` has it."""

    record_id: str
    source: str
    fetched_at: datetime
    raw: Mapping[str, Any]
    """As RingCentral returned it; its legs may have nothing but their recordings."""


@dataclass(slots=True)
class PartsOfCall:
    """What hangs on one call."""

    records: list[RecordRow] = field(default_factory=list)
    """By id."""
    recordings: dict[str, RecordingRow] = field(default_factory=dict)
    voicemails: dict[str, VoicemailRow] = field(default_factory=dict)
    attachments: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """As the API shows them, by the word of their kind."""


class _Part(NamedTuple):
    """One table: its columns that are loaded."""

    table: Table
    call: str
    """The column that has the id of the call."""
    columns: tuple[Column[Any], ...]


def _part(table: Table, call: str, names: Collection[str]) -> _Part:
    shown = tuple(column for column in table.c if column.name in {*names, call} - {"account_id"})
    return _Part(table, call, shown)


class _WithoutLegs(FunctionElement[Any]):
    """A record whose legs have nothing but their recordings: no list shows more, and they are most of it."""

    type = Json
    inherit_cache = True


@compiles(_WithoutLegs, "sqlite")
def _on_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    # In the same process, reading the whole record costs less than taking it apart twice.
    return str(compiler.process(element.clauses, **kw))


@compiles(_WithoutLegs, "postgresql")
def _on_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    raw = compiler.process(element.clauses, **kw)
    reduced = (
        "SELECT coalesce(jsonb_agg(jsonb_build_object('recording', leg -> 'recording')), '[]'::jsonb)"  # noqa: S608
        f" FROM jsonb_array_elements({raw} -> 'legs') AS leg"
    )
    has_legs = f"jsonb_typeof({raw} -> 'legs') = 'array'"
    return f"CASE WHEN {has_legs} THEN jsonb_set({raw}, '{{legs}}', ({reduced})) ELSE {raw} END"


_RECORDS, _RECORDINGS, _VOICEMAILS = 0, 1, 2
_PARTS = (
    _part(call_records, "call_id", RecordRow._fields),
    _part(recordings, "call_id", [one.name for one in fields(RecordingRow)]),
    _part(voicemails, "call_id", [one.name for one in fields(VoicemailRow)]),
    *(_part(kind.table, "subject", kind.table.c.keys()) for kind in KINDS),
)
_KINDS = dict(enumerate(KINDS, _VOICEMAILS + 1))


def _type_of(column: Column[Any]) -> str:
    """Return which places a column can fill."""
    kind: Any = column.type
    for name, types in (
        ("time", UtcDateTime),
        ("exact", ExactJson),
        ("json", JSON),
        ("flag", Boolean),
        ("whole", Integer),
        ("number", Float),
    ):
        if isinstance(kind, types):
            return name
    return "text"


def _arrange() -> tuple[list[str], list[list[int]]]:
    """Return the type of each place, and for each table the places of its columns."""
    wanted = [[_type_of(column) for column in part.columns] for part in _PARTS]
    places = [name for name in _TYPES for _ in range(max(types.count(name) for types in wanted))]
    filled = []
    for types in wanted:
        free = {name: iter([at for at, of in enumerate(places) if of == name]) for name in _TYPES}
        filled.append([next(free[name]) for name in types])
    return places, filled


_PLACES, _FILLED = _arrange()
_NAMES = [tuple(column.name for column in part.columns) for part in _PARTS]


def _statement() -> CompoundSelect[Any]:
    queries = []
    for number, (part, filled) in enumerate(zip(_PARTS, _FILLED, strict=True)):
        at = dict(zip(filled, part.columns, strict=True))
        values = [
            type_coerce(at[place], _TYPES[name]) if place in at else cast(null(), _TYPES[name])
            for place, name in enumerate(_PLACES)
        ]
        shown = [value.label(f"value{place}") for place, value in enumerate(values)]
        own = (
            part.table.c.account_id == bindparam("account_id"),
            is_one_of_bound(part.table.c[part.call], "ids"),
        )
        queries.append(select(literal_column(str(number)).label("part"), *shown).where(*own))
    return union_all(*queries)


_STATEMENT = _statement()


async def load_parts(
    db: AsyncConnection, account_id: AccountId, call_ids: Sequence[str]
) -> Mapping[str, PartsOfCall]:
    """Return what hangs on each of these calls, by call id."""
    found = {call_id: PartsOfCall() for call_id in call_ids}
    if not found:
        return found
    result = await db.execute(_STATEMENT, {"account_id": account_id, "ids": sorted(found)})
    attached = []
    for row in result.all():
        number = row[0]
        values = dict(zip(_NAMES[number], [row[1 + place] for place in _FILLED[number]], strict=True))
        if number in _KINDS:
            attached.append((number, values))
        else:
            _add(found[values["call_id"]], number, values, account_id)
    for parts in found.values():
        parts.records.sort(key=attrgetter("record_id"))
    for number, kind in _KINDS.items():
        of_kind = [values for of, values in attached if of == number]
        for values in sorted(of_kind, key=lambda one: [one[name] for name in kind.order]):
            shown = StoredAttachment.read(kind, values).to_json()
            found[values["subject"]].attachments.setdefault(kind.word, []).append(shown)
    return found


def _add(parts: PartsOfCall, number: int, values: dict[str, Any], account_id: AccountId) -> None:
    if number == _RECORDS:
        del values["call_id"]
        parts.records.append(RecordRow(**values))
    elif number == _RECORDINGS:
        state = State(values.pop("state"))
        parts.recordings[values["recording_id"]] = RecordingRow(account_id=account_id, state=state, **values)
    else:
        state_of_voicemail = VoicemailState(values.pop("state"))
        row = VoicemailRow(account_id=account_id, state=state_of_voicemail, **values)
        parts.voicemails[row.voicemail_id] = row
