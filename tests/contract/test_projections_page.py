"""The page about projections shows the tables that the mapping files make, and every code."""

import re
from collections.abc import Iterable
from pathlib import Path

from app.projections.inputs import WarningCode
from app.projections.parameters import ProjectionQuery
from app.projections.standing import ReasonCode
from bench.projections import fill_in

PAGE = (Path(__file__).parents[2] / "docs/projections.md").read_text()


def first_column(heading: str) -> list[str]:
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.+?`(?:, `.+?`)*) \|", section, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row) if name != "code"]


def test_the_tables_are_those_of_the_mapping_files() -> None:
    """`python -m bench.projections --write` puts them there."""
    assert fill_in(PAGE) == PAGE


def test_the_page_lists_every_reason_warning_and_parameter() -> None:
    expected: dict[str, Iterable[str]] = {
        "Reasons": ReasonCode,
        "Warnings": WarningCode,
        "Parameters": (one.alias or name for name, one in ProjectionQuery.model_fields.items()),
    }
    for heading, names in expected.items():
        assert sorted(first_column(heading)) == sorted(names), heading
