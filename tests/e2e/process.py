"""The service as operators run it: a process of its own, watched from outside, and ended for certain."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import httpx

from app.simulator import Simulator
from tests.cluster import free_port
from tests.e2e.preloaded import make_process

ROOT = Path(__file__).parents[2]
TOKEN = "a-verification-token"
INTAKE = "/webhooks/ringcentral"
START_SECONDS = 180.0
LONGEST_SECONDS = 60.0


def service_environment(database_url: str, simulator: Simulator) -> dict[str, str]:
    """Return the documented variables for a service beside a simulator, durations divided by its speed.

    What this machine's environment says of the service itself is left out.
    """
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("AFTERCALL_", "RC_"))
    }
    settings, scaled = simulator.settings, simulator.scaled
    return inherited | {
        "PYTHONPATH": str(ROOT),
        "AFTERCALL_DATABASE_URL": database_url,
        "AFTERCALL_SECRET_KEY": "0123456789abcdef0123456789abcdef",
        "AFTERCALL_WEBHOOK_TOKEN": TOKEN,
        "AFTERCALL_LOG_LEVEL": "warning",
        "AFTERCALL_ACTIVE_CALLS_WINDOW_SECONDS": f"{scaled(120):g}",
        "AFTERCALL_ACTIVE_CALLS_LAG_MIN_SECONDS": f"{scaled(3):g}",
        "AFTERCALL_ACTIVE_CALLS_LAG_MAX_SECONDS": f"{scaled(10):g}",
        "AFTERCALL_CALL_END_QUIET_SECONDS": f"{scaled(3):g}",
        "AFTERCALL_RATE_LIMIT_WINDOW_SECONDS": f"{scaled(60):g}",
        "AFTERCALL_RATE_LIMIT_PENALTY_SECONDS": f"{scaled(60):g}",
        "AFTERCALL_RC_TIMEOUT_SECONDS": "5",  # a simulator that stands still for less is not away
        "AFTERCALL_LEASE_SECONDS": "6",
        "RC_SERVER_URL": simulator.links.platform,
        "RC_MEDIA_URL": simulator.links.media,
        "RC_CLIENT_ID": settings.client_id,
        "RC_CLIENT_SECRET": settings.client_secret,
        "RC_JWT": settings.jwt,
    }


class ServiceProcess:
    """`aftercall serve` on a port that stays the same however often it is started."""

    def __init__(self, environment: Mapping[str, str], folder: Path, port: int | None = None) -> None:
        self.port = port or free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._environment = dict(environment)
        self._log = folder / f"service-{self.port}.log"
        self._process: ForkServerProcess | None = None

    async def start(self) -> None:
        """Start it, and return once it answers."""
        process = make_process(self._environment, self._log, "serve", "--port", str(self.port))
        # The first start waits for the imports; the simulator runs in this event loop.
        await asyncio.to_thread(process.start)
        self._process = process
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._wait_until_it_answers(process)
        except BaseException:
            self.kill()
            raise

    async def _wait_until_it_answers(self, process: ForkServerProcess) -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            while True:
                assert process.is_alive(), f"the service ended: {self.said()}"
                try:
                    await client.get(f"{self.address}/healthz", timeout=1.0)
                except httpx.HTTPError:
                    await asyncio.sleep(0.05)
                else:
                    return

    def kill(self) -> None:
        """End it as a power cut would: no signal handler, no goodbye."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.join()

    async def stop(self) -> int:
        """Ask it to end, as an operator does; return its exit code, -SIGTERM being the usual one."""
        process, self._process = self._process, None
        assert process is not None
        process.terminate()
        await asyncio.to_thread(process.join, 15)
        code = process.exitcode
        if code is None:
            process.kill()
            process.join()
        assert code is not None, f"the service does not end: {self.said()}"
        return code

    def said(self) -> str:
        """Return the end of its output."""
        return self._log.read_text(errors="replace")[-3000:]


class Crowd:
    """Senders that deliver all the time, beside the simulator: events that nobody understands, all different.

    They leave the machine some time to work off what they send. `accepted` holds the `uuid`s that were
    answered 200.
    """

    SENDERS = 8

    def __init__(self, address: str, account_id: str) -> None:
        self._url = f"{address}{INTAKE}"
        self._event = f"/restapi/v1.0/account/{account_id}/extension/1/message-store/instant"
        self._sent = 0
        self._answers: Counter[str] = Counter()
        self.accepted: set[str] = set()

    async def answers(self, count: int) -> set[str]:
        """Wait for `count` responses to what is sent from now on; return their statuses, "none" for none."""
        answers: Counter[str] = Counter()
        self._answers = answers
        async with asyncio.timeout(LONGEST_SECONDS):
            while answers.total() < count:  # noqa: ASYNC110 - the senders count
                await asyncio.sleep(0.02)
        return set(answers)

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        """Deliver while the block runs.

        A connection is not used again after a second: a server closes what was idle for some seconds, which
        would look like a response that never came when this process has stood still for that long.
        """
        limits = httpx.Limits(keepalive_expiry=1.0)
        async with httpx.AsyncClient(trust_env=False, timeout=LONGEST_SECONDS, limits=limits) as client:
            senders = [asyncio.create_task(self._send_for_ever(client)) for _ in range(self.SENDERS)]
            try:
                yield
            finally:
                for sender in senders:
                    sender.cancel()
                await asyncio.gather(*senders, return_exceptions=True)

    async def _send_for_ever(self, client: httpx.AsyncClient) -> None:
        while True:
            self._sent += 1
            uuid, answers = f"crowd-{self._sent}", self._answers
            status = await self._send(client, uuid)
            answers[status] += 1
            if status == "200":
                self.accepted.add(uuid)
            await asyncio.sleep(0.02)

    async def _send(self, client: httpx.AsyncClient, uuid: str) -> str:
        body = {"uuid": uuid, "event": self._event, "body": {"text": "x" * 1000}}
        try:
            answer = await client.post(self._url, json=body, headers={"Verification-Token": TOKEN})
        except httpx.HTTPError:
            return "none"
        return str(answer.status_code)
