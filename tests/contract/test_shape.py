"""The code base keeps its shape: the limits of `bench.shape`, as docs/architecture.md states them."""

import re
from functools import cache
from pathlib import Path

import pytest

from bench.shape import ANCHORS, Measure, measure, read_modules

ROOT = Path(__file__).parents[2]
LIMITED = (
    "files per folder, median",
    "files per folder, maximum",
    "imports per module, 90th percentile",
    "imports per module, maximum",
    "longest module, lines",
    "longest function, lines",
    "comment lines, percent",
)
NOT_YET = {"imports per module, 90th percentile": 18}
"""What is beyond its limit today, and how far at most. Lower it with the code; remove it at the limit."""


@cache
def limited_rows() -> dict[str, Measure]:
    """Measure when a test asks: reading all code takes over a second, and each process imports this."""
    return {row.name: row for row in measure(read_modules(ROOT / "app")) if row.limit is not None}


@pytest.mark.parametrize("name", LIMITED)
def test_the_shape_stays_within_its_limits(name: str) -> None:
    row, bound = limited_rows()[name], NOT_YET.get(name)
    is_within = bound is not None and (row.value >= bound if row.at_least else row.value <= bound)
    assert row.is_met or is_within, "\n".join([f"{row.name}: {row.value:g}", *row.over])


def test_every_limit_is_tested() -> None:
    assert set(limited_rows()) == set(LIMITED)


def test_the_architecture_page_states_the_limits() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    section = page.partition("## The shape of the code")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([a-z][^|]+) \| at (most|least) ([\d.]+) \| ([^|]*) \|$", section, re.MULTILINE)
    assert [(name, kind == "least", float(limit), anchor.strip()) for name, kind, limit, anchor in rows] == [
        (row.name, row.at_least, row.limit, ANCHORS.get(row.name, "")) for row in limited_rows().values()
    ]
