"""What can be asked of the demo, and the environment that follows for the service. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass

DEFAULT_SPEED = 4.0
"""Slow enough to be followed by eye, and the first record is there some six seconds after the start."""

DEFAULT_CALLS_PER_MINUTE = 6.0
TALK_SECONDS = 25.0
"""Median length of a conversation, in seconds of the unscaled company."""

DEFAULT_SEED = 108
"""A day whose first twenty calls are of fourteen kinds, with transfers and a RingOut among them."""

WINDOW_SECONDS = 120.0
_OURS = ("AFTERCALL_", "RC_")
_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for. `calls` None plays without end; `port` None takes 8000 or, if that is taken, any."""

    calls: int | None = None
    speed: float = DEFAULT_SPEED
    calls_per_minute: float = DEFAULT_CALLS_PER_MINUTE
    seed: int = DEFAULT_SEED
    port: int | None = None
    ends: bool = False
    keeps_scratch: bool = False
    database_url: str | None = None

    def scaled(self, seconds: float) -> float:
        """Turn seconds of the unscaled company into real ones."""
        return seconds / self.speed


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Made up anew for each run."""

    secret_key: str
    webhook_token: str
    api_key: str
    client_secret: str
    jwt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Who listens where."""

    service: str
    platform: str
    media: str


def service_environment(
    inherited: Mapping[str, str],
    options: Options,
    secrets: Secrets,
    addresses: Addresses,
    *,
    client_id: str,
    scratch_database: str,
    import_path: str,
) -> dict[str, str]:
    """Return the environment of the service: its documented variables, all durations divided by the speed.

    Real credentials and settings of whoever runs the demo are left out, and so are proxies, since everything
    happens on loopback.
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
    path = inherited.get("PYTHONPATH")
    return {
        **kept,
        "PYTHONPATH": f"{import_path}:{path}" if path else import_path,
        "PYTHONUNBUFFERED": "1",
        "AFTERCALL_DATABASE_URL": options.database_url or scratch_database,
        "AFTERCALL_PUBLIC_URL": addresses.service,
        "AFTERCALL_SECRET_KEY": secrets.secret_key,
        "AFTERCALL_WEBHOOK_TOKEN": secrets.webhook_token,
        "AFTERCALL_API_KEY": secrets.api_key,
        "RC_SERVER_URL": addresses.platform,
        "RC_MEDIA_URL": addresses.media,
        "RC_CLIENT_ID": client_id,
        "RC_CLIENT_SECRET": secrets.client_secret,
        "RC_JWT": secrets.jwt,
        **{name: f"{options.scaled(value):g}" for name, value in seconds.items()},
    }
