"""No call is lost, whatever is: the service, its subscription, its events. Over real HTTP, beside the simulator."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.simulator import Faults, Simulator, SimulatorSettings, serving
from app.simulator.cast import Wishes
from tests.conftest import until
from tests.e2e.process import ServiceProcess, service_environment

KEY = "ak_first-key-of-the-tests-0123456789"
SPEED = 20.0
MINUTE = 60.0 / SPEED
DONE = {"reconciled", "final"}

Json = dict[str, Any]


class Watched:
    """A service that keeps its own subscription at a simulator, and the questions that an operator asks."""

    def __init__(self, simulator: Simulator, service: ServiceProcess, client: httpx.AsyncClient) -> None:
        self.simulator = simulator
        self.service = service
        self._client = client

    def sessions(self) -> set[str]:
        """The sessions that RingCentral has played and that have a record."""
        return {record.session.telephony_session_id for record in self.simulator.records_between(None, None)}

    async def stages(self) -> dict[str, tuple[str, str]]:
        """Stage and source of all calls that the service knows, by session."""
        found: dict[str, tuple[str, str]] = {}
        cursor: str | None = None
        while True:
            params = {"limit": "200"} | ({"cursor": cursor} if cursor else {})
            page = (await self._client.get("/v1/calls", params=params)).json()
            found |= {call["telephonySessionId"]: (call["stage"], call["source"]) for call in page["data"]}
            cursor = page["nextCursor"]
            if cursor is None:
                return found

    async def missing(self) -> set[str]:
        """The sessions of which the service has no record from the Call Log yet."""
        stages = await self.stages()
        return {session for session in self.sessions() if stages.get(session, ("", ""))[0] not in DONE}

    async def gaps(self) -> Json:
        answer = await self._client.get("/v1/ops/gaps")
        assert answer.status_code == 200, answer.text
        told: Json = answer.json()
        return told

    def forget_everything(self, sqlite_url: str) -> None:
        """Lose the database of a service that is not running."""
        Path(sqlite_url.removeprefix("sqlite+aiosqlite:///")).unlink()

    async def until(self, holds: Callable[[], Any], seconds: float, what: str) -> None:
        """Wait for something, asking again and again."""
        latest = time.monotonic() + seconds
        while not await holds():
            assert time.monotonic() < latest, f"{what}\n{self.service.said()}"
            await asyncio.sleep(0.25)

    async def until_complete(self, seconds: float) -> None:
        async def is_complete() -> bool:
            return self.simulator.all_ended and not await self.missing()

        await self.until(is_complete, seconds, "calls are missing")


@asynccontextmanager
async def watched(
    database_url: str, folder: Path, faults: Faults | None = None, **variables: str
) -> AsyncIterator[Watched]:
    """Run a simulator and a service that subscribes to it."""
    async with serving(SimulatorSettings(port=0, media_port=0, speed=SPEED, seed=7)) as simulator:
        simulator.faults = faults or Faults()
        environment = service_environment(database_url, simulator)
        service = ServiceProcess(environment, folder)
        service = ServiceProcess(
            environment
            | {
                "AFTERCALL_API_KEY": KEY,
                "AFTERCALL_PUBLIC_URL": service.address,
                "AFTERCALL_SUBSCRIPTION_CHECK_SECONDS": f"{3 * MINUTE:g}",
            }
            | variables,
            folder,
            service.port,
        )
        await service.start()
        headers = {"Authorization": f"Bearer {KEY}"}
        try:
            async with httpx.AsyncClient(
                base_url=service.address, headers=headers, trust_env=False, timeout=30
            ) as client:
                made = Watched(simulator, service, client)

                async def is_subscribed() -> bool:
                    return bool(simulator.subscriptions)

                await made.until(is_subscribed, 20, "there is no subscription")
                yield made
        finally:
            service.kill()


async def test_every_call_of_a_busy_hour_is_there_after_ten_minutes_away(
    database_url: str, tmp_path: Path
) -> None:
    async with watched(database_url, tmp_path) as world:
        world.simulator.change_traffic(calls_per_minute=6.0, calls=110, talk_seconds=40.0)
        await asyncio.sleep(3 * MINUTE)
        world.service.kill()
        await asyncio.sleep(10 * MINUTE)
        await world.service.start()
        await world.until_complete(150)
        told = await world.gaps()
        gap = told["deliveries"][0]
        assert gap["reason"] == "service-down"
        assert gap["found"] >= 10
        (today,) = [day for day in told["days"] if day["ended"]][-1:]
        assert today["ended"] == sum(
            (
                today["final"],
                today["reconciled"],
                today["bootstrapped"],
                today["open"],
                *today["absent"].values(),
            )
        )
        stages = await world.stages()
        assert len(stages) == len(world.sessions()), "and none twice"
        assert "sweep" in {source for _, source in stages.values()}


async def test_a_suspended_subscription_is_made_anew_and_its_gap_swept(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with watched(sqlite_url, tmp_path) as world:
        (subscription,) = world.simulator.subscriptions.values()
        subscription.suspend("Read timed out", world.simulator.now())
        for place in range(6):
            world.simulator.start_call(
                "inbound_direct", Wishes(talk_seconds=8, ring_seconds=2), delay_seconds=float(place)
            )

        async def is_renewed() -> bool:
            alive = [one for one in world.simulator.subscriptions.values() if one.status == "Active"]
            return len(alive) == 1 and alive[0].id != subscription.id

        await world.until(is_renewed, 30, "it is still suspended")
        await world.until_complete(60)
        gap = (await world.gaps())["deliveries"][0]
        assert (gap["reason"], gap["detail"]) == ("subscription-suspended", "Read timed out")
        assert gap["to"] is not None
        assert {source for _, source in (await world.stages()).values()} == {"sweep"}


@pytest.mark.parametrize("extract_sync", [True, False])
async def test_calls_whose_events_are_lost_are_found_by_the_regular_look(
    sqlite_url: str, tmp_path: Path, extract_sync: bool
) -> None:
    faults = Faults(extract_sync=extract_sync)
    async with watched(sqlite_url, tmp_path, faults, AFTERCALL_SWEEP_SECONDS=f"{3 * MINUTE:g}") as world:
        await asyncio.sleep(MINUTE)
        for place in range(4):
            script = "events_lost" if place % 2 else "outbound_answered"
            world.simulator.start_call(
                script, Wishes(talk_seconds=10, ring_seconds=2), delay_seconds=float(place)
            )
        await world.until_complete(90)
        sources = [source for _, source in (await world.stages()).values()]
        assert sorted(sources) == ["sweep", "sweep", "webhook", "webhook"]
        assert sum(day["swept"] for day in (await world.gaps())["days"]) == 2


async def test_an_adopted_subscription_with_another_secret_is_replaced(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with watched(sqlite_url, tmp_path) as world:
        (subscription,) = world.simulator.subscriptions.values()
        await world.service.stop()
        world.forget_everything(sqlite_url)
        subscription.token = "somebody-else's"
        await world.service.start()
        world.simulator.start_call("inbound_direct", Wishes(talk_seconds=8, ring_seconds=2))

        async def is_replaced() -> bool:
            return (
                subscription.id not in world.simulator.subscriptions
                and len(world.simulator.subscriptions) == 1
            )

        await world.until(is_replaced, 40, "it still delivers with a foreign secret")


async def test_a_backfill_that_was_interrupted_goes_on_where_it_was(sqlite_url: str, tmp_path: Path) -> None:
    async with serving(SimulatorSettings(port=0, media_port=0, speed=SPEED, seed=7)) as simulator:
        begun = simulator.now()
        simulator.change_traffic(calls_per_minute=12.0, calls=60, talk_seconds=10.0)
        async with asyncio.timeout(60):
            await until(lambda: simulator.all_ended)
        await asyncio.sleep(6 * MINUTE)  # the last stragglers are in the Call Log then
        environment = service_environment(sqlite_url, simulator)
        environment["AFTERCALL_ACTIVE_CALLS_PAGE_SIZE"] = "15"
        command = [
            sys.executable, "-m", "app", "backfill",
            "--from", begun.strftime("%Y-%m-%dT%H:%M:%S"), "--to", simulator.now().strftime("%Y-%m-%dT%H:%M:%S"),
        ]  # fmt: skip

        def asked() -> int:
            return sum("call-log" in request["path"] for request in simulator.requests)

        first = subprocess.Popen(  # noqa: ASYNC220 - a fork, over in a moment
            command,
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Whoever runs these tests in the background has children that ignore SIGINT.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        async with asyncio.timeout(60):
            await until(lambda: asked() >= 5 or first.poll() is not None)
        first.send_signal(signal.SIGINT)
        _, complaint = await asyncio.to_thread(first.communicate)
        assert first.returncode == 130, complaint
        assert b"goes on from here" in complaint
        second = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        said, complaint = await asyncio.wait_for(second.communicate(), 180)
        assert second.returncode == 0, complaint
        sessions = {one.session.telephony_session_id for one in simulator.records_between(None, None)}
        assert f"{len(sessions)} calls were not known before" in said.decode()
