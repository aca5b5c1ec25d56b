"""A pytest plugin: a run says at its end what it left out, and what it takes to have it."""

from collections import Counter

import pytest

_PREFIX = "Skipped: "


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a line for each reason; the reasons say what to install."""
    reasons = Counter(_reason_of(report) for report in terminalreporter.stats.get("skipped", ()))
    if reasons:
        terminalreporter.write_sep("=", "left out on this machine")
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count:5} tests: {reason}")


def _reason_of(report: pytest.TestReport) -> str:
    told = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return told.removeprefix(_PREFIX)
