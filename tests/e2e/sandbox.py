"""`aftercall simulate --with-service` as a process, for tests."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
LONGEST_SECONDS = 150.0


class Sandbox:
    """A running command, and what it printed last."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.printed: dict[str, str] = {}

    def read(self) -> dict[str, str]:
        """Wait for the introduction; return what it says by name."""
        assert self.process.stdout is not None
        said = ""
        for line in self.process.stdout:
            said += line
            if "/v1/calls?limit=1" in line:
                self.printed = dict(re.findall(r"^([A-Z_]+)=(\S+)$", said, re.MULTILINE))
                (self.printed["pid"],) = re.findall(r"process of the service: (\d+)", said)
                return self.printed
        raise AssertionError(f"the command ended:\n{said}")

    def read_again(self) -> dict[str, str]:
        """Wait until a service that was killed answers again; return what is known of it."""
        assert self.process.stdout is not None
        said = ""
        for line in self.process.stdout:
            said += line
            if line == "The service answers again.\n":
                again = re.findall(r"The service has ended and is started again, as process (\d+)\.\n", said)
                self.printed = self.printed | {"pid": again[-1]}
                return self.printed
        raise AssertionError(f"the command ended:\n{said}")

    def api(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.printed['AFTERCALL_KEY']}"}
        return httpx.Client(base_url=self.printed["AFTERCALL_API"], headers=headers, timeout=30.0)

    def play(self, script: str = "inbound_direct") -> str:
        """Start a call; return its telephony session's id."""
        order = {"script": script, "talkSeconds": 20}
        response = httpx.post(f"{self.printed['RC_SERVER_URL']}/_sim/calls", json=order)
        session: str = response.raise_for_status().json()[0]["sessions"][0]["telephonySessionId"]
        return session


@contextmanager
def sandbox(folder: Path, port: int, *arguments: str) -> Iterator[Sandbox]:
    options = ("--port", "0", "--media-port", "0", "--service-port", str(port), "--speed", "20")
    environment = {**os.environ, "RC_JWT": "a real JWT"}
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "app", "simulate", "--with-service", "--folder", str(folder)),
            *options,
            *arguments,
        ],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield Sandbox(process)
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def wait_for(api: httpx.Client, session: str, until: str) -> dict[str, Any]:
    """Wait until a call has reached a stage."""
    last = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < last:
        response = api.get(f"/v1/calls/{session}", params={"wait": 20, "until": until})
        if response.headers.get("Aftercall-Reached") == "true":
            call: dict[str, Any] = response.raise_for_status().json()
            return call
    raise AssertionError(f"{session} was never {until}")
