"""What the operator's API returns."""

from datetime import date

from pydantic import ConfigDict, Field

from app.api.schemas import ApiModel, Instant, Page
from app.ops.figures.call_figures import MINUTE_SECONDS, PERIOD_SECONDS
from app.ops.figures.completeness import MOST_CALLS, DoubtReason
from app.ops.problems.model import Subject
from app.retention.rules import Kind


class ResponseModel(ApiModel):
    """Made from our values by `model_validate`. Every field is sent, whatever its default."""

    model_config = ConfigDict(from_attributes=True, json_schema_serialization_defaults_required=True)


class CallCounts(ResponseModel):
    """The calls that ended in the period, by what became of them."""

    ended: int
    in_window: int = Field(
        description="Their record was found within the window: in Active Calls, or in the Call Log if that "
        "was quicker."
    )
    later: int = Field(description="Their record came after the window, from the Call Log.")
    absent: int = Field(description="No source has a record of them; the call says why.")
    waiting: int = Field(description="Have no record yet; their window is open.")
    overdue: int = Field(description="Have no record yet; their window has closed.")
    swept: int = Field(
        description="Found in the Call Log by a sweep: no event announced their end, so they count for no "
        "window."
    )
    live: int = Field(description="In progress now.")
    found_share: float | None = Field(
        description="Share found in the window, 0 to 1, of the calls that an event announced and that are "
        "decided.",
        examples=[0.998],
    )


class DelayFigures(ResponseModel):
    """The time from the end of a call that an event announced to its record."""

    count: int
    median_seconds: float | None = Field(examples=[3.4])
    p99_seconds: float | None = Field(examples=[6.2])


class MinuteCounts(ResponseModel):
    """The calls that ended in one minute."""

    at: Instant
    in_window: int
    later: int
    absent: int
    open: int = Field(description="Have no record yet: waiting or overdue.")
    waiting: int
    overdue: int
    swept: int


class WaitingCall(ResponseModel):
    """A call whose record has not been found yet."""

    call_id: str
    session_id: str | None
    ended_at: Instant
    closes_at: Instant = Field(description="When Active Calls stops showing it.")
    looks: int = Field(description="Polls that did not show it.")


class BudgetState(ResponseModel):
    """The fullest Heavy rate bucket."""

    limit: int
    free: int
    window_seconds: float
    silent_until: Instant | None = Field(description="End of a penalty after a 429.")


class InboxCounts(ResponseModel):
    """Deliveries that are stored and not folded into calls yet."""

    waiting: int
    oldest_seconds: float | None


class SubscriptionView(ResponseModel):
    """The state of a webhook subscription."""

    status: str = Field(
        description="RingCentral's status, or ours once the subscription is known to deliver nothing.",
        examples=["Active", "Missing", "Expired", "Suspended", "Refused"],
    )
    lost_at: Instant | None = Field(None, description="Since when it delivers nothing; null while it does.")
    expires_at: Instant | None
    checked_at: Instant
    disabled_filters: list[str]


class ProblemView(ResponseModel):
    """A problem that only a person can fix."""

    account_id: str = Field(examples=["908070001"])
    about: str = Field(examples=list(Subject))
    title: str = Field(description="Its name, here, on the dashboard and in `aftercall check`.")
    todo: str = Field(description="What to do.")
    credentials: str | None = Field(
        None,
        description="The credentials of the account that it is about, if any.",
        examples=["ext-711000101"],
    )
    code: str = Field(description="RingCentral's code if it gave one, else ours.", examples=["CMN-408"])
    detail: str
    since: Instant | None


class OpsSummary(ResponseModel):
    """How the service is doing, over the last hour."""

    at: Instant
    period_seconds: int = PERIOD_SECONDS
    calls: CallCounts
    delays: DelayFigures
    minutes: list[MinuteCounts] = Field(description=f"Each {MINUTE_SECONDS} s of the period, oldest first.")
    waiting: list[WaitingCall] = Field(description="Those whose window closes first.")
    budget: BudgetState | None
    inbox: InboxCounts
    subscriptions: list[SubscriptionView]
    problems: list[ProblemView]
    rate_limited: int = Field(description="429 responses that all replicas have ever received.")
    clock_skew_seconds: float = Field(
        description="How far a worker's clock is ahead of RingCentral's, at least; negative: behind. "
        "0 for up to two seconds, which cannot be measured and do not matter."
    )
    last_read_at: Instant | None = Field(
        None, description="When calls were last read from RingCentral; null: not yet."
    )


class DeadLetterCount(ResponseModel):
    """Deliveries that became part of no call for one reason."""

    reason: str = Field(examples=["ignored: test-call"])
    count: int


class DeadLetterList(Page[DeadLetterCount]):
    """Deliveries that were stored and became part of no call, on one page."""

    since: Instant


class DayCounts(ResponseModel):
    """The calls that ended on one day (UTC). `ended` is the sum of all fields but `swept` and `removed`."""

    day: date
    ended: int
    final: int
    reconciled: int
    bootstrapped: int
    absent: dict[str, int] = Field(description="By reason.", examples=[{"never-logged": 1}])
    open: int = Field(description="Have no record yet, and are still looked up.")
    swept: int = Field(description="How many of all these no event announced; the Call Log showed them.")
    removed: int = Field(
        description="How many of all these were removed since, after AFTERCALL_RETENTION_CALLS_DAYS."
    )


class KeptKind(ResponseModel):
    """How long one kind of data is kept."""

    kind: str = Field(examples=list(Kind))
    days: float | None = Field(
        description="Null: without limit, or as long as the call that it belongs to.", examples=[30.0]
    )
    oldest: Instant | None = Field(description="Of all accounts; null: there is nothing of it.")


class KeptKinds(Page[KeptKind]):
    """How long each kind of data is kept, on one page."""


class RecordlessCall(ResponseModel):
    """A call that ended and has no record, although its window has closed."""

    call_id: str
    session_id: str | None
    telephony_session_id: str
    stage: str = Field(examples=["ended", "absent"])
    reason: str = Field(examples=["not-in-the-call-log-yet", "never-logged", "test-call"])
    since: Instant = Field(description="When the call ended.")
    next_look_at: Instant | None = Field(description="When the Call Log is read again; null: never.")


class DoubtfulCall(ResponseModel):
    """A live call that may be over: RingCentral is asked until that is known."""

    call_id: str
    session_id: str | None
    telephony_session_id: str
    reason: str = Field(
        description="`not-asked-since-the-gap`: it began before a gap ended, and its end may have been "
        "missed. `live-for-too-long`: no event about it for AFTERCALL_CALL_STALE_SECONDS.",
        examples=list(DoubtReason),
    )
    started_at: Instant
    since: Instant = Field(description="When it was last known to be in progress.")
    next_look_at: Instant | None = Field(
        description="RingCentral is not asked before this time; null: as soon as possible."
    )


class DeliveryGap(ResponseModel):
    """A time in which no event could arrive, or a backfill; its calls are looked up in the Call Log."""

    sweep_id: str
    reason: str = Field(
        examples=["service-down", "deliveries-not-stored", "subscription-suspended", "backfill"]
    )
    detail: str | None = Field(
        description="RingCentral's explanation, if it gave one; for `deliveries-not-stored` the last reason."
    )
    from_at: Instant = Field(serialization_alias="from")
    to_at: Instant | None = Field(serialization_alias="to", description="Null: it has not ended.")
    state: str = Field(examples=["lasting", "waiting", "sweeping", "swept"])
    swept_until: Instant | None = Field(description="Calls that started before this have been looked up.")
    records: int = Field(description="Records read.")
    found: int = Field(description="Calls that no event had announced.")
    problem: ProblemView | None = Field(description="Why the sweep makes no progress.")


class GapList(ResponseModel):
    """Whether calls were lost: what became of each, and when no event could arrive."""

    since: Instant
    last_look_at: Instant | None = Field(
        description="When the Call Log was last swept for calls that no event announced."
    )
    days: list[DayCounts] = Field(description="Earliest first, today last.")
    calls: list[RecordlessCall] = Field(description=f"Latest first, up to {MOST_CALLS}.")
    live: list[DoubtfulCall] = Field(
        description=f"Live calls that may be over, oldest first, up to {MOST_CALLS}. Empty: no call lacks "
        "its last events."
    )
    deliveries: list[DeliveryGap] = Field(description="Latest first.")
    dead_letters: list[DeadLetterCount]
