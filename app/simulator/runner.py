"""Runs a simulator on its two ports, within another program or as a command."""

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

from app.clock import Clock
from app.simulator.api.app import create_app, create_media_app
from app.simulator.settings import SimulatorSettings
from app.simulator.simulator import Simulator


class _Server(uvicorn.Server):
    """A server that leaves signals to the program that runs it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(256)
    except OSError:
        listener.close()
        raise
    return listener


@asynccontextmanager
async def serving(
    settings: SimulatorSettings, clock: Clock | None = None, *, holds_traffic: bool = False
) -> AsyncIterator[Simulator]:
    """Serve both hosts while the block runs. A port of 0 selects a free one; `.links` has the addresses.

    Yields the simulator, so that a program in the same process can start calls and read their truth without
    the control API. With `holds_traffic` the company starts no calls before `release_traffic`. Raises OSError
    if a port is in use.
    """
    # Bound here and not by uvicorn: the links need the ports before the apps exist.
    with contextlib.ExitStack() as sockets:
        platform = sockets.enter_context(listen(settings.host, settings.port))
        media = sockets.enter_context(listen(settings.host, settings.media_port))
        bound = settings.model_copy(
            update={"port": platform.getsockname()[1], "media_port": media.getsockname()[1]}
        )
        simulator = Simulator(bound, clock=clock, holds_traffic=holds_traffic)
        apps = [(create_app(simulator), platform), (create_media_app(simulator), media)]
        async with running(apps, [simulator]):
            yield simulator


@asynccontextmanager
async def running(
    apps: Sequence[tuple[ASGIApp, socket.socket]], simulators: Sequence[Simulator]
) -> AsyncIterator[None]:
    """Serve apps on listening sockets and run their simulators while the block runs."""
    servers = [(make_server(app), listener) for app, listener in apps]
    tasks = [asyncio.create_task(server.serve(sockets=[listener])) for server, listener in servers]
    try:
        for simulator in simulators:
            simulator.start()
        yield
    finally:
        # The servers first: a request in flight may still need the scheduler and the webhooks.
        for server, _ in servers:
            server.should_exit = True
        await asyncio.gather(*tasks)
        for simulator in simulators:
            await simulator.stop()


def make_server(app: ASGIApp) -> _Server:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        # Clients keep idle connections open, which must not delay the stop.
        timeout_graceful_shutdown=1,
        server_header=False,
    )
    return _Server(config)


def run(settings: SimulatorSettings) -> None:
    """Serve as a command: print the addresses, and stop on SIGINT or SIGTERM or after the duration."""
    asyncio.run(_run(settings))


async def _run(settings: SimulatorSettings) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with serving(settings) as simulator:
        sys.stdout.write(f"{introduction(simulator)}\n")
        sys.stdout.flush()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(settings.duration_seconds):
                await stop.wait()


def why_not_listening(settings: SimulatorSettings, error: OSError) -> str:
    """Return a sentence for the user of a command whose simulator cannot listen."""
    ports = f"{settings.host}, ports {settings.port} and {settings.media_port}"
    return f"The simulator cannot listen on {ports}: {error.strerror or error}."


def introduction(simulator: Simulator) -> str:
    """Return the addresses and credentials for a user, in the form of settings."""
    settings, links = simulator.settings, simulator.links
    return "\n".join(
        (
            f"A simulated RingCentral is running, {simulator.clock.speed:g} times faster than real time.",
            "",
            f"RC_SERVER_URL={links.platform}",
            f"RC_MEDIA_URL={links.media}",
            f"RC_CLIENT_ID={settings.client_id}",
            f"RC_CLIENT_SECRET={settings.client_secret}",
            f"RC_JWT={settings.jwt}",
            "",
            f"control: {links.platform}/_sim/",
        )
    )
