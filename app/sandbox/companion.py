"""Runs a simulator and the real service beside it, for somebody who writes a connector.

Both keep what they know in one folder. The service is started again when it ends, so that a connector can be
tried against a service that is killed.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from app.clock import Clock, SystemClock
from app.sandbox.environment import Addresses, Credentials, service_environment
from app.sandbox.folder import SandboxFolder
from app.sandbox.process import ServiceProcess, choose_port
from app.sandbox.service import SandboxFailed, client_of, is_subscribed, running_service
from app.simulator import Simulator, SimulatorSettings, serving
from app.simulator.runner import introduction, listen, why_not_listening

_PAUSE_SECONDS = 0.5
_SHORT_SECONDS = 5.0
_SHORT_LIVES = 5


class CompanionOptions(BaseModel):
    """The options of `aftercall simulate` that concern the service; their descriptions are its help."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    service_port: int = Field(8000, ge=1, le=65535, description="With --with-service: the service's port.")
    folder: Path = Field(
        Path("aftercall-sandbox"),
        description="With --with-service: where secrets, database, calls and log are kept.",
    )


async def run(settings: SimulatorSettings, options: CompanionOptions, say: Callable[[str], None]) -> int:
    """Run both until a signal arrives or the simulator's duration is over; return the exit code.

    `say` prints a paragraph.
    """
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    if settings.duration_seconds is not None:
        loop.call_later(settings.duration_seconds, stop.set)
    try:
        await _Companion(settings, options, SystemClock(), say).run(stop)
    except SandboxFailed as error:
        say(str(error))
        return 1
    return 0


class _Companion:
    def __init__(
        self,
        settings: SimulatorSettings,
        options: CompanionOptions,
        clock: Clock,
        say: Callable[[str], None],
    ) -> None:
        self._folder = SandboxFolder(options.folder)
        self._settings = settings
        self._options = options
        self._clock = clock
        self._say = say

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set. Raises SandboxFailed if one of the two cannot run."""
        # The ports first: a command that cannot run leaves no folder behind.
        port = self._find_port()
        self._check_ports()
        async with AsyncExitStack() as stack:
            kept = stack.enter_context(self._folder.held())
            self._say(f"Starting the service. Its log is {self._folder.log}.")
            journal = self._settings.journal or self._folder.journal
            settings = self._settings.model_copy(update={"journal": journal})
            try:
                simulator = await stack.enter_async_context(
                    # Calls that nobody hears of are no use: they begin when the service has subscribed.
                    serving(settings, self._clock, holds_traffic=True)
                )
            except OSError as error:
                raise SandboxFailed(why_not_listening(settings, error)) from error
            except ValueError as error:
                raise SandboxFailed(str(error)) from error
            credentials = Credentials(
                client_id=settings.client_id, client_secret=settings.client_secret, jwt=settings.jwt, **kept
            )
            await self._keep_service(port, simulator, credentials, stop)

    def _find_port(self) -> int:
        port = self._options.service_port
        try:
            return choose_port(port)
        except OSError as error:
            raise SandboxFailed(
                f"Port {port} cannot be used for the service: {error.strerror}. Choose another with "
                "--service-port."
            ) from error

    def _check_ports(self) -> None:
        settings = self._settings
        try:
            for port in (settings.port, settings.media_port):
                listen(settings.host, port).close()
        except OSError as error:
            raise SandboxFailed(why_not_listening(settings, error)) from error

    async def _keep_service(
        self, port: int, simulator: Simulator, credentials: Credentials, stop: asyncio.Event
    ) -> None:
        """Start the service again whenever it ends."""
        address = f"http://127.0.0.1:{port}"
        links = simulator.links
        addresses = Addresses(service=address, platform=links.platform, media=links.media)
        environment = service_environment(
            os.environ,
            self._settings.speed,
            credentials,
            addresses,
            database_url=self._folder.database_url,
        )
        short_lives, is_introduced, has_ended = 0, False, False
        while not stop.is_set():
            began = self._clock.monotonic()
            running = running_service(port, environment, self._folder.path, self._clock)
            async with running as service, client_of(address, credentials.api_key) as http:
                if has_ended:
                    self._say(f"The service has ended and is started again, as process {service.pid}.")
                try:
                    if await is_subscribed(service, http, simulator, stop, self._clock):
                        self._say(
                            "The service answers again."
                            if is_introduced
                            else introduce(simulator, address, credentials.api_key, service.pid)
                        )
                        is_introduced = True
                        simulator.release_traffic()
                        await _wait_for(stop, service)
                except SandboxFailed:
                    refusal = service.refusal()
                    if refusal is not None:
                        raise SandboxFailed(f"The service cannot start: {refusal}") from None
            if stop.is_set():
                return
            short_lives = short_lives + 1 if self._clock.monotonic() - began < _SHORT_SECONDS else 0
            if short_lives == _SHORT_LIVES:
                raise SandboxFailed(f"The service keeps ending. The end of its log:\n{service.log_tail()}")
            has_ended = True
            await self._clock.sleep(_PAUSE_SECONDS)


async def _wait_for(stop: asyncio.Event, service: ServiceProcess) -> None:
    waits = [asyncio.create_task(stop.wait()), asyncio.create_task(service.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for one in waits:
        one.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


def introduce(simulator: Simulator, address: str, api_key: str, pid: int) -> str:
    """Return the addresses and credentials of both, in the form of settings, and two commands to try."""
    return "\n".join(
        (
            introduction(simulator),
            "",
            f"AFTERCALL_API={address}",
            f"AFTERCALL_KEY={api_key}",
            "",
            f"dashboard: {address}/dashboard   API: {address}/docs   process of the service: {pid}",
            "",
            "Start a call, then read it:",
            f"""  curl -s {simulator.links.platform}/_sim/calls -d '{{"script": "inbound_direct"}}'""",
            f"  curl -s -H 'Authorization: Bearer {api_key}' '{address}/v1/calls?limit=1'",
            "",
        )
    )
