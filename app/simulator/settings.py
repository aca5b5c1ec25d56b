"""How a simulator is set up, and the faults that can be switched while it runs.

All seconds are those of the unscaled world; `speed` divides them.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from app.simulator.platform.rate_limits import DEFAULT_LIMITS
from app.simulator.timing import Timing

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(ge=0.0)]

ALL_SCOPES = (
    "ReadCallLog",
    "EditCallLog",
    "ReadCallRecording",
    "CallControl",
    "SubscriptionWebhook",
    "ReadPresence",
    "ReadAccounts",
    "ReadMessages",
    "RingSense",
)

DEFAULT_MIX: Mapping[str, float] = {
    "inbound_direct": 14,
    "inbound_recorded_with_hold": 8,
    "inbound_missed": 6,
    "ivr_then_agent": 10,
    "outbound_answered": 16,
    "outbound_busy": 3,
    "outbound_no_answer": 6,
    "internal": 5,
    "queue_answered": 10,
    "queue_abandoned": 3,
    "blind_transfer": 4,
    "warm_transfer": 3,
    "park_and_pickup": 2,
    "voicemail": 5,
    "ringout": 2,
    "own_number": 1,
    "short_call": 2,
}
"""Scripts of an ordinary day with their weights; the odd ones have to be asked for."""


class SimulatorSettings(BaseModel):
    """Everything that is fixed when the simulator starts. Port 0 takes any free port."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = 8090
    media_port: int = 8091
    public_url: str | None = None
    media_url: str | None = None
    speed: Annotated[float, Field(gt=0.0)] = 1.0
    seed: int = 1

    account_id: Annotated[str, Field(pattern=r"^[0-9]{1,32}$")] = "908070001"
    client_id: str = "sim-client"
    client_secret: str = "sim-secret"  # noqa: S105 - a secret of a make-believe company
    jwt: str = "sim-jwt"
    scopes: tuple[str, ...] = ALL_SCOPES

    calls_per_minute: Annotated[float, Field(ge=0.0)] = 0.0
    calls: int | None = None
    talk_seconds: Annotated[float, Field(gt=0.0)] = 60.0
    mix: Mapping[str, float] = Field(default_factory=lambda: dict(DEFAULT_MIX))
    duration_seconds: Annotated[float, Field(gt=0.0)] | None = None

    webhook_url: str | None = None
    webhook_token: str | None = None

    rate_limits: Mapping[str, int] = Field(default_factory=lambda: dict(DEFAULT_LIMITS))
    rate_window_seconds: Annotated[float, Field(gt=0.0)] = 60.0
    rate_penalty_seconds: Annotated[float, Field(gt=0.0)] = 60.0
    access_token_seconds: Annotated[float, Field(gt=0.0)] = 3600.0
    refresh_token_seconds: Annotated[float, Field(gt=0.0)] = 604800.0
    max_sessions: Annotated[int, Field(ge=1)] = 5
    timing: Timing = Timing()


class Faults(BaseModel):
    """Switches for everything that RingCentral does now and then; the defaults are an ordinary good day."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )

    # every request
    latency_seconds: Seconds = 0.0
    """Answers are held back so long; wall-clock seconds."""
    unavailable_share: Share = 0.0
    """Share of API requests answered 503 CMN-201."""
    global_limit: bool = False
    """Everything is answered 429 CMN-310 without rate headers."""

    # rate limits
    rate_limits_enforced: bool = True
    rate_limit_headers: bool = True
    retry_after: bool = True

    # authentication
    token_status: Literal[None, 400, 408, 429, 500, 503] = None
    """The token endpoint answers every request so."""
    refresh_tokens: bool = True
    missing_scopes: tuple[str, ...] = ()
    missing_permissions: tuple[str, ...] = ()

    # active calls and call log
    active_calls_drop_parameters: bool = False
    """All query parameters are dropped: Simple view, 100 per page, always page 1."""
    active_calls_blind: bool = False
    """Active calls shows no calls at all."""
    call_log_blind: bool = False
    """The call log shows no calls at all."""
    last_page: Literal["first", "correct", "absent"] = "first"
    """Where `navigation.lastPage` points when there are more pages than one."""
    session_id_excludes: tuple[str, ...] = (
        "extensionNumber",
        "phoneNumber",
        "direction",
        "type",
        "transport",
        "recordingType",
        "withRecording",
        "dateFrom",
        "dateTo",
    )
    """Parameters refused with CLG-110 beside `sessionId`."""
    session_id_within_window: bool = True
    """The 24 h default window also applies to a search by `sessionId`."""
    telephony_session_id_filter: bool = True
    """False: the parameter is ignored, as older releases do."""
    bulk_limit: Annotated[int, Field(ge=1)] = 50
    bulk_form: Literal["accepted", "multipart", "json"] = "accepted"
    """`accepted`: the vendor's Accept type gets JSON, all others get parts; else everybody gets this one."""
    extract_sync: bool = True
    """False: the resource answers 404, as on tenants without it."""
    sync_limit: Annotated[int, Field(ge=1, le=250)] = 250

    # recordings
    recordings_withheld: bool = False
    """Metadata and content are 404, also of recordings that records name."""
    recording_format: Literal["mp3", "wav"] = "mp3"
    recording_range: Literal["supported", "ignored", "unasked"] = "supported"
    """`unasked`: even a plain request gets 206 and the first half only."""
    recording_content_length: bool = True

    # conversation insights
    insights_licensed: bool = False
    """The account has the product; without it reads are refused with 403, and the event filter is disabled."""
    insights_notes: bool = False
    """Notes are taken: the first version lacks them, a second event brings them."""

    # webhooks
    require_https: bool = False
    subscription_limit: Annotated[int, Field(ge=0)] = 30
    subscription_max_seconds: Annotated[float, Field(gt=0.0)] = 604800.0
    handshake_on_renewal: bool = False
    """Renewing and updating prove the address again, as one report has it."""
    disabled_filters: tuple[str, ...] = ()
    """Filters that contain one of these texts are refused with `disabledFilters`."""
    duplicate_share: Share = 0.0
    loss_share: Share = 0.0
    reorder_share: Share = 0.0
    """Share of deliveries held back so that later ones overtake them."""
    delivery_delay_min_seconds: Seconds = 0.04
    delivery_delay_max_seconds: Seconds = 0.12
    redelivery_delays_seconds: tuple[Seconds, ...] = (2.0, 10.0, 30.0)
    """Waits before a delivery that was not answered 200 is repeated."""
    suspend_after_seconds: Seconds = 600.0
    """A subscription that failed without a success for so long is blacklisted."""
    suspend_after_failures: Annotated[int, Field(ge=1)] = 5
    recovery: Literal["never", "probe"] = "never"
    probe_seconds: Annotated[float, Field(gt=0.0)] = 900.0
    mislabelled_token: bool = False
    """The secret comes in `Validation-Token`, as one edition of the guide has it."""
    uuid_form: Literal["number", "guid"] = "number"
    time_form: Literal["Z", "+0000"] = "Z"
    pn_apns: bool = False
    """Nest event, timestamp and body as mobile pushes do."""
