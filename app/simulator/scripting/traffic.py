"""When the company's calls start, and which script each one follows. No I/O, no clock; random by a seed."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from app.simulator.scripting.casting import CallOptions, draw_talk
from app.simulator.scripting.catalogue import SCRIPTS


class UnknownScriptError(ValueError):
    """The mix names a script that does not exist."""


def check_mix(mix: Mapping[str, float]) -> Mapping[str, float]:
    """Return the mix if it is valid; raises UnknownScriptError or ValueError."""
    for name in mix:
        if name not in SCRIPTS:
            raise UnknownScriptError(f"unknown script: {name}")
    if not any(weight > 0 for weight in mix.values()) or any(weight < 0 for weight in mix.values()):
        raise ValueError("the mix needs weights above zero")
    return mix


@dataclass(frozen=True, slots=True)
class Traffic:
    """How busy the company is. Minutes and seconds are simulated ones; `calls` None means no limit."""

    calls_per_minute: float
    calls: int | None
    talk_seconds: float
    mix: Mapping[str, float]


@dataclass(slots=True)
class CallGenerator:
    """Draws the calls of a company one by one; the same seed gives the same sequence."""

    traffic: Traffic
    rng: random.Random
    started: int = 0

    @property
    def is_done(self) -> bool:
        """Whether no more calls will start."""
        traffic = self.traffic
        return traffic.calls_per_minute <= 0 or (traffic.calls is not None and self.started >= traffic.calls)

    def gap_seconds(self) -> float:
        """Draw the simulated seconds until the next call. Arrivals are a Poisson process."""
        return self.rng.expovariate(self.traffic.calls_per_minute / 60.0)

    def next_call(self) -> tuple[str, CallOptions]:
        """Draw the script and the talk time of the next call."""
        self.started += 1
        # Sorted, so that the calls of a seed do not depend on the order of the mix.
        names, weights = zip(*sorted(self.traffic.mix.items()), strict=True)
        name = self.rng.choices(names, weights)[0]
        return name, CallOptions(talk_seconds=draw_talk(self.rng, self.traffic.talk_seconds))

    def resume(self, started: int) -> None:
        """Go on after calls that an earlier run has started. They count, and are not drawn once more."""
        for _ in range(started):
            self.rng.expovariate(1.0)
            self.next_call()

    def change(self, **fields: object) -> None:
        """Change the traffic from now on. A new number of calls counts from zero."""
        self.traffic = replace(self.traffic, **fields)  # type: ignore[arg-type]
        if "calls" in fields:
            self.started = 0
