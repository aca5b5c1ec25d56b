"""Lists the extensions of an account: filters, pages, and the state of the directory."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter
from pydantic.alias_generators import to_camel
from pydantic_core import to_json
from sqlalchemy import Column, ColumnElement, Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.directory.store import StoredDirectory
from app.calls.company import load_company
from app.calls.evidence.people import Company
from app.db.lists import is_one_of
from app.db.tables import extensions
from app.errors import BadInput
from app.extensions_api.schemas import DirectoryState
from app.ids import MAX_OUTSIDE_ID, AccountId
from app.values import widths
from app.values.phone_numbers import NumberKind, PhoneNumber, read_phone_number
from app.values.times import time_text

_DEFAULT_LIMIT = 100
_MAX_LIMIT = 500
_LONGEST_CURSOR = 512
_CURSOR = TypeAdapter(
    tuple[str, Annotated[str, StringConstraints(pattern=r"^[ -~]+$", max_length=MAX_OUTSIDE_ID)]]
)
Word = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=widths.TEXT)]
"""Text without control characters, which no stored word has and PostgreSQL refuses."""


class ExtensionQuery(BaseModel):
    """Filters, all of which must match, and the page."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    number: Annotated[str, StringConstraints(min_length=1, max_length=widths.PHONE_NUMBER)] | None = Field(
        None,
        description="A short number, or a phone number of the extension in any usual spelling.",
        examples=["101"],
    )
    email: Word | None = Field(
        None, description="The e-mail, in any case.", examples=["ana.ruiz@northwind-tea.example"]
    )
    type: list[Word] = Field(
        [],
        max_length=20,
        description="RingCentral's type, in any case. Repeat it to match any of several.",
        examples=[["User"]],
    )
    status: list[Word] = Field(
        [],
        max_length=20,
        description="RingCentral's status, in any case. Repeat it to match any of several.",
        examples=[["Enabled"]],
    )
    include_left: bool = Field(
        False, description="Whether to list those, too, that are no longer in the directory."
    )
    limit: int = Field(_DEFAULT_LIMIT, ge=1, le=_MAX_LIMIT, description="The number of extensions per page.")
    cursor: str | None = Field(
        None,
        max_length=_LONGEST_CURSOR,
        description="`nextCursor` of the previous page, with the same filters.",
    )


@dataclass(frozen=True, slots=True)
class ListedExtensions:
    """One page of rows, and the cursor of the next one; None on the last."""

    rows: Sequence[Row[Any]]
    next_cursor: str | None


async def find_extensions(
    db: AsyncConnection, account_id: AccountId, query: ExtensionQuery
) -> ListedExtensions:
    """Return one page, by extension id.

    Raises BadInput for a number that cannot be one, and for a cursor that is invalid or belongs to other
    filters.
    """
    digest = _digest(account_id, query)
    conditions = [extensions.c.account_id == account_id, *_filters(query)]
    if query.number is not None:
        conditions.append(_has_number(query.number, await load_company(db, account_id)))
    if query.cursor is not None:
        conditions.append(extensions.c.extension_id > _read_cursor(query.cursor, digest))
    statement = select(extensions).where(*conditions).order_by(extensions.c.extension_id)
    # One row more than the page shows whether there is a next one.
    rows = (await db.execute(statement.limit(query.limit + 1))).all()
    if len(rows) <= query.limit:
        return ListedExtensions(rows, None)
    rows = rows[: query.limit]
    return ListedExtensions(rows, _write_cursor(digest, rows[-1].extension_id))


async def find_extension(db: AsyncConnection, account_id: AccountId, extension_id: str) -> Row[Any] | None:
    """Return one extension, also if it has left; None if it was never in the directory."""
    mine = (extensions.c.account_id == account_id, extensions.c.extension_id == extension_id)
    return (await db.execute(select(extensions).where(*mine))).first()


def show_extension(row: Row[Any], region: str | None) -> dict[str, Any]:
    """Return what `ExtensionOut` describes."""
    return {
        "id": row.extension_id,
        "extensionNumber": row.number,
        "name": row.name,
        "email": row.email,
        "type": row.kind,
        "status": row.status,
        "timeZone": row.time_zone,
        "phoneNumbers": [_show_number(number, region) for number in row.phone_numbers or ()],
        "leftAt": time_text(row.left_at),
    }


def show_directory(stored: StoredDirectory, region: str | None, *, is_off: bool) -> dict[str, Any]:
    """Return what `DirectoryOut` describes."""
    problem: Mapping[str, Any] = {} if is_off else stored.problem or {}
    main = read_phone_number(stored.main_number, region)
    return {
        "state": _state_of(stored, is_off=is_off),
        "source": stored.source,
        "readAt": time_text(stored.read_at),
        "missing": problem.get("permission"),
        "code": problem.get("code"),
        "detail": problem.get("detail"),
        "since": time_text(datetime.fromisoformat(problem["since"])) if problem else None,
        "mainNumber": main.e164 if main is not None else None,
        "homeCountry": region,
        "timeZone": stored.time_zone,
    }


def _state_of(stored: StoredDirectory, *, is_off: bool) -> DirectoryState:
    if is_off:
        return DirectoryState.OFF
    if stored.problem is None:
        return DirectoryState.PENDING if stored.source is None else DirectoryState.READY
    return DirectoryState.UNAVAILABLE if stored.source is None else DirectoryState.OUTDATED


def _show_number(stored: Mapping[str, Any], region: str | None) -> dict[str, Any]:
    raw = stored.get("phoneNumber")
    number = read_phone_number(raw, region)
    e164 = number.e164 if number is not None and number.kind is NumberKind.FULL else None
    return {
        "phoneNumber": e164,
        "rawPhoneNumber": None if raw == e164 else raw,
        "usageType": stored.get("usageType"),
    }


def _filters(query: ExtensionQuery) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if not query.include_left:
        conditions.append(extensions.c.left_at.is_(None))
    if query.email is not None:
        conditions.append(_in_any_case(extensions.c.email, [query.email]))
    if query.type:
        conditions.append(_in_any_case(extensions.c.kind, query.type))
    if query.status:
        conditions.append(_in_any_case(extensions.c.status, query.status))
    return conditions


def _in_any_case(column: Column[Any], values: Sequence[str]) -> ColumnElement[bool]:
    return func.lower(column).in_([value.lower() for value in values])


def _has_number(raw: str, company: Company) -> ColumnElement[bool]:
    """Select whose number this is, in any usual spelling; also several extensions, if they share one."""
    number = read_phone_number(raw, company.region)
    if number is None or number.kind not in {NumberKind.FULL, NumberKind.EXTENSION}:
        raise BadInput(
            "number must be a short number, such as 101, or a phone number, such as +15550100101",
            parameter="number",
        )
    if number.extension is not None:
        return extensions.c.number == number.extension
    return is_one_of(extensions.c.extension_id, _owners(number, company))


def _owners(number: PhoneNumber, company: Company) -> list[str]:
    return [
        person.extension_id
        for person in company.people.values()
        if number.e164 in person.numbers or number.e164 in person.private_numbers
    ]


def _digest(account_id: AccountId, query: ExtensionQuery) -> str:
    same = query.model_dump(mode="json", exclude={"limit", "cursor"}, exclude_defaults=True)
    return hashlib.sha256(to_json([account_id, sorted(same.items())])).hexdigest()[:16]


def _write_cursor(digest: str, extension_id: str) -> str:
    return base64.urlsafe_b64encode(to_json([digest, extension_id])).decode().rstrip("=")


def _read_cursor(cursor: str, digest: str) -> str:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        of, extension_id = _CURSOR.validate_json(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, TypeError) as error:
        raise BadInput("The cursor is invalid. Start again without it.", parameter="cursor") from error
    if of != digest:
        raise BadInput(
            "The cursor belongs to other filters. Repeat those of the previous page, or start again without "
            "it.",
            parameter="cursor",
        )
    return extension_id
