"""Draws the demo: printed lines and, on a terminal, a live part with the current calls below them."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.text import Text

from app.demo.board import NOT_YET_FOUND, DemoSummary, Line, describe_attachments
from app.demo.judge import DemoReport
from app.sandbox.environment import Addresses

_MOST_OPEN = 12
_SIDES_WIDTH = 36
_OUTCOME_WIDTH = 10
_OF_ANOTHER = ", part of another call"
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
    """The requests that the simulator counted: of group Heavy, all, and those refused with 429."""

    heavy: int
    total: int
    refused: int


@dataclass(frozen=True, slots=True)
class Headline:
    """The addresses and the key to open or copy."""

    company: str
    speed: float
    addresses: Addresses
    api_key: str
    scratch: str


class Terminal(Console):
    """A console that calls `on_closed` and discards further output when its reader ends, as `head` does."""

    on_closed: Callable[[], None] | None = None

    def on_broken_pipe(self) -> None:
        # Rich would end the program at once, within the task that happens to print.
        self.quiet = True
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())
        if self.on_closed is not None:
            self.on_closed()


class Screen:
    """Prints lines at once; `refresh` redraws the live part, if there is one."""

    def __init__(self, console: Console, speed: float) -> None:
        self._console = console
        self._speed = speed
        self._live: Live | None = None

    @contextmanager
    def open(self) -> Iterator[None]:
        """Show the live part while the block runs. Without a terminal there is none."""
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
        """Print the addresses, each on its own line for copying."""
        pace = "" if head.speed == 1 else f", {head.speed:g} times faster than real time"
        self._print(Text.assemble((head.company, "bold"), f", an invented company{pace}"))
        service = head.addresses.service
        for name, value in (
            ("dashboard", f"{service}/dashboard"),
            ("API docs", f"{service}/docs"),
            ("API key", head.api_key),
            ("try", f"curl -s -H 'Authorization: Bearer {head.api_key}' '{service}/v1/calls?limit=3'"),
            ("simulator", f"{head.addresses.platform}/_sim/"),
            ("scratch", head.scratch),
        ):
            self._print(Text.assemble((f"  {name:<10} ", "dim"), value))
        self._print(Text())

    def ended(self, line: Line, now: datetime) -> None:
        """Print that a call ended; a terminal shows this in the live part instead."""
        if not self._console.is_terminal:
            gap = " " * (len(self._wait(line)) + len("after   ") + _OUTCOME_WIDTH)
            self._print(Text.assemble(f"{_time(now)}  ended  {gap}", _call(line)))

    def completed(self, line: Line, now: datetime) -> None:
        """Print that a call has its record, and what the connector attached."""
        self._print(
            Text.assemble(
                (f"{_time(now)}  ", "dim"),
                f"found  after {self._wait(line)}  ",
                (f"{line.outcome or '?':<{_OUTCOME_WIDTH}}", _STYLES.get(line.outcome or "", "red")),
                _call(line),
                (f"  {describe_attachments(line.sent)}", "magenta"),
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
            parts += [Rule(style="dim"), Text(summarize(summary, requests), style="bold")]
            self._live.update(Group(*parts), refresh=True)

    def summary(self, summary: DemoSummary, requests: Requests) -> None:
        self._print(Text(summarize(summary, requests)))

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
        notes = describe_attachments(line.sent)
        return Text.assemble("  ", (f"{state:<15}", style), _call(line), (f"  {notes}", "magenta"))

    def table(self, summary: DemoSummary, requests: Requests, report: DemoReport | None) -> None:
        """Print the sums at the end, and the problems."""
        self._print(Text())
        for name, value in final_rows(summary, requests, report):
            self._print(Text.assemble((f"  {name:<16} ", "dim"), value))
        if report is not None:
            for text in list_problems(report):
                self.say(text, "red")

    def _print(self, text: Text) -> None:
        # Not wrapped here, so that a line of the output stays one line in a file.
        self._console.print(text, soft_wrap=True)


def summarize(summary: DemoSummary, requests: Requests) -> str:
    """Return the current sums as one line."""
    share = "" if summary.window_share is None else f" ({summary.window_share:.0%} in the window)"
    middle = "" if summary.median_seconds is None else f", median {summary.median_seconds:.1f} s"
    parked = f" ({summary.parked_joined} parked at first)" if summary.parked else ""
    return (
        f"{summary.ended} ended, {summary.enriched} enriched{share}{middle} | "
        f"{requests.heavy} heavy requests, {requests.refused} × 429 | "
        f"{summary.joined} of {summary.sent} notes and moods attached{parked}"
    )


def final_rows(summary: DemoSummary, requests: Requests, report: DemoReport | None) -> list[tuple[str, str]]:
    """Return the rows of the final table."""
    sessions = f"{summary.sessions_ended} telephony sessions, {summary.sessions_enriched} with a record"
    parked = f"{summary.parked} of them sent before the call was known"
    rows = [
        ("calls", f"{summary.ended} ended: {sessions}"),
        ("in the window", f"{summary.in_window} of {summary.ended} enriched while Active Calls showed them"),
        ("time to record", _describe_waits(summary)),
        (
            "requests",
            f"{requests.heavy} of group Heavy, {requests.total} in all, {requests.refused} refused with 429",
        ),
        ("notes and moods", f"{summary.joined} of {summary.sent} attached, {parked}"),
    ]
    if report is not None:
        calls = len(report.verdicts)
        records = sum(verdict.records for verdict in report.verdicts)
        played = sum(len(verdict.telephony_session_ids) for verdict in report.verdicts)
        right = sum(not verdict.problems for verdict in report.verdicts)
        in_sessions = f"{played} sessions of {calls} calls (transfers and RingOut have two sessions)"
        rows += [
            ("records", f"{records} call-log records in {in_sessions}"),
            ("compared", f"{right} of {calls} calls just as the simulator played them"),
        ]
    return [(name, text) for name, text in rows if text]


def _describe_waits(summary: DemoSummary) -> str:
    """Return median, p95 and maximum of the time to the record, empty without any record."""
    if summary.median_seconds is None:
        return ""
    times = f"median {summary.median_seconds:.1f} s, p95 {summary.p95_seconds:.1f} s"
    return f"{times}, longest {summary.longest_seconds:.1f} s after the hang-up, in simulated seconds"


def list_problems(report: DemoReport) -> list[str]:
    """Return a line for each problem of a call and each unexpected call."""
    lines = [
        f"call {verdict.number} ({verdict.script}): {problem}"
        for verdict in report.verdicts
        for problem in verdict.problems
    ]
    return lines + [
        f"the service has a call that the demo did not play: {name}" for name in report.unexpected
    ]


def _call(line: Line) -> Text:
    script = line.script.replace("_", " ") + ("" if line.is_main else _OF_ANOTHER)
    return Text.assemble(f"{line.who or '…':<{_SIDES_WIDTH}}", (script, "dim"))


def _time(now: datetime) -> str:
    return now.astimezone().strftime("%H:%M:%S")
