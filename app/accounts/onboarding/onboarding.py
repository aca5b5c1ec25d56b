"""Adds and removes credentials: learns whose they are by asking RingCentral, and stores them.

Credentials that RingCentral refuses are not stored. Those that lack a permission are: a person can grant it
later.
"""

import secrets
from dataclasses import dataclass, replace

import httpx
import structlog

from app.accounts import credentials
from app.accounts.access import Access
from app.accounts.config import auth_config, client_config
from app.accounts.connections import Connections
from app.accounts.onboarding.discovery import discover, learn_own, slot_deadline
from app.accounts.onboarding.oauth_sign_in import AuthorizationCode, TokenExchange, Unmetered
from app.accounts.onboarding.users import StoredUsers
from app.audit import Actor, AuditAction, record
from app.clock import Clock
from app.db.engine import Database
from app.errors import RingCentralError, SettingsError
from app.ids import AccountId
from app.ringcentral.auth import AuthConfig, MemoryTokenStore
from app.ringcentral.client import RingCentralClient, connect
from app.ringcentral.ports import RateBudget
from app.ringcentral.stored_tokens import StoredToken
from app.settings import Settings
from app.vault import Vault

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Admitted:
    """Credentials that were stored. `is_new` is False if they replaced others of that name."""

    account_id: AccountId
    name: str
    kind: credentials.CredentialKind
    access: Access
    is_new: bool


class Onboarding:
    """Adds and removes credentials, for commands, the API and the sign-in."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        clock: Clock,
        vault: Vault,
        http: httpx.AsyncClient,
        connections: Connections,
    ) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._vault = vault
        self._http = http
        self._connections = connections
        self._exchange = TokenExchange(settings, clock, http)
        self._users = StoredUsers(settings, database, clock, vault)

    async def by_jwt(
        self,
        jwt: str,
        *,
        client_id: str | None = None,
        client_secret: str | None = None,
        name: str | None = None,
        by: Actor,
    ) -> Admitted:
        """Store a JWT credential. Without an app of its own it belongs to that of the environment.

        Raises CredentialsRefused, PermissionMissing (not even the account could be read) and other
        RingCentralErrors; SettingsError without any app; Unprocessable for the name, and for a user who is
        stored under another one.
        """
        name = credentials.check_name(name) if name else None
        secret = credentials.Secret(
            client_id=self._app(client_id, client_secret), client_secret=client_secret, jwt=jwt
        )
        auth = self._auth(secret)
        store = MemoryTokenStore()
        token = await self._client(auth, store, Unmetered()).fetch_token()
        return await self._admit(credentials.CredentialKind.JWT, secret, auth, store, token, name, by)

    async def by_code(self, code: AuthorizationCode, *, name: str | None = None, by: Actor) -> Admitted:
        """Exchange the code of a sign-in for tokens and store them; raises as `by_jwt` does."""
        name = credentials.check_name(name) if name else None
        secret = credentials.Secret(client_id=self._app(None, None), sign_in=secrets.token_hex(12))
        auth = self._auth(secret)
        store = MemoryTokenStore()
        store.token = token = await self._exchange.exchange(auth, code)
        return await self._admit(credentials.CredentialKind.OAUTH, secret, auth, store, token, name, by)

    async def learn_own(self) -> float | None:
        """Find the account of the environment's credentials; see `discovery.learn_own`."""
        return await learn_own(self._connections, self._database, self._clock)

    async def remove(self, account_id: AccountId, name: str, *, by: Actor) -> bool:
        """Delete credentials, and end their session and subscription at RingCentral if it allows that; return
        whether there were any.

        They are deleted here even if RingCentral cannot be reached.
        """
        async with self._database.read() as db:
            known = await credentials.load_secrets(db, self._vault, account_id, name)
        if known is not None:
            await self._delete_subscriptions(account_id, name)
            async with self._database.read() as db:  # the requests may have bought another token
                known = await credentials.load_secrets(db, self._vault, account_id, name) or known
        async with self._database.write() as db:
            removed = await credentials.remove(db, account_id, name)
            if removed:
                now = self._clock.now()
                await record(db, now, account_id, AuditAction.CREDENTIALS_REMOVED, by, target=name)
        self._connections.forget()
        if removed and known is not None and known[1] is not None:
            auth = auth_config(self._settings, known[0])
            if auth is not None:
                await self._exchange.revoke(auth, known[1])
        return removed

    def _app(self, client_id: str | None, client_secret: str | None) -> str:
        if client_id and client_secret:
            return client_id
        if client_id or client_secret:
            raise SettingsError("an app needs both a client id and a client secret")
        if not self._settings.has_app or self._settings.rc_client_id is None:
            raise SettingsError("set RC_CLIENT_ID and RC_CLIENT_SECRET, or name the app of these credentials")
        return self._settings.rc_client_id

    def _auth(self, secret: credentials.Secret) -> AuthConfig:
        auth = auth_config(self._settings, secret)
        if auth is None:
            raise SettingsError("set RC_CLIENT_ID and RC_CLIENT_SECRET")
        # A person is waiting: one try.
        return replace(auth, tries=1)

    def _client(self, auth: AuthConfig, store: MemoryTokenStore, budget: RateBudget) -> RingCentralClient:
        config = client_config(self._settings)
        return connect(self._http, config, auth, store=store, budget=budget, clock=self._clock)

    async def _admit(
        self,
        kind: credentials.CredentialKind,
        secret: credentials.Secret,
        auth: AuthConfig,
        store: MemoryTokenStore,
        token: StoredToken,
        name: str | None,
        by: Actor,
    ) -> Admitted:
        client = self._client(auth, store, await self._users.budget_of(token.owner_id))
        account_id, access = await discover(client, token, self._clock)
        now = self._clock.now()
        async with self._database.write() as db:
            name = await self._users.name_for(db, account_id, secret.client_id, access.owner_id, name)
            is_new = await credentials.save(
                db, self._vault, account_id, name, kind, secret, store.token or token, access.to_json(), now
            )
            told = {"kind": kind.value, "level": access.level.value, "replaced": not is_new}
            await record(db, now, account_id, AuditAction.CREDENTIALS_ADDED, by, target=name, details=told)
        self._connections.forget()
        log.info(
            "credentials were stored", account_id=account_id, name=name, kind=kind, reach=access.level.value
        )
        return Admitted(account_id, name, kind, access, is_new)

    async def _delete_subscriptions(self, account_id: AccountId, name: str) -> None:
        """Delete the user's subscriptions that call this service, as far as RingCentral allows."""
        address = self._settings.webhook_address
        held = [
            item for item in await self._connections.all() if (item.holder, item.name) == (account_id, name)
        ]
        if address is None or not held or held[0].access.problem is not None:
            return
        client = held[0].client
        try:
            for found in await client.list_subscriptions(deadline=slot_deadline(self._clock)):
                if found.is_webhook and found.address == address:
                    await client.delete_subscription(found.id, deadline=slot_deadline(self._clock))
        except RingCentralError as error:
            log.warning("a subscription was left to expire", account_id=account_id, why=error.detail)
