"""One user's connection to one account: how it is made, and which connections read an account's calls."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx
import structlog
from cryptography.fernet import InvalidToken

from app.accounts.access import Access, Level
from app.accounts.config import auth_config, client_config, own_auth, rate_limits
from app.accounts.credentials import OWN, CredentialRow, Secret
from app.accounts.shared_token import SharedTokenStore
from app.clock import Clock
from app.db.engine import Database
from app.errors import AccessReason
from app.ids import UNBOUND_ACCOUNT, AccountId, ExtensionId
from app.rate_limits.shared_buckets import SharedRates
from app.ringcentral.auth import AuthConfig
from app.ringcentral.client import RingCentralClient, connect
from app.ringcentral.transport import Meters
from app.settings import Settings
from app.vault import Vault

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Connection:
    """Credentials in use. `holder` is `~` for those of the environment, else the account's id."""

    holder: AccountId
    name: str
    client: RingCentralClient = field(repr=False)
    rates: SharedRates = field(repr=False)
    access: Access = field(default_factory=Access)
    kind: str = OWN
    """`own` (the environment's), `jwt` or `oauth` (a user signed in)."""
    secret: bytes | None = field(default=None, repr=False)
    """As it is stored; None for the environment's."""

    @property
    def is_company_wide(self) -> bool:
        return self.access.level is Level.ACCOUNT

    @property
    def shows_other_account(self) -> bool:
        """Whether its last response was of another account than the events."""
        return AccessReason.WRONG_ACCOUNT in self.access.lacks

    @property
    def extension_id(self) -> ExtensionId | None:
        """The extension whose calls it shows; None: all extensions."""
        return None if self.is_company_wide else self.access.extension_id


def serving(connections: Sequence[Connection], *, beside_polls: bool = False) -> Sequence[Connection]:
    """Select the connections that read an account's calls: one that shows them all, else each user's own.

    Connections with a problem are left out. Of several company-wide ones the last does the work
    `beside_polls`: a second service user has rate buckets of its own. `pooled` says which ones poll.
    """
    company_wide = _company_wide(connections)
    if company_wide:
        return company_wide[-1:] if beside_polls else company_wide[:1]
    return [connection for connection in connections if connection.access.problem is None]


def pooled(connections: Sequence[Connection]) -> Sequence[Connection]:
    """Select the connections whose rate buckets the polls of the whole account share; empty if none sees it.

    RingCentral counts the requests of a user, so each user counts once. A user who is not known yet may be
    one of the others, and credentials of another account show other calls: neither joins others. One whose
    access is tried again joins: if it is refused, it has a problem again and is left out.
    """
    company_wide = [item for item in _company_wide(connections) if not item.shows_other_account]
    users: dict[ExtensionId, Connection] = {}
    for item in company_wide:
        if item.access.owner_id is not None:
            users.setdefault(item.access.owner_id, item)
    return list(users.values()) or _company_wide(connections)[:1]


def _company_wide(connections: Sequence[Connection]) -> list[Connection]:
    """Select the connections without a problem that see the whole account."""
    return [item for item in connections if item.access.problem is None and item.is_company_wide]


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
