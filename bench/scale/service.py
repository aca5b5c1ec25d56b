"""The service as operators run it, with credentials of many accounts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.accounts.access import Access
from app.accounts.config import auth_config
from app.accounts.credentials import CredentialKind, Secret, save
from app.db.engine import Database
from app.db.migrations import migrate
from app.ids import AccountId, ExtensionId
from app.ringcentral.stored_tokens import StoredToken
from app.settings import Settings
from app.vault import Vault
from bench.scale.processes import server
from tests.cluster import Cluster, free_port

SECRET_KEY = "0123456789abcdef0123456789abcdef"
WEBHOOK_TOKEN = "a-verification-token"
EXTENSION = "711000101"


def account_ids(count: int) -> list[AccountId]:
    """Return the ids of as many accounts."""
    return [AccountId(str(908_070_001 + number)) for number in range(count)]


async def fill(
    database: Database, ids: Sequence[AccountId], platform_url: str, tokens: Sequence[str]
) -> None:
    """Migrate, and store a company-wide JWT credential for each account with a token for a day."""
    await migrate(database)
    settings, vault = _settings(platform_url), Vault(SECRET_KEY)
    now = datetime.now(UTC)
    async with database.write() as db:
        for account_id, token in zip(ids, tokens, strict=True):
            secret = Secret("bench", jwt=f"jwt-of-{account_id}")
            auth = auth_config(settings, secret)
            assert auth is not None
            stored = StoredToken(
                access_token=token,
                issued_at=now,
                expires_at=now + timedelta(days=1),
                fingerprint=auth.fingerprint,
                owner_id=EXTENSION,
            )
            access = Access(owner_id=ExtensionId(EXTENSION), fingerprint=auth.fingerprint).to_json()
            await save(db, vault, account_id, "user", CredentialKind.JWT, secret, stored, access, now)


@dataclass(frozen=True, slots=True)
class Service:
    """A process of the service."""

    port: int
    pid: int


@contextmanager
def serving(cluster: Cluster, platform_url: str, role: str = "all") -> Iterator[Service]:
    """Run the service while the block runs."""
    port = free_port()
    env = {
        "AFTERCALL_DATABASE_URL": cluster.url(),
        "AFTERCALL_KEY_REQUESTS_PER_MINUTE": "0",  # a load has one key
        "AFTERCALL_SECRET_KEY": SECRET_KEY,
        "AFTERCALL_WEBHOOK_TOKEN": WEBHOOK_TOKEN,
        "AFTERCALL_LOG_LEVEL": "warning",
        "AFTERCALL_DIRECTORY_REFRESH_SECONDS": "0",
        # The Call Log would be read in the middle of a later round.
        "AFTERCALL_CALL_LOG_DELAY_SECONDS": "1800",
        "RC_SERVER_URL": platform_url,
        "RC_CLIENT_ID": "bench",
        "RC_CLIENT_SECRET": "bench",
    }
    with server(["-m", "app", "serve", "--role", role, "--port", str(port)], port, env) as pid:
        yield Service(port, pid)


def _settings(platform_url: str) -> Settings:
    return Settings(
        secret_key=SECRET_KEY,
        webhook_token=WEBHOOK_TOKEN,
        rc_server_url=platform_url,
        rc_client_id="bench",
        rc_client_secret="bench",
    )
