"""Which calls the demo plays and when. No I/O; chance comes from a seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from app.demo.options import TALK_SECONDS, Options
from app.simulator import DEFAULT_MIX
from app.simulator.scripting.casting import Wishes
from app.simulator.scripting.traffic import CallGenerator, Traffic


@dataclass(frozen=True, slots=True)
class WebhookArrival:
    """A call to start, so many seconds of the unscaled company after the one before."""

    after_seconds: float
    script: str
    wishes: Wishes


OPENING = (
    WebhookArrival(0.0, "outbound_busy", Wishes(ring_seconds=2.0)),
    WebhookArrival(1.0, "inbound_direct", Wishes(ring_seconds=2.0, talk_seconds=8.0)),
    WebhookArrival(2.0, "inbound_missed", Wishes(ring_seconds=6.0)),
    WebhookArrival(3.0, "queue_answered", Wishes(ring_seconds=3.0, talk_seconds=12.0)),
)
"""Short calls first: whoever watches sees a record within seconds."""


def arrivals(options: Options) -> Iterator[WebhookArrival]:
    """Yield the opening, then an ordinary day as it comes; at most as many calls as were asked for."""
    traffic = Traffic(options.calls_per_minute, options.calls, TALK_SECONDS, dict(DEFAULT_MIX))
    company = CallGenerator(traffic, random.Random(f"{options.seed}/demo"))  # noqa: S311 - chance for play
    for arrival in OPENING[: options.calls]:
        company.started += 1
        yield arrival
    while not company.is_done:
        gap = company.gap_seconds()
        yield WebhookArrival(gap, *company.next_call())


def lead_seconds(speed: float) -> float:
    """Return how long before its first event a call is planned, in seconds of the unscaled company.

    Half a real second at least: time in which a CRM that dials for its user can write a note before anybody
    else has heard of the call.
    """
    return max(1.0, 0.5 * speed)
