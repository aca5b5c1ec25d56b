"""A busy little company: when its calls come and which ones. No I/O, no clock; chance comes from a seed."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from app.simulator.scripting.casting import Wishes, draw_talk
from app.simulator.scripting.catalogue import SCRIPTS


class UnknownScriptError(ValueError):
    """The mix names a script that does not exist."""


def check_mix(mix: Mapping[str, float]) -> Mapping[str, float]:
    """Return the mix if it can be drawn from; raises UnknownScriptError or ValueError."""
    for name in mix:
        if name not in SCRIPTS:
            raise UnknownScriptError(f"unknown script: {name}")
    if not any(weight > 0 for weight in mix.values()) or any(weight < 0 for weight in mix.values()):
        raise ValueError("the mix needs weights above zero")
    return mix


@dataclass(frozen=True, slots=True)
class Traffic:
    """How busy the company is. `calls_per_minute` counts simulated minutes; `calls` None means without end."""

    calls_per_minute: float
    calls: int | None
    talk_seconds: float
    mix: Mapping[str, float]


@dataclass(slots=True)
class Company:
    """Draws the calls of a company one after the other; the same seed gives the same day."""

    traffic: Traffic
    rng: random.Random
    started: int = 0

    @property
    def is_done(self) -> bool:
        """Whether no further call will come."""
        traffic = self.traffic
        return traffic.calls_per_minute <= 0 or (traffic.calls is not None and self.started >= traffic.calls)

    def gap_seconds(self) -> float:
        """Draw the wait until the next call, in simulated seconds: arrivals are a Poisson process."""
        return self.rng.expovariate(self.traffic.calls_per_minute / 60.0)

    def next_call(self) -> tuple[str, Wishes]:
        """Draw script and length of the next call."""
        self.started += 1
        names, weights = zip(*sorted(self.traffic.mix.items()), strict=True)
        name = self.rng.choices(names, weights)[0]
        return name, Wishes(talk_seconds=draw_talk(self.rng, self.traffic.talk_seconds))

    def change(self, **fields: object) -> None:
        """Change the traffic from now on; a new number of calls counts from zero."""
        self.traffic = replace(self.traffic, **fields)  # type: ignore[arg-type]
        if "calls" in fields:
            self.started = 0
