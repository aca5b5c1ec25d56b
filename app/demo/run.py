"""Runs the demo: plays the calls, runs the connector and the screen, and judges the result."""

import asyncio
from collections import Counter
from datetime import timedelta

import httpx

from app.clock import Clock
from app.demo.board import DemoBoard, DemoSummary, Line
from app.demo.connector import Connector
from app.demo.judge import DemoReport, judge
from app.demo.options import Options
from app.demo.schedule import lead_seconds, plan_calls
from app.demo.screen import Requests, Screen
from app.sandbox.environment import WINDOW_SECONDS
from app.sandbox.process import ServiceProcess
from app.sandbox.service import SandboxFailed
from app.simulator import Simulator
from app.simulator.scripting.model import ScriptedCall

_FRAME_SECONDS = 0.25
_SUMMARY_SECONDS = 30.0
_JUDGE_SECONDS = 0.5
_PATIENCE_SECONDS = 900.0
"""How long after the last hang-up a record may arrive, in simulated seconds."""

_SHORTEST_PATIENCE_SECONDS = 20.0
INTERRUPTED = 130


class DemoRun:
    """One run with a started simulator and service."""

    def __init__(
        self, options: Options, screen: Screen, simulator: Simulator, http: httpx.AsyncClient, clock: Clock
    ) -> None:
        self._options = options
        self._screen = screen
        self._simulator = simulator
        self._clock = clock
        # One second earlier, since records give the start of a call in whole seconds.
        self._began_at = clock.now() - timedelta(seconds=1)
        self._board = DemoBoard(options.speed, WINDOW_SECONDS)
        self._played: dict[int, ScriptedCall] = {}
        self._connector = Connector(
            http,
            self._board,
            clock,
            on_ended=lambda line: screen.ended(line, clock.now()),
            on_complete=lambda line: screen.completed(line, clock.now()),
            on_error=self._report_error,
        )

    async def run(self, service: ServiceProcess, stop: asyncio.Event) -> int:
        """Play all calls, print the result and return the exit code.

        Raises SandboxFailed if the service ends by itself.
        """
        with self._screen.open():
            report = await self._run_parts(service, stop)
        summary, requests = self._summarize()
        self._screen.table(summary, requests, report)
        if report is None:
            if not self._options.ends:
                return 0
            self._screen.say("Interrupted before all calls were settled.", "red")
            return INTERRUPTED
        enriched, played = report.enriched, len(report.verdicts)
        succeeded = report.is_clean and enriched == played
        self._screen.say(f"{enriched} of {played} calls enriched", "bold green" if succeeded else "bold red")
        return 0 if succeeded else 1

    async def _run_parts(self, service: ServiceProcess, stop: asyncio.Event) -> DemoReport | None:
        """Run all parts until one of them ends the run; returns None if that is `stop`."""
        playing = asyncio.create_task(self._play_and_judge())
        stopped, ended = asyncio.create_task(stop.wait()), asyncio.create_task(service.wait())
        others = [asyncio.create_task(self._connector.run()), asyncio.create_task(self._draw())]
        tasks = [playing, stopped, ended, *others]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                # Raises what ended the connector or the screen; the other tasks end without an exception.
                task.result()
            # Several can be done at once: a finished run counts before a signal, a signal before the service.
            if playing in done:
                return playing.result()
            if stopped in done:
                return None
            raise SandboxFailed("The service ended by itself.")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # The company

    async def _play_and_judge(self) -> DemoReport:
        """Play all calls, then judge them, or continue to show them until the run is stopped."""
        await self._play()
        if not self._options.ends:
            await asyncio.Event().wait()
        return await self._settle()

    async def _play(self) -> None:
        speed, lead = self._options.speed, lead_seconds(self._options.speed)
        async with asyncio.TaskGroup() as group:
            for number, planned in enumerate(plan_calls(self._options), start=1):
                await self._clock.sleep(planned.after_seconds / speed)
                call = self._simulator.start_call(planned.script, planned.options, delay_seconds=lead)
                self._played[number] = call
                lines = self._board.add_call(number, self._simulator.truth(call))
                # In a task of its own: a slow request must not delay the next call.
                group.create_task(self._connector.dial(lines[0]))

    async def _settle(self) -> DemoReport:
        """Wait until every call is as expected, or until it is too late for that."""
        patience = max(self._options.scaled(_PATIENCE_SECONDS), _SHORTEST_PATIENCE_SECONDS)
        while True:
            now = self._clock.now()
            last_end = self._board.last_end or now
            is_late = (now - last_end).total_seconds() > patience
            if self._board.is_settled(now) or is_late:
                # Judged again and again: attachments can still be on their way to the API.
                report = await self._judge()
                if report.is_clean or is_late:
                    return report
            await self._clock.sleep(_JUDGE_SECONDS)

    async def _judge(self) -> DemoReport:
        truths = {number: self._simulator.truth(call) for number, call in self._played.items()}
        attachments = {
            line.telephony_session_id: [sent.attachment for sent in line.sent] for line in self._board.lines()
        }
        return judge(truths, await self._connector.list_calls(self._began_at), attachments)

    # The screen

    async def _draw(self) -> None:
        """Redraw the live part often, and print the sums every half minute without a terminal."""
        last_printed = self._clock.monotonic()
        while True:
            await self._clock.sleep(_FRAME_SECONDS)
            now = self._clock.now()
            summary, requests = self._summarize()
            self._screen.refresh(self._board.open_lines(now), summary, requests, now)
            if self._clock.monotonic() - last_printed >= _SUMMARY_SECONDS:
                last_printed = self._clock.monotonic()
                self._screen.summary(summary, requests)

    def _summarize(self) -> tuple[DemoSummary, Requests]:
        counts = self._simulator.requests.counts
        heavy = counts.get("Heavy", Counter())
        return self._board.summarize(self._clock.now()), Requests(
            heavy=heavy.get("total", 0),
            total=sum(one["total"] for one in counts.values()),
            refused=sum(one["429"] for one in counts.values()),
        )

    def _report_error(self, line: Line, error: httpx.HTTPError) -> None:
        detail = f"{error!r}"
        if isinstance(error, httpx.HTTPStatusError):
            detail = f"{error.response.status_code} {error.response.text}"
        self._screen.say(f"{line.script} {line.session_id}: the connector got {detail}", "red")
