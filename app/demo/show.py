"""Puts the demo on: opens simulator and service, lets the company play, and ends everything in reverse order."""

import asyncio
import os
import secrets
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import httpx

import app as package
from app.clock import Clock, SystemClock
from app.demo.arrivals import arrivals, lead_seconds
from app.demo.board import DemoBoard, DemoSummary, Line
from app.demo.connector import Connector
from app.demo.judge import DemoReport, judge
from app.demo.options import WINDOW_SECONDS, Addresses, Options, Secrets, service_environment
from app.demo.process import ServiceProcess, choose_port
from app.demo.screen import Headline, Requests, Screen, Terminal
from app.simulator import Simulator, SimulatorSettings, serving
from app.simulator.scripting.model import ScriptedCall

Json = dict[str, Any]

_READY_SECONDS = 60.0
_LOOK_SECONDS = 0.1
_FRAME_SECONDS = 0.25
_SUMMARY_SECONDS = 30.0
_AUDIT_SECONDS = 0.5
_PATIENCE_SECONDS = 900.0
"""How long after the last hang-up a record may take, in seconds of the unscaled company."""

_SHORTEST_PATIENCE_SECONDS = 20.0
INTERRUPTED = 130


class ShowFailed(Exception):
    """The demo cannot go on; says why."""


class End(Enum):
    """Why the show is over."""

    STOPPED = "somebody stopped it"
    SETTLED = "all calls were played and judged"
    SERVICE_ENDED = "the service ended"


async def run(options: Options, scratch: Path, console: Terminal) -> int:
    """Play until everything is settled (`options.ends`) or until SIGINT, SIGTERM or SIGHUP, or nobody reads on.

    Returns the exit code.
    """
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    console.when_gone = stop.set
    screen = Screen(console, options.speed)
    try:
        async with AsyncExitStack() as stack:
            return await _play(options, scratch, screen, stop, stack)
    except ShowFailed as error:
        screen.say(str(error), "red")
        return 1


async def _play(
    options: Options, scratch: Path, screen: Screen, stop: asyncio.Event, stack: AsyncExitStack
) -> int:
    clock = SystemClock()
    keys = Secrets(
        secret_key=secrets.token_hex(32),
        webhook_token=secrets.token_hex(16),
        api_key=f"ak_demo_{secrets.token_urlsafe(18)}",
        client_secret=secrets.token_hex(16),
        jwt=secrets.token_urlsafe(24),
    )
    screen.say("Starting the simulator and the service …", "dim")
    simulator = await stack.enter_async_context(
        serving(
            SimulatorSettings(
                port=0,
                media_port=0,
                speed=options.speed,
                seed=options.seed,
                client_secret=keys.client_secret,
                jwt=keys.jwt,
            )
        )
    )
    try:
        port = choose_port(options.port)
    except OSError as error:
        raise ShowFailed(
            f"Port {options.port} cannot be used: {error.strerror}. Choose another with --port."
        ) from error
    address = f"http://127.0.0.1:{port}"
    environment = service_environment(
        os.environ,
        options,
        keys,
        Addresses(service=address, platform=simulator.links.platform, media=simulator.links.media),
        client_id=simulator.settings.client_id,
        scratch_database=f"sqlite:///{scratch / 'demo.db'}",
        import_path=str(Path(package.__file__).parents[1]),
    )
    service = await stack.enter_async_context(_service(port, environment, scratch, clock))
    http = await stack.enter_async_context(
        httpx.AsyncClient(
            base_url=address,
            headers={"Authorization": f"Bearer {keys.api_key}"},
            timeout=10.0,
            trust_env=False,
        )
    )
    if not await _is_ready(service, http, simulator, stop, clock):
        return 0
    screen.headline(
        Headline(
            simulator.company.company_name,
            options.speed,
            address,
            simulator.links.platform,
            keys.api_key,
            str(scratch),
        )
    )
    show = Show(options, screen, simulator, http, clock)
    try:
        return await show.run(service, stop)
    except ShowFailed as error:
        raise ShowFailed(_with_log(str(error), service)) from error


@asynccontextmanager
async def _service(
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
    """Wait until the service is ready and has subscribed; False if somebody stops us meanwhile.

    Raises ShowFailed when it ends or takes too long.
    """
    until = clock.monotonic() + _READY_SECONDS
    ended = asyncio.create_task(service.wait())
    try:
        while not stop.is_set():
            if ended.done():
                raise ShowFailed(
                    service.refusal() or _with_log(f"The service ended with code {ended.result()}.", service)
                )
            if await _answers(http) and any(
                one.may_receive(simulator.now()) for one in simulator.subscriptions.values()
            ):
                return True
            if clock.monotonic() > until:
                raise ShowFailed(_with_log(f"The service was not ready after {_READY_SECONDS:g} s.", service))
            await clock.sleep(_LOOK_SECONDS)
        return False
    finally:
        ended.cancel()


async def _answers(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/readyz")).is_success
    except httpx.HTTPError:
        return False


def _with_log(text: str, service: ServiceProcess) -> str:
    return f"{text} The end of its log (--keep keeps all of it):\n{service.log_tail()}"


@dataclass(frozen=True, slots=True)
class _Outcome:
    why: End
    report: DemoReport | None = None


class Show:
    """One run: the company plays, the connector serves, the screen shows."""

    def __init__(
        self, options: Options, screen: Screen, simulator: Simulator, http: httpx.AsyncClient, clock: Clock
    ) -> None:
        self._options = options
        self._screen = screen
        self._simulator = simulator
        self._clock = clock
        # Records give the start of a call in whole seconds.
        self._began_at = clock.now() - timedelta(seconds=1)
        self._board = DemoBoard(options.speed, WINDOW_SECONDS)
        self._played: dict[int, ScriptedCall] = {}
        self._connector = Connector(
            http,
            self._board,
            clock,
            on_ended=lambda line: screen.ended(line, clock.now()),
            on_served=lambda line: screen.served(line, clock.now()),
            on_trouble=self._complain,
        )

    async def run(self, service: ServiceProcess, stop: asyncio.Event) -> int:
        """Play to the end, sum up, and return the exit code. Raises ShowFailed when the service ends by itself."""
        with self._screen.open():
            outcome = await self._until_the_end(service, stop)
        if outcome.why is End.SERVICE_ENDED:
            raise ShowFailed("The service ended by itself.")
        summary, requests = self._sums()
        self._screen.table(summary, requests, outcome.report)
        if outcome.report is None:
            if not self._options.ends:
                return 0
            self._screen.say("Interrupted before all calls were settled.", "red")
            return INTERRUPTED
        enriched, played = outcome.report.enriched, len(outcome.report.verdicts)
        is_well = outcome.report.is_clean and enriched == played
        self._screen.say(f"{enriched} of {played} calls enriched", "bold green" if is_well else "bold red")
        return 0 if is_well else 1

    async def _until_the_end(self, service: ServiceProcess, stop: asyncio.Event) -> _Outcome:
        """Run all parts until one of them ends the show."""
        playing = asyncio.create_task(self._play_and_judge())
        ends = {
            playing: End.SETTLED,
            asyncio.create_task(stop.wait()): End.STOPPED,
            asyncio.create_task(service.wait()): End.SERVICE_ENDED,
        }
        others = [asyncio.create_task(self._connector.run()), asyncio.create_task(self._draw())]
        tasks = [*ends, *others]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if playing in done:
                return _Outcome(End.SETTLED, playing.result())
            return _Outcome(next(why for task, why in ends.items() if task in done))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # The company

    async def _play_and_judge(self) -> DemoReport:
        """Play all calls; then judge them, or go on showing until somebody stops us."""
        await self._play()
        if not self._options.ends:
            await asyncio.Event().wait()
        return await self._settle()

    async def _play(self) -> None:
        speed, lead = self._options.speed, lead_seconds(self._options.speed)
        async with asyncio.TaskGroup() as dialling:
            for number, arrival in enumerate(arrivals(self._options), start=1):
                await self._clock.sleep(arrival.after_seconds / speed)
                call = self._simulator.start_call(arrival.script, arrival.wishes, delay_seconds=lead)
                self._played[number] = call
                lines = self._board.plan(number, self._simulator.truth(call))
                dialling.create_task(self._connector.dial(lines[0]))

    async def _settle(self) -> DemoReport:
        """Wait until every call is as it should be, or until nobody can hope for it any more."""
        patience = max(self._options.scaled(_PATIENCE_SECONDS), _SHORTEST_PATIENCE_SECONDS)
        while True:
            now = self._clock.now()
            last_end = self._board.last_end or now
            is_late = (now - last_end).total_seconds() > patience
            if self._board.is_settled(now) or is_late:
                report = await self._judge()
                if report.is_clean or is_late:
                    return report
            await self._clock.sleep(_AUDIT_SECONDS)

    async def _judge(self) -> DemoReport:
        truths = {number: self._simulator.truth(call) for number, call in self._played.items()}
        pieces = {
            line.telephony_session_id: [sent.piece for sent in line.sent] for line in self._board.lines()
        }
        return judge(truths, await self._connector.list_calls(self._began_at), pieces)

    # The screen

    async def _draw(self) -> None:
        """Redraw the live part often, and say the sums now and then where nothing is redrawn."""
        last_said = self._clock.monotonic()
        while True:
            await self._clock.sleep(_FRAME_SECONDS)
            now = self._clock.now()
            summary, requests = self._sums()
            self._screen.refresh(self._board.open_lines(now), summary, requests, now)
            if self._clock.monotonic() - last_said >= _SUMMARY_SECONDS:
                last_said = self._clock.monotonic()
                self._screen.summary(summary, requests)

    def _sums(self) -> tuple[DemoSummary, Requests]:
        counts = self._simulator.requests.counts
        heavy = counts.get("Heavy", Counter())
        return self._board.summarize(self._clock.now()), Requests(
            heavy=heavy.get("total", 0),
            total=sum(one["total"] for one in counts.values()),
            refused=sum(one["429"] for one in counts.values()),
        )

    def _complain(self, line: Line, error: httpx.HTTPError) -> None:
        detail = f"{error!r}"
        if isinstance(error, httpx.HTTPStatusError):
            detail = f"{error.response.status_code} {error.response.text}"
        self._screen.say(f"{line.script} {line.session_id}: the connector got {detail}", "red")
