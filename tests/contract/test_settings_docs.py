"""docs/settings.md lists exactly the variables that the service reads, with their defaults."""

import re
from pathlib import Path
from typing import Any

from pydantic import AliasChoices

from app.settings import Settings, read_settings
from tests.conftest import SECRETS

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
ROW = re.compile(r"^\| `([A-Z_]+)` \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def variables() -> dict[str, tuple[str, str]]:
    """Default and meaning of each variable, as the page should have them."""
    found = {}
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        variable = alias.choices[0] if isinstance(alias, AliasChoices) else f"AFTERCALL_{name.upper()}"
        found[str(variable)] = (show(field.default), field.description or "")
    return found


def show(default: Any) -> str:
    if default is None:
        return "not set"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def test_the_page_lists_every_variable_with_its_default_and_meaning() -> None:
    rows = ROW.findall(PAGE.read_text())
    documented = {name: (default, meaning) for name, default, meaning in rows}
    assert len(rows) == len(documented), "a variable is listed twice"
    assert documented == variables()


def test_every_duration_has_its_unit_in_its_name() -> None:
    units = ("_SECONDS", "_HOURS", "_DAYS", "_BYTES")
    fractions = [name for name, field in Settings.model_fields.items() if isinstance(field.default, float)]
    assert [name for name in fractions if not name.upper().endswith(units)] == []


def test_an_empty_variable_counts_as_not_set(monkeypatch: Any) -> None:
    monkeypatch.setenv("AFTERCALL_API_KEY", "")
    monkeypatch.setenv("AFTERCALL_PUBLIC_URL", "")
    settings = read_settings(secret_key=SECRETS["secret_key"], webhook_token=SECRETS["webhook_token"])
    assert settings.api_key is None
    assert settings.public_url is None
