"""The calls that the demo plays, and their times. No I/O; random by a seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from app.demo.options import TALK_SECONDS, Options
from app.simulator import DEFAULT_MIX
from app.simulator.scripting.casting import CallOptions
from app.simulator.scripting.traffic import CallGenerator, Traffic


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """A call to start; `after_seconds` are simulated seconds since the previous one."""

    after_seconds: float
    script: str
    options: CallOptions


OPENING = (
    PlannedCall(0.0, "outbound_busy", CallOptions(ring_seconds=2.0)),
    PlannedCall(1.0, "inbound_direct", CallOptions(ring_seconds=2.0, talk_seconds=8.0)),
    PlannedCall(2.0, "inbound_missed", CallOptions(ring_seconds=6.0)),
    PlannedCall(3.0, "queue_answered", CallOptions(ring_seconds=3.0, talk_seconds=12.0)),
)
"""Short calls first, so that the first record appears within seconds."""


def plan_calls(options: Options) -> Iterator[PlannedCall]:
    """Yield the opening and then the calls of an ordinary day, up to `options.calls`."""
    traffic = Traffic(options.calls_per_minute, options.calls, TALK_SECONDS, dict(DEFAULT_MIX))
    generator = CallGenerator(traffic, random.Random(f"{options.seed}/demo"))  # noqa: S311 - not for security
    for planned in OPENING[: options.calls]:
        # The opening counts against the limit, which the generator knows only of its own calls.
        generator.started += 1
        yield planned
    while not generator.is_done:
        gap = generator.gap_seconds()
        yield PlannedCall(gap, *generator.next_call())


def lead_seconds(speed: float) -> float:
    """Return how long before its first event a call is planned, in simulated seconds.

    At least half a real second, in which the CRM can attach a note to a call that it dials itself, before the
    service knows the call.
    """
    return max(1.0, 0.5 * speed)
