"""Starts the simulator and the service of the demo, runs it, and stops everything in reverse order."""

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx

import app as package
from app.clock import Clock, SystemClock
from app.demo.options import Addresses, Credentials, Options, name_database, service_environment
from app.demo.process import ServiceProcess, choose_port
from app.demo.run import DemoFailed, DemoRun
from app.demo.screen import Headline, Screen, Terminal
from app.simulator import Simulator, SimulatorSettings, serving

_READY_SECONDS = 60.0
_CHECK_SECONDS = 0.1


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
    except DemoFailed as error:
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
        options,
        credentials,
        addresses,
        scratch_database=f"sqlite:///{scratch / 'demo.db'}",
        import_path=str(Path(package.__file__).parents[1]),
    )
    service = await stack.enter_async_context(_running_service(port, environment, scratch, clock))
    headers = {"Authorization": f"Bearer {credentials.api_key}"}
    http = await stack.enter_async_context(
        httpx.AsyncClient(base_url=addresses.service, headers=headers, timeout=10.0, trust_env=False)
    )
    is_ready = False
    try:
        is_ready = await _is_ready(service, http, simulator, stop, clock)
        if not is_ready:
            return 0
        company = simulator.company.company_name
        screen.headline(Headline(company, options.speed, addresses, credentials.api_key, str(scratch)))
        return await DemoRun(options, screen, simulator, http, clock).run(service, stop)
    except DemoFailed as error:
        refusal = None if is_ready else service.refusal()
        text = f"{error} The end of its log (--keep keeps all of it):\n{service.log_tail()}"
        raise DemoFailed(text if refusal is None else name_database(refusal, options)) from error


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
        raise DemoFailed(text) from error


@asynccontextmanager
async def _running_service(
    port: int, environment: dict[str, str], scratch: Path, clock: Clock
) -> AsyncIterator[ServiceProcess]:
    service = await ServiceProcess.start(port, environment, scratch, clock)
    try:
        yield service
    finally:
        await service.stop()


async def _is_ready(
    service: ServiceProcess, http: httpx.AsyncClient, simulator: Simulator, stop: asyncio.Event, clock: Clock
) -> bool:
    """Wait until the service is ready and has subscribed; returns False if `stop` is set first.

    Raises DemoFailed if the service ends or takes too long.
    """
    until = clock.monotonic() + _READY_SECONDS
    ended = asyncio.create_task(service.wait())
    try:
        while not stop.is_set():
            if ended.done():
                raise DemoFailed(f"The service ended with code {ended.result()}.")
            # Ready is not enough: events of a call that starts before the subscription would be lost.
            subscriptions = simulator.subscriptions.values()
            if await _responds(http) and any(one.may_receive(simulator.now()) for one in subscriptions):
                return True
            if clock.monotonic() > until:
                raise DemoFailed(f"The service was not ready after {_READY_SECONDS:g} s.")
            await clock.sleep(_CHECK_SECONDS)
        return False
    finally:
        ended.cancel()


async def _responds(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/readyz")).is_success
    except httpx.HTTPError:
        return False
