"""Every metric of the service, with unit and labels. docs/metrics.md lists them; a test compares the two.

Labels are small closed sets: never an account, a number or an id.
"""

from prometheus_client import Counter, Gauge, Histogram

DELIVERIES = Counter(
    "aftercall_deliveries_total", "Webhook deliveries by what became of the request.", ["outcome"]
)
DELIVERIES_FOLDED = Counter(
    "aftercall_deliveries_folded_total", "Stored deliveries by what folding made of them.", ["outcome"]
)
INTAKE_BATCH = Histogram(
    "aftercall_intake_batch_size",
    "Deliveries that shared one commit.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
)
INTAKE_SECONDS = Histogram(
    "aftercall_intake_commit_seconds",
    "Time of one intake commit, seconds.",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1, 5),
)
CALLS_STAGE = Counter("aftercall_calls_stage_total", "Calls that entered a stage.", ["stage"])
RECORD_SECONDS = Histogram(
    "aftercall_time_to_record_seconds",
    "From the end of a call to its record, seconds.",
    ["source"],
    buckets=(3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 30, 45, 60, 90, 120, 300, 900, 3600),
)
RC_REQUESTS = Counter(
    "aftercall_ringcentral_requests_total",
    "Requests to RingCentral by rate group and status.",
    ["group", "status"],
)
RATE_HEADERS_IGNORED = Counter(
    "aftercall_ringcentral_rate_headers_ignored_total",
    "Rate headers of RingCentral's answers that say what cannot be right, by header.",
    ["header"],
)
RC_SECONDS = Histogram(
    "aftercall_ringcentral_request_seconds", "Time of one request to RingCentral, seconds.", ["group"]
)
POLLS = Counter("aftercall_polls_total", "Polls of Active Calls by what they brought.", ["outcome"])
RECORDINGS = Counter(
    "aftercall_recordings_total", "Recordings by what became of the search for them.", ["outcome"]
)
INSIGHTS = Counter(
    "aftercall_insights_looks_total", "Looks for a call's insights by what came of them.", ["outcome"]
)
READER_REQUESTS = Counter(
    "aftercall_reader_lists_total",
    "Lists and records asked for by readers, by where they came from.",
    ["source"],
)
SWEPT = Counter(
    "aftercall_swept_calls_total", "Calls that no event had told of, found by a sweep.", ["reason"]
)
SET_ASIDE = Counter(
    "aftercall_records_set_aside_total",
    "What RingCentral told of a call and could not be read or stored, by source.",
    ["source"],
)
WAITING = Gauge("aftercall_waiting_calls", "Ended calls that wait for their record inside the window.")
BUDGET_FREE = Gauge("aftercall_budget_free_requests", "Heavy requests that may be sent at once.")
LOOP_SECONDS = Histogram(
    "aftercall_loop_step_seconds", "Time of one step of background work, seconds.", ["loop"]
)
LOOP_FAILURES = Counter(
    "aftercall_loop_failures_total", "Steps of background work that failed and are tried again.", ["loop"]
)
CLOCK_SKEW = Gauge(
    "aftercall_clock_skew_seconds",
    "How far this machine's clock is at least ahead of RingCentral's, seconds; negative: behind.",
)
STREAMS = Gauge("aftercall_open_streams", "Readers that follow changes just now.")
INBOX = Gauge("aftercall_inbox_deliveries", "Stored deliveries that are not folded into calls yet.")
INBOX_SECONDS = Gauge("aftercall_inbox_oldest_seconds", "Age of the oldest delivery not folded yet, seconds.")
