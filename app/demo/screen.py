"""Draws the demo: finished lines that stay, and on a terminal below them what goes on right now."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.text import Text

from app.demo.board import NOT_YET_FOUND, DemoSummary, Line, describe_pieces
from app.demo.judge import DemoReport

_MOST_OPEN = 12
_SIDES_WIDTH = 36
_OUTCOME_WIDTH = 10
_STYLES = {
    "answered": "green",
    "voicemail": "cyan",
    "missed": "yellow",
    "abandoned": "yellow",
    "noAnswer": "yellow",
    "busy": "yellow",
}


@dataclass(frozen=True, slots=True)
class Requests:
    """What the simulator counted: requests of the poll's group, all requests, and refusals with 429."""

    heavy: int
    total: int
    refused: int


@dataclass(frozen=True, slots=True)
class Headline:
    """What a newcomer wants to click and copy."""

    company: str
    speed: float
    service: str
    simulator: str
    api_key: str
    scratch: str


class Terminal(Console):
    """A console whose reader may go away, as in `aftercall demo | head`: `when_gone` is called, the rest is unsaid."""

    when_gone: Callable[[], None] | None = None

    def on_broken_pipe(self) -> None:
        # Rich's own way ends the program at once, in whatever task happens to print.
        self.quiet = True
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())
        if self.when_gone is not None:
            self.when_gone()


class Screen:
    """Lines are printed as they come; `refresh` redraws the live part, where there is one."""

    def __init__(self, console: Console, speed: float) -> None:
        self._console = console
        self._speed = speed
        self._live: Live | None = None

    @contextmanager
    def open(self) -> Iterator[None]:
        """Show the live part while the block runs; without a terminal there is none."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def say(self, text: str, style: str = "") -> None:
        self._print(Text(text, style=style))

    def headline(self, head: Headline) -> None:
        """Print the addresses, each on a line that can be copied whole."""
        pace = "" if head.speed == 1 else f", {head.speed:g} times as fast as life"
        self._print(Text.assemble((head.company, "bold"), f", a made-up company{pace}"))
        for name, value in (
            ("dashboard", f"{head.service}/dashboard"),
            ("API docs", f"{head.service}/docs"),
            ("API key", head.api_key),
            (
                "try",
                f"curl -s -H 'Authorization: Bearer {head.api_key}' '{head.service}/v1/calls?limit=3'",
            ),
            ("simulator", f"{head.simulator}/_sim/"),
            ("scratch", head.scratch),
        ):
            self._print(Text.assemble((f"  {name:<10} ", "dim"), value))
        self._print(Text())

    def ended(self, line: Line, now: datetime) -> None:
        """Say that a call is over; a terminal shows it in the live part instead."""
        if not self._console.is_terminal:
            gap = " " * (len(self._wait(line)) + len("after   ") + _OUTCOME_WIDTH)
            self._print(Text.assemble(f"{_time(now)}  ended  {gap}", _call(line)))

    def served(self, line: Line, now: datetime) -> None:
        """Say that a call has its record and what the connector attached."""
        self._print(
            Text.assemble(
                (f"{_time(now)}  ", "dim"),
                f"found  after {self._wait(line)}  ",
                (f"{line.outcome or '?':<{_OUTCOME_WIDTH}}", _STYLES.get(line.outcome or "", "red")),
                _call(line),
                (f"  {describe_pieces(line.sent)}", "magenta"),
            )
        )

    def _wait(self, line: Line) -> str:
        seconds = line.seconds_to_record or 0.0
        if self._speed == 1:
            return f"{seconds:5.1f} s"
        return f"{seconds * self._speed:5.1f} s ({seconds:.1f} s real)"

    def refresh(self, lines: Sequence[Line], summary: DemoSummary, requests: Requests, now: datetime) -> None:
        if self._live is not None:
            parts: list[RenderableType] = [Rule(style="dim")]
            parts += [self._open_call(line, now) for line in lines[-_MOST_OPEN:]]
            if len(lines) > _MOST_OPEN:
                parts.append(Text(f"  and {len(lines) - _MOST_OPEN} more", style="dim"))
            parts += [Rule(style="dim"), Text(sum_up(summary, requests), style="bold")]
            self._live.update(Group(*parts), refresh=True)

    def summary(self, summary: DemoSummary, requests: Requests) -> None:
        self._print(Text(sum_up(summary, requests)))

    def _open_call(self, line: Line, now: datetime) -> Text:
        if now < line.ends_at:
            seconds = (now - line.begins_at).total_seconds() * self._speed
            what = "talking" if line.is_answered else "ringing"
            state, style = f"{what} {seconds:4.0f} s", "green"
        elif line.stage in NOT_YET_FOUND:
            seconds = (now - line.ends_at).total_seconds() * self._speed
            state, style = f"hung up {seconds:4.0f} s", "yellow"
        else:
            state, style = "found", "cyan"
        notes = describe_pieces(line.sent)
        return Text.assemble("  ", (f"{state:<15}", style), _call(line), (f"  {notes}", "magenta"))

    def table(self, summary: DemoSummary, requests: Requests, report: DemoReport | None) -> None:
        """Print the sums at the end, and what was found wrong."""
        self._print(Text())
        for name, value in final_rows(summary, requests, report):
            self._print(Text.assemble((f"  {name:<16} ", "dim"), value))
        if report is not None:
            for text in complaints(report):
                self.say(text, "red")

    def _print(self, text: Text) -> None:
        # Long lines stay lines in a file, and are cut by nothing but the terminal.
        self._console.print(text, soft_wrap=True)


def sum_up(summary: DemoSummary, requests: Requests) -> str:
    """Say the running sums in one line."""
    share = "" if summary.window_share is None else f" ({summary.window_share:.0%} in the window)"
    middle = "" if summary.median_seconds is None else f", median {summary.median_seconds:.1f} s"
    parked = f" ({summary.parked_joined} parked at first)" if summary.parked else ""
    return (
        f"{summary.ended} ended, {summary.enriched} enriched{share}{middle} | "
        f"{requests.heavy} heavy requests, {requests.refused} × 429 | "
        f"{summary.joined} of {summary.sent} notes and moods attached{parked}"
    )


def final_rows(summary: DemoSummary, requests: Requests, report: DemoReport | None) -> list[tuple[str, str]]:
    """Return the rows of the closing table."""
    rows = [
        (
            "calls",
            f"{summary.ended} ended: {summary.sessions_ended} telephony sessions, {summary.sessions_enriched} with a record",
        ),
        ("in the window", f"{summary.in_window} of {summary.ended} enriched while Active Calls showed them"),
    ]
    if summary.median_seconds is not None:
        rows.append(
            (
                "time to record",
                f"median {summary.median_seconds:.1f} s, p95 {summary.p95_seconds:.1f} s, longest {summary.longest_seconds:.1f} s after the hang-up, in the company's seconds",
            )
        )
    rows += [
        (
            "requests",
            f"{requests.heavy} of group Heavy, {requests.total} in all, {requests.refused} refused with 429",
        ),
        (
            "notes and moods",
            f"{summary.joined} of {summary.sent} attached, {summary.parked} of them sent before the call was known",
        ),
    ]
    if report is not None:
        sessions = sum(len(verdict.telephony_session_ids) for verdict in report.verdicts)
        records = sum(verdict.records for verdict in report.verdicts)
        right = sum(not verdict.problems for verdict in report.verdicts)
        rows += [
            (
                "records",
                f"{records} call-log records in {sessions} sessions of {len(report.verdicts)} calls (transfers and RingOut have two sessions)",
            ),
            ("compared", f"{right} of {len(report.verdicts)} calls just as the simulator played them"),
        ]
    return rows


def complaints(report: DemoReport) -> list[str]:
    """Name every call that is not as it should be."""
    lines = [
        f"call {verdict.number} ({verdict.script}): {problem}"
        for verdict in report.verdicts
        for problem in verdict.problems
    ]
    return lines + [f"the service has a call that nobody made: {name}" for name in report.invented]


def _call(line: Line) -> Text:
    return Text.assemble(f"{line.who or '…':<{_SIDES_WIDTH}}", (line.script.replace("_", " "), "dim"))


def _time(now: datetime) -> str:
    return now.astimezone().strftime("%H:%M:%S")
