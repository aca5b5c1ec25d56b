"""The code base keeps its shape: the limits of `bench.shape`, as docs/architecture.md states them."""

import re
from pathlib import Path

import pytest

from bench.shape import ANCHORS, Measure, measure, read_modules

ROOT = Path(__file__).parents[2]
MEASURES = measure(read_modules(ROOT / "app"))
LIMITED = [row for row in MEASURES if row.limit is not None]

NOT_YET = {"imports per module, 90th percentile": 18}
"""What is beyond its limit today, and how far at most. Lower it with the code; remove it at the limit."""


@pytest.mark.parametrize("row", LIMITED, ids=lambda row: row.name)
def test_the_shape_stays_within_its_limits(row: Measure) -> None:
    bound = NOT_YET.get(row.name)
    is_within = bound is not None and (row.value >= bound if row.at_least else row.value <= bound)
    assert row.is_met or is_within, "\n".join([f"{row.name}: {row.value:g}", *row.over])


def test_the_architecture_page_states_the_limits() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    section = page.partition("## The shape of the code")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([a-z][^|]+) \| at (most|least) ([\d.]+) \| ([^|]*) \|$", section, re.MULTILINE)
    assert [(name, kind == "least", float(limit), anchor.strip()) for name, kind, limit, anchor in rows] == [
        (row.name, row.at_least, row.limit, ANCHORS.get(row.name, "")) for row in LIMITED
    ]
