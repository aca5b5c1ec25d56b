"""Every second in which a delivery was refused lies in a gap, whatever happens to the replicas."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import StorageUnavailable
from app.webhooks.intake.refusals import Refusals
from app.webhooks.subscriptions import heartbeat as module
from app.webhooks.subscriptions.heartbeat import Heartbeat, IntakeHealth
from app.webhooks.subscriptions.outages import Beat
from tests.fakes.clock import START, FakeClock
from tests.fakes.context import accounts_context

INTERVAL = 10
DRAIN = 5
"""Seconds for which a load balancer still sends deliveries to a replica that is dead or hangs."""


class Shared:
    """What replicas share: the stored beats, the gaps, and whether either can be written."""

    def __init__(self) -> None:
        self.beats: dict[str, Beat] = {}
        self.gaps: list[tuple[datetime, datetime]] = []
        self.is_away = False
        self.is_locked = False

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["Shared"]:
        if self.is_away:
            raise StorageUnavailable("away")
        yield self

    read = write = transaction

    async def scalars(self, *_: Any) -> list[str]:
        return ["~"]

    async def all(self) -> list[Any]:
        return []


class Replica:
    def __init__(self, name: str, shared: Shared, clock: FakeClock) -> None:
        self._shared = shared
        self.refusals = Refusals(clock.now)
        self.next_step = 0.0
        self.died_at: float | None = None
        self.hung_at: float | None = None
        self.heartbeat = Heartbeat(
            accounts_context(shared, clock, shared, replica=name),  # type: ignore[arg-type]
            IntakeHealth(prove=self._prove, refusals=self.refusals, take_refused=dict),
            interval_seconds=INTERVAL,
            sweep_after_seconds=60,
        )

    async def _prove(self) -> None:
        if self._shared.is_away or self._shared.is_locked:
            raise StorageUnavailable("no")

    async def step(self, now: float) -> None:
        if now < self.next_step:
            return
        self.hung_at = None
        try:
            await self.heartbeat.step()
            self.next_step = now + INTERVAL
        except StorageUnavailable:
            self.next_step = now + 2


@contextmanager
def in_memory(shared: Shared) -> Iterator[None]:
    async def load(_: Any) -> dict[str, Beat]:
        return dict(shared.beats)

    async def save(_: Any, beats: dict[str, Beat], __: Any) -> None:
        shared.beats = dict(beats)

    async def note(
        _: Any, __: Any, ___: Any, begin: datetime, end: datetime, *_rest: Any, **__rest: Any
    ) -> None:
        assert begin <= end
        shared.gaps.append((begin, end))

    with (
        mock.patch.object(module, "_load", load),
        mock.patch.object(module, "_save", save),
        mock.patch("app.enrichment.gaps.note_gap", note),
        mock.patch.object(module, "log", mock.Mock()),
    ):
        yield


WHAT = st.sampled_from(
    ["start", "start", "kill", "stop", "lock", "unlock", "away", "back", "kill-all", "hang", "quiet", "busy"]
)
HISTORY = st.lists(st.tuples(st.integers(1, 45), WHAT), min_size=1, max_size=14)


class World:
    """Replicas behind a load balancer, with a delivery every second while it is busy."""

    def __init__(self) -> None:
        self.clock, self.shared = FakeClock(), Shared()
        self.alive: list[Replica] = []
        self.dead: list[Replica] = []
        self.refused: list[datetime] = []
        self.is_busy = True
        self.second = 0
        self.started = 0

    async def play(self, history: list[tuple[int, str]]) -> None:
        self.start()
        await self.tick(1)
        for seconds, what in history:
            await self.tick(seconds)
            await self.happen(what)
        self.shared.is_locked = self.shared.is_away = False
        self.is_busy = False
        self.start()
        await self.tick(12 * INTERVAL)

    def start(self) -> None:
        self.started += 1
        self.alive.append(Replica(f"replica-{self.started}", self.shared, self.clock))

    async def happen(self, what: str) -> None:
        match what:
            case "start":
                self.start()
            case "kill" if self.alive:
                self.bury(self.alive.pop(0))
            case "kill-all":
                while self.alive:
                    self.bury(self.alive.pop())
            case "stop" if self.alive and self.alive[0].hung_at is None:
                await self.alive.pop(0).heartbeat.stop()
            case "stop" if self.alive:  # one that hangs does not stop in order
                self.bury(self.alive.pop(0))
            case "hang" if self.alive:
                self.alive[0].hung_at = self.alive[0].hung_at or self.second
                self.alive[0].next_step = self.second + 50
            case "lock" | "unlock":
                self.shared.is_locked = what == "lock"
            case "away" | "back":
                self.shared.is_away = what == "away"
            case "quiet" | "busy":
                self.is_busy = what == "busy"

    def bury(self, replica: Replica) -> None:
        # A load balancer sends nothing more to one that has hung for a while.
        replica.died_at = self.second if replica.hung_at is None else replica.hung_at
        self.dead.append(replica)

    async def tick(self, seconds: int) -> None:
        for _ in range(seconds):
            self.second += 1
            self.clock.set(START + timedelta(seconds=self.second))
            if self.is_busy:
                self.deliver()
            for replica in list(self.alive):
                await replica.step(self.second)

    def deliver(self) -> None:
        silent = [(one, one.died_at) for one in self.dead] + [(one, one.hung_at) for one in self.alive]
        draining = [one for one, since in silent if since is not None and self.second - since < DRAIN]
        targets = [one for one in self.alive if one.hung_at is None] + draining
        target = targets[self.second % len(targets)] if targets else None
        if target is None or target in draining:
            self.refused.append(self.clock.now())
        elif self.shared.is_away or self.shared.is_locked:
            target.refusals.note(self.clock.now(), "no")
            self.refused.append(self.clock.now())


@settings(max_examples=300)
@given(HISTORY)
def test_every_refusal_lies_in_a_gap(history: list[tuple[int, str]]) -> None:
    world = World()
    with in_memory(world.shared):
        asyncio.run(world.play(history))
    covered = world.shared.gaps
    missed = [at for at in world.refused if not any(begin <= at <= end for begin, end in covered)]
    assert missed == []


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.sampled_from(["start", "stop", "quiet", "busy"])), max_size=12)
)
def test_there_is_no_gap_while_a_replica_always_accepts_deliveries(history: list[tuple[int, str]]) -> None:
    world = World()

    async def play() -> None:
        world.start()
        await world.tick(1)
        for seconds, what in history:
            await world.tick(seconds)
            if what != "stop" or len(world.alive) > 1:
                await world.happen(what)
        world.start()
        await world.tick(12 * INTERVAL)

    with in_memory(world.shared):
        asyncio.run(play())
    assert world.shared.gaps == []
