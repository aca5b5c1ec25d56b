"""Makes a connection of stored credentials: signs in, shares token and rate buckets with all replicas."""

import httpx
import structlog
from cryptography.fernet import InvalidToken

from app.accounts.access import Access
from app.accounts.config import auth_config, client_config, own_auth, rate_limits
from app.accounts.connection import Connection
from app.accounts.credentials import OWN, CredentialRow, Secret
from app.accounts.shared_token import SharedTokenStore
from app.clock import Clock
from app.db.engine import Database
from app.ids import UNBOUND_ACCOUNT
from app.rate_limits.shared_buckets import SharedRates
from app.ringcentral.auth import AuthConfig
from app.ringcentral.client import connect
from app.ringcentral.transport import Meters
from app.settings import Settings
from app.vault import Vault

log = structlog.get_logger(__name__)


class Connector:
    """Makes the connections of one process, which all share `meters`."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        clock: Clock,
        vault: Vault,
        http: httpx.AsyncClient,
        *,
        replica: str,
    ) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._vault = vault
        self._http = http
        self._replica = replica
        self.meters = Meters.made(clock)

    def connect(self, row: CredentialRow) -> Connection | None:
        """Return a new connection; None if this process cannot use the credentials."""
        auth = self._auth(row)
        if auth is None:
            return None
        settings = self._settings
        rates = SharedRates(
            self._database,
            self._clock,
            rate_limits(settings),
            holder=row.account_id,
            principal=row.name,
            longest_wait_seconds=settings.rate_limit_window_seconds,
        )
        tokens = SharedTokenStore(
            self._database,
            self._clock,
            self._vault,
            replica=self._replica,
            lease_seconds=settings.short_lease_seconds,
            longest_seconds=auth.longest_grant_seconds,
            holder=row.account_id,
            name=row.name,
        )
        client = connect(
            self._http,
            client_config(settings),
            auth,
            store=tokens,
            budget=rates,
            clock=self._clock,
            meters=self.meters,
        )
        access = Access(fingerprint=auth.fingerprint)
        return Connection(row.account_id, row.name, client, rates, access, row.kind, row.secret)

    def _auth(self, row: CredentialRow) -> AuthConfig | None:
        """Return how to sign in; None if this process cannot use these credentials."""
        if row.kind == OWN:
            return own_auth(self._settings) if row.account_id == UNBOUND_ACCOUNT else None
        facts = {"account_id": row.account_id, "name": row.name}
        try:
            secret = Secret.load(self._vault.decrypt(row.secret or b""))
        except InvalidToken:
            log.warning("credentials were encrypted with another AFTERCALL_SECRET_KEY", **facts)
            return None
        auth = auth_config(self._settings, secret)
        if auth is None:
            log.warning("credentials belong to another app than RC_CLIENT_ID names", **facts)
        return auth
