"""The simulator's page documents scripts, faults and control requests."""

import re
from pathlib import Path

import pytest

from app.simulator.api.control import _CONTROLS
from app.simulator.scripting.catalogue import SCRIPTS, describe
from app.simulator.settings import DEFAULT_MIX, Faults

PAGE = (Path(__file__).parents[3] / "docs" / "simulator.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_is_listed_with_its_description(script: str) -> None:
    assert f"| `{script}` | {describe(script)} |" in PAGE


@pytest.mark.parametrize("switch", [str(field.alias) for field in Faults.model_fields.values()])
def test_every_fault_is_listed(switch: str) -> None:
    assert f"`{switch}`" in PAGE


@pytest.mark.parametrize("path", sorted({path for _, path, _ in _CONTROLS}))
def test_every_control_request_is_listed(path: str) -> None:
    begin = path.split("{", maxsplit=1)[0]
    assert f"/_sim{begin}" in PAGE


def test_the_page_states_the_scripts_of_an_ordinary_day() -> None:
    sentence = PAGE.partition("An ordinary day (`--calls-per-minute`) consists of ")[2].partition(";")[0]
    assert set(re.findall(r"`(\w+)`", sentence)) == set(DEFAULT_MIX)
