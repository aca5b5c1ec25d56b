"""Users whose credentials are stored already: their names and rate buckets."""

from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts import credentials
from app.accounts.access import Access
from app.accounts.config import own_auth, rate_limits
from app.accounts.credentials import OWN
from app.accounts.onboarding.oauth_sign_in import Unmetered
from app.calls import accounts
from app.clock import Clock
from app.db.engine import Database
from app.errors import Unprocessable
from app.ids import UNBOUND_ACCOUNT, AccountId, ExtensionId
from app.rate_limits.shared_buckets import SharedRates
from app.ringcentral.ports import RateBudget
from app.settings import Settings
from app.vault import Vault


class StoredUsers:
    """Finds a user among the stored credentials: RingCentral limits a user and app as one."""

    def __init__(self, settings: Settings, database: Database, clock: Clock, vault: Vault) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._vault = vault

    async def name_for(
        self,
        db: AsyncConnection,
        account_id: AccountId,
        client_id: str,
        owner_id: ExtensionId | None,
        wanted: str | None,
    ) -> str:
        """Return the name under which to store credentials: that of the same user and app, if there are any.

        RingCentral limits the requests of a user and app, however many credentials they have. Raises
        Unprocessable for another name, and if the environment's own credentials are of that user and app.
        """
        if owner_id is not None and owner_id == await self._own_user(db, account_id, client_id):
            raise Unprocessable(
                f"Extension {owner_id} already serves account {account_id} through RC_JWT, and a user "
                "has one rate limit. "
                "Add the credentials of another user, or unset RC_JWT first"
            )
        for stored in await credentials.load_rows(db, [account_id]):
            if owner_id is None or Access.from_json(stored.access).owner_id != owner_id:
                continue
            known = await credentials.load_secrets(db, self._vault, account_id, stored.name)
            if known is None or known[0].client_id != client_id:
                continue
            if wanted not in (None, stored.name):
                raise Unprocessable(
                    f"Extension {owner_id} already has credentials here, named {stored.name}: replace "
                    "these, or remove "
                    "them first"
                )
            return stored.name
        return wanted or credentials.default_name(owner_id)

    async def _own_user(self, db: AsyncConnection, account_id: AccountId, client_id: str) -> str | None:
        """Return the user of the environment's credentials, if they are of this account and app."""
        auth = own_auth(self._settings)
        if (
            auth is None
            or auth.client_id != client_id
            or not await accounts.has_own_credentials(db, account_id)
        ):
            return None
        rows = await credentials.load_rows(db, [UNBOUND_ACCOUNT])
        known = [Access.known(row.access, auth.fingerprint).owner_id for row in rows if row.kind == OWN]
        return next(iter(known), None)

    async def budget_of(self, owner_id: str | None) -> RateBudget:
        """Return the rate buckets of a user whose credentials are stored already: there are no others for
        that user.
        """
        async with self._database.read() as db:
            stored = await credentials.load_rows(db)
        for row in stored:
            if owner_id is not None and (row.access or {}).get("ownerId") == owner_id:
                limits = rate_limits(self._settings)
                return SharedRates(
                    self._database, self._clock, limits, holder=row.account_id, principal=row.name
                )
        return Unmetered()
