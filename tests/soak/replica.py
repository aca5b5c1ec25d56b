"""A replica of the service: it is started, dies or is stopped, and is started again."""

import asyncio
import random
from collections.abc import Callable, Collection, Iterable
from functools import cached_property

import httpx
from fastapi import FastAPI

from app.clock import Clock
from app.db.engine import Database
from app.errors import SchemaMismatch, StorageUnavailable
from app.main import create_app
from app.settings import Settings
from app.work.loops import Loop, LoopGroup
from app.work.wakeups import Wakeups
from tests.soak.machines import Machine
from tests.soak.network import Balancer
from tests.soak.virtual_loop import VirtualClock, VirtualLoop

_AGAIN_SECONDS = 5.0
DAY_PACES, NIGHT_PACE = (5.0, 60.0, 300.0, 300.0, 300.0, 300.0), 1800.0
"""How often a replica looks for work that nobody woke it for, in seconds, drawn for each half hour of a day.
The service's own second is for lost wake-ups; a simulated day of it would find nothing 86,000 times."""

_LONGEST_STEPS = 30.0
"""Longest interval that the service makes of its second, in seconds. Others have a meaning of their own."""

_SLOWEST = 300.0


class SoakSettings(Settings):
    """The service's settings, with a heartbeat of its own interval: each beat is two transactions."""

    beat: float

    @cached_property
    def beat_seconds(self) -> float:
        return self.beat


class Pace:
    """How often idle loops look for work, day and night."""

    def __init__(self) -> None:
        self._loops: dict[int, tuple[Loop, float]] = {}
        self.seconds = DAY_PACES[0]

    def add(self, loop: Loop) -> None:
        # The heartbeat's interval has a meaning: a replica that misses beats counts as away.
        if loop.name != "pulse":
            self._loops[id(loop)] = loop, loop.at_least_every
            loop.at_least_every = self._interval(loop.at_least_every)

    def forget(self, loop: Loop) -> None:
        self._loops.pop(id(loop), None)

    def change(self, seconds: float) -> None:
        self.seconds = seconds
        for loop, own in self._loops.values():
            loop.at_least_every = self._interval(own)

    def _interval(self, own: float) -> float:
        steps = min(own * self.seconds, _SLOWEST) if own < _LONGEST_STEPS else own
        return max(steps, self.seconds)


class _PacedLoops(LoopGroup):
    def __init__(self, wakeups: Wakeups, clock: Clock, pace: Pace) -> None:
        super().__init__(wakeups, clock)
        self._pace = pace
        self._mine: list[Loop] = []

    def start(self, loops: Iterable[Loop]) -> None:
        started = list(loops)
        for loop in started:
            self._pace.add(loop)
        self._mine += started
        super().start(started)

    def let_go(self) -> None:
        for loop in self._mine:
            self._pace.forget(loop)


class Replica:
    """One of the replicas, through all its lives. `neighbours` get its wake-ups on SQLite, where no NOTIFY
    carries them."""

    def __init__(
        self,
        name: str,
        loop: VirtualLoop,
        settings: Settings,
        transport: httpx.AsyncBaseTransport,
        balancer: Balancer,
        pace: Pace,
        rng: random.Random,
    ) -> None:
        self.name = name
        self.ahead_seconds = 0.0
        self.lives = 0
        self.machine: Machine | None = None
        self.neighbours: list[Replica] = []
        self._loop = loop
        self._settings = settings
        self._transport = transport
        self._balancer = balancer
        self._pace = pace
        self._rng = rng
        self._stop = asyncio.Event()
        self._wakeups: Wakeups | None = None
        self._restart_seconds = 0.0
        self._is_ending = False

    async def live(self) -> None:
        """Run, again and again, until it ends."""
        while not self._is_ending:
            clock = VirtualClock(self._loop, self.ahead_seconds)
            self.lives += 1
            machine = self.machine = Machine(f"{self.name}.{self.lives}", self._loop, clock)
            died = asyncio.Event()
            machine.on_death.append(died.set)
            self._stop.clear()
            serving = machine.spawn(self._serve(machine), name=machine.name)
            waiting = asyncio.ensure_future(died.wait())
            await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            await machine.bury()
            self._balancer_forgets(machine)
            if serving.done() and not serving.cancelled() and (error := serving.exception()) is not None:
                self._restart_seconds = _AGAIN_SECONDS
                if not isinstance(error, StorageUnavailable | SchemaMismatch | OSError):
                    raise error
            if not self._is_ending:
                await asyncio.sleep(self._restart_seconds)

    def _balancer_forgets(self, machine: Machine) -> None:
        # What has just died still gets requests for a while, and refuses them.
        if not machine.is_dead:
            self._balancer.remove(machine)

    async def _serve(self, machine: Machine) -> None:
        app: FastAPI = create_app(self._settings, clock=machine.clock, transport=self._transport)
        process = app.state.process
        loops = process.crew = _PacedLoops(process.wakeups, machine.clock, self._pace)
        if process.database.is_sqlite:
            self._share_commits(process.database, process.services.database)
        self._wakeups = process.wakeups
        try:
            async with app.router.lifespan_context(app):
                self._balancer.add(machine, app)
                process.serving.set()
                await self._stop.wait()
                # As a server does: no new connections, then the end.
                self._balancer.remove(machine)
        finally:
            loops.let_go()

    def _share_commits(self, *databases: Database) -> None:
        """Let what is committed wake the neighbours as well, as NOTIFY does; what wakes loops otherwise does
        not.
        """
        for database in databases:
            wake = database.wake

            def wake_all(topics: Collection[str], wake: Callable[[Collection[str]], None] = wake) -> None:
                wake(topics)
                if topics:
                    self._pass_on(topics)

            database.wake = wake_all  # type: ignore[method-assign]

    def _pass_on(self, topics: Collection[str]) -> None:
        for other in self.neighbours:
            if other._wakeups is not None and self._rng.random() > 0.05:
                self._loop.call_later(0.002, other._wakeups.wake, topics)

    def crash(self, restart_seconds: float, fuse: int = 0) -> None:
        """Die after `fuse` more operations of input or output, and start again later."""
        self._restart_seconds = restart_seconds
        if self.machine is not None and not self.machine.is_dead:
            if fuse:
                self.machine.fuse = fuse
            else:
                self.machine.die()

    def restart(self, seconds: float) -> None:
        """Stop in an orderly way, and start again later."""
        self._restart_seconds = seconds
        self._stop.set()

    def shift(self, ahead_seconds: float) -> None:
        """Change by how much its clock is wrong."""
        self.ahead_seconds = ahead_seconds
        if self.machine is not None:
            self.machine.clock.ahead_seconds = ahead_seconds

    def end(self) -> None:
        """Stop in an orderly way, for good."""
        self._is_ending = True
        self._stop.set()
