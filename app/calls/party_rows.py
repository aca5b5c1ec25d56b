"""Who took part in calls, as it is stored: so that calls are found by extension and by number."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.lists import insert_rows, is_one_of, update_rows
from app.db.tables import call_parties
from app.ids import AccountId
from app.values.phone_numbers import normal_forms
from app.values.widths import PHONE_NUMBER

PartyKey = tuple[str, str, str]
"""The id of a call, `extension` or `number`, and its value."""

_KEYS = ("account_id", "call_id", "kind", "value")


def party_values(
    extensions: Iterable[str | None], numbers: Iterable[str | None], region: str | None
) -> Iterator[tuple[str, str]]:
    """Yield the kind and value of each party; numbers in their normal form."""
    normal = [form for number in numbers if number for form in normal_forms(number, region)]
    for kind, values in (("extension", extensions), ("number", normal)):
        for value in values:
            # Longer values do not fit the column.
            if value and len(value) <= PHONE_NUMBER:
                yield kind, value


async def write_parties(
    db: AsyncConnection, account_id: AccountId, parties: Mapping[PartyKey, datetime]
) -> None:
    """Store parties with the start of their calls, under the ledger.

    What is stored already is not written again: every event of a call names the same parties.
    """
    if not parties:
        return
    columns = call_parties.c
    query = select(columns.call_id, columns.kind, columns.value, columns.started_at).where(
        columns.account_id == account_id, is_one_of(columns.call_id, {call_id for call_id, _, _ in parties})
    )
    stored = {(row[0], row[1], row[2]): row[3] for row in await db.execute(query)}
    fresh: list[dict[str, Any]] = []
    redated: list[dict[str, Any]] = []
    for party, started_at in parties.items():
        if stored.get(party) != started_at:
            row = dict(zip(_KEYS, (account_id, *party), strict=True)) | {"started_at": started_at}
            (redated if party in stored else fresh).append(row)
    await insert_rows(db, call_parties, fresh)
    await update_rows(db, call_parties, _KEYS, redated)


async def redate_parties(db: AsyncConnection, starts: Sequence[tuple[AccountId, str, datetime]]) -> None:
    """Date all parties of calls anew, under the ledger. `starts`: account, call and the new start.

    Most parties were just written with it, and are left alone.
    """
    rows = [
        {"account_id": account_id, "call_id": call_id, "started_at": at} for account_id, call_id, at in starts
    ]
    await update_rows(db, call_parties, ("account_id", "call_id"), rows, if_different=True)
