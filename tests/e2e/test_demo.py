"""The demo as users run it: a separate process, observed from outside."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster import free_port

ROOT = Path(__file__).parents[2]
LONGEST_SECONDS = 150.0


@contextmanager
def demo(scratch: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run `aftercall demo` with its scratch folders in `scratch`; it ends with the block at the latest.

    It gets a free port, since another demo may run at the same time.
    """
    if "--port" not in arguments:
        arguments = ("--port", str(free_port()), *arguments)
    environment = {**os.environ, "TMPDIR": str(scratch), "RC_JWT": "a real JWT", "COLUMNS": "200"}
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "demo", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Return the output of the demo up to the line that contains `text`."""
    assert process.stdout is not None
    until, said = time.monotonic() + LONGEST_SECONDS, ""
    for line in process.stdout:
        said += line
        if text in line:
            return said
        assert time.monotonic() < until, said
    raise AssertionError(f"the demo ended without {text!r}:\n{said}")


def children_of(pid: int) -> list[int]:
    """Return the running children of a process, from Linux's /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(stat.parent.name))
    return found


def is_gone(pid: int, within_seconds: float = 15.0) -> bool:
    until = time.monotonic() + within_seconds
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_a_short_demo_succeeds_when_every_call_has_its_record(tmp_path: Path) -> None:
    with demo(tmp_path, "--calls", "6", "--speed", "10", "--calls-per-minute", "20", "--exit") as process:
        said, _ = process.communicate(timeout=LONGEST_SECONDS)

    assert process.returncode == 0, said
    assert said.splitlines()[-1] == "6 of 6 calls enriched"
    assert "6 of 6 calls just as the simulator played them" in said
    assert " 0 refused with 429" in said
    assert "note (was parked)" in said
    assert "/dashboard" in said
    assert "curl -s -H 'Authorization: Bearer ak_demo_" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_the_demo_leaves_neither_a_process_nor_a_folder(
    tmp_path: Path, number: signal.Signals
) -> None:
    with demo(tmp_path, "--speed", "20") as process:
        read_until(process, "  found  ")
        services = children_of(process.pid)
        assert len(services) == 1
        assert len(list(tmp_path.iterdir())) == 1

        process.send_signal(number)
        said, _ = process.communicate(timeout=LONGEST_SECONDS)

    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert "ended: " in said
    assert is_gone(services[0])
    assert list(tmp_path.iterdir()) == []


def test_closing_its_output_stops_the_demo(tmp_path: Path) -> None:
    with demo(tmp_path, "--speed", "20") as process:
        read_until(process, "  found  ")
        (service,) = children_of(process.pid)
        assert process.stdout is not None
        process.stdout.close()

        assert process.wait(LONGEST_SECONDS) == 0

    assert is_gone(service)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_killed_demo_leaves_no_service_behind(tmp_path: Path) -> None:
    with demo(tmp_path, "--speed", "20") as process:
        read_until(process, "API key")
        (service,) = children_of(process.pid)

        process.kill()
        process.communicate(timeout=LONGEST_SECONDS)

    assert is_gone(service)


def test_the_demo_reports_the_end_of_the_service_with_its_log(tmp_path: Path) -> None:
    with demo(tmp_path, "--speed", "20", "--keep") as process:
        read_until(process, "  found  ")
        (service,) = children_of(process.pid)

        os.kill(service, signal.SIGKILL)
        said, _ = process.communicate(timeout=LONGEST_SECONDS)

    assert process.returncode == 1
    assert "The service ended by itself." in said
    assert '"event": "polled"' in said
    assert "Traceback" not in said
    (kept,) = tmp_path.iterdir()
    assert {"demo.db", "service.log"} <= {path.name for path in kept.iterdir()}


def test_interrupting_a_run_with_exit_is_a_failure(tmp_path: Path) -> None:
    with demo(tmp_path, "--calls", "50", "--speed", "20", "--exit") as process:
        read_until(process, "  found  ")
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=LONGEST_SECONDS)

    assert process.returncode == 130
    assert "Interrupted before all calls were settled." in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--exit",), "--calls"), (("--speed", "0"), "--speed"), (("--calls", "0"), "--calls")],
)
def test_invalid_options_are_refused_with_a_message(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    with demo(tmp_path, *arguments) as process:
        output, _ = process.communicate(timeout=LONGEST_SECONDS)

    assert process.returncode == 2
    assert said in output
    assert "Traceback" not in output
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use_is_reported_at_once(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        with demo(tmp_path, "--port", port) as process:
            said, _ = process.communicate(timeout=LONGEST_SECONDS)

    assert process.returncode == 1
    assert f"Port {port} cannot be used" in said
    assert "Traceback" not in said
