"""A pytest plugin: a run fails when the tests that were collected are not the tests that were reported.

pytest-xdist tells tests apart by their ids and runs each id once, so tests that share an id are lost without
a trace. A shared id fails the collection, and a test without a report fails the run. Both hold with and
without `-n`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

_SHARED = "completeness_shared_ids"
_NAMES_SHOWN = 10


class Completeness:
    """Compares what was collected with what was reported.

    In a worker of pytest-xdist it only looks for shared ids.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._worker_output: dict[str, Any] | None = getattr(config, "workeroutput", None)
        self._collects_only = bool(config.getoption("collectonly"))
        self._collected: Counter[str] = Counter()
        self._reported: Counter[str] = Counter()
        self._shared: set[str] = set()
        self._complaints: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Run nothing when two tests share an id: one of them would not be run."""
        self._shared = {
            nodeid for nodeid, count in Counter(item.nodeid for item in items).items() if count > 1
        }
        if self._worker_output is not None:
            self._worker_output[_SHARED] = sorted(self._shared)
        if self._shared:
            items.clear()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._collected = Counter(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """All workers collect the same tests; pytest-xdist checks that."""
        self._collected = Counter(ids)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        self._shared.update(getattr(node, "workeroutput", {}).get(_SHARED, ()))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":  # sent once for each test, whatever became of it
            self._reported[report.nodeid] += 1

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self._worker_output is not None:
            return
        if self._shared:
            self._complaints.append(
                f"{len(self._shared)} test ids belong to several tests, and no test was run. Give each test "
                f"an id of its own: {_names(self._shared)}"
            )
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
            return
        was_stopped = bool(session.shouldfail or session.shouldstop)
        if self._collects_only or was_stopped or exitstatus not in _COMPLETE:
            return
        missing, unknown = self._collected - self._reported, set(self._reported) - set(self._collected)
        if missing:
            self._complaints.append(
                f"{missing.total()} of {self._collected.total()} collected tests were not reported: "
                f"{_names(missing)}"
            )
        if unknown:
            self._complaints.append(f"{len(unknown)} reported tests were not collected: {_names(unknown)}")
        if self._complaints:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for complaint in self._complaints:
            terminalreporter.write_sep("=", "the run is not complete", red=True, bold=True)
            terminalreporter.write_line(complaint, red=True)


_COMPLETE = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)


def _names(ids: Iterable[str]) -> str:
    names = sorted(set(ids))
    rest = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + rest


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Completeness(config), "aftercall-completeness")
