"""The options of the demo, and the environment of the service that follows from them. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

TALK_SECONDS = 25.0
"""Median length of a conversation, in simulated seconds."""

WINDOW_SECONDS = 120.0
_DATABASE_SETTING = "AFTERCALL_DATABASE_URL"
_OURS = ("AFTERCALL_", "RC_")
_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy"})


class Options(BaseModel):
    """The options of `aftercall demo`; the description of a field is the help of its option.

    At the default speed a reader can follow, and the first record arrives some six seconds after the start.
    The first twenty calls of the default seed are of fourteen scripts, with transfers and a RingOut among
    them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    calls: int | None = Field(
        None, ge=1, description="Start this many calls, then no more; no limit by default."
    )
    speed: float = Field(
        4.0, ge=0.1, le=100.0, description="How many times faster than real time everything runs."
    )
    calls_per_minute: float = Field(
        6.0, ge=0.01, le=1000.0, description="How busy the company is, per simulated minute."
    )
    seed: int = Field(108, description="The same seed plays the same calls.")
    port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="The service's port. Default: 8000, or a free one if 8000 is in use.",
    )
    ends: bool = Field(
        False,
        description="Stop when all calls are settled; exit code 0 if all got their record. Needs --calls.",
    )
    keeps_scratch: bool = Field(False, description="Keep the scratch folder with database and log.")
    database_url: str | None = Field(
        None, description="Use this database instead of SQLite in the scratch folder."
    )

    def scaled(self, seconds: float) -> float:
        """Convert simulated seconds to real seconds."""
        return seconds / self.speed


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


def name_database(refusal: str, options: Options) -> str:
    """Name the database in the service's refusal as the user of the demo gave it.

    The service names its setting, which the demo sets itself.
    """
    name = "--database-url" if options.database_url else "the demo's own database"
    return refusal.replace(_DATABASE_SETTING, name)


def service_environment(
    inherited: Mapping[str, str],
    options: Options,
    credentials: Credentials,
    addresses: Addresses,
    *,
    scratch_database: str,
    import_path: str,
) -> dict[str, str]:
    """Return the environment of the service, with all durations divided by the speed.

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
    path = inherited.get("PYTHONPATH")
    return {
        **kept,
        "PYTHONPATH": f"{import_path}:{path}" if path else import_path,
        "PYTHONUNBUFFERED": "1",
        _DATABASE_SETTING: options.database_url or scratch_database,
        "AFTERCALL_PUBLIC_URL": addresses.service,
        "AFTERCALL_SECRET_KEY": credentials.secret_key,
        "AFTERCALL_WEBHOOK_TOKEN": credentials.webhook_token,
        "AFTERCALL_API_KEY": credentials.api_key,
        "RC_SERVER_URL": addresses.platform,
        "RC_MEDIA_URL": addresses.media,
        "RC_CLIENT_ID": credentials.client_id,
        "RC_CLIENT_SECRET": credentials.client_secret,
        "RC_JWT": credentials.jwt,
        **{name: f"{options.scaled(value):g}" for name, value in seconds.items()},
    }
