"""The probes of the pages ask what the service answers."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml  # type: ignore[import-untyped]

from app.ops.health.router import LONGEST_SECONDS
from tests.described import describe

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()


def probes() -> dict[str, Any]:
    found = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    read: dict[str, Any] = yaml.safe_load(found[1])
    return read


def test_the_probes_of_kubernetes_ask_paths_that_answer() -> None:
    paths = describe()["paths"]
    assert set(probes()) == {"startupProbe", "livenessProbe", "readinessProbe"}
    for probe in probes().values():
        address = urlsplit(probe["httpGet"]["path"])
        parameters = {parameter["name"] for parameter in paths[address.path]["get"].get("parameters", ())}
        assert {pair.partition("=")[0] for pair in address.query.split("&") if pair} <= parameters
        assert probe["timeoutSeconds"] > LONGEST_SECONDS


def test_what_restarts_a_process_does_not_ask_the_database() -> None:
    for name in ("startupProbe", "livenessProbe"):
        assert probes()[name]["httpGet"]["path"] == "/healthz"
    assert probes()["readinessProbe"]["httpGet"]["path"] == "/readyz?for=intake"
    assert "/healthz" in (ROOT / "Dockerfile").read_text()
