"""The region of an account: the country in which its numbers without a `+` are read.

`AFTERCALL_HOME_COUNTRY` decides for all accounts. It is stored when the service starts, in the row of the
account `~`, so that everything that reads or writes calls finds it in its own transaction: the workers, the
API and the commands.
"""

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import accounts, directories
from app.ids import UNBOUND_ACCOUNT, AccountId


async def store_home_country(db: AsyncConnection, country: str | None) -> bool:
    """Store the setting, a two-letter code in upper case; return whether it is another one than before.

    The account `~` must exist.
    """
    differs = accounts.c.home_country.is_distinct_from(country)
    own = (accounts.c.account_id == UNBOUND_ACCOUNT) & differs
    changed = await db.execute(update(accounts).where(own).values(home_country=country))
    return bool(changed.rowcount)


async def load_region(db: AsyncConnection, account_id: AccountId) -> str | None:
    """Return the region of an account; None if it is not known."""
    region: str | None = await db.scalar(select(region_of(account_id)))
    return region


def region_of(account_id: AccountId | ColumnElement[str]) -> ColumnElement[str | None]:
    """Return an account's region as an expression: the setting, or else the account's own country."""
    setting, own = accounts.alias("setting").c, directories.alias("own").c
    return func.coalesce(
        select(setting.home_country).where(setting.account_id == UNBOUND_ACCOUNT).scalar_subquery(),
        select(own.home_country).where(own.account_id == account_id).scalar_subquery(),
    )
