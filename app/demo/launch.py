"""Starts the simulator and the service of the demo, runs it, and stops everything in reverse order."""

import asyncio
import os
import secrets
import signal
from contextlib import AsyncExitStack
from pathlib import Path

from app.clock import SystemClock
from app.demo.options import Options, name_database
from app.demo.run import DemoRun
from app.demo.screen import Headline, Screen, Terminal
from app.sandbox.environment import Addresses, Credentials, service_environment
from app.sandbox.process import choose_port
from app.sandbox.service import SandboxFailed, client_of, is_subscribed, running_service
from app.simulator import SimulatorSettings, serving


async def run(options: Options, scratch: Path, console: Terminal) -> int:
    """Run until all calls are settled (`options.ends`), a signal arrives or the output is closed.

    Returns the exit code.
    """
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    console.on_closed = stop.set
    screen = Screen(console, options.speed)
    try:
        async with AsyncExitStack() as stack:
            return await _launch(options, scratch, screen, stop, stack)
    except SandboxFailed as error:
        screen.say(str(error), "red")
        return 1


async def _launch(
    options: Options, scratch: Path, screen: Screen, stop: asyncio.Event, stack: AsyncExitStack
) -> int:
    """Start the parts in the order in which they need each other, then run the demo."""
    screen.say("Starting the simulator and the service …", "dim")
    clock, credentials = SystemClock(), _make_credentials()
    settings = SimulatorSettings(
        port=0,
        media_port=0,
        speed=options.speed,
        seed=options.seed,
        client_id=credentials.client_id,
        client_secret=credentials.client_secret,
        jwt=credentials.jwt,
    )
    simulator = await stack.enter_async_context(serving(settings))
    port = _choose_port(options)
    addresses = Addresses(
        service=f"http://127.0.0.1:{port}", platform=simulator.links.platform, media=simulator.links.media
    )
    environment = service_environment(
        os.environ,
        options.speed,
        credentials,
        addresses,
        database_url=options.database_url or f"sqlite:///{scratch / 'demo.db'}",
    )
    service = await stack.enter_async_context(running_service(port, environment, scratch, clock))
    http = await stack.enter_async_context(client_of(addresses.service, credentials.api_key))
    is_ready = False
    try:
        is_ready = await is_subscribed(service, http, simulator, stop, clock)
        if not is_ready:
            return 0
        company = simulator.company.company_name
        screen.headline(Headline(company, options.speed, addresses, credentials.api_key, str(scratch)))
        return await DemoRun(options, screen, simulator, http, clock).run(service, stop)
    except SandboxFailed as error:
        refusal = None if is_ready else service.refusal()
        text = f"{error} The end of its log (--keep keeps all of it):\n{service.log_tail()}"
        raise SandboxFailed(text if refusal is None else name_database(refusal, options)) from error


def _make_credentials() -> Credentials:
    return Credentials(
        secret_key=secrets.token_hex(32),
        webhook_token=secrets.token_hex(16),
        api_key=f"ak_demo_{secrets.token_urlsafe(18)}",
        client_id="sim-client",
        client_secret=secrets.token_hex(16),
        jwt=secrets.token_urlsafe(24),
    )


def _choose_port(options: Options) -> int:
    try:
        return choose_port(options.port)
    except OSError as error:
        text = f"Port {options.port} cannot be used: {error.strerror}. Choose another with --port."
        raise SandboxFailed(text) from error
