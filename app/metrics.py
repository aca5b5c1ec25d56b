"""Every metric of the service, with unit and labels. docs/metrics.md lists them; a test compares the two.

Labels are small closed sets: never an account, a number or an id. Their values are declared here, see
`metric_labels`; tests compare them with those in the code and on the page.
"""

from prometheus_client import Gauge, Histogram, disable_created_metrics

from app.metric_labels import counter, gauge, histogram

# The creation time of each child would be a quarter of the page, and nobody uses it.
disable_created_metrics()  # type: ignore[no-untyped-call]

LOOPS = (
    "fold", "ends", "polls", "readings", "recordings", "archive", "voicemails", "voicemail archive",
    "insights", "sweeps", "own account",
    "sign-ins", "directory", "time zones", "clock", "reach", "erasures", "upkeep", "numbers", "main calls",
    "pulse", "push", "key requests", "subscriptions", "webhooks", "lookout",
)  # fmt: skip
"""Names of the background loops."""

STAGES = ("live", "ended", "bootstrapped", "reconciled", "final", "absent")
GROUPS = ("Light", "Medium", "Heavy", "Auth")
STATUSES = (
    "200", "201", "202", "204", "206", "207", "301", "302", "304", "400", "401", "403", "404", "405", "406",
    "408", "409", "410", "413", "415", "416", "422", "429", "500", "501", "502", "503", "504", "none",
)  # fmt: skip
"""Statuses of RingCentral's responses; `none`: no response came."""

RATE_HEADERS = ("x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-window", "retry-after")
STATUS_CLASSES = ("2xx", "3xx", "4xx", "5xx")
GAP_REASONS = (
    "regular", "backfill", "service-down", "subscription-missing", "subscription-expired",
    "subscription-suspended", "deliveries-refused", "deliveries-not-stored",
)  # fmt: skip
ABSENT_REASONS = (
    "test-call", "verification-call", "greetings-recording", "never-logged", "no-credentials",
    "no-permission", "refused", "unstorable",
)  # fmt: skip

DELIVERIES = counter(
    "aftercall_deliveries_total",
    "Webhook deliveries by outcome of the request.",
    outcome=(
        "accepted", "duplicate", "handshake", "unauthenticated", "malformed", "too-large", "unavailable",
    ),
)  # fmt: skip
DELIVERIES_FOLDED = counter(
    "aftercall_deliveries_folded_total",
    "Stored deliveries by outcome of folding.",
    outcome=("call", "ignored", "kept", "truncated", "error", "erased"),
)
INTAKE_BATCH = Histogram(
    "aftercall_intake_batch_size",
    "Deliveries that shared one commit.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
)
INTAKE_SECONDS = Histogram(
    "aftercall_intake_commit_seconds",
    "Duration of one intake commit, seconds.",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1, 5),
)
CALLS_STAGE = counter("aftercall_calls_stage_total", "Calls that entered a stage.", stage=STAGES)
CALLS_ABSENT = counter(
    "aftercall_calls_absent_total", "Calls closed without a record, by reason.", reason=ABSENT_REASONS
)
RECORD_SECONDS = histogram(
    "aftercall_time_to_record_seconds",
    "From the end of a call to its record, seconds.",
    buckets=(3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 30, 45, 60, 90, 120, 300, 900, 3600),
    source=("active-calls", "call-log"),
)
RC_REQUESTS = counter(
    "aftercall_ringcentral_requests_total",
    "Requests to RingCentral by rate group and status.",
    group=GROUPS,
    status=STATUSES,
)
RATE_HEADERS_IGNORED = counter(
    "aftercall_ringcentral_rate_headers_ignored_total",
    "Rate headers of RingCentral with an impossible value, by header.",
    header=RATE_HEADERS,
)
RC_SECONDS = histogram(
    "aftercall_ringcentral_request_seconds", "Duration of one request to RingCentral, seconds.", group=GROUPS
)
POLLS = counter(
    "aftercall_polls_total",
    "Polls of Active Calls by outcome.",
    outcome=("found", "nothing-new", "rate-limited", "refused", "failed"),
)
RECORDINGS = counter(
    "aftercall_recordings_total",
    "Recordings by outcome of the search for them.",
    outcome=("ready", "expired", "none", "archived", "archive-failed"),
)
VOICEMAILS = counter(
    "aftercall_voicemails_total",
    "Voicemails by outcome of the requests for them.",
    outcome=("ready", "expired", "refused", "archived", "archive-failed"),
)
INSIGHTS = counter(
    "aftercall_insights_looks_total",
    "Requests for a call's insights by outcome.",
    outcome=("found", "not-there", "refused", "given-up", "failed"),
)
READER_REQUESTS = counter(
    "aftercall_reader_lists_total",
    "Lists and records requested by readers, by their source.",
    source=("cache", "shared", "ringcentral"),
)
REMOVED = counter(
    "aftercall_removed_total",
    "Rows that were removed after their retention, by kind; of calls, the calls and what waited for one.",
    kind=(
        "deliveries",
        "records",
        "timeline",
        "calls",
        "notes",
        "recordings",
        "requests",
        "attempts",
        "audit",
    ),
)
WEBHOOK_ATTEMPTS = counter(
    "aftercall_webhook_attempts_total",
    "Attempts to send a message to a webhook endpoint, by outcome.",
    outcome=("delivered", "failed", "given-up", "dropped"),
)
WEBHOOK_SECONDS = Histogram(
    "aftercall_webhook_delivery_seconds",
    "From the commit of a change to its delivery, for messages delivered at the first attempt, seconds.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600),
)
SWEPT = counter(
    "aftercall_swept_calls_total",
    "Calls found by a sweep that no event had announced, by reason of the sweep.",
    reason=GAP_REASONS,
)
SET_ASIDE = counter(
    "aftercall_records_set_aside_total",
    "RingCentral's data about calls that could not be read or stored, by source.",
    source=("active-calls", "call-log", "recordings", "voicemails", "insights", "unreadable"),
)
LOOP_SECONDS = histogram(
    "aftercall_loop_step_seconds", "Duration of one step of background work, seconds.", loop=LOOPS
)
LOOP_FAILURES = counter(
    "aftercall_loop_failures_total", "Steps of background work that failed and are retried.", loop=LOOPS
)
CLOCK_SKEW = Gauge(
    "aftercall_clock_skew_seconds",
    "By how much this machine's clock is at least ahead of RingCentral's, seconds; negative: behind.",
)
STREAMS = Gauge("aftercall_open_streams", "Readers that are following changes.")

API_REQUESTS = counter(
    "aftercall_api_requests_total",
    "Requests to this service by route and class of status; deliveries are counted separately.",
    route=(),
    status=STATUS_CLASSES,
)
API_SECONDS = histogram(
    "aftercall_api_request_seconds",
    "Response time of this service, seconds.",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30),
    route=(),
)
"""The routes are declared when the app is assembled: see `request_log`."""

POOL = gauge(
    "aftercall_database_connections",
    "Connections of this process to the database.",
    state=("in-use", "idle"),
)
POOL_LIMIT = Gauge(
    "aftercall_database_connections_limit", "Connections that this process may have in use at once."
)
POOL_WAITING = Gauge(
    "aftercall_database_waiting_tasks", "Tasks of this process that wait for a connection to the database."
)

# --- of the whole service: set at each scrape, see ops.gauges -----------------------------------------------

DATABASE_UP = Gauge(
    "aftercall_database_up", "Whether the gauges of the whole service could be read from the database."
)
WAITING = Gauge("aftercall_waiting_calls", "Ended calls that wait for their record inside the window.")
OVERDUE = Gauge("aftercall_overdue_calls", "Ended calls whose window has closed and that have no record yet.")
OVERDUE_SECONDS = Gauge(
    "aftercall_overdue_oldest_seconds",
    "How long ago the window of the oldest overdue call closed, seconds.",
)
LIVE = Gauge("aftercall_live_calls", "Calls in progress.")
LIVE_LONG = Gauge(
    "aftercall_live_calls_stale", "Calls in progress for longer than AFTERCALL_CALL_STALE_SECONDS."
)
BUDGET_FREE = Gauge("aftercall_budget_free_requests", "Heavy requests that may be sent at once.")
BUDGET_SILENT = Gauge(
    "aftercall_budget_silent_seconds",
    "For how long no request is sent to RingCentral, seconds: the rest of a penalty.",
)
INBOX = Gauge("aftercall_inbox_deliveries", "Stored deliveries that are not yet folded into calls.")
INBOX_SECONDS = Gauge(
    "aftercall_inbox_oldest_seconds", "Age of the oldest delivery that is not yet folded, seconds."
)
SUBSCRIPTIONS = gauge(
    "aftercall_subscriptions",
    "Webhook subscriptions by state.",
    state=("active", "expired", "suspended", "deliveries-refused", "missing"),
)
SUBSCRIPTION_SECONDS = Gauge(
    "aftercall_subscription_expiry_seconds",
    "Time until the next subscription expires, seconds; negative: it has expired.",
)
CREDENTIALS = gauge(
    "aftercall_credentials",
    "Credentials by whether they work.",
    state=("working", "restricted", "refused"),
)
GAPS = gauge(
    "aftercall_gaps", "Gaps of the deliveries that are not closed, by state.", state=("lasting", "unswept")
)
GAP_SECONDS = gauge(
    "aftercall_gap_oldest_seconds",
    "Time since the oldest gap that is not closed began (lasting) or ended (unswept), seconds.",
    state=("lasting", "unswept"),
)
WEBHOOK_ENDPOINTS = gauge(
    "aftercall_webhook_endpoints",
    "Webhook endpoints by state.",
    state=("enabled", "failing", "paused", "disabled"),
)
WEBHOOK_WAITING = Gauge(
    "aftercall_webhook_waiting_messages", "Messages that are due for an enabled webhook endpoint."
)
WEBHOOK_WAITING_SECONDS = Gauge(
    "aftercall_webhook_waiting_oldest_seconds",
    "Age of the oldest change that is due for an enabled webhook endpoint, seconds.",
)
