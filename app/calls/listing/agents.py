"""The filters by a call's owner as people write them: which extensions an e-mail or a short number means."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.listing.filters import ListFilters
from app.db.tables import directories, extensions
from app.errors import Unprocessable
from app.ids import AccountId


async def find_wanted_agents(
    db: AsyncConnection, account_id: AccountId, filters: ListFilters
) -> tuple[str, ...] | None:
    """Return the ids of the extensions that the filters mean, none if nobody is meant; None without filters.

    People who have left are found, too: their calls stay theirs. Raises Unprocessable if the directory of the
    account was never read, since then every list would be empty.
    """
    email, number = filters.agent_email, filters.agent_extension_number
    if email is None and number is None:
        return None
    query = select(extensions.c.extension_id).where(extensions.c.account_id == account_id)
    if email is not None:
        query = query.where(func.lower(extensions.c.email) == email)
    if number is not None:
        query = query.where(extensions.c.number == number)
    if filters.agent is not None:
        query = query.where(extensions.c.extension_id == filters.agent)
    found = tuple(await db.scalars(query.order_by(extensions.c.extension_id)))
    if not found and not await _is_known(db, account_id):
        raise Unprocessable(
            "The directory of this account has not been read, so nobody can be found by e-mail or extension "
            "number. Use `agent` with RingCentral's id; GET /v1/extensions says what is missing.",
            parameter="agentEmail" if email is not None else "agentExtensionNumber",
        )
    return found


async def _is_known(db: AsyncConnection, account_id: AccountId) -> bool:
    read = select(directories.c.source).where(directories.c.account_id == account_id)
    return await db.scalar(read) is not None
