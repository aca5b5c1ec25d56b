"""The connectors of `examples/` write each call once while they, the service and the CRM are killed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cluster import free_port
from tests.e2e.sandbox import LONGEST_SECONDS, ROOT, Sandbox, sandbox, wait_for

EXAMPLES = ROOT / "examples"
SCRIPTS = ("inbound_direct", "internal", "inbound_missed", "warm_transfer")
"""That of `internal` and the second session of the last one do not belong in a CRM."""

COMMANDS = {
    "python": [sys.executable, str(EXAMPLES / "python" / "connector.py")],
    "node": ["node", str(EXAMPLES / "node" / "connector.mjs")],
}


class Kept:
    """A process that is started again when it is killed."""

    def __init__(self, command: Sequence[str], log: Path, environment: dict[str, str]) -> None:
        self._command = command
        self._log = log
        self._environment = {**os.environ, **environment}
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(self._command, stdout=log, stderr=log, env=self._environment)

    def kill(self) -> None:
        self.end()
        self._process = self._start()

    def end(self) -> None:
        assert self._process.poll() is None, self._log.read_text()
        self._process.kill()
        self._process.wait()


def written(address: str) -> list[str]:
    """The ids of the calls that a CRM has."""
    with httpx.Client(transport=httpx.HTTPTransport(retries=5), trust_env=False) as http:
        return [one["externalId"] for one in http.get(f"{address}/activities").raise_for_status().json()]


def belonging(here: Sandbox, sessions: Sequence[str]) -> set[str]:
    """The ids of the calls that belong in a CRM, once all have become complete."""
    with here.api() as api:
        for session in sessions:
            wait_for(api, session, "final")
        calls: list[Any] = []
        # Some have a second session.
        while not calls or any(call["stage"] != "final" for call in calls):
            calls = api.get("/v1/calls", params={"limit": 200}).raise_for_status().json()["data"]
            time.sleep(0.2)
        paths = [f"/v1/calls/{call['id']}/projections/generic" for call in calls]
        projections = [api.get(path).raise_for_status().json() for path in paths]
    return {one["callId"] for one in projections if one["safeToCreate"]}


class Writing:
    """A connector, the CRM that it writes into, and its files."""

    def __init__(self, language: str, environment: dict[str, str], folder: Path) -> None:
        folder.mkdir()
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        self.cursor, self.log = folder / "cursor", folder / "connector.log"
        crm = [sys.executable, str(EXAMPLES / "crm.py"), "--port", str(port)]
        self.crm = Kept([*crm, "--file", str(folder / "crm.db")], folder / "crm.log", {})
        command = [*COMMANDS[language], "--crm", self.address, "--name", language]
        self.connector = Kept([*command, "--state", str(self.cursor)], self.log, environment)

    def close(self) -> None:
        self.connector.end()
        self.crm.end()


def receive_webhooks(here: Sandbox, folder: Path, stack: ExitStack) -> str:
    """Run the function that receives webhooks, and its CRM; return the CRM's address."""
    folder.mkdir()
    crm_port, port = free_port(), free_port()
    address = f"http://127.0.0.1:{crm_port}"
    crm = [sys.executable, str(EXAMPLES / "crm.py"), "--port", str(crm_port)]
    stack.callback(Kept([*crm, "--file", str(folder / "crm.db")], folder / "crm.log", {}).end)
    endpoint = {"url": f"http://127.0.0.1:{port}/hook", "types": ["call.final"]}
    with here.api() as api:
        made = api.post("/v1/webhook-endpoints", json=endpoint).raise_for_status().json()
    environment = here.printed | {
        "CRM_URL": address,
        "CRM_NAME": "function",
        "WEBHOOK_SECRET": made["secret"],
    }
    command = ["node", str(EXAMPLES / "serverless" / "serve.mjs"), str(port)]
    stack.callback(Kept(command, folder / "function.log", environment).end)
    return address


def installed() -> list[str]:
    found = [language for language, command in COMMANDS.items() if shutil.which(command[0])]
    if len(found) < len(COMMANDS):
        pytest.skip("the connector for Node takes `node`: install it")
    return found


def test_each_call_is_written_once_whatever_is_killed(tmp_path: Path) -> None:
    rng, languages = random.Random(7), installed()
    with ExitStack() as stack:
        here = stack.enter_context(sandbox(tmp_path / "sandbox", free_port()))
        environment = here.read()
        both = [Writing(language, environment, tmp_path / language) for language in languages]
        for one in both:
            stack.callback(one.close)
        pushed = receive_webhooks(here, tmp_path / "function", stack)

        sessions = []
        for script in SCRIPTS:
            sessions.append(here.play(script))
            for one in both:
                time.sleep(rng.uniform(0.1, 0.5))
                one.connector.kill()
            if script == "inbound_missed":
                for one in both:
                    one.crm.kill()
                os.kill(int(environment["pid"]), signal.SIGKILL)
                environment = here.read_again()
        expected = belonging(here, sessions)

        until = time.monotonic() + LONGEST_SECONDS
        for one in both:
            while not set(written(one.address)) >= expected:
                assert time.monotonic() < until, one.log.read_text()
                time.sleep(0.2)
            # Without its position it goes over all that has no link, and finds what it has written.
            one.cursor.unlink()
            one.connector.kill()
            while not one.cursor.exists():
                assert time.monotonic() < until, one.log.read_text()
                time.sleep(0.1)
            assert sorted(written(one.address)) == sorted(expected)
        while not set(written(pushed)) >= expected:
            assert time.monotonic() < until, (tmp_path / "function" / "function.log").read_text()
            time.sleep(0.2)
        assert sorted(written(pushed)) == sorted(expected)
