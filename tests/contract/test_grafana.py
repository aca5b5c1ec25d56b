"""The dashboard and the rules use metrics and labels that exist, in valid PromQL; Grafana finds both."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client import Counter, Gauge, Histogram

from app import metrics
from app.metric_labels import OTHER
from monitoring import dashboard
from tests.promtool import run_promtool

MONITORING = Path(__file__).parents[2] / "monitoring"
FILE = MONITORING / "grafana" / "dashboards" / "aftercall.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
FROM_PROMETHEUS = {"job", "instance", "le"}
OURS = {
    name.removesuffix("_total"): metric
    for metric in vars(metrics).values()
    if isinstance(metric, Counter | Gauge | Histogram)
    for name in [next(iter(metric.describe())).name]
}


def expressions() -> list[str]:
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
    asked = [target["expr"] for panel in PANELS for target in panel["targets"]]
    return [*asked, *(rule["expr"] for rule in rules)]


def metric_of(series: str) -> Counter | Gauge | Histogram:
    """Return the metric behind a series' name; a suffix has to fit its kind."""
    for name, metric in OURS.items():
        suffixes = {Counter: ("_total",), Histogram: ("_bucket", "_count", "_sum")}
        kinds = next((found for kind, found in suffixes.items() if isinstance(metric, kind)), ("",))
        if series in {name + suffix for suffix in kinds}:
            return metric
    raise AssertionError(f"there is no metric {series}")


def test_the_file_is_what_the_code_makes() -> None:
    assert json.loads(json.dumps(dashboard.build())) == DASHBOARD


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_and_label_that_is_asked_for_exists(expression: str) -> None:
    named = re.findall(r"\b(aftercall_\w+)(?:\{([^}]*)\})?", expression)
    if not named:
        assert "up{" in expression
    known = set(FROM_PROMETHEUS)
    for series, selectors in named:
        metric = metric_of(series)
        known |= set(metric._labelnames)
        for label, operator, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', selectors):
            assert label in metric._labelnames, expression
            declared = {*metric.values[label], OTHER} if label != "route" else set()  # type: ignore[union-attr]
            if label != "route":
                wanted = re.compile(value if "~" in operator else re.escape(value))
                assert any(wanted.fullmatch(one) for one in declared), expression
            if operator in {"=~", "!~"} and label != "route" and "." not in value:
                assert set(value.split("|")) <= declared
    for labels in re.findall(r"\bby \(([^)]*)\)", expression):
        assert {label.strip() for label in labels.split(",")} <= known, expression


def test_every_expression_parses(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(expressions())
    ]
    file = tmp_path / "expressions.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "expressions", "rules": rules}]}))
    assert f"{len(rules)} rules found" in run_promtool("check", "rules", file)


def test_legends_name_labels_that_the_query_keeps() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            kept = re.findall(r"\bby \(([^)]*)\)", target["expr"])
            labels = {label.strip() for part in kept for label in part.split(",")} or {"instance"}
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= labels, target


def test_the_dashboard_is_one_that_grafana_can_show() -> None:
    assert DASHBOARD["schemaVersion"] >= 36
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    titles = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert titles == ["Window", "Budget", "Gaps and completeness", "Queues", "API", "Database"]
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + column, place["y"] + row)
            for column in range(place["w"])
            for row in range(place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in PANELS:
        assert panel["type"] in {"timeseries", "stat"}
        assert panel["description"]
        assert panel["targets"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)


def test_grafana_is_given_the_datasource_that_the_panels_name() -> None:
    provisioned = yaml.safe_load(
        (MONITORING / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text()
    )
    (source,) = provisioned["datasources"]
    named = {
        (part["datasource"]["type"], part["datasource"]["uid"])
        for panel in PANELS
        for part in (panel, *panel["targets"])
    }
    assert named == {(source["type"], source["uid"])}
