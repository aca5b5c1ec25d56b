"""The environment in which the service runs beside a simulator. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import app as package

WINDOW_SECONDS = 120.0
DATABASE_SETTING = "AFTERCALL_DATABASE_URL"
_OURS = ("AFTERCALL_", "RC_")
_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The secrets and ids of one run."""

    secret_key: str
    webhook_token: str
    api_key: str
    client_id: str
    client_secret: str
    jwt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """The URLs of the service and of the simulator's two hosts."""

    service: str
    platform: str
    media: str


def service_environment(
    inherited: Mapping[str, str],
    speed: float,
    credentials: Credentials,
    addresses: Addresses,
    *,
    database_url: str,
) -> dict[str, str]:
    """Return the environment of the service, with all durations divided by the simulator's `speed`.

    The user's own credentials and settings are left out, and so are proxies, since all addresses are on
    loopback.
    """
    kept = {
        name: value
        for name, value in inherited.items()
        if not name.upper().startswith(_OURS) and name.lower() not in _PROXIES
    }
    seconds = {
        "AFTERCALL_ACTIVE_CALLS_WINDOW_SECONDS": WINDOW_SECONDS,
        "AFTERCALL_ACTIVE_CALLS_LAG_MIN_SECONDS": 3.0,
        "AFTERCALL_ACTIVE_CALLS_LAG_MAX_SECONDS": 10.0,
        "AFTERCALL_CALL_END_QUIET_SECONDS": 3.0,
        "AFTERCALL_CALL_STALE_SECONDS": 14_400.0,
        "AFTERCALL_RATE_LIMIT_WINDOW_SECONDS": 60.0,
        "AFTERCALL_RATE_LIMIT_PENALTY_SECONDS": 60.0,
        "AFTERCALL_CALL_LOG_HORIZON_SECONDS": 3600.0,
    }
    here, path = str(Path(package.__file__).parents[1]), inherited.get("PYTHONPATH")
    return {
        **kept,
        "PYTHONPATH": f"{here}:{path}" if path else here,
        "PYTHONUNBUFFERED": "1",
        DATABASE_SETTING: database_url,
        "AFTERCALL_PUBLIC_URL": addresses.service,
        "AFTERCALL_SECRET_KEY": credentials.secret_key,
        "AFTERCALL_WEBHOOK_TOKEN": credentials.webhook_token,
        "AFTERCALL_API_KEY": credentials.api_key,
        # A connector on the same machine may have its own endpoint.
        "AFTERCALL_PUSH_ALLOW_HTTP": "true",
        "AFTERCALL_PUSH_ALLOW_NETWORKS": "127.0.0.0/8,::1/128",
        "RC_SERVER_URL": addresses.platform,
        "RC_MEDIA_URL": addresses.media,
        "RC_CLIENT_ID": credentials.client_id,
        "RC_CLIENT_SECRET": credentials.client_secret,
        "RC_JWT": credentials.jwt,
        **{name: f"{value / speed:g}" for name, value in seconds.items()},
    }
