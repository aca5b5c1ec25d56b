"""Each rule of monitoring/alerts.yml is played with promtool: once so that it fires, once so that it does
not."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.promtool import run_promtool

ROOT = Path(__file__).parents[2]
RULES_FILE = ROOT / "monitoring" / "alerts.yml"
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for rule in yaml.safe_load(RULES_FILE.read_text())["groups"][0]["rules"]
}
UP = {'up{job="aftercall",instance="a"}': "1x120"}


@dataclass(frozen=True)
class Case:
    """Series by name, in promtool's notation with a value a minute.

    `labels` are those of the alert beside severity.
    """

    firing: dict[str, str]
    quiet: dict[str, str]
    labels: dict[str, str] = field(default_factory=dict)


def steps(before: int, value: int) -> str:
    """A counter that exists with 0 and jumps to `value` after so many minutes."""
    return f"0x{before} {value}x{120 - before}"


def endless(value: float) -> str:
    return f"{value}x120"


def gauge(name: str, bad: float, good: float, labels: dict[str, str] | None = None) -> Case:
    return Case({name: endless(bad)}, {name: endless(good)}, labels or {})


def counter(name: str, labels: dict[str, str], quiet_name: str | None = None) -> Case:
    """Fires with the first increase of a child that was there before; not while nothing happens."""
    quiet = {name: endless(0)} if quiet_name is None else {quiet_name: steps(57, 3)}
    return Case({name: steps(57, 1)}, quiet, labels)


CASES = {
    "AftercallDown": Case(
        {'up{job="aftercall",instance="a"}': "1x50 0x70"},
        {'up{job="aftercall",instance="a"}': "0x120", 'up{job="aftercall",instance="b"}': "1x120"},
    ),
    "AftercallDatabaseAway": gauge("aftercall_database_up", 0, 1),
    "AftercallDeliveriesRefused": counter(
        'aftercall_deliveries_total{outcome="unauthenticated"}',
        {"outcome": "unauthenticated"},
        'aftercall_deliveries_total{outcome="accepted"}',
    ),
    "AftercallInboxOld": gauge("aftercall_inbox_oldest_seconds", 31, 29),
    "AftercallDeliveriesSetAside": counter(
        'aftercall_deliveries_folded_total{outcome="error"}', {}, 'aftercall_deliveries_folded_total{outcome="call"}'
    ),
    "AftercallWindowMissed": Case(
        {
            'aftercall_time_to_record_seconds_count{source="active-calls"}': "0+8x120",
            'aftercall_calls_stage_total{stage="ended"}': "0+10x120",
        },
        {
            'aftercall_time_to_record_seconds_count{source="active-calls"}': "0+10x120",
            'aftercall_calls_stage_total{stage="ended"}': "0+10x120",
        },
    ),
    "AftercallCallsAbsent": counter(
        'aftercall_calls_absent_total{reason="never-logged"}',
        {"reason": "never-logged"},
        'aftercall_calls_absent_total{reason="test-call"}',
    ),
    "AftercallCallsOverdue": gauge("aftercall_overdue_oldest_seconds", 1801, 300),
    "AftercallCallsLiveTooLong": gauge("aftercall_live_calls_stale", 1, 0),
    "AftercallSubscriptionNotActive": gauge(
        'aftercall_subscriptions{state="suspended"}', 1, 0, {"state": "suspended"}
    ),
    "AftercallSubscriptionExpires": gauge("aftercall_subscription_expiry_seconds", 3000, 86_400),
    "AftercallCredentialsRefused": gauge('aftercall_credentials{state="refused"}', 1, 0),
    "AftercallGapLasts": gauge('aftercall_gap_oldest_seconds{state="lasting"}', 601, 60),
    "AftercallGapUnswept": gauge('aftercall_gap_oldest_seconds{state="unswept"}', 3601, 700),
    "AftercallRateLimited": counter(
        'aftercall_ringcentral_requests_total{group="Heavy",status="429"}',
        {"group": "Heavy"},
        'aftercall_ringcentral_requests_total{group="Heavy",status="200"}',
    ),
    "AftercallRingCentralAway": Case(
        {'aftercall_ringcentral_requests_total{status="none"}': "0+6x120",
         'aftercall_ringcentral_requests_total{status="200"}': "0+4x120"},
        {'aftercall_ringcentral_requests_total{status="none"}': "0+4x120",
         'aftercall_ringcentral_requests_total{status="200"}': "0+6x120"},
    ),
    "AftercallClockSkew": gauge("aftercall_clock_skew_seconds", -2.5, -1.5),
    "AftercallLoopFails": Case(
        {'aftercall_loop_failures_total{loop="fold"}': "0+1x120"},
        {'aftercall_loop_failures_total{loop="fold"}': steps(57, 3)},
        {"loop": "fold"},
    ),
    "AftercallApiErrors": Case(
        {'aftercall_api_requests_total{route="GET /v1/calls",status="5xx"}': "0+1x120",
         'aftercall_api_requests_total{route="GET /v1/calls",status="2xx"}': "0+9x120"},
        {'aftercall_api_requests_total{route="GET /readyz",status="5xx"}': "0+9x120",
         'aftercall_api_requests_total{route="GET /v1/calls",status="2xx"}': "0+9x120"},
    ),
    "AftercallPoolExhausted": Case(
        {"aftercall_database_waiting_tasks": endless(3)}, {"aftercall_database_waiting_tasks": "0 3 0 3 0x116"}
    ),
    "AftercallArchiveFails": counter(
        'aftercall_recordings_total{outcome="archive-failed"}', {}, 'aftercall_recordings_total{outcome="archived"}'
    ),
    "AftercallWebhookEndpointDisabled": Case(
        {'aftercall_webhook_endpoints{state="disabled"}': endless(1)},
        {'aftercall_webhook_endpoints{state="paused"}': endless(2)},
    ),
    "AftercallWebhookEndpointFails": Case(
        {'aftercall_webhook_endpoints{state="failing"}': endless(1)},
        {'aftercall_webhook_endpoints{state="failing"}': "0x50 1x20 0x50"},
    ),
    "AftercallWebhooksLate": gauge("aftercall_webhook_waiting_oldest_seconds", 601, 599),
}  # fmt: skip


def test_every_rule_is_played_and_says_why() -> None:
    assert set(CASES) == set(RULES)
    for rule in RULES.values():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"]["summary"]


def _played(name: str, series: dict[str, str], alerts: list[dict[str, Any]]) -> dict[str, Any]:
    playing = series if name == "AftercallDown" else UP | series
    return {
        "interval": "1m",
        "input_series": [{"series": one, "values": values} for one, values in playing.items()],
        "alert_rule_test": [{"eval_time": "60m", "alertname": name, "exp_alerts": alerts}],
    }


def test_every_rule_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    tests = []
    for name, case in CASES.items():
        rule = RULES[name]
        alert = {"exp_labels": {**rule["labels"], **case.labels}, "exp_annotations": rule["annotations"]}
        tests += [_played(name, case.firing, [alert]), _played(name, case.quiet, [])]
    played = tmp_path / "alerts.test.yml"
    played.write_text(
        yaml.safe_dump({"rule_files": [str(RULES_FILE)], "evaluation_interval": "1m", "tests": tests})
    )
    assert "SUCCESS" in run_promtool("test", "rules", played)


def test_a_service_that_nobody_scrapes_is_down(tmp_path: Path) -> None:
    rule = RULES["AftercallDown"]
    alert = {"exp_labels": {**rule["labels"], "job": "aftercall"}, "exp_annotations": rule["annotations"]}
    test = _played("AftercallDown", {'up{job="another"}': "1x120"}, [alert])
    played = tmp_path / "alerts.test.yml"
    played.write_text(
        yaml.safe_dump({"rule_files": [str(RULES_FILE)], "evaluation_interval": "1m", "tests": [test]})
    )
    assert "SUCCESS" in run_promtool("test", "rules", played)


def test_prometheus_reads_its_configuration() -> None:
    assert f"{len(RULES)} rules found" in run_promtool(
        "check", "config", ROOT / "monitoring" / "prometheus.yml"
    )


@pytest.mark.parametrize("name", sorted(RULES))
def test_the_page_lists_the_rule_as_it_is(name: str) -> None:
    rule = RULES[name]
    page = (ROOT / "docs" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(Aftercall\w+)` \| `(.+)` \| ([^|]+) \| (.+) \|$", page, re.MULTILINE)
    told = {alert: (expr.replace("\\|", "|"), wait, why) for alert, expr, wait, why in rows}
    assert set(told) == set(RULES)
    assert told[name] == (rule["expr"], rule.get("for", "at once"), rule["annotations"]["summary"])
