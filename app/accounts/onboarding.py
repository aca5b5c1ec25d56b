"""Taking accounts in and letting them go: learns whose credentials these are by asking RingCentral, and stores them.

Credentials that RingCentral refuses are not stored. What they may not see is: a person grants it later.
"""

import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts import credentials
from app.accounts.access import COMPANY_PERMISSION, Access, Level, probe_again_at
from app.accounts.connections import Connections, auth_config, client_config, own_auth, rate_limits
from app.accounts.credentials import OWN, CredentialKind, Secret
from app.accounts.remedies import describe
from app.calls import accounts
from app.calls.attachments.store import bind_account
from app.clock import Clock
from app.db.engine import Database
from app.errors import (
    AccessReason,
    CredentialsRefused,
    PermissionMissing,
    RateLimited,
    RingCentralError,
    SettingsError,
    Unprocessable,
)
from app.ids import UNBOUND_ACCOUNT, AccountId, ExtensionId
from app.rate_limits.shared_buckets import SharedRates
from app.ringcentral.auth import AuthConfig, MemoryTokenStore
from app.ringcentral.client import RingCentralClient, connect
from app.ringcentral.ports import Outcome, Priority, RateBudget
from app.ringcentral.protocol.errors import decode_token_error
from app.ringcentral.protocol.oauth import decode_token, revoke_token, token_by_code
from app.ringcentral.stored_tokens import StoredToken, stored_token
from app.ringcentral.transport import Transport
from app.settings import Settings
from app.vault import Vault
from app.work.failures import log_failure

_ASK_SECONDS = 20.0
"""Longest wait for a slot while somebody looks on."""

_TRY_AGAIN = timedelta(minutes=5)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Admitted:
    """Credentials that were stored. `is_new` is False when they took the place of others of that name."""

    account_id: AccountId
    name: str
    kind: CredentialKind
    access: Access
    is_new: bool


@dataclass(frozen=True, slots=True)
class AuthorizationCode:
    """What the browser brought from the sign-in, and what it was sent with."""

    code: str = field(repr=False)
    verifier: str = field(repr=False)
    redirect_uri: str


class Onboarding:
    """Adds and removes credentials; used by commands, the API and the sign-in."""

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

    async def by_jwt(
        self,
        jwt: str,
        *,
        client_id: str | None = None,
        client_secret: str | None = None,
        name: str | None = None,
    ) -> Admitted:
        """Store a JWT credential. Without an app of its own it is of the environment's.

        Raises CredentialsRefused, PermissionMissing (not even the account could be learnt), other
        RingCentralErrors; SettingsError without any app; Unprocessable for the name, and for a user who is stored
        under another one.
        """
        name = credentials.check_name(name) if name else None
        secret = Secret(client_id=self._app(client_id, client_secret), client_secret=client_secret, jwt=jwt)
        auth = self._auth(secret)
        store = MemoryTokenStore()
        token = await self._client(auth, store, Unmetered()).fetch_token()
        return await self._admit(CredentialKind.JWT, secret, auth, store, token, name)

    async def by_code(self, code: AuthorizationCode, *, name: str | None = None) -> Admitted:
        """Trade the code of a sign-in for tokens and store them; raises as `by_jwt` does."""
        name = credentials.check_name(name) if name else None
        secret = Secret(client_id=self._app(None, None), sign_in=secrets.token_hex(12))
        auth = self._auth(secret)
        store = MemoryTokenStore()
        store.token = token = await self._trade(auth, code)
        return await self._admit(CredentialKind.OAUTH, secret, auth, store, token, name)

    async def learn_own(self) -> float | None:
        """Find out which account the credentials of the environment belong to, unless it is known; a loop's step.

        The first event would tell as well, but calls may be asked for before there is any.
        """
        own = await self._connections.own()
        async with self._database.read() as db:
            known = await accounts.resolve(db, UNBOUND_ACCOUNT)
        if own is None or known != UNBOUND_ACCOUNT or own.access.problem is not None:
            return None
        try:
            account_id, _ = await self._learn(own.client, await own.client.fetch_token())
        except RingCentralError as error:
            log_failure(log, "the service's own account is not known yet", error)
            await self._connections.note(own, error)
            return _TRY_AGAIN.total_seconds()
        async with self._database.write() as db:
            await bind_account(db, account_id, self._clock.now())
        log.info("the service's own account is known", account_id=account_id)
        return None

    async def remove(self, account_id: AccountId, name: str) -> bool:
        """Forget credentials, end their session and subscription at RingCentral if it lets us; whether there were any.

        Nothing is left of them here even if RingCentral cannot be reached.
        """
        async with self._database.read() as db:
            known = await credentials.load_secrets(db, self._vault, account_id, name)
        if known is not None:
            await self._take_leave(account_id, name)
            async with self._database.read() as db:  # leaving may have bought another token
                known = await credentials.load_secrets(db, self._vault, account_id, name) or known
        async with self._database.write() as db:
            removed = await credentials.remove(db, account_id, name)
        self._connections.forget()
        if removed and known is not None and known[1] is not None:
            await self._revoke(known[0], known[1])
        return removed

    def _app(self, client_id: str | None, client_secret: str | None) -> str:
        if client_id and client_secret:
            return client_id
        if client_id or client_secret:
            raise SettingsError("an app has both, a client id and a client secret")
        if not self._settings.has_app or self._settings.rc_client_id is None:
            raise SettingsError("set RC_CLIENT_ID and RC_CLIENT_SECRET, or give the app of these credentials")
        return self._settings.rc_client_id

    def _auth(self, secret: Secret) -> AuthConfig:
        auth = auth_config(self._settings, secret)
        if auth is None:
            raise SettingsError("set RC_CLIENT_ID and RC_CLIENT_SECRET")
        # Somebody waits for the answer: one try.
        return replace(auth, tries=1)

    def _client(self, auth: AuthConfig, store: MemoryTokenStore, budget: RateBudget) -> RingCentralClient:
        config = client_config(self._settings)
        return connect(self._http, config, auth, store=store, budget=budget, clock=self._clock)

    async def _trade(self, auth: AuthConfig, code: AuthorizationCode) -> StoredToken:
        request = token_by_code(
            auth.client_id,
            auth.client_secret,
            code=code.code,
            verifier=code.verifier,
            redirect_uri=code.redirect_uri,
        )
        transport = Transport(self._http, client_config(self._settings), Unmetered(), self._clock)
        asked_at = self._clock.now()
        answer = await transport.attempt(request, request.headers["Authorization"], Priority.POLL, None)
        if not answer.is_success:
            raise decode_token_error(answer, self._clock.now(), penalty_seconds=auth.penalty_seconds)
        token = stored_token(decode_token(answer), auth.fingerprint, asked_at)
        if token.refresh_token is None:
            raise CredentialsRefused(
                "RingCentral gave no refresh token, so the sign-in would end within the hour: let the app issue "
                "refresh tokens in the developer console",
                code=AccessReason.NO_REFRESH_TOKEN,
            )
        return token

    async def _admit(
        self,
        kind: CredentialKind,
        secret: Secret,
        auth: AuthConfig,
        store: MemoryTokenStore,
        token: StoredToken,
        name: str | None,
    ) -> Admitted:
        client = self._client(auth, store, await self._budget_of(token.owner_id))
        account_id, access = await self._learn(client, token)
        now = self._clock.now()
        async with self._database.write() as db:
            name = await self._name_for(db, account_id, secret.client_id, access.owner_id, name)
            is_new = await credentials.save(
                db, self._vault, account_id, name, kind, secret, store.token or token, access.to_json(), now
            )
        self._connections.forget()
        log.info(
            "credentials were stored", account_id=account_id, name=name, kind=kind, reach=access.level.value
        )
        return Admitted(account_id, name, kind, access, is_new)

    async def _name_for(
        self,
        db: AsyncConnection,
        account_id: AccountId,
        client_id: str,
        owner_id: ExtensionId | None,
        wanted: str | None,
    ) -> str:
        """Return the name to store credentials under: that of the same user and app, where there are some.

        RingCentral counts the requests of a user and app, however many credentials there are of them. Raises
        Unprocessable for another name, and where the environment's own credentials are of that user and app.
        """
        if owner_id is not None and owner_id == await self._own_user(db, account_id, client_id):
            raise Unprocessable(
                f"Extension {owner_id} serves account {account_id} already, by RC_JWT: a user is not counted twice. "
                "Give the credentials of another user, or take RC_JWT out first"
            )
        for stored in await credentials.list_stored(db, account_id):
            if owner_id is None or Access.from_json(stored.access).owner_id != owner_id:
                continue
            known = await credentials.load_secrets(db, self._vault, account_id, stored.name)
            if known is None or known[0].client_id != client_id:
                continue
            if wanted not in (None, stored.name):
                raise Unprocessable(
                    f"Extension {owner_id} has credentials here already, named {stored.name}: replace these, or "
                    "remove them first"
                )
            return stored.name
        return wanted or credentials.default_name(owner_id)

    async def _own_user(self, db: AsyncConnection, account_id: AccountId, client_id: str) -> str | None:
        """Return the user of the credentials in the environment, if they are of this account and app."""
        auth = own_auth(self._settings)
        if (
            auth is None
            or auth.client_id != client_id
            or not await accounts.has_own_credentials(db, account_id)
        ):
            return None
        rows = await credentials.list_stored(db, UNBOUND_ACCOUNT)
        known = [Access.known(row.access, auth.fingerprint).owner_id for row in rows if row.kind == OWN]
        return next(iter(known), None)

    async def _budget_of(self, owner_id: str | None) -> RateBudget:
        """Return the buckets of a user whose credentials are stored already: he has no others."""
        async with self._database.read() as db:
            stored = await credentials.list_stored(db)
        for row in stored:
            if owner_id is not None and (row.access or {}).get("ownerId") == owner_id:
                limits = rate_limits(self._settings)
                return SharedRates(
                    self._database, self._clock, limits, holder=row.account_id, principal=row.name
                )
        return Unmetered()

    async def _learn(self, client: RingCentralClient, token: StoredToken) -> tuple[AccountId, Access]:
        """Ask whose account it is and how far the credentials reach: as a rule with one request, at most with three.

        Raises PermissionMissing, of what matters most, when not even the account can be told.
        """
        now = self._clock.now()
        owner = ExtensionId(token.owner_id) if token.owner_id else None
        access = Access(owner_id=owner, scopes=tuple(token.scopes), fingerprint=token.fingerprint)
        account_id: AccountId | None = None
        refusal: PermissionMissing | None = None
        try:
            account_id = await self._account_by_calls(client, None)
        except PermissionMissing as error:
            refusal = error
        except RateLimited:
            log.info("the account is learnt without asking for calls: the limit is used up")
        if refusal is not None and refusal.code == COMPANY_PERMISSION and owner is not None:
            access = replace(access, level=Level.EXTENSION, extension_id=owner, probe_at=probe_again_at(now))
            try:
                account_id, refusal = await self._account_by_calls(client, owner), None
            except PermissionMissing as error:
                refusal = error
        if refusal is not None:
            problem = {**(describe(refusal) or {}), "since": now.isoformat()}
            access = replace(access, problem=problem, probe_at=now + _TRY_AGAIN)
        return account_id or await self._account_by_itself(client, refusal), access

    async def _account_by_itself(
        self, client: RingCentralClient, refusal: PermissionMissing | None
    ) -> AccountId:
        try:
            account_id = await client.fetch_account_id(deadline=self._deadline())
        except PermissionMissing as error:
            raise refusal or error from error
        if account_id is None:
            raise RingCentralError("RingCentral did not say which account this is")
        return account_id

    async def _account_by_calls(
        self, client: RingCentralClient, extension_id: ExtensionId | None
    ) -> AccountId | None:
        page = await client.fetch_active_calls_page(
            1, 1, extension_id=extension_id, priority=Priority.POLL, deadline=self._deadline()
        )
        return page.account_id

    async def _take_leave(self, account_id: AccountId, name: str) -> None:
        """Delete the user's subscriptions that call this service, as far as RingCentral lets us."""
        address = self._settings.webhook_address
        held = [
            item for item in await self._connections.all() if (item.holder, item.name) == (account_id, name)
        ]
        if address is None or not held or held[0].access.problem is not None:
            return
        client = held[0].client
        try:
            for found in await client.list_subscriptions(deadline=self._deadline()):
                if found.is_webhook and found.address == address:
                    await client.delete_subscription(found.id, deadline=self._deadline())
        except RingCentralError as error:
            log.warning("a subscription is left to run out", account_id=account_id, why=error.detail)

    async def _revoke(self, secret: Secret, token: StoredToken) -> None:
        """End the session; an error is ignored and not repeated (guide "Revoking tokens")."""
        auth = auth_config(self._settings, secret)
        if auth is None:
            return
        request = revoke_token(auth.client_id, auth.client_secret, token.refresh_token or token.access_token)
        transport = Transport(self._http, client_config(self._settings), Unmetered(), self._clock)
        try:
            await transport.attempt(request, request.headers["Authorization"], Priority.POLL, None)
        except RingCentralError as error:
            log.info("a session was left to run out", why=error.detail)

    def _deadline(self) -> datetime:
        return self._clock.now() + timedelta(seconds=_ASK_SECONDS)


class Unmetered:
    """The budget of a user whom nobody knows yet: a handful of requests, with nothing to share."""

    async def acquire(self, group: str, priority: Priority, deadline: datetime | None) -> Any:
        return None

    async def settle(self, slot: Any, outcome: Outcome) -> None:
        return None
