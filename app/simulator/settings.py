"""The settings of a simulator, and the faults that can be switched while it runs.

All seconds are simulated seconds, which `speed` divides, unless a setting says otherwise.
"""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from app.simulator.platform.rate_limits import DEFAULT_LIMITS, RateLimiter
from app.simulator.platform.tokens import TokenRules
from app.simulator.quirks import Quirks
from app.simulator.scripting.traffic import Traffic
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
    "find_me_missed": 2,
    "find_me_answered": 2,
    "transferred_outside": 1,
    "transfer_to_voicemail": 1,
    "ringout_one_session": 1,
    "menu_never_answered": 3,
    "menu_abandoned": 2,
    "simultaneous_ring": 2,
    "pick_up": 1,
    "queue_voicemail": 2,
    "internal_missed": 2,
    "internal_voicemail": 1,
    "anonymous_caller": 1,
}
"""The scripts of an ordinary day with their weights. Unusual scripts start only on request."""


class SimulatorSettings(BaseModel):
    """Everything that is fixed when the simulator starts. Port 0 selects a free port.

    Each field with a description is an option of `aftercall simulate`, with the description as its help.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(
        "127.0.0.1", description="Address to listen on. No key is required: keep it on loopback."
    )
    port: int = Field(8090, ge=0, le=65535, description="Port of the platform host; 0 selects a free one.")
    media_port: int = Field(8091, ge=0, le=65535, description="Port of the media host; 0 selects a free one.")
    public_url: str | None = Field(
        None, description="The platform host's address in responses, if different."
    )
    media_url: str | None = Field(None, description="The media host's address in responses, if different.")
    speed: float = Field(1.0, gt=0.0, description="How many times faster than real time everything runs.")
    seed: int = Field(1, description="The same seed plays the same calls.")
    calls_per_minute: float = Field(
        0.0,
        ge=0.0,
        description="How busy the company is, per simulated minute; 0 starts calls on request only.",
    )
    calls: int | None = Field(
        None,
        ge=0,
        description="Stop starting calls after this many, with those of earlier runs in the journal.",
    )
    talk_seconds: float = Field(60.0, gt=0.0, description="Median length of a conversation.")
    mix: Mapping[str, float] = Field(
        default_factory=lambda: dict(DEFAULT_MIX),
        description="script=weight, can be repeated; an ordinary day by default.",
    )
    journal: Path | None = Field(
        None, description="Keep the calls in this file, so that they are still known after a restart."
    )
    duration_seconds: float | None = Field(None, gt=0.0, description="Stop after this many real seconds.")
    webhook_url: str | None = Field(
        None, description="Post all events to this address, without a subscription."
    )
    webhook_token: str | None = Field(None, description="The Verification-Token of those events.")
    account_id: str = Field("908070001", pattern=r"^[0-9]{1,32}$", description="The account's id, in digits.")
    client_id: str = Field("sim-client", description="The application's client id.")
    client_secret: str = Field("sim-secret", description="The application's client secret.")
    jwt: str = Field(
        "sim-jwt", description="The administrator's JWT; <jwt>-second and <jwt>-limited are other users."
    )

    scopes: tuple[str, ...] = ALL_SCOPES
    rate_limits: Mapping[str, int] = Field(default_factory=lambda: dict(DEFAULT_LIMITS))
    rate_window_seconds: Annotated[float, Field(gt=0.0)] = 60.0
    rate_penalty_seconds: Annotated[float, Field(gt=0.0)] = 60.0
    access_token_seconds: Annotated[float, Field(gt=0.0)] = 3600.0
    refresh_token_seconds: Annotated[float, Field(gt=0.0)] = 604800.0
    max_sessions: Annotated[int, Field(ge=1)] = 5
    timing: Timing = Timing()

    @property
    def platform_address(self) -> str:
        return self.public_url or _address(self.host, self.port)

    @property
    def media_address(self) -> str:
        return self.media_url or _address(self.host, self.media_port)

    @property
    def token_rules(self) -> TokenRules:
        return TokenRules(
            self.client_id,
            self.client_secret,
            self.scopes,
            self.access_token_seconds,
            self.refresh_token_seconds,
            self.max_sessions,
        )

    def rate_limiter(self) -> RateLimiter:
        """Return a rate limiter with empty buckets."""
        return RateLimiter(self.rate_limits, self.rate_window_seconds, self.rate_penalty_seconds)

    @property
    def traffic(self) -> Traffic:
        return Traffic(self.calls_per_minute, self.calls, self.talk_seconds, dict(self.mix))


def _address(host: str, port: int) -> str:
    """Return the URL of a listening port; a host that means all interfaces is reached on loopback."""
    reachable = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104 - compared, not bound
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


class Faults(BaseModel):
    """Switches for what RingCentral does occasionally. The defaults are an ordinary day without faults."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )

    # Every request
    latency_seconds: Seconds = 0.0
    """Real seconds by which every response is delayed."""
    unavailable_share: Share = 0.0
    """Share of API requests answered with 503 CMN-201."""
    global_limit: bool = False
    """Every request is answered with 429 CMN-310, without rate headers."""

    # Rate limits
    rate_limits_enforced: bool = True
    rate_limit_headers: bool = True
    retry_after: bool = True

    # Authentication
    token_status: Literal[None, 400, 408, 429, 500, 503] = None
    """The status of every response of the token endpoint."""
    refresh_tokens: bool = True
    missing_scopes: tuple[str, ...] = ()
    missing_permissions: tuple[str, ...] = ()

    # Active Calls and the call log
    active_calls_drop_parameters: bool = False
    """All query parameters are ignored: Simple view, 100 per page, always page 1."""
    active_calls_blind: bool = False
    """Active Calls shows no calls."""
    call_log_blind: bool = False
    """The call log shows no calls."""
    last_page: Literal["first", "correct", "absent"] = "first"
    """The page that `navigation.lastPage` names if there are several."""
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
    """Parameters refused with CLG-110 in combination with `sessionId`."""
    session_id_within_window: bool = True
    """The 24 h default window also applies to a search by `sessionId`."""
    telephony_session_id_filter: bool = True
    """False: the parameter is ignored, as by older releases."""
    bulk_limit: Annotated[int, Field(ge=1)] = 50
    bulk_form: Literal["accepted", "multipart", "json"] = "accepted"
    """`accepted`: JSON for the vendor's Accept type, else multipart. Other values apply to every request."""
    extract_sync: bool = True
    """False: the resource answers 404, as for accounts without it."""
    sync_limit: Annotated[int, Field(ge=1, le=250)] = 250

    # Forms of events and records; see `Quirks`
    numbers_without_plus: bool = False
    numbers_with_extension: bool = False
    names_cut_in_emoji: bool = False
    names_not_utf8: bool = False
    missed_as_no_answer: bool = False
    split_session_ids: bool = False
    presence_queue_info: bool = False
    presence_without_end: bool = False
    records_without_extension: bool = False
    simple_records_only: bool = False

    # Recordings
    recordings_withheld: bool = False
    """Metadata and content are 404, even of recordings that records name."""
    recording_format: Literal["mp3", "wav"] = "mp3"
    recording_range: Literal["supported", "ignored", "unasked"] = "supported"
    """`unasked`: a request without a range gets 206 and the first half."""
    recording_content_length: bool = True

    # Voicemails, which `recording_format`, `recording_range` and `recording_content_length` concern too
    voicemails_withheld: bool = False
    """Messages and their content are 404, even of voicemails that records name."""
    voicemail_transcript: Literal[
        "Completed", "CompletedPartially", "Failed", "InProgress", "NotAvailable", "TimedOut", "Unknown"
    ] = "Completed"
    """What becomes of transcripts, which are InProgress at first; InProgress: they stay so."""

    # Conversation insights
    insights_licensed: bool = False
    """The account has conversation insights. If not, reads are 403 and the event filter is disabled."""
    insights_notes: bool = False
    """The account takes notes: the first version lacks them, a second event brings them."""

    # The directory
    directory_available: bool = True
    """False: it is 403 CMN-403; the list of extensions still works."""
    directory_etags: bool = True
    """False: its responses have no ETag, so none is 304."""
    federated_account: bool = False
    """The directory lists somebody of another account, unless `showFederated` is false."""
    former_extensions: tuple[str, ...] = ()
    """Ids of extensions that directory and list no longer have: these people have left."""

    # Webhooks
    session_events: bool = True
    """False: no telephony session events are posted; presence events are the only ones of calls."""
    require_https: bool = False
    subscription_limit: Annotated[int, Field(ge=0)] = 30
    subscription_max_seconds: Annotated[float, Field(gt=0.0)] = 604800.0
    handshake_on_renewal: bool = False
    """A renewal or update repeats the handshake, as one report says."""
    disabled_filters: tuple[str, ...] = ()
    """Filters that contain one of these texts are listed in `disabledFilters`."""
    duplicate_share: Share = 0.0
    loss_share: Share = 0.0
    reorder_share: Share = 0.0
    """Share of deliveries that are delayed so that later ones overtake them."""
    delivery_delay_min_seconds: Seconds = 0.04
    delivery_delay_max_seconds: Seconds = 0.12
    redelivery_delays_seconds: tuple[Seconds, ...] = (2.0, 10.0, 30.0)
    """Waits before each repetition of a delivery that was not answered with 200."""
    suspend_after_seconds: Seconds = 600.0
    """How long deliveries must fail, without a success, before the subscription is blacklisted."""
    suspend_after_failures: Annotated[int, Field(ge=1)] = 5
    recovery: Literal["never", "probe"] = "never"
    probe_seconds: Annotated[float, Field(gt=0.0)] = 900.0
    mislabelled_token: bool = False
    """The secret is sent in `Validation-Token`, as one edition of the guide says."""
    uuid_form: Literal["number", "guid"] = "number"
    time_form: Literal["Z", "+0000"] = "Z"
    pn_apns: bool = False
    """Event, timestamp and body are nested as in mobile pushes."""

    @property
    def quirks(self) -> Quirks:
        return Quirks(**{field.name: getattr(self, field.name) for field in fields(Quirks)})
