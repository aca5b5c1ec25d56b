"""Prometheus' own checker, where it is installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def run_promtool(*arguments: str | Path) -> str:
    """Run `promtool` and return what it printed; fails the test when promtool is not content.

    Without promtool the test is skipped, or fails with AFTERCALL_REQUIRE_PROMTOOL=1.
    """
    path = shutil.which("promtool")
    if path is None:
        if os.environ.get("AFTERCALL_REQUIRE_PROMTOOL") == "1":
            pytest.fail("promtool is required: install the package prometheus")
        pytest.skip("no promtool: install the package prometheus to check rules")
    done = subprocess.run([path, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
