"""One run: RingCentral, the replicas, the people and the faults, from the first second to the last check."""

import asyncio
import gc
import os
import random
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from sqlalchemy.exc import SAWarning

from app.db.engine import Database
from app.simulator.api.app import create_app, create_media_app
from app.simulator.scripting.casting import CallOptions
from app.simulator.scripting.model import ScriptedCall
from app.simulator.settings import Faults, SimulatorSettings
from app.simulator.simulator import Simulator
from tests.soak import invariants
from tests.soak.faults import BUSY_SECONDS, DAY_SECONDS, Episode, Kind, Weather, draw_faults, edges
from tests.soak.journal import Journal
from tests.soak.machines import Machine, adopt_tasks
from tests.soak.network import Balancer, InProcessPoster, PlatformTransport
from tests.soak.people import People
from tests.soak.postgres_wire import Postgres
from tests.soak.replica import DAY_PACES, NIGHT_PACE, Pace, Replica, SoakSettings
from tests.soak.sqlite_inline import InlineSqlite
from tests.soak.subscribers import SubscriberClient, Subscribers
from tests.soak.virtual_loop import VirtualClock, VirtualLoop, processor_seconds, real_seconds

KEY = "ak_first-key-of-the-soak-0123456789"
_SETTLE_SECONDS = 6 * 3600.0
_LOOK_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is played. `episodes` None: the faults of the seed."""

    seed: int
    days: float = 1.0
    replicas: int = 2
    calls_a_day: float | None = None
    episodes: list[Episode] | None = None


@dataclass(slots=True)
class Outcome:
    """What came of a run. It is a success if `violations` is empty."""

    seed: int
    violations: list[str]
    days: float
    real_seconds: float
    processor_seconds: float
    figures: dict[str, Any]
    digest: str


@contextmanager
def abandoned_connections() -> Iterator[None]:
    """Collect what killed processes leave behind: they close nothing, and must not be blamed for it later."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        warnings.filterwarnings("ignore", "The garbage collector", SAWarning)
        try:
            yield
        finally:
            gc.collect()


def run(plan: Plan, database_url: str) -> Outcome:
    """Play a run on a migrated database; return what came of it."""
    with abandoned_connections():
        return _run(plan, database_url)


def _run(plan: Plan, database_url: str) -> Outcome:
    began, used = real_seconds(), processor_seconds()
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    adopt_tasks(loop)
    world = World(plan, database_url, loop)
    loop.set_exception_handler(world.journal.hear_loop)
    try:
        with world.surroundings():
            violations = loop.run_until_complete(world.play())
            loop.run_until_complete(asyncio.sleep(1.0))
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    days = loop.time() / DAY_SECONDS
    return Outcome(
        seed=plan.seed,
        violations=violations,
        days=days,
        real_seconds=real_seconds() - began,
        processor_seconds=processor_seconds() - used,
        figures=world.figures(),
        digest=world.journal.digest(),
    )


@contextmanager
def seeded_entropy(seed: int) -> Iterator[None]:
    """Let everything that asks the system for random bytes get those of the seed. The generator that all
    share is seeded as well: it asked the system when it was imported.
    """
    entropy = random.Random(f"{seed}/entropy").randbytes
    shared = random.getstate()
    random.seed(f"{seed}/shared")
    try:
        with mock.patch.object(os, "urandom", entropy), mock.patch.object(random, "_urandom", entropy):
            yield
    finally:
        random.setstate(shared)


class World:
    """Everything that takes part in a run."""

    def __init__(self, plan: Plan, database_url: str, loop: VirtualLoop) -> None:
        self.plan = plan
        self.loop = loop
        self.weather = Weather(plan.seed)
        self.episodes = (
            draw_faults(plan.seed, plan.days, plan.replicas) if plan.episodes is None else plan.episodes
        )
        self.journal = Journal(loop)
        self.database_url = database_url
        is_sqlite = database_url.startswith("sqlite")
        self.driver = (InlineSqlite if is_sqlite else Postgres)(loop, self.weather)
        self.balancer = Balancer(loop, plan.seed)
        self.poster = InProcessPoster(loop, self.balancer)
        self.people = People(loop, self.balancer, plan.seed, KEY)
        self.platform = Machine("ringcentral", loop, VirtualClock(loop))
        self.subscribers = Subscribers(VirtualClock(loop), self.weather, self.journal)
        self.options: dict[str, CallOptions] = {}
        self.pace = Pace()
        self.foreign_at: list[float] = []
        self._rng = random.Random(f"{plan.seed}/world")
        self._habits = random.Random(f"{plan.seed}/settings")
        self._notes: set[asyncio.Task[None]] = set()
        self.simulator = Simulator(
            SimulatorSettings(
                public_url="http://platform.test", media_url="http://media.test", seed=plan.seed
            ),
            clock=self.platform.clock,
        )
        self.simulator.webhooks.poster = self.poster
        self._usual = Faults()
        self.replicas: list[Replica] = []

    @contextmanager
    def surroundings(self) -> Iterator[None]:
        """Everything outside of the loop that has to be different while it runs."""
        client = SubscriberClient(self.subscribers, self.weather)
        sending = mock.patch("app.process.open_webhook_client", return_value=client)
        with seeded_entropy(self.plan.seed), self.driver.installed(), self.journal.listening(), sending:
            yield

    # The run

    async def play(self) -> list[str]:
        """Play everything; return the violations."""
        self._keep_options()
        self._start_replicas()
        await self.platform.spawn(_call(self.simulator.start))
        subscribing = asyncio.ensure_future(self.people.subscribe(self.subscribers))
        people = [
            asyncio.ensure_future(one)
            for one in (self.people.follow(), self.people.look_up(), self._traffic(), self._break_things())
        ]
        await asyncio.wait(self._lives, timeout=self.plan.days * DAY_SECONDS)
        for life in self._lives:
            if life.done():
                life.result()
        self.simulator.change_traffic(calls_per_minute=0.0)
        for one in people[1:]:
            one.cancel()
        self._calm()
        await asyncio.gather(subscribing, *self._notes)
        await self._settle()
        people[0].cancel()
        await self.people.read_on()
        violations = await invariants.check(self)
        await self._end()
        # Of calls that were made while everything settled.
        await _cancel({*people, *self._notes})
        return violations

    def _keep_options(self) -> None:
        start = self.simulator._start_call

        def start_call(script: str, options: CallOptions, **how: Any) -> ScriptedCall:
            call = start(script, options, **how)
            self.options[call.id] = options
            self.journal.note("call", call.id, script)
            self._plan_notes(call)
            return call

        self.simulator._start_call = start_call  # type: ignore[method-assign]
        self.simulator.requests.latest = invariants.Requests(self.journal)  # type: ignore[assignment]

    def _plan_notes(self, call: ScriptedCall) -> None:
        for session in call.sessions:
            if call.script != "test_call" and self._rng.random() < 0.4:
                task = asyncio.get_running_loop().create_task(self.people.write_note(call, session))
                self._notes.add(task)
                task.add_done_callback(self._notes.discard)

    def _start_replicas(self) -> None:
        platform = {
            "platform.test": create_app(self.simulator),
            "media.test": create_media_app(self.simulator),
        }
        transport = PlatformTransport(self.loop, self.platform, platform, self.weather)
        settings = self._settings()
        for place in range(self.plan.replicas):
            rng = random.Random(f"{self.plan.seed}/replica {place}")
            name = f"replica {place}"
            made = Replica(name, self.loop, settings, transport, self.balancer, self.pace, rng)
            self.replicas.append(made)
        for replica in self.replicas:
            replica.neighbours = [one for one in self.replicas if one is not replica]
        self._lives = [asyncio.ensure_future(replica.live()) for replica in self.replicas]

    def _settings(self) -> SoakSettings:
        """Return the settings of all replicas."""
        simulated = self.simulator.settings
        values: Mapping[str, Any] = {
            "database_url": self.database_url,
            "secret_key": "0123456789abcdef0123456789abcdef",
            "webhook_token": "a-verification-token",
            "api_key": KEY,
            "public_url": "http://aftercall.test",
            "rc_server_url": simulated.platform_address,
            "rc_media_url": simulated.media_address,
            "rc_client_id": simulated.client_id,
            "rc_client_secret": simulated.client_secret,
            "rc_jwt": simulated.jwt,
            "migrate_on_start": False,
            "database_pool_size": 5,
            # As often as usual, or seldom: then more days fit into an hour.
            "beat": self._habits.choice((10.0, 60.0, 300.0, 300.0)),
            "subscription_check_seconds": self._habits.choice((180.0, 900.0, 900.0)),
        }
        return SoakSettings(**values)

    async def _traffic(self) -> None:
        """Let the company be busy by day and quiet by night, with a rush now and then."""
        rng = random.Random(f"{self.plan.seed}/traffic")
        wanted = self.plan.calls_a_day or rng.uniform(60.0, 160.0)
        while True:
            is_day = self.loop.time() % DAY_SECONDS < BUSY_SECONDS
            self.pace.change(rng.choice(DAY_PACES) if is_day else NIGHT_PACE)
            a_minute = wanted / 600.0 if is_day else wanted / 600.0 / 60.0
            if is_day and rng.random() < 0.1:
                self.simulator.change_traffic(calls_per_minute=a_minute * 20)
                await asyncio.sleep(120.0)
            self.simulator.change_traffic(calls_per_minute=a_minute)
            left = 3600.0 - self.loop.time() % 3600.0
            await asyncio.sleep(min(left, 1800.0) + 0.001)

    # Faults

    async def _break_things(self) -> None:
        for moment, begins, episode in edges(self.episodes):
            await asyncio.sleep(max(0.0, moment - self.loop.time()))
            self.journal.note("fault", episode.kind, begins)
            self._turn(episode, begins=begins)
            self.simulator.faults = self.weather.of_platform(self._usual)

    def _turn(self, episode: Episode, *, begins: bool) -> None:
        replica = self.replicas[episode.place % len(self.replicas)]
        (self.weather.begin if begins else self.weather.end)(episode)
        match episode.kind:
            case Kind.CLOCK:
                replica.shift((episode.size * 2.0 - 1.0) * 2.0 if begins else 0.0)
            case Kind.CRASH if begins:
                replica.crash(episode.seconds, int(episode.size * 40))
            case Kind.CRASH_ALL if begins:
                for one in self.replicas:
                    one.crash(episode.seconds)
            case Kind.RESTART if begins:
                replica.restart(episode.seconds)
            case Kind.FOREIGN if begins:
                self._use_up_limit()

    def _use_up_limit(self) -> None:
        """Send requests as another program with the same app and user would."""
        simulator, user = self.simulator, self.simulator.users[self.simulator.settings.jwt].extension_id
        rule = simulator.limiter.rule("Heavy", 1.0)
        bucket = (user, "Heavy")
        self.foreign_at.append(self.loop.time())
        while len(
            simulator.limiter.buckets[bucket].accepted if bucket in simulator.limiter.buckets else ()
        ) < (rule.limit):
            if not simulator.limiter.admit(user, "Heavy", rule, simulator.now()).allowed:
                return

    def _calm(self) -> None:
        """End all faults."""
        for episode in self.episodes:
            self.weather.end(episode)
        for replica in self.replicas:
            replica.shift(0.0)
            if replica.machine is not None:
                replica.machine.fuse = None
        self.simulator.faults = self._usual
        self.pace.change(DAY_PACES[-1])

    async def _settle(self) -> None:
        """Wait until nothing is open any more, for as long as the service may take at most."""
        latest = self.loop.time() + _SETTLE_SECONDS
        while self.loop.time() < latest:
            await asyncio.sleep(_LOOK_SECONDS)
            if self.simulator.all_ended and not await invariants.unsettled(self):
                return

    async def _end(self) -> None:
        for replica in self.replicas:
            replica.end()
        await asyncio.gather(*self._lives)
        stopped = self.platform.spawn(self.simulator.stop())
        await stopped

    def database(self) -> Database:
        """Open the database as somebody who is not one of the replicas."""
        return Database(self.database_url)

    def figures(self) -> dict[str, Any]:
        """Return what happened, in numbers."""
        return {
            "calls": len(self.simulator.calls),
            "requests": sum(one["total"] for one in self.simulator.requests.counts.values()),
            "refused429": self.simulator.requests.refused,
            "deliveries": dict(self.simulator.webhooks.counts),
            "refusedDeliveries": len(self.poster.refusals),
            "lives": sum(replica.lives for replica in self.replicas),
            "faults": {kind.value: count for kind, count in self.weather.counts.items()},
            "changes": len(self.people.changes),
            "notes": len(self.people.notes),
            "reads": self.people.reads,
            "webhooks": {
                one.way: len(one.confirmed) for one in self.subscribers.endpoints.values() if one.confirmed
            },
            "statements": self.driver.statements,
            "stalls": self.loop.stalls,
            "log": dict(self.journal.events.most_common(12)),
        }


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks, and wait until they have ended."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)


async def _call(act: Any) -> None:
    act()
