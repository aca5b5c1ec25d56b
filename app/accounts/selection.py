"""Which connection to use: one with the whole account, else that of an extension involved."""

from collections.abc import Collection, Sequence
from datetime import datetime

from app.accounts.connections import Connection, Connections
from app.errors import NoCredentials, PermissionMissing
from app.ids import AccountId


async def find_connections(
    connections: Connections, account_id: AccountId, extension_ids: Collection[str]
) -> Sequence[Connection]:
    """Return the connections that can access what belongs to one of these extensions, those with problems
    included.
    """
    known = await connections.of(account_id)
    return [item for item in known if item.is_company_wide or item.extension_id in extension_ids]


async def find_connection(
    connections: Connections,
    account_id: AccountId,
    extension_ids: Collection[str],
    permission: str | None = None,
    now: datetime | None = None,
) -> Connection | None:
    """Return the first of them without a problem; None if there is none.

    One that is known to lack the `permission` at this time comes last: its error still says what is missing.
    """
    fitting = await find_connections(connections, account_id, extension_ids)
    usable = [item for item in fitting if item.access.problem is None]
    if permission is not None and now is not None:
        usable.sort(key=lambda item: not item.access.may(permission, now))
    return next(iter(usable), None)


async def load_connection(
    connections: Connections,
    account_id: AccountId,
    extension_ids: Collection[str] = (),
    permission: str | None = None,
    now: datetime | None = None,
) -> Connection:
    """Return such a connection.

    Raises NoCredentials if no credentials work for the account, and PermissionMissing if those that do access
    only other extensions.
    """
    found = await find_connection(connections, account_id, extension_ids, permission, now)
    if found is not None:
        return found
    known = await connections.of(account_id)
    if not known:
        raise NoCredentials(
            "The service has no RingCentral credentials for this account. The operator adds them with "
            "`aftercall accounts add`, or sets RC_CLIENT_ID, RC_CLIENT_SECRET and RC_JWT; "
            "`aftercall check` says what is missing"
        )
    if all(item.access.problem is not None for item in known):
        raise NoCredentials(
            "None of the service's RingCentral credentials for this account can be used. "
            "`aftercall accounts check` tells the operator what to do about each"
        )
    raise PermissionMissing(
        "The service's credentials can access only single extensions of this account",
        permission="ReadCompanyCallLog",
        status=None,
    )
