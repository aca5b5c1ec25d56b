"""docs/metrics.md lists exactly the existing metrics, with the labels and values of the code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Counter, Gauge, Histogram

from app import metrics
from app.calls.media.recordings import State
from app.calls.model import Source, Stage
from app.enrichment.gaps import Reason
from app.enrichment.insights.results import METRIC_OUTCOMES
from app.enrichment.records.reasons import MissingReason
from app.metric_labels import OTHER
from app.retention.rules import Kind
from app.ringcentral import wire
from app.webhooks.folding.ending import NO_CUSTOMER_CALLS

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "metrics.md"
SOURCES = {path: path.read_text() for path in sorted((ROOT / "app").rglob("*.py"))}
OPEN = {("aftercall_ringcentral_requests_total", "status"), "route"}
"""What the page describes instead of listing it."""


def _metrics() -> dict[str, Counter | Gauge | Histogram]:
    return {
        name: metric
        for name, metric in vars(metrics).items()
        if isinstance(metric, Counter | Gauge | Histogram)
    }


def _name_of(metric: Counter | Gauge | Histogram) -> str:
    family = next(iter(metric.describe()))
    return family.name + ("_total" if isinstance(metric, Counter) else "")


def _defined() -> dict[str, tuple[str, frozenset[str]]]:
    return {
        _name_of(metric): (type(metric).__name__.lower(), frozenset(metric._labelnames))
        for metric in _metrics().values()
    }


def _rows() -> list[tuple[str, str, str]]:
    return re.findall(r"^\| `(aftercall_\w+)` \| (\w+)[^|]*\|([^|]*)\|", PAGE.read_text(), re.MULTILINE)


def _documented() -> dict[str, tuple[str, frozenset[str]]]:
    return {name: (kind, frozenset(re.findall(r"`(\w+)`:", labels))) for name, kind, labels in _rows()}


def test_every_metric_is_documented_with_its_kind_and_labels() -> None:
    assert _documented() == _defined()


def test_labels_do_not_identify_people_or_accounts() -> None:
    labels = {label for _, names in _defined().values() for label in names}
    assert labels <= {
        "outcome",
        "stage",
        "source",
        "group",
        "status",
        "loop",
        "reason",
        "state",
        "route",
        "header",
        "kind",
    }


def test_every_label_value_is_documented() -> None:
    found = {}
    for name, _, labels in _rows():
        for label, values in re.findall(r"`(\w+)`: ([^;]+)", labels):
            listed = re.sub(r"\([^)]*\)", "", values).split(",")
            found[(name, label)] = {value.strip() for value in listed}
    for metric in _metrics().values():
        for label in metric._labelnames:
            key = (_name_of(metric), label)
            if key not in OPEN and label not in OPEN:
                assert found[key] == set(metric.values[label]), key  # type: ignore[union-attr]


def test_declared_label_values_match_the_code() -> None:
    assert set(metrics.STAGES) == set(Stage)
    assert set(metrics.GAP_REASONS) == set(Reason)
    assert set(metrics.GROUPS) == {wire.LIGHT, wire.MEDIUM, wire.HEAVY, wire.AUTH}
    why = MissingReason
    never = {why.NEVER_LOGGED, why.NO_CREDENTIALS, why.NO_PERMISSION, why.REFUSED, why.UNSTORABLE}
    assert set(metrics.ABSENT_REASONS) == never | set(NO_CUSTOMER_CALLS.values())
    assert set(metrics.INSIGHTS.values["outcome"]) == set(METRIC_OUTCOMES.values())
    assert set(metrics.RECORD_SECONDS.values["source"]) == {Source.ACTIVE_CALLS, Source.CALL_LOG}
    assert set(metrics.REMOVED.values["kind"]) == set(Kind)
    assert State.EXPIRED in metrics.RECORDINGS.values["outcome"]


def test_every_loop_of_the_code_is_declared() -> None:
    named = set()
    for text in SOURCES.values():
        for call in _calls(text, "Loop"):
            match call.args:
                case [ast.Constant(value=str(name)), *_]:
                    named.add(name)
    assert named == set(metrics.LOOPS)


def test_every_declared_metric_is_recorded() -> None:
    elsewhere = "\n".join(text for path, text in SOURCES.items() if path.name != "metrics.py")
    assert [name for name in _metrics() if f"metrics.{name}" not in elsewhere] == []


def test_every_literal_label_value_of_the_code_is_declared() -> None:
    seen = 0
    for path, text in SOURCES.items():
        for call in _calls(text, "labels"):
            owner = call.func.value if isinstance(call.func, ast.Attribute) else None
            metric = _metrics().get(owner.attr) if isinstance(owner, ast.Attribute) else None
            if metric is None:
                continue
            assert {item.arg for item in call.keywords} == set(metric._labelnames), path
            for item in call.keywords:
                for value in _literals(item.value):
                    seen += 1
                    assert value in metric.values[str(item.arg)], (path, value)  # type: ignore[union-attr]
    assert seen > 20


def _calls(text: str, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            called = node.func
            if getattr(called, "attr", getattr(called, "id", None)) == name:
                yield node


def _literals(node: ast.expr) -> list[str]:
    match node:
        case ast.Constant(value=str(value)):
            return [value]
        case ast.IfExp(body=body, orelse=orelse):
            return [*_literals(body), *_literals(orelse)]
    return []


@pytest.mark.parametrize("name", [name for name, metric in _metrics().items() if metric._labelnames])
def test_every_label_value_is_exported_from_the_start(name: str) -> None:
    metric = _metrics()[name]
    family = next(iter(metric.collect()))
    for label in metric._labelnames:
        there = {sample.labels[label] for sample in family.samples}
        assert there == {*metric.values[label], OTHER}  # type: ignore[union-attr]


def test_undeclared_label_value_counts_as_other() -> None:
    def value_of(outcome: str) -> float:
        samples = next(iter(metrics.POLLS.collect())).samples
        return sum(
            sample.value
            for sample in samples
            if sample.labels["outcome"] == outcome and sample.name.endswith("_total")
        )

    before = value_of(OTHER)
    metrics.POLLS.labels(outcome="+15550179001").inc()
    assert value_of(OTHER) == before + 1
    assert value_of("+15550179001") == 0
