"""docs/metrics.md names exactly the metrics that there are, with their labels."""

import re
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram

from app import metrics

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def _defined() -> dict[str, tuple[str, frozenset[str]]]:
    found = {}
    for metric in vars(metrics).values():
        if isinstance(metric, Counter | Gauge | Histogram):
            family = next(iter(metric.describe()))
            suffix = "_total" if isinstance(metric, Counter) else ""
            labels = frozenset(metric._labelnames)
            found[family.name + suffix] = (type(metric).__name__.lower(), labels)
    return found


def _documented() -> dict[str, tuple[str, frozenset[str]]]:
    rows = re.findall(r"^\| `(aftercall_\w+)` \| (\w+)[^|]*\|([^|]*)\|", PAGE.read_text(), re.MULTILINE)
    return {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def test_every_metric_is_documented_with_its_kind_and_labels() -> None:
    assert _documented() == _defined()


def test_no_label_could_name_a_person_or_an_account() -> None:
    labels = {label for _, names in _defined().values() for label in names}
    assert labels <= {"outcome", "stage", "source", "group", "status", "loop", "reason"}
