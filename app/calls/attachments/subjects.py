"""Finds what an attachment belongs to: a call, or the name under which the attachment waits for its call."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import accounts, store
from app.calls.ledger import Ledger, open_ledger
from app.calls.lifetime.tombstones import erased_call, find_erased_calls
from app.calls.model import NO_SESSION, Call
from app.calls.store import several_calls
from app.errors import CallerError, NotFound, Unprocessable
from app.ids import MAX_OUTSIDE_ID, UNBOUND_ACCOUNT, AccountId, is_alias

_OWN_ID = "call_"
_EMPTY_VALUES = frozenset({"undefined", "null", "none", "nil", "nan", "true", "false", "[object object]"})


@dataclass(frozen=True, slots=True)
class Subject:
    """A call, or the name of one that is not known yet. `key`: the id of the call, or the name."""

    key: str
    call: Call | None


@asynccontextmanager
async def open_account(
    db: AsyncConnection, account_id: AccountId, now: datetime, key_id: str | None = None
) -> AsyncIterator[Ledger]:
    """Open the ledger of an account for the changes of an API key; `~` is resolved first."""
    account_id = await accounts.resolve(db, account_id)
    if account_id == UNBOUND_ACCOUNT:
        # Resolved again under the lock of `~`: it may have been bound just now, and what is parked under it
        # after that would never be found.
        await accounts.lock(db, UNBOUND_ACCOUNT, now)
        account_id = await accounts.resolve(db, UNBOUND_ACCOUNT)
    async with open_ledger(db, account_id, now) as ledger:
        ledger.made_by = key_id
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


async def load_subjects(ledger: Ledger, names: Collection[str]) -> dict[str, Subject | CallerError]:
    """Return what attachments under each of these names belong to, or why nothing can be attached to it.

    Two names of a call lead to one object: see `store.fill`. A handful of statements, however many names.
    """
    found: dict[str, Subject | CallerError] = {}
    for name in dict.fromkeys(names):
        try:
            check_name(name)
        except CallerError as error:
            found[name] = error
    left = [name for name in dict.fromkeys(names) if name not in found]
    single = await store.find_by_aliases(ledger.db, ledger.account_id, left)
    found |= {name: Subject(call.call_id, call) for name, call in single.items()}
    left = [name for name in left if name not in found]
    erased = await find_erased_calls(ledger.db, ledger.account_id, left)
    several = await store.find_ambiguous(ledger.db, ledger.account_id, left)
    for name in left:
        try:
            found[name] = _unknown(name, several.get(name, ()), erased.get(name))
        except CallerError as error:
            found[name] = error
    return found


def _unknown(name: str, candidates: Sequence[str], erased_at: datetime | None) -> Subject:
    if candidates:
        raise several_calls(name, candidates)
    if erased_at is not None:
        raise erased_call(name, erased_at)
    if name.startswith(_OWN_ID):
        raise NotFound(f"There is no call {name}")
    return Subject(name, None)


async def load_subject(ledger: Ledger, name: str) -> Subject:
    """Return what an attachment under this name belongs to.

    Raises AmbiguousCall, CallErased, NotFound (an id of ours that does not exist) and Unprocessable (see
    check_name).
    """
    call = await store.find_call(ledger.db, ledger.account_id, check_name(name))
    if call is not None:
        return Subject(call.call_id, call)
    # Nothing may wait for a call that does not come back.
    erased = await find_erased_calls(ledger.db, ledger.account_id, [name])
    return _unknown(name, (), erased.get(name))
