"""Which faults happen when: a schedule drawn from a seed, and the weather that it makes."""

import random
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from app.simulator.settings import Faults

DAY_SECONDS = 86_400.0
BUSY_SECONDS = 10 * 3600.0
"""The part of a day, from its begin, in which most calls are made and most faults happen."""


class Kind(StrEnum):
    """What can go wrong."""

    CRASH = "crash of a replica"
    CRASH_ALL = "crash of all replicas"
    RESTART = "orderly restart of a replica"
    CLOCK = "shift of a replica's clock"
    DATABASE_ERRORS = "errors of the database"
    DATABASE_DOWN = "database away"
    SLOW_DISK = "slow database"
    DELIVERIES = "lost, doubled and late deliveries"
    UNAVAILABLE = "RingCentral answers 503"
    LIMITED = "RingCentral answers 429 to everything"
    FOREIGN = "another program uses up the rate limit"
    SLOW_PLATFORM = "RingCentral answers late"
    NETWORK = "requests and responses are lost"
    RECEIVER = "receivers of webhooks refuse or do not answer"


@dataclass(frozen=True, slots=True)
class Episode:
    """One fault: seconds from the start of the run, its duration, its size from 0 to 1, and whom it meets."""

    at: float
    seconds: float
    kind: Kind
    size: float
    place: int


@dataclass(frozen=True, slots=True)
class _Habit:
    """How often a fault happens on a day, and for how many seconds."""

    a_day: float
    shortest: float
    longest: float


_HABITS = {
    Kind.CRASH: _Habit(8, 1, 120),
    Kind.CRASH_ALL: _Habit(1, 5, 400),
    Kind.RESTART: _Habit(2, 1, 20),
    Kind.CLOCK: _Habit(3, 300, 7200),
    Kind.DATABASE_ERRORS: _Habit(4, 20, 600),
    Kind.DATABASE_DOWN: _Habit(2, 2, 120),
    Kind.SLOW_DISK: _Habit(3, 20, 600),
    Kind.DELIVERIES: _Habit(5, 300, 3600),
    Kind.UNAVAILABLE: _Habit(4, 20, 900),
    Kind.LIMITED: _Habit(2, 10, 150),
    Kind.FOREIGN: _Habit(3, 1, 2),
    Kind.SLOW_PLATFORM: _Habit(2, 30, 300),
    Kind.NETWORK: _Habit(3, 30, 600),
    Kind.RECEIVER: _Habit(4, 10, 3600),
}


def draw_faults(seed: int, days: float, replicas: int) -> list[Episode]:
    """Return the faults of a run in order of time. The same seed gives the same."""
    rng = random.Random(f"{seed}/schedule")
    episodes = []
    for kind, habit in _HABITS.items():
        for _ in range(_count(rng, habit.a_day * days)):
            seconds = habit.shortest * (habit.longest / habit.shortest) ** rng.random()
            at = _moment(rng, days)
            episodes.append(Episode(at, seconds, kind, rng.random(), rng.randrange(replicas)))
    return sorted(episodes, key=lambda one: (one.at, one.kind))


def _count(rng: random.Random, mean: float) -> int:
    """Draw a number of events that are independent of each other."""
    count, left = 0, rng.expovariate(1.0)
    while left < mean:
        count, left = count + 1, left + rng.expovariate(1.0)
    return count


def _moment(rng: random.Random, days: float) -> float:
    day = rng.randrange(max(1, round(days)))
    span = min(days, 1.0) * DAY_SECONDS
    is_any_time = rng.random() < 0.15
    return day * DAY_SECONDS + rng.random() * (span if is_any_time else min(span, BUSY_SECONDS))


class Weather:
    """What goes wrong at this moment. Several episodes of one kind may overlap: the last one counts."""

    def __init__(self, seed: int) -> None:
        self._disk = random.Random(f"{seed}/disk")
        self._network = random.Random(f"{seed}/network")
        self._receivers = random.Random(f"{seed}/receivers")
        self._now: dict[Kind, Episode] = {}
        self.counts: dict[Kind, int] = {}

    def begin(self, episode: Episode) -> None:
        self._now[episode.kind] = episode
        self.counts[episode.kind] = self.counts.get(episode.kind, 0) + 1

    def end(self, episode: Episode) -> None:
        if self._now.get(episode.kind) is episode:
            del self._now[episode.kind]

    def size(self, kind: Kind) -> float | None:
        """Return the size of a fault that lasts now."""
        episode = self._now.get(kind)
        return None if episode is None else episode.size

    # What the database does

    def disk_seconds(self, *, is_short: bool = False) -> float | None:
        """Draw how long a statement takes; None: it is done before anything else happens."""
        if is_short:
            return None
        chance = self._disk.random()
        slow = self.size(Kind.SLOW_DISK)
        if slow is not None and chance < 0.3:
            return (0.02 + 0.8 * slow**3) * self._disk.random()
        if chance > 0.97:
            return 0.004 * self._disk.random()
        return 0.0 if chance > 0.75 else None

    @property
    def database_fails(self) -> bool:
        """Draw whether a statement fails."""
        if self.size(Kind.DATABASE_DOWN) is not None:
            return True
        share = self.size(Kind.DATABASE_ERRORS)
        return share is not None and self._disk.random() < 0.3 * share**2

    def database(self) -> None:
        """Raise SQLite's error if this statement fails."""
        if self.database_fails:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            error.sqlite_errorname = "SQLITE_IOERR"
            raise error

    # What the network does

    @property
    def loses(self) -> bool:
        """Draw whether a request, or a response, gets lost."""
        size = self.size(Kind.NETWORK)
        return size is not None and self._network.random() < 0.05 + 0.4 * size

    def refuses(self, size: float) -> bool:
        """Draw whether a receiver fails with a message: the larger the fault, the more of them."""
        return self._receivers.random() < min(1.0, 0.1 + 1.2 * size)

    def network_seconds(self) -> float:
        """Draw how long a message travels."""
        return 0.005 + 0.045 * self._network.random() ** 3

    # What the platform does

    def of_platform(self, usual: Faults) -> Faults:
        """Return the simulator's faults at this moment."""
        changes: dict[str, object] = {}
        if (size := self.size(Kind.DELIVERIES)) is not None:
            changes |= {
                "loss_share": 0.25 * size,
                "duplicate_share": 0.3 * size,
                "reorder_share": 0.4 * size,
                "delivery_delay_max_seconds": 0.12 + 20.0 * size**4,
            }
        if (size := self.size(Kind.UNAVAILABLE)) is not None:
            changes["unavailable_share"] = min(1.0, 0.2 + size)
        if self.size(Kind.LIMITED) is not None:
            changes["global_limit"] = True
        if (size := self.size(Kind.SLOW_PLATFORM)) is not None:
            changes["latency_seconds"] = 0.5 + 12.0 * size
        return usual.model_copy(update=changes)


def edges(episodes: list[Episode]) -> Iterator[tuple[float, bool, Episode]]:
    """Yield when each fault begins (True) and ends (False), in order of time."""
    moments = [(one.at, True, one) for one in episodes]
    moments += [(one.at + one.seconds, False, one) for one in episodes]
    yield from sorted(moments, key=lambda edge: (edge[0], edge[1]))


def without(episodes: list[Episode], unwanted: Callable[[Episode], bool]) -> list[Episode]:
    """Leave faults out, to find out which of them a violation needs."""
    return [replace(one) for one in episodes if not unwanted(one)]
