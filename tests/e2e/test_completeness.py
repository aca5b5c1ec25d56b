"""No call is lost, whatever is: the service, its subscription, its events.

Over real HTTP, beside the simulator.
"""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from app.simulator import Faults, SimulatorSettings, serving
from app.simulator.scripting.casting import CallOptions
from tests.conftest import until
from tests.e2e.process import service_environment
from tests.e2e.world import Json, World, world

SPEED = 20.0
MINUTE = 60.0 / SPEED
DONE = {"reconciled", "final"}

A_SECOND = timedelta(seconds=1)
MARGIN = timedelta(seconds=MINUTE)
"""By how much more than its gap a sweep covers."""

PAST = ("inbound_direct", "queue_answered", "outbound_busy", "blind_transfer")
BY_SWEEPS_OF_GAPS_ALONE = Faults(extract_sync=False, active_calls_blind=True)
"""With rare regular looks: nothing else can tell of a call without events."""

RARE_LOOKS = {"AFTERCALL_SWEEP_SECONDS": "3600"}


class Watched(World):
    """A service that keeps its own subscription at a simulator, and the questions that an operator asks."""

    def sessions(self) -> set[str]:
        """The sessions that RingCentral has played and that have a record."""
        return {
            record.session.telephony_session_id for record in self.simulator.calls.records_between(None, None)
        }

    async def stages(self) -> dict[str, tuple[str, str]]:
        """Stage and source of all calls that the service knows, by session."""
        found: dict[str, tuple[str, str]] = {}
        cursor: str | None = None
        while True:
            params = {"limit": "200"} | ({"cursor": cursor} if cursor else {})
            page = await self.get("/v1/calls", **params)
            found |= {call["telephonySessionId"]: (call["stage"], call["source"]) for call in page["data"]}
            cursor = page["nextCursor"]
            if cursor is None:
                return found

    async def missing(self) -> set[str]:
        """The sessions of which the service has no record from the Call Log yet."""
        stages = await self.stages()
        return {session for session in self.sessions() if stages.get(session, ("", ""))[0] not in DONE}

    def play(self, script: str, count: int, *, ago_seconds: float = 0.0) -> set[str]:
        """Start so many short calls, a second of the unscaled world apart; return their sessions."""
        wishes = CallOptions(talk_seconds=10, ring_seconds=2)
        played = [
            self.simulator.start_call(script, wishes, delay_seconds=place - ago_seconds)
            for place in range(count)
        ]
        return {session.telephony_session_id for call in played for session in call.sessions}

    async def checks_after(self, moment: datetime) -> list[datetime]:
        """Wait until the service has looked at its subscription after this moment; return when it did so."""

        def checks() -> list[datetime]:
            looks = self.asked("/subscription")
            return [
                datetime.fromisoformat(one["at"]) for one in looks if one["path"].endswith("/subscription")
            ]

        async def is_checked() -> bool:
            return any(at > moment for at in checks())

        await self.until(is_checked, "nobody looks at the subscription")
        return checks()

    async def gaps(self, reason: str) -> list[Json]:
        """The times without events for this reason, latest first; a machine that stands still makes others
        too."""
        return [one for one in (await self.get("/v1/ops/gaps"))["deliveries"] if one["reason"] == reason]

    async def days(self) -> list[Json]:
        days: list[Json] = (await self.get("/v1/ops/gaps"))["days"]
        return days

    def forget_everything(self, sqlite_url: str) -> None:
        """Lose the database of a service that is not running."""
        Path(sqlite_url.removeprefix("sqlite+aiosqlite:///")).unlink()

    async def until_complete(self) -> None:
        """Wait until all calls are over and none is missing, for as long as ever fewer are."""

        async def all_ended() -> bool:
            return self.simulator.all_ended

        await self.until(all_ended, "calls go on")
        left = await self.missing()
        while left:
            before = left

            async def fewer(before: set[str] = before) -> bool:
                return len(await self.missing()) < len(before)

            await self.until(fewer, f"these calls are missing: {before}")
            left = await self.missing()


@asynccontextmanager
async def watched(
    database_url: str, folder: Path, faults: Faults | None = None, **variables: str
) -> AsyncIterator[Watched]:
    """Run a simulator and a service that subscribes to it."""
    settings = SimulatorSettings(speed=SPEED, seed=7)
    often = {"AFTERCALL_SUBSCRIPTION_CHECK_SECONDS": f"{3 * MINUTE:g}"}
    async with world(
        database_url, folder, settings, faults, variables=often | variables, subscribes=True
    ) as here:
        yield Watched(here.simulator, here.service, here.reader)


async def test_every_call_of_a_busy_hour_is_there_after_ten_minutes_away(
    database_url: str, tmp_path: Path
) -> None:
    async with watched(database_url, tmp_path) as here:
        here.simulator.change_traffic(calls_per_minute=6.0, calls=110, talk_seconds=40.0)
        await asyncio.sleep(3 * MINUTE)
        here.service.kill()
        await asyncio.sleep(10 * MINUTE)
        await here.service.start()
        await here.until_complete()
        assert sum(gap["found"] for gap in await here.gaps("service-down")) >= 10
        (today,) = [day for day in await here.days() if day["ended"]][-1:]
        assert today["ended"] == sum(
            (
                today["final"],
                today["reconciled"],
                today["bootstrapped"],
                today["open"],
                *today["absent"].values(),
            )
        )
        stages = await here.stages()
        assert len(stages) == len(here.sessions()), "and none twice"
        assert "sweep" in {source for _, source in stages.values()}


async def test_a_suspended_subscription_is_made_anew_and_its_gap_swept(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with watched(sqlite_url, tmp_path, BY_SWEEPS_OF_GAPS_ALONE, **RARE_LOOKS) as here:
        (subscription,) = here.simulator.subscriptions.values()
        subscription.suspend("Read timed out", here.simulator.now())
        here.play("events_lost", 6)

        async def is_renewed() -> bool:
            alive = [one for one in here.simulator.subscriptions.values() if one.status == "Active"]
            return len(alive) == 1 and alive[0].id != subscription.id

        await here.until(is_renewed, "it is still suspended")
        await here.until_complete()
        (gap,) = await here.gaps("subscription-suspended")
        assert gap["detail"] == "Read timed out"
        assert gap["to"] is not None


async def test_of_a_subscription_that_is_gone_exactly_its_gap_is_swept(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with watched(sqlite_url, tmp_path, BY_SWEEPS_OF_GAPS_ALONE, **RARE_LOOKS) as here:
        before = here.play("events_lost", 2, ago_seconds=100 * 60.0)
        checks = await here.checks_after(here.simulator.now())
        (subscription_id,) = here.simulator.subscriptions
        here.simulator.subscriptions.clear()
        gone_at = here.simulator.now()
        within = here.play("events_lost", 3)

        async def is_made_anew() -> bool:
            return bool(set(here.simulator.subscriptions) - {subscription_id})

        await here.until(is_made_anew, "there is no new subscription")
        after = here.play("outbound_answered", 1)

        async def all_are_there() -> bool:
            stages = await here.stages()
            return all(stages.get(session, ("", ""))[0] in DONE for session in within | after)

        await here.until(all_are_there, "calls are missing")
        (gap,) = await here.gaps("subscription-missing")
        begin, end = (datetime.fromisoformat(gap[name]) for name in ("from", "to"))
        assert checks[-1] - A_SECOND <= begin <= gone_at + MARGIN
        assert gone_at <= end <= here.simulator.now()
        sources = {session: source for session, (_, source) in (await here.stages()).items()}
        assert {sources[session] for session in within} == {"sweep"}
        assert not before & set(sources), "what was before the gap is not looked for"


async def test_a_subscription_is_renewed_before_it_ends_and_its_double_deleted(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with watched(sqlite_url, tmp_path, Faults(subscription_max_seconds=240.0)) as here:
        (subscription,) = here.simulator.subscriptions.values()
        here.simulator.add_subscription(replace(subscription, id="its-double"))

        async def is_in_order() -> bool:
            left = list(here.simulator.subscriptions.values())
            return len(left) == 1 and left[0].renewals >= 1 and left[0].may_receive(here.simulator.now())

        await here.until(is_in_order, "there are two, or it is not renewed")


async def test_why_ringcentral_refuses_a_subscription_is_told_until_it_accepts_one(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with watched(sqlite_url, tmp_path, AFTERCALL_SUBSCRIPTION_CHECK_SECONDS="1") as here:
        here.simulator.faults = Faults(require_https=True)
        here.simulator.subscriptions.clear()

        async def problems() -> list[Json]:
            told = (await here.get("/v1/ops/summary"))["problems"]
            return [one for one in told if one["about"] == "subscription"]

        async def is_told() -> bool:
            told = [one["detail"] for one in await problems() if one["code"] == "SUB-523"]
            return [one.endswith("AFTERCALL_PUBLIC_URL must begin with https://.") for one in told] == [True]

        async def is_mended() -> bool:
            return len(here.simulator.subscriptions) == 1 and not await problems()

        await here.until(is_told, "nobody says why there is no subscription")
        here.simulator.faults = Faults()
        await here.until(is_mended, "there is no subscription, or the problem is still told")


@pytest.mark.parametrize("extract_sync", [True, False])
async def test_calls_whose_events_are_lost_are_found_by_the_regular_look(
    sqlite_url: str, tmp_path: Path, extract_sync: bool
) -> None:
    # Active Calls would show such a call to a poll for another one; who finds it first is left to chance.
    faults = Faults(extract_sync=extract_sync, active_calls_blind=True)
    async with watched(sqlite_url, tmp_path, faults, AFTERCALL_SWEEP_SECONDS=f"{3 * MINUTE:g}") as here:
        lost, told = here.play("events_lost", 2), here.play("outbound_answered", 2)
        await here.until_complete()
        stages = await here.stages()
        assert set(stages) == lost | told, "each of them, and none twice"
        assert {stages[session][1] for session in lost} == {"sweep"}
        swept = sum(source == "sweep" for _, source in stages.values())
        assert sum(day["swept"] for day in await here.days()) == swept


async def test_an_adopted_subscription_with_another_secret_is_replaced(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with watched(sqlite_url, tmp_path) as here:
        (subscription,) = here.simulator.subscriptions.values()
        await here.service.stop()
        here.forget_everything(sqlite_url)
        subscription.token = "somebody-else's"
        await here.service.start()
        here.simulator.start_call("inbound_direct", CallOptions(talk_seconds=8, ring_seconds=2))

        async def is_replaced() -> bool:
            return (
                subscription.id not in here.simulator.subscriptions and len(here.simulator.subscriptions) == 1
            )

        await here.until(is_replaced, "it still delivers with a foreign secret")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
async def test_a_backfill_that_was_ended_goes_on_where_it_was(
    sqlite_url: str, tmp_path: Path, number: signal.Signals
) -> None:
    async with serving(SimulatorSettings(port=0, media_port=0, speed=SPEED, seed=7)) as simulator:
        begun = simulator.now() - timedelta(seconds=15 * MINUTE)
        for place in range(60):
            # Over so long ago that the last stragglers are in the Call Log.
            simulator.start_call(
                PAST[place % len(PAST)],
                CallOptions(talk_seconds=10, ring_seconds=2),
                delay_seconds=-900.0 + 5 * place,
            )
        environment = service_environment(sqlite_url, simulator)
        environment["AFTERCALL_ACTIVE_CALLS_PAGE_SIZE"] = "15"
        command = [
            sys.executable, "-m", "app", "backfill",
            "--from", begun.strftime("%Y-%m-%dT%H:%M:%S"),
            "--to", simulator.now().strftime("%Y-%m-%dT%H:%M:%S"),
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
            await until(lambda: asked() >= 3 or first.poll() is not None)
        first.send_signal(number)
        _, complaint = await asyncio.to_thread(first.communicate)
        if number == signal.SIGINT:
            assert first.returncode == 130, complaint
            assert b"continues from here" in complaint
        else:
            assert first.returncode == -signal.SIGKILL, complaint
        second = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        said, complaint = await asyncio.wait_for(second.communicate(), 180)
        assert second.returncode == 0, complaint
        sessions = {one.session.telephony_session_id for one in simulator.calls.records_between(None, None)}
        assert f"{len(sessions)} calls were not known before" in said.decode()
