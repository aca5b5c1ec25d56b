"""`aftercall simulate --with-service` as authors of connectors run it."""

import os
import signal
from pathlib import Path

from tests.cluster import free_port
from tests.e2e.sandbox import sandbox, wait_for


def test_a_killed_service_and_a_restart_of_everything_keep_key_and_calls(tmp_path: Path) -> None:
    port, folder = free_port(), tmp_path / "sandbox"
    with sandbox(folder, port) as here:
        first = here.read()
        before = here.play()
        with here.api() as api:
            wait_for(api, before, "bootstrapped")
        os.kill(int(first["pid"]), signal.SIGKILL)
        again = here.read_again()
        assert (again["AFTERCALL_API"], again["AFTERCALL_KEY"]) == (
            first["AFTERCALL_API"],
            first["AFTERCALL_KEY"],
        )
        assert again["pid"] != first["pid"]
        here.process.kill()

    with sandbox(folder, port) as here:
        assert here.read()["AFTERCALL_KEY"] == first["AFTERCALL_KEY"]
        after = here.play()
        with here.api() as api:
            wait_for(api, after, "bootstrapped")
            # The simulator still has the call of the first run, so it becomes complete.
            assert wait_for(api, before, "final")["outcome"] == "answered"
