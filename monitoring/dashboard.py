"""The Grafana dashboard as code: `python monitoring/dashboard.py` writes it again after a change here.

    python monitoring/dashboard.py > monitoring/grafana/dashboards/aftercall.json

Counters are summed over replicas; of gauges that tell of the whole service the maximum is taken.
"""

import json
import sys
from dataclasses import dataclass
from typing import Any

DATASOURCE = {"type": "prometheus", "uid": "aftercall-prometheus"}
WIDTH = 24
RATE = "[$__rate_interval]"
API = 'route!~"GET /(healthz|readyz|metrics)"'


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `queries` are (PromQL, legend); `kind` is Grafana's type; `width` in columns of 24."""

    title: str
    about: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False
    limits: tuple[tuple[str, float | None], ...] = ()
    """Colours from a value on, the lowest first, from None."""


def total(metric: str, by: str, more: str = "") -> str:
    """Return the rate of a counter by a label, per second and over all replicas."""
    return f"sum by ({by}) (rate({metric}{{{more}}}{RATE}))"


def quantile(share: float, metric: str, more: str = "", window: str = RATE) -> str:
    """Return a quantile of a histogram over all replicas."""
    return f"histogram_quantile({share}, sum by (le) (rate({metric}_bucket{{{more}}}{window})))"


HIT_RATE = (
    'sum(increase(aftercall_time_to_record_seconds_count{source="active-calls"}[1h]))'
    ' / sum(increase(aftercall_calls_stage_total{stage="ended"}[1h]))'
)
GOOD_FROM = (("red", None), ("orange", 0.9), ("green", 0.97))
BAD_FROM_ONE = (("green", None), ("red", 1.0))

ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Window",
        (
            Panel(
                "Found in the window",
                "Share of the calls that ended in the last hour whose record Active Calls has shown.",
                ((HIT_RATE, "share"),),
                "percentunit",
                "stat",
                4,
                limits=GOOD_FROM,
            ),
            Panel(
                "Waiting now",
                "Ended calls that wait for their record inside the window.",
                (("max(aftercall_waiting_calls)", "calls"),),
                kind="stat",
                width=4,
            ),
            Panel(
                "Time to record",
                "From the end of a call to its record.",
                (
                    (quantile(0.5, "aftercall_time_to_record_seconds", window="[5m]"), "median"),
                    (quantile(0.99, "aftercall_time_to_record_seconds", window="[5m]"), "99 %"),
                ),
                "s",
            ),
            Panel(
                "Calls by stage",
                "Calls that entered a stage, per second.",
                ((total("aftercall_calls_stage_total", "stage"), "{{stage}}"),),
            ),
        ),
    ),
    (
        "Budget",
        (
            Panel(
                "Free requests",
                "Heavy requests that may be sent at once.",
                (("min(aftercall_budget_free_requests)", "free"),),
                kind="stat",
                width=4,
                limits=(("red", None), ("green", 1.0)),
            ),
            Panel(
                "Silent for",
                "The rest of a penalty: RingCentral is not asked before.",
                (("max(aftercall_budget_silent_seconds)", "seconds"),),
                "s",
                "stat",
                4,
                limits=BAD_FROM_ONE,
            ),
            Panel(
                "Requests to RingCentral",
                "By rate group and status, per second.",
                (
                    (
                        f"sum by (group, status) (rate(aftercall_ringcentral_requests_total{RATE})) > 0",
                        "{{group}} {{status}}",
                    ),
                ),
                stacked=True,
            ),
            Panel(
                "Polls of Active Calls",
                "By what they brought, per second.",
                ((total("aftercall_polls_total", "outcome"), "{{outcome}}"),),
                stacked=True,
            ),
        ),
    ),
    (
        "Gaps and completeness",
        (
            Panel(
                "Open gaps",
                "Times in which no event could come that last, or whose calls are still to be looked for.",
                (("max by (state) (aftercall_gaps)", "{{state}}"),),
                kind="stat",
                width=4,
                limits=BAD_FROM_ONE,
            ),
            Panel(
                "Overdue and stale",
                "Ended calls past their window without a record; calls that go on for hours.",
                (
                    ("max(aftercall_overdue_calls)", "overdue"),
                    ("max(aftercall_live_calls_stale)", "live for hours"),
                ),
                kind="stat",
                width=4,
                limits=BAD_FROM_ONE,
            ),
            Panel(
                "Calls without a record",
                "Closed as absent within an hour, by reason.",
                (("sum by (reason) (increase(aftercall_calls_absent_total[1h])) > 0", "{{reason}}"),),
                stacked=True,
            ),
            Panel(
                "Calls found by a sweep",
                "Calls that no event had told of, within an hour.",
                (("sum by (reason) (increase(aftercall_swept_calls_total[1h])) > 0", "{{reason}}"),),
                stacked=True,
            ),
            Panel(
                "Subscriptions",
                "By state; anything but active means that no events come.",
                (("max by (state) (aftercall_subscriptions)", "{{state}}"),),
            ),
            Panel(
                "Next subscription expires in",
                "Renewed when half of its life is gone.",
                (("min(aftercall_subscription_expiry_seconds)", "next"),),
                "s",
            ),
            Panel(
                "Credentials",
                "Whether they work; restricted ones lack something beside the calls.",
                (("max by (state) (aftercall_credentials)", "{{state}}"),),
            ),
        ),
    ),
    (
        "Queues",
        (
            Panel(
                "Deliveries",
                "Webhook deliveries by what became of the request, per second.",
                ((total("aftercall_deliveries_total", "outcome"), "{{outcome}}"),),
                stacked=True,
            ),
            Panel(
                "Inbox",
                "Stored deliveries that are not folded yet, and the age of the oldest.",
                (
                    ("max(aftercall_inbox_deliveries)", "deliveries"),
                    ("max(aftercall_inbox_oldest_seconds)", "oldest, seconds"),
                ),
            ),
            Panel(
                "Intake commit",
                "Time of one commit; RingCentral wants its answer within 3 s.",
                (
                    (quantile(0.5, "aftercall_intake_commit_seconds"), "median"),
                    (quantile(0.99, "aftercall_intake_commit_seconds"), "99 %"),
                ),
                "s",
            ),
            Panel(
                "Failed steps of background work",
                "Within ten minutes; each is tried again.",
                (("sum by (loop) (increase(aftercall_loop_failures_total[10m])) > 0", "{{loop}}"),),
                width=12,
            ),
            Panel(
                "Time of a step of background work",
                "99 % of the steps take less.",
                (
                    (
                        (
                            "histogram_quantile(0.99, sum by (le, loop) "
                            f"(rate(aftercall_loop_step_seconds_bucket{RATE})))"
                        ),
                        "{{loop}}",
                    ),
                ),
                "s",
                width=12,
            ),
        ),
    ),
    (
        "API",
        (
            Panel(
                "Requests by status",
                "Per second, probes left out.",
                ((total("aftercall_api_requests_total", "status", API), "{{status}}"),),
                stacked=True,
            ),
            Panel(
                "Busiest routes",
                "Requests per second.",
                ((f"topk(8, {total('aftercall_api_requests_total', 'route', API)}) > 0", "{{route}}"),),
            ),
            Panel(
                "Time to answer",
                "Until the first byte. Long polls wait by design.",
                (
                    (quantile(0.5, "aftercall_api_request_seconds", API), "median"),
                    (quantile(0.99, "aftercall_api_request_seconds", API), "99 %"),
                ),
                "s",
            ),
            Panel(
                "Open streams",
                "Readers that follow changes, dashboards among them.",
                (("sum(aftercall_open_streams)", "streams"),),
                width=12,
            ),
            Panel(
                "Recordings and insights",
                "By what became of the search for them, per second.",
                (
                    (total("aftercall_recordings_total", "outcome"), "recording {{outcome}}"),
                    (total("aftercall_insights_looks_total", "outcome"), "insights {{outcome}}"),
                ),
                width=12,
            ),
        ),
    ),
    (
        "Database",
        (
            Panel(
                "Database",
                "1: it answers.",
                (("max(aftercall_database_up)", "answers"),),
                kind="stat",
                width=4,
                limits=(("red", None), ("green", 1.0)),
            ),
            Panel(
                "Clock skew",
                "How far the machines' clocks are ahead of RingCentral's, at least.",
                (("max(abs(aftercall_clock_skew_seconds))", "seconds"),),
                "s",
                "stat",
                4,
                limits=(("green", None), ("red", 2.0)),
            ),
            Panel(
                "Connections",
                "Of each process, and how many it may use.",
                (
                    (
                        "sum by (instance, state) (aftercall_database_connections)",
                        "{{instance}} {{state}}",
                    ),
                    ("aftercall_database_connections_limit", "{{instance}} limit"),
                ),
            ),
            Panel(
                "Waiting for a connection",
                "Tasks of each process.",
                (("aftercall_database_waiting_tasks", "{{instance}}"),),
            ),
        ),
    ),
)


def build() -> dict[str, Any]:
    """Return the dashboard as Grafana reads it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": top, "w": WIDTH, "h": 1},
            }
        )
        top, left = top + 1, 0
        for panel in row:
            if left + panel.width > WIDTH:
                top, left = top + 8, 0
            place = {"x": left, "y": top, "w": panel.width, "h": 8}
            panels.append(draw(panel, len(panels) + 1, place))
            left += panel.width
        top += 8
    return {
        "uid": "aftercall",
        "title": "Aftercall",
        "tags": ["aftercall"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "timezone": "utc",
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "annotations": {"list": []},
        "templating": {"list": []},
        "panels": panels,
    }


def draw(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    """Return one panel as Grafana reads it."""
    steps = [{"color": colour, "value": value} for colour, value in panel.limits or (("green", None),)]
    stacking = {"stacking": {"mode": "normal"}, "fillOpacity": 40} if panel.stacked else {"fillOpacity": 5}
    defaults: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind == "timeseries":
        defaults["custom"] = stacking
        defaults["min"] = 0
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {"legend": {"showLegend": len(panel.queries) > 1 or "{{" in panel.queries[0][1]}}
        if panel.kind == "timeseries"
        else {"reduceOptions": {"calcs": ["lastNotNull"]}},
        "targets": [
            {
                "refId": chr(ord("A") + place_of),
                "expr": query,
                "legendFormat": legend,
                "datasource": DATASOURCE,
            }
            for place_of, (query, legend) in enumerate(panel.queries)
        ],
    }


if __name__ == "__main__":
    json.dump(build(), sys.stdout, indent=1)
    sys.stdout.write("\n")
