"""Goes through the accounts that have something old, a few at a time, so that none waits for another."""

from collections.abc import Awaitable, Callable

from sqlalchemy import ColumnElement, select

from app.db.engine import Database
from app.db.tables import accounts
from app.ids import AccountId

AT_ONCE = 16
"""Accounts of one step."""


class AccountTurns:
    """Serves accounts in turn: each step goes on where the last one stopped."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._after = ""

    async def serve(
        self, has_old: ColumnElement[bool], serve: Callable[[AccountId], Awaitable[bool]]
    ) -> bool:
        """Serve some accounts that meet a condition about `accounts`; return whether there may be more.

        `serve` removes one batch and returns whether the account may have more. Where it fails, the other
        accounts are served first; then the error is raised.
        """
        query = select(accounts.c.account_id).where(has_old, accounts.c.account_id > self._after)
        async with self._database.read() as db:
            found = list(await db.scalars(query.order_by(accounts.c.account_id).limit(AT_ONCE)))
        is_full = len(found) == AT_ONCE
        self._after = found[-1] if is_full else ""
        has_more, errors = is_full, []
        for account_id in found:
            try:
                has_more = await serve(AccountId(account_id)) or has_more
            except Exception as error:  # noqa: BLE001 - raised below
                errors.append(error)
        if errors:
            raise errors[0]
        return has_more
