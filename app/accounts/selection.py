"""Which connection to ask with: one that sees the whole account, else the own one of an extension concerned."""

from collections.abc import Collection, Sequence
from datetime import datetime

from app.accounts.connections import Connection, Connections
from app.errors import NoCredentials, PermissionMissing
from app.ids import AccountId


async def find_connections(
    connections: Connections, account_id: AccountId, extension_ids: Collection[str]
) -> Sequence[Connection]:
    """Return the connections that see what belongs to one of these extensions, those with problems too."""
    known = await connections.of(account_id)
    return [item for item in known if item.is_company_wide or item.extension_id in extension_ids]


async def find_connection(
    connections: Connections,
    account_id: AccountId,
    extension_ids: Collection[str],
    permission: str | None = None,
    now: datetime | None = None,
) -> Connection | None:
    """Return the first of them that has no problem; None: there is none.

    One that is known to lack the `permission` at this time comes last: it can still tell what is missing.
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

    Raises NoCredentials when no credentials work for the account, PermissionMissing when those that do see other
    extensions only.
    """
    found = await find_connection(connections, account_id, extension_ids, permission, now)
    if found is not None:
        return found
    known = await connections.of(account_id)
    if not known:
        raise NoCredentials(
            "The service has no RingCentral credentials for this account. The operator adds them with `aftercall "
            "accounts add`, or sets RC_CLIENT_ID, RC_CLIENT_SECRET and RC_JWT; `aftercall check` tells what is missing"
        )
    if all(item.access.problem is not None for item in known):
        raise NoCredentials(
            "None of the RingCentral credentials that the service has for this account can be used. The operator runs "
            "`aftercall accounts check`, which says what to do for each"
        )
    raise PermissionMissing(
        "The service's credentials see single extensions of this account only",
        permission="ReadCompanyCallLog",
        status=None,
    )
