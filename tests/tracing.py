"""A pytest plugin: what coverage leaves out. Tracing more than doubles the time of what is traced.

Nothing here changes what is measured of a test that is not `UNTRACED`; without `--cov` it does nothing.
"""

import os
import sys
from collections.abc import Generator
from typing import Any

import pytest

UNTRACED = (
    "tests/e2e/",
    "tests/soak/test_soak.py",
    "tests/integration/calls/listing/test_plans.py",
    "tests/integration/calls/listing/test_pages.py",
    "tests/property/test_projections.py",
    "tests/property/test_fuzz_",
    "tests/truth/test_conformance.py::test_calls_of_any",
    "tests/contract/test_schemathesis.py",
    "tests/contract/test_fuzz_",
)
"""Tests during which coverage is not measured. The end-to-end tests run the service in processes of its own,
which it does not see; the others repeat what is covered already. So does the second run of a test that runs
on both databases, except where the code of the databases itself is tested."""

_TRACED_TWICE = "tests/integration/db/"

_WORKER = os.environ.get("PYTEST_XDIST_WORKER")


def _forget_conftest() -> None:
    """End what pytest-cov starts in a process of pytest-xdist before the session: it throws that away.

    What tests/conftest.py imports is measured in the process that distributes the tests.
    """
    coverage: Any = sys.modules.get("coverage")
    started = coverage and coverage.Coverage.current()
    if _WORKER is not None and started:
        started.stop()


_forget_conftest()


def _controller(config: pytest.Config) -> Any:
    """Return what pauses and resumes measuring, or None if nothing is measured."""
    return getattr(config.pluginmanager.get_plugin("_cov"), "cov_controller", None)


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Measure the collection in the first of all processes: each imports the same."""
    controller = _controller(session.config)
    if controller is not None and _WORKER not in {None, "gw0"}:
        controller.pause()


def pytest_collection_finish(session: pytest.Session) -> None:
    controller = _controller(session.config)
    if controller is not None and not controller.started:
        controller.resume()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Leave out the fixtures as well, in which such tests spend half of their time."""
    controller = _controller(item.config)
    if controller is None or not is_untraced(item):
        return (yield)
    controller.pause()
    try:
        return (yield)
    finally:
        controller.resume()


def is_untraced(item: pytest.Item) -> bool:
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    is_second = "postgresql" in parameters.values() and not item.nodeid.startswith(_TRACED_TWICE)
    return is_second or item.nodeid.startswith(UNTRACED)
