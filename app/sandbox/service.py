"""Runs the service beside a simulator, and waits until it has subscribed."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from app.clock import Clock
from app.sandbox.process import ServiceProcess
from app.simulator import Simulator

_READY_SECONDS = 60.0
_CHECK_SECONDS = 0.1
_REQUEST_SECONDS = 10.0


class SandboxFailed(Exception):
    """The service beside the simulator cannot be used; the text gives the reason."""


@asynccontextmanager
async def running_service(
    port: int, environment: Mapping[str, str], folder: Path, clock: Clock
) -> AsyncIterator[ServiceProcess]:
    """Run the service while the block runs. Its log is in `folder`."""
    service = await ServiceProcess.start(port, environment, folder, clock)
    try:
        yield service
    finally:
        await service.stop()


def client_of(address: str, api_key: str) -> httpx.AsyncClient:
    """Return a client of the service that sends an API key."""
    headers = {"Authorization": f"Bearer {api_key}"}
    return httpx.AsyncClient(base_url=address, headers=headers, timeout=_REQUEST_SECONDS, trust_env=False)


async def is_subscribed(
    service: ServiceProcess, http: httpx.AsyncClient, simulator: Simulator, stop: asyncio.Event, clock: Clock
) -> bool:
    """Wait until the service is ready and has subscribed; returns False if `stop` is set first.

    Raises SandboxFailed if the service ends or takes too long.
    """
    until = clock.monotonic() + _READY_SECONDS
    ended = asyncio.create_task(service.wait())
    try:
        while not stop.is_set():
            if ended.done():
                raise SandboxFailed(f"The service ended with code {ended.result()}.")
            # Ready is not enough: events of a call that starts before the subscription would be lost.
            subscriptions = simulator.subscriptions.values()
            if await _responds(http) and any(
                one.listed and one.may_receive(simulator.now()) for one in subscriptions
            ):
                return True
            if clock.monotonic() > until:
                raise SandboxFailed(f"The service was not ready after {_READY_SECONDS:g} s.")
            await clock.sleep(_CHECK_SECONDS)
        return False
    finally:
        ended.cancel()


async def _responds(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/readyz")).is_success
    except httpx.HTTPError:
        return False
