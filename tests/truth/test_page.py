"""The page about the record shows what the benchmark prints, and explains every field that is compared."""

import re
from pathlib import Path

from app.calls.derivation.agents import AgentRole
from app.calls.evidence.people import UNKNOWN_COMPANY
from bench.truth import measure
from tests.truth.conformance import DIRECTORY, WAYS, tellings

PAGE = (Path(__file__).parents[2] / "docs/truth.md").read_text()


def test_the_page_shows_the_table_of_the_benchmark() -> None:
    told = list(tellings())
    compared, right, _ = measure(told, DIRECTORY)
    _, without, _ = measure(told, UNKNOWN_COMPANY)
    shown = re.findall(r"^\| ([a-z][^|]*) \| (\d+) \| (\d+) \| (\d+) \|$", PAGE, re.MULTILINE)
    rows = [(way, str(compared[way]), str(right[way]), str(without[way])) for way in WAYS]
    total = ("total", *(str(sum(counter.values())) for counter in (compared, right, without)))
    assert shown == [*rows, total]


def test_the_page_explains_every_role() -> None:
    section = PAGE.partition("### Roles")[2].partition("## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == {role.value for role in AgentRole}
