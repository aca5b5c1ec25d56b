"""Finds what an attachment belongs to: a call, or the name under which the attachment waits for its call."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import accounts, store
from app.calls.ledger import Ledger, open_ledger
from app.calls.model import NO_SESSION, Call
from app.errors import NotFound, Unprocessable
from app.ids import MAX_OUTSIDE_ID, UNBOUND_ACCOUNT, AccountId, is_alias

_OWN_ID = "call_"
_EMPTY_VALUES = frozenset({"undefined", "null", "none", "nil", "nan", "true", "false", "[object object]"})


@dataclass(frozen=True, slots=True)
class Subject:
    """A call, or the name of one that is not known yet. `key`: the id of the call, or the name."""

    key: str
    call: Call | None


@asynccontextmanager
async def open_account(db: AsyncConnection, account_id: AccountId, now: datetime) -> AsyncIterator[Ledger]:
    """Open the ledger of an account for the transaction of `db`; `~` is resolved first."""
    account_id = await accounts.resolve(db, account_id)
    if account_id == UNBOUND_ACCOUNT:
        # Resolved again under the lock of `~`: it may have been bound just now, and what is parked under it
        # after that would never be found.
        await accounts.lock(db, UNBOUND_ACCOUNT, now)
        account_id = await accounts.resolve(db, UNBOUND_ACCOUNT)
    async with open_ledger(db, account_id, now) as ledger:
        yield ledger


def check_name(name: str) -> str:
    """Return `name` if it can be the name of a call.

    Raises Unprocessable for what never can be: an empty value, the "0" of conferences, control characters.
    """
    if not is_alias(name):
        raise Unprocessable(
            'A sessionId of "0" does not identify a call: RingCentral reports "0" for all conferences. '
            "Use the telephonySessionId."
        )
    if len(name) > MAX_OUTSIDE_ID or not name.isprintable() or name != name.strip():
        raise Unprocessable(
            f"The name of a call must be at most {MAX_OUTSIDE_ID} printable characters without surrounding "
            "spaces"
        )
    if name.casefold() in _EMPTY_VALUES:
        raise Unprocessable(
            f"{name!r} looks like a missing value in your program. Send the sessionId of the call."
        )
    if name.startswith(NO_SESSION):
        raise Unprocessable(f"Send the sessionId alone, without the prefix {NO_SESSION!r}")
    return name


async def load_subject(ledger: Ledger, name: str) -> Subject:
    """Return what an attachment under this name belongs to.

    Raises AmbiguousCall, NotFound (an id of ours that does not exist) and Unprocessable (see check_name).
    """
    call = await store.find_call(ledger.db, ledger.account_id, check_name(name))
    if call is not None:
        return Subject(call.call_id, call)
    if name.startswith(_OWN_ID):
        raise NotFound(f"There is no call {name}")
    return Subject(name, None)
