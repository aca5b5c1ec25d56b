"""Requests and responses about webhook endpoints."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from app.api.schemas import ApiInput, ApiModel, Instant, Page
from app.calls.attachments.schemas import CALL_ID_EXAMPLE
from app.calls.feed.parameters import LONGEST_CURSOR
from app.push.endpoints.model import (
    LEAST_PER_SECOND,
    MOST_PER_SECOND,
    AtOnce,
    Completeness,
    Deliver,
    Filters,
    Payload,
    Rules,
)
from app.push.sending.address_rules import LONGEST_URL

ENDPOINT_ID_EXAMPLE = "whe_01kdv6x3q8m7a2c5e9r4t1y6wz"
ATTEMPT_ID_EXAMPLE = "att_01kdv6x3q8m7a2c5e9r4t1y6wz"
CURSOR_EXAMPLE = "4711-9f8e7d6c5b4a"
SECRET_EXAMPLE = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD5V0iq1Vx1kA="  # noqa: S105 - an example

_URL_EXAMPLE = "https://connector.example/hooks/aftercall"
_Url = Annotated[str, StringConstraints(min_length=8, max_length=LONGEST_URL, pattern=r"^https?://[!-~]+$")]
_Text = Annotated[str, StringConstraints(max_length=256, pattern=r"^[^\x00-\x1f]*$")]
_Cursor = Annotated[
    str, StringConstraints(pattern=r"^(now|[0-9]{1,19}(-[0-9a-f]{1,12})?)$", max_length=LONGEST_CURSOR)
]

_Moment = Annotated[str, StringConstraints(min_length=1, max_length=40)]


class NewEndpoint(Rules):
    """Where to send changes, and which."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "url": _URL_EXAMPLE,
                "types": ["call.*", "recording.ready"],
                "filters": {"main": True, "internal": False},
                "payload": "thin",
            }
        }
    )

    url: _Url = Field(
        description="An https address. Its host must have a public IP address, unless the operator allows "
        "others. Redirects are not followed.",
        examples=[_URL_EXAMPLE],
    )
    description: _Text | None = Field(None, examples=["HubSpot connector"])
    cursor: _Cursor = Field(
        "now",
        description="Changes after this position are sent: `now`, a cursor of the feed, or `0` for "
        "everything that is kept.",
        examples=["now", CURSOR_EXAMPLE],
    )

    @property
    def rules(self) -> Rules:
        """What is stored of it as rules."""
        return Rules(**{name: getattr(self, name) for name in Rules.model_fields})


class EndpointPatch(ApiInput):
    """What to change. What is left out stays; `filters` and `complete` are replaced as a whole."""

    model_config = ConfigDict(json_schema_extra={"example": {"enabled": True}})

    url: _Url | None = Field(None, examples=[_URL_EXAMPLE])
    description: _Text | None = None
    enabled: bool | None = Field(
        None,
        strict=True,
        description="`false` pauses: changes wait. `true` continues after the last one that was sent; set "
        "`cursor` to `now` as well to leave out what waits.",
    )
    cursor: _Cursor | None = Field(
        None,
        description="Drop what is still to be sent, and send the changes after this position.",
        examples=["now", CURSOR_EXAMPLE],
    )
    types: (
        Annotated[
            list[Annotated[str, Field(min_length=1, max_length=48)]], Field(min_length=1, max_length=50)
        ]
        | None
    ) = None
    filters: Filters | None = None
    payload: Payload | None = None
    deliver: Deliver | None = None
    exclude: Literal["own"] | None = None
    complete: Completeness | None = None
    at_once: AtOnce | None = None
    per_second: Annotated[float, Field(strict=True, ge=LEAST_PER_SECOND, le=MOST_PER_SECOND)] | None = Field(
        None, description="Null: as fast as possible."
    )


class Recovery(ApiModel):
    """A range of changes that is being sent again."""

    since: str = Field(description="What is left of the range follows this change.", examples=["4600"])
    after: str = Field(description="The same as `since`.", examples=["4600"])
    until: str = Field(description="The last change of the range.", examples=["4711"])
    include: Literal["undelivered", "all"]


class EndpointWarning(ApiModel):
    """Something about an endpoint that is probably not meant."""

    code: Literal["same-url"]
    detail: str


class EndpointView(ApiModel):
    """A webhook endpoint, without its secret."""

    id: str = Field(examples=[ENDPOINT_ID_EXAMPLE])
    url: str = Field(examples=[_URL_EXAMPLE])
    description: str | None
    enabled: bool
    disabled_reason: Literal["paused", "gone", "failing"] | None = Field(
        description="`paused`: by a request; `gone`: it answered 410; `failing`: it has confirmed "
        "nothing for five days."
    )
    disabled_at: Instant | None
    types: list[str]
    filters: Filters
    payload: Payload
    deliver: Deliver
    exclude: Literal["own"] | None
    complete: Completeness
    at_once: int
    per_second: float | None
    cursor: str = Field(
        description="The position in the feed: changes up to here were sent, or are waiting to be.",
        examples=["4711"],
    )
    waiting: int = Field(description="Messages that are still to be confirmed.")
    oldest_waiting_at: Instant | None = Field(description="When the oldest change among them was committed.")
    next_attempt_at: Instant | None = Field(
        description="When the next of them is sent; null if none waits, or while the endpoint is disabled."
    )
    failures: int = Field(description="Attempts that failed in a row, of any message.")
    failing_since: Instant | None = Field(description="The first of them.")
    last_success_at: Instant | None
    held_until: Instant | None = Field(
        description="Nothing is sent before then: it asked for a pause (`Retry-After`), or it failed several "
        "times in a row."
    )
    recovery: Recovery | None = Field(description="The range that `POST …/recover` still sends again.")
    warnings: list[EndpointWarning] = Field(
        description="`same-url`: another enabled endpoint has this address. Each signs with its own secret."
    )
    created_at: Instant
    updated_at: Instant


class EndpointList(Page[EndpointView]):
    """All endpoints, oldest first, on one page."""


class CreatedEndpoint(EndpointView):
    """A new endpoint with its secret, which is shown only once."""

    secret: str = Field(
        description="Signs what is sent to the endpoint. It is shown only once.", examples=[SECRET_EXAMPLE]
    )


class RecoveringEndpoint(EndpointView):
    """An endpoint that receives a range of changes again."""

    queued: int = Field(
        description="Messages of the range that were waiting, such as for a retry: they are sent now, with "
        "their attempts begun anew. The other messages of the range are added to `waiting` as `recovery` "
        "proceeds."
    )


class NewSecret(ApiModel):
    """A secret that replaces the current one."""

    secret: str = Field(description="It is shown only once.", examples=[SECRET_EXAMPLE])
    previous_until: Instant = Field(
        description="Until then messages are signed with the previous one as well."
    )


class TestMessage(ApiInput):
    """Which message to send."""

    model_config = ConfigDict(json_schema_extra={"example": {"type": "call.final"}})

    type: str = Field(
        min_length=1,
        max_length=48,
        description="A type of change, or `call.complete`.",
        examples=["call.final"],
    )


class AttemptView(ApiModel):
    """One request to an endpoint. What was sent is not stored."""

    id: str = Field(examples=[ATTEMPT_ID_EXAMPLE])
    webhook_id: str = Field(description="The header `webhook-id`.", examples=[CURSOR_EXAMPLE])
    type: str = Field(examples=["call.final"])
    call_id: str | None = Field(examples=[CALL_ID_EXAMPLE])
    is_test: bool
    number: int = Field(description="Which attempt for this message; 1 is the first.")
    outcome: Literal["delivered", "failed"]
    status: int | None = Field(description="Of the response; null if none came.", examples=[204])
    error: str | None = Field(
        description="Why none came: `timeout` (15 s), `connection`, `tls`, `name-unknown`, "
        "`address-refused`, `secret-unreadable`."
    )
    seconds: float = Field(description="How long it took.", examples=[0.132])
    started_at: Instant
    next_attempt_at: Instant | None = Field(description="Null: it is not tried again.")


class AttemptList(Page[AttemptView]):
    """Attempts, newest first."""


class WaitingMessage(ApiModel):
    """A message that is still to be confirmed."""

    webhook_id: str = Field(description="The header `webhook-id`.", examples=[CURSOR_EXAMPLE])
    type: str = Field(examples=["call.final"])
    call_id: str = Field(examples=[CALL_ID_EXAMPLE])
    changed_at: Instant = Field(description="When its change was committed.")
    reason: Literal["due", "retry", "earlier-change", "held", "disabled"] = Field(
        description="Why it waits. `due`: it is being sent, or is the next; `retry`: its last attempt "
        "failed; `earlier-change`: an earlier change of its call waits; `held`: the endpoint has a pause "
        "until `heldUntil`; `disabled`: the endpoint is disabled."
    )
    attempts: int = Field(description="How many were made, since the last recovery if there was one.")
    status: int | None = Field(
        description="Of the response to the last attempt; null if there was none.", examples=[503]
    )
    error: str | None = Field(description="Why no response to the last attempt came.", examples=["timeout"])
    next_attempt_at: Instant | None = Field(description="Null while the endpoint is disabled.")


class WaitingMessageList(Page[WaitingMessage]):
    """Messages that wait, in the order of their changes."""


class QueuedMessage(ApiModel):
    """A message that is sent again."""

    webhook_id: str = Field(examples=[CURSOR_EXAMPLE])
    type: str = Field(examples=["call.final"])
    call_id: str = Field(examples=[CALL_ID_EXAMPLE])


class RecoverIn(ApiInput):
    """Which changes to send again: after `since`, up to `until`. Each is a cursor or a time."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"since": "2026-03-10T18:00:00Z", "include": "undelivered"}},
    )

    since: _Moment = Field(
        description="`0`: from the first change that is kept.",
        examples=["2026-03-10T18:00:00Z", CURSOR_EXAMPLE],
    )
    until: _Moment | None = Field(
        None, description="Without it, up to the endpoint's position.", examples=[CURSOR_EXAMPLE]
    )
    include: Literal["undelivered", "all"] = Field(
        "undelivered",
        description="`undelivered`: without those that the log shows as delivered. `all`: those too.",
    )


Json = dict[str, Any]
