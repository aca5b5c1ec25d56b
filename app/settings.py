"""Every setting of the service: name, unit, default, meaning.

One class, read from the environment once, at start. `docs/settings.md` lists the same variables, and a test
compares the two. Durations are seconds and may be fractions, so that a test can compress the two minutes of
the Active Calls window into twelve seconds. Durations that are usually not set follow the window, as shares
of it.
"""

import os
from functools import cached_property
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from app.errors import SettingsError
from app.values.connector_settings import ConnectorSettings
from app.values.database_url import read_database_url
from app.values.phone_numbers import is_region

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
SHORTEST_KEY = 32
"""Characters of the secret key and of an API key. Both are hashed for speed and not stretched, so an attacker
with the database can try guesses quickly; 32 hexadecimal digits are 128 bits.
"""

SHORTEST_TOKEN = 16
"""Characters of the webhook token, which can only be guessed with requests."""
TELEPHONY_FILTER = "/restapi/v1.0/account/~/telephony/sessions"


def _named(name: str) -> AliasChoices:
    """Let a variable have RingCentral's own name instead of our prefix."""
    return AliasChoices(name, name.lower())


CALL_TYPES = ("Voice", "Fax")
"""RingCentral's types of records of which calls can be made."""


class Settings(ConnectorSettings):
    """What the operator can set. Secrets never appear in a repr."""

    model_config = SettingsConfigDict(
        env_prefix="AFTERCALL_",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    database_url: str = Field(
        "sqlite:///aftercall.db",
        repr=False,
        description="SQLite (`sqlite:///file.db`) or PostgreSQL (`postgresql://user:password@host/name`).",
    )
    database_direct_url: str | None = Field(
        None,
        repr=False,
        description="The same PostgreSQL without a pooler in between, for wake-ups (`LISTEN`) and "
        "migrations. Set it when `AFTERCALL_DATABASE_URL` leads through pgbouncer in transaction mode.",
    )
    database_pool_size: int = Field(
        10, ge=2, le=200, description="Connections to the database that each process keeps open."
    )
    migrate_on_start: bool = Field(
        True, description="Migrate the schema when `serve` starts; replicas wait for each other."
    )
    public_url: str | None = Field(
        None,
        description="The address at which RingCentral reaches this service, without a path. If it is "
        "set, the service creates and renews the webhook subscription.",
    )
    secret_key: SecretStr | None = Field(
        None,
        description="Encrypts stored credentials and signs cookies; 32 characters or more. "
        "Of several keys, separated by commas, the first encrypts and all decrypt.",
    )
    api_key: SecretStr | None = Field(
        None,
        description="An initial API key with every scope, stored hashed at start; 32 characters or more.",
    )
    webhook_token: SecretStr | None = Field(
        None,
        description="The `verificationToken` of the subscription; every delivery must carry it. 16 "
        "characters or more.",
    )
    request_seconds: float = Field(
        20.0, gt=0, description="How long a request may take to arrive, from its first byte to its last one."
    )
    webhook_max_body_bytes: int = Field(262_144, ge=1024, description="Largest delivery accepted.")

    rc_server_url: str = Field(
        "https://platform.ringcentral.com",
        validation_alias=_named("RC_SERVER_URL"),
        description="RingCentral's API.",
    )
    rc_media_url: str = Field(
        "https://media.ringcentral.com",
        validation_alias=_named("RC_MEDIA_URL"),
        description="RingCentral's media host.",
    )
    rc_client_id: str | None = Field(
        None, validation_alias=_named("RC_CLIENT_ID"), description="The app's client id."
    )
    rc_client_secret: SecretStr | None = Field(
        None, validation_alias=_named("RC_CLIENT_SECRET"), description="The app's client secret."
    )
    rc_jwt: SecretStr | None = Field(
        None, validation_alias=_named("RC_JWT"), description="The JWT credential of the service user."
    )
    rc_timeout_seconds: float = Field(10.0, gt=0, description="Longest wait for one response of RingCentral.")

    active_calls_window_seconds: float = Field(
        120.0, gt=0, description="How long Active Calls shows a call after its end."
    )
    active_calls_lag_min_seconds: float = Field(
        3.0, ge=0, description="Shortest time after its end at which Active Calls can show a call."
    )
    active_calls_lag_max_seconds: float = Field(
        10.0, gt=0, description="Time after its end within which Active Calls usually shows a call."
    )
    active_calls_page_size: int = Field(
        1000, ge=1, le=1000, description="`perPage` in requests to Active Calls and the Call Log."
    )
    call_end_quiet_seconds: float = Field(
        3.0, ge=0, description="Silence after the last event before a call counts as over."
    )
    call_end_handover_seconds: float | None = Field(
        None,
        ge=0,
        description="The same after a party handed the call over and nobody has answered it yet. "
        "Default: a quarter of the window.",
    )
    call_stale_seconds: float = Field(
        14_400.0, gt=0, description="A live call without an event for this long is looked up at RingCentral."
    )

    rate_limit_heavy: int = Field(
        10, ge=1, description="Requests per window, group Heavy, until RingCentral's headers say otherwise."
    )
    rate_limit_medium: int = Field(40, ge=1, description="The same for group Medium.")
    rate_limit_light: int = Field(50, ge=1, description="The same for group Light.")
    rate_limit_auth: int = Field(5, ge=1, description="The same for group Auth.")
    rate_limit_window_seconds: float = Field(60.0, gt=0, description="The sliding window of the limits.")
    rate_limit_penalty_seconds: float = Field(
        60.0, gt=0, description="Silence after a 429 without `Retry-After`."
    )

    call_log_delay_seconds: float | None = Field(
        None,
        ge=0,
        description="From the end of a call to its first Call Log read. Default: half the window.",
    )
    call_log_retry_seconds: float | None = Field(
        None,
        gt=0,
        description="First interval between two Call Log reads of one call; it doubles. Default: a "
        "quarter of the window.",
    )
    call_log_horizon_seconds: float = Field(
        3600.0, gt=0, description="Time after which a call that neither source knows is closed as absent."
    )

    sweep_seconds: float | None = Field(
        None,
        gt=0,
        description="How often the Call Log is searched for calls that no event announced. Default: "
        "seven and a half windows.",
    )
    sweep_lookback_seconds: float = Field(
        10_800.0,
        gt=0,
        description="How far back some of these sweeps go; they do not find calls that last longer.",
    )

    home_country: str | None = Field(
        None,
        description="The country in which numbers without a calling code are read, as a two-letter code "
        "(`US`). Default: the account's own, if it is known.",
    )

    call_types: str = Field(
        "Voice",
        description="Which entries of the Call Log become calls: `Voice`, or `Voice,Fax` for faxes too.",
    )

    insights: Literal["auto", "off"] = Field(
        "auto",
        description="`auto`: request conversation insights of recorded calls if the account has them. "
        "`off`: only store those that events bring.",
    )

    directory_refresh_seconds: float = Field(
        3600.0,
        ge=0,
        description="How often the directory of each account is read: names, e-mails and numbers of its "
        "people. 0: never.",
    )

    subscription_filters: str = Field(
        TELEPHONY_FILTER, description="Event filters of the subscription, separated by commas."
    )
    subscription_expires_seconds: int = Field(
        604_800, ge=60, description="Requested lifetime; RingCentral's response decides."
    )
    subscription_check_seconds: float = Field(
        180.0, gt=0, description="How often the subscription is checked."
    )

    archive_url: str | None = Field(
        None,
        description="Archive of recordings and voicemails, for longer than RingCentral keeps them: "
        "`file:///folder` or `s3://bucket/prefix`.",
    )
    archive_endpoint_url: str | None = Field(
        None, description="The S3-compatible store of the archive's bucket, if it is not Amazon's."
    )
    archive_spool_folder: str | None = Field(
        None,
        description="Where downloads are stored until they are archived. Default: in the system's folder "
        "for temporary files.",
    )

    listen_sign_in: bool = Field(False, description="Whether audio links take a sign-in with an API key.")
    lease_seconds: float = Field(
        60.0,
        gt=0,
        description="How long one replica may work on a recording, a voicemail, on insights or on a shared "
        "response before another takes over. The lease of other work is an eighth of the window, and is "
        "renewed while the work goes on.",
    )
    retention_deliveries_days: float = Field(
        30.0, gt=0, description="How long raw deliveries are kept for replay; never longer than their calls."
    )
    retention_records_days: float | None = Field(
        None,
        gt=0,
        description="How long RingCentral's raw records of a settled call are kept. Not set: as long as the "
        "call.",
    )
    retention_timeline_days: float = Field(
        365.0, gt=0, description="How long changes can be read in the feed and in the timeline of a call."
    )
    retention_calls_days: float | None = Field(
        None, gt=0, description="How long calls are kept after their end, with all that belongs to them."
    )
    retention_notes_days: float | None = Field(
        None, gt=0, description="How long notes are kept after their last change, at most as long as calls."
    )
    retention_recordings_days: float | None = Field(
        None, gt=0, description="How long archived audio is kept, at most as long as calls."
    )
    retention_requests_days: float = Field(
        2.0, gt=0, description="How long an `Idempotency-Key` is remembered, with the response."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level that is logged."
    )
    log_format: Literal["json", "console"] = Field(
        "json", description="One JSON object per line, or text for people."
    )

    @field_validator("database_url", "database_direct_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        return None if value is None else read_database_url(value).url

    @field_validator("public_url", "rc_server_url", "rc_media_url")
    @classmethod
    def _origin(cls, value: str | None) -> str | None:
        if not value:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{value!r} is not an http(s) address")
        return value.rstrip("/")

    @field_validator("call_types")
    @classmethod
    def _known_types(cls, value: str) -> str:
        named = {word.strip().capitalize() for word in value.split(",")} - {""}
        if not {"Voice"} <= named <= set(CALL_TYPES):
            raise ValueError("must be Voice, or Voice,Fax")
        return ",".join(one for one in CALL_TYPES if one in named)

    @field_validator("home_country")
    @classmethod
    def _country(cls, value: str | None) -> str | None:
        code = value.strip().upper() if value else None
        if code and not is_region(code):
            raise ValueError("is not a two-letter country code such as US or DE (ISO 3166)")
        return code or None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.active_calls_lag_min_seconds > self.active_calls_lag_max_seconds:
            raise ValueError(
                "AFTERCALL_ACTIVE_CALLS_LAG_MIN_SECONDS is above AFTERCALL_ACTIVE_CALLS_LAG_MAX_SECONDS"
            )
        if self.active_calls_lag_max_seconds >= self.active_calls_window_seconds:
            raise ValueError(
                "AFTERCALL_ACTIVE_CALLS_LAG_MAX_SECONDS must lie inside AFTERCALL_ACTIVE_CALLS_WINDOW_SECONDS"
            )
        if self.lease_seconds <= self.rc_timeout_seconds:
            raise ValueError(
                "AFTERCALL_LEASE_SECONDS must outlast AFTERCALL_RC_TIMEOUT_SECONDS, the request that it "
                "covers"
            )
        looked_up = max(self.call_log_horizon_seconds, self.sweep_lookback_seconds)
        if self.kept_seconds is not None and self.kept_seconds <= looked_up:
            raise ValueError(
                "AFTERCALL_RETENTION_CALLS_DAYS must outlast AFTERCALL_CALL_LOG_HORIZON_SECONDS and "
                "AFTERCALL_SWEEP_LOOKBACK_SECONDS"
            )
        return self

    @cached_property
    def handover_seconds(self) -> float:
        if self.call_end_handover_seconds is not None:
            return self.call_end_handover_seconds
        return self.active_calls_window_seconds / 4

    @cached_property
    def first_reading_seconds(self) -> float:
        if self.call_log_delay_seconds is not None:
            return self.call_log_delay_seconds
        return self.active_calls_window_seconds / 2

    @cached_property
    def reading_gap_seconds(self) -> float:
        return self.call_log_retry_seconds or self.active_calls_window_seconds / 4

    @cached_property
    def reader_patience_seconds(self) -> float:
        """How long a reader's request waits for its turn at RingCentral before it is told when to retry."""
        return self.rate_limit_window_seconds / 12

    @cached_property
    def sweep_interval_seconds(self) -> float:
        return self.sweep_seconds or self.active_calls_window_seconds * 7.5

    @cached_property
    def step_seconds(self) -> float:
        """How often loops on the window's time scale look for work that nobody woke them for."""
        return min(1.0, self.active_calls_window_seconds / 60)

    @cached_property
    def beat_seconds(self) -> float:
        """How often a process proves that deliveries can be stored."""
        return max(1.0, self.active_calls_window_seconds / 12)

    @cached_property
    def short_lease_seconds(self) -> float:
        """Lease of work on the window's time scale; it is renewed while the work goes on."""
        return max(2.0, self.active_calls_window_seconds / 8)

    @cached_property
    def horizon_seconds(self) -> float:
        """When a call is given up; never before the window has closed."""
        return max(self.call_log_horizon_seconds, self.active_calls_window_seconds)

    @cached_property
    def kept_seconds(self) -> float | None:
        """How long after its end a call is kept; None: without limit."""
        return None if self.retention_calls_days is None else self.retention_calls_days * 86_400

    @cached_property
    def insights_seconds(self) -> float | None:
        """From the end of a recorded call to the request for its insights: an hour for a window of two
        minutes.
        """
        return self.active_calls_window_seconds * 30 if self.insights == "auto" else None

    @cached_property
    def has_credentials(self) -> bool:
        return bool(self.rc_client_id and self.rc_client_secret and self.rc_jwt)

    @cached_property
    def has_app(self) -> bool:
        """Whether there is an app with which users can sign in; it needs no user of its own."""
        return bool(self.rc_client_id and self.rc_client_secret)

    @cached_property
    def webhook_address(self) -> str | None:
        return f"{self.public_url}/webhooks/ringcentral" if self.public_url else None

    @cached_property
    def is_local(self) -> bool:
        """Whether only this machine is meant to reach the service."""
        return self.public_url is None or urlsplit(self.public_url).hostname in LOCAL_HOSTS

    @cached_property
    def event_filters(self) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.subscription_filters.split(",") if part.strip())

    def secrets(self) -> tuple[str, str]:
        """Return (secret key, webhook token).

        Raises SettingsError that names every secret that is missing, or short enough to be guessed. Of
        several secret keys only the first counts: the others are being phased out.
        """
        secret = self.secret_key.get_secret_value().strip(", ") if self.secret_key else ""
        token = self.webhook_token.get_secret_value() if self.webhook_token else ""
        api_key = self.api_key.get_secret_value() if self.api_key else None
        given = (
            ("AFTERCALL_SECRET_KEY", secret.split(",")[0].strip(), SHORTEST_KEY),
            ("AFTERCALL_WEBHOOK_TOKEN", token, SHORTEST_TOKEN),
            ("AFTERCALL_API_KEY", api_key, SHORTEST_KEY),
        )
        wrong = [
            f"{name} must be set"
            if not value
            else f"{name} needs {shortest} characters or more, it has {len(value)}"
            for name, value, shortest in given
            if value is not None and len(value) < shortest
        ]
        if wrong:
            raise SettingsError(
                f"{'; '.join(wrong)}. The service does not start without them; "
                "`openssl rand -hex 32` makes a good value for each"
            )
        return secret, token


def read_settings(**values: Any) -> Settings:
    """Read the environment; `values` override it.

    Raises SettingsError with one sentence per variable that cannot be used.
    """
    # Ignored, former names would keep data for longer than an operator believes.
    for old, kind in (("DELIVERY_RETENTION_DAYS", "DELIVERIES"), ("IDEMPOTENCY_RETENTION_HOURS", "REQUESTS")):
        if os.environ.get(f"AFTERCALL_{old}"):
            raise SettingsError(f"AFTERCALL_{old} is now AFTERCALL_RETENTION_{kind}_DAYS")
    try:
        return Settings(**values)
    except ValidationError as error:
        lines = [_sentence(item) for item in error.errors()]
        raise SettingsError("; ".join(lines)) from error


def _sentence(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"]).upper()
    message = str(item["msg"]).removeprefix("Value error, ")
    if not where or "AFTERCALL_" in message:
        return message
    name = where if where.startswith("RC_") else f"AFTERCALL_{where.removeprefix('AFTERCALL_')}"
    return f"{name}: {message}"
