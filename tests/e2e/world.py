"""A company on the simulator, the service that hears of its calls, and a reader of the service's API.

Any of their processes may stand still for seconds, on a machine that has much else to do, and two seconds are
forty of RingCentral's at speed 20. So tests wait for what they await, with a limit that no stall reaches,
switch a fault off only when it has done its work, and judge what came of it, not how long it took.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from app.simulator import Faults, Simulator, SimulatorSettings, serving
from tests.cluster import free_port
from tests.e2e.process import INTAKE, TOKEN, ServiceProcess, service_environment

KEY = "ak_first-key-of-the-tests-0123456789"
LIMIT_SECONDS = 240.0

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class World:
    """Both sides, and questions to the service. `reader` has a key with every scope."""

    simulator: Simulator
    service: ServiceProcess
    reader: httpx.AsyncClient

    async def until(self, holds: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait for something, asking again and again: what takes longer to answer is asked less often."""
        latest = time.monotonic() + LIMIT_SECONDS
        while True:
            asked_at = time.monotonic()
            if await holds():
                return
            assert time.monotonic() < latest, f"{what}\n{self.service.said()}"
            await asyncio.sleep(min(2.0, max(0.2, 5 * (time.monotonic() - asked_at))))

    async def is_subscribed(self) -> bool:
        return bool(self.simulator.subscriptions)

    async def get(self, path: str, **params: str) -> Json:
        answer = await self.reader.get(path, params=params)
        assert answer.status_code == 200, answer.text
        shown: Json = answer.json()
        return shown

    async def answered(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Ask for something that takes a request to RingCentral, as readers do: again after a 502 or 503."""
        answers: list[httpx.Response] = []

        async def came() -> bool:
            answers.append(await self.reader.request(method, path, **request))
            return answers[-1].status_code not in {502, 503}

        await self.until(came, f"{method} {path} gets no answer")
        return answers[-1]

    async def reached(self, stage: str, *names: str) -> list[Json]:
        """Wait until all these calls have come as far as a stage; return them as they are then."""

        async def is_there() -> bool:
            answers = [
                await self.reader.get(f"/v1/calls/{name}", params={"wait": 20, "until": stage})
                for name in names
            ]
            return all(answer.headers.get("Aftercall-Reached") == "true" for answer in answers)

        await self.until(is_there, f"not all of {names} are {stage}")
        return [await self.get(f"/v1/calls/{name}") for name in names]

    def asked(self, part: str) -> list[Json]:
        """The requests of the service to resources with `part` in their path, oldest first."""
        return [one for one in self.simulator.requests if part in one["path"]]


@asynccontextmanager
async def world(
    database_url: str,
    folder: Path,
    settings: SimulatorSettings,
    faults: Faults | None = None,
    *,
    variables: Mapping[str, str] | None = None,
    subscribes: bool = False,
) -> AsyncIterator[World]:
    """Run a simulator and a service with these variables beside the usual ones.

    The service gets all events from the start; one that `subscribes` gets them since its own subscription,
    which is there when the block begins. The simulator's ports are any free ones.
    """
    port = free_port()
    changes: dict[str, Any] = {"port": 0, "media_port": 0}
    if not subscribes:
        changes |= {"webhook_url": f"http://127.0.0.1:{port}{INTAKE}", "webhook_token": TOKEN}
    async with serving(settings.model_copy(update=changes)) as simulator:
        simulator.faults = faults or Faults()
        environment = service_environment(database_url, simulator) | {"AFTERCALL_API_KEY": KEY}
        if subscribes:
            environment["AFTERCALL_PUBLIC_URL"] = f"http://127.0.0.1:{port}"
        service = ServiceProcess(environment | dict(variables or {}), folder, port)
        await service.start()
        try:
            async with httpx.AsyncClient(
                base_url=service.address,
                headers={"Authorization": f"Bearer {KEY}"},
                trust_env=False,
                timeout=60,
            ) as reader:
                made = World(simulator, service, reader)
                await made.until(made.is_subscribed, "there is no subscription")
                yield made
        finally:
            service.kill()
