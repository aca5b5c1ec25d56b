"""Conversation insights from the simulator to the connector API, over real HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from app.simulator import Faults, SimulatorSettings, Timing
from app.simulator.scripting.casting import CallOptions
from tests.e2e.world import Json, World, world

SESSIONS = "/restapi/v1.0/account/~/telephony/sessions"
INSIGHTS = "/ai/ringsense/v1/public/accounts/~/domains/pbx/insights"
HOUR = 3600.0


class Desk:
    """A simulator and a service that subscribes to it by itself."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def play(self) -> tuple[str, str]:
        """Play a recorded call; return its session and its recording, once the service has its record."""
        wishes = CallOptions(talk_seconds=40, ring_seconds=3, recorded=True)
        call = self.world.simulator.start_call("inbound_direct", wishes)
        name = call.sessions[0].telephony_session_id
        await self.world.reached("reconciled", name)
        return name, call.recordings[0].id

    def pass_an_hour(self) -> None:
        """Let RingCentral's clock strike."""
        self.world.simulator.advance(self.world.simulator.scaled(HOUR))

    async def insights(self, session: str) -> Json:
        return await self.world.get(f"/v1/calls/{session}/insights")

    def looks(self) -> list[Json]:
        """Return what was asked of the insights resources."""
        return self.world.asked("/ringsense/")

    async def has_looked(self) -> bool:
        return bool(self.looks())


@asynccontextmanager
async def running(
    url: str, folder: Path, *, filters: str, delay: float, licensed: bool, notes: bool = False
) -> AsyncIterator[Desk]:
    timing = Timing(
        insights_delay=delay,
        insights_notes_delay=HOUR,
        straggler_share=0.0,
        media_delay_min=1.0,
        media_delay_max=2.0,
        attach_delay_min=0.0,
        attach_delay_max=1.0,
    )
    settings = SimulatorSettings(speed=20.0, timing=timing)
    faults = Faults(insights_licensed=licensed, insights_notes=notes)
    variables = {"AFTERCALL_SUBSCRIPTION_FILTERS": filters}
    async with world(url, folder, settings, faults, variables=variables, subscribes=True) as here:
        yield Desk(here)


async def test_events_bring_insights_and_their_sentiment(database_url: str, tmp_path: Path) -> None:
    filters = f"{SESSIONS},{INSIGHTS}"
    async with running(
        database_url, tmp_path, filters=filters, delay=HOUR, licensed=True, notes=True
    ) as desk:
        session, recording = await desk.play()

        async def is_there() -> bool:
            return bool((await desk.insights(session))["data"])

        async def has_notes() -> bool:
            return bool((await desk.insights(session))["data"][0]["callNotes"])

        # The one look comes before there is anything to see.
        await desk.world.until(desk.has_looked, "nobody looks for insights")
        desk.pass_an_hour()
        await desk.world.until(is_there, "there are no insights")
        desk.pass_an_hour()
        await desk.world.until(has_notes, "there are no notes")
        (shown,) = (await desk.insights(session))["data"]
        assert (shown["recordingId"], shown["source"]) == (recording, "webhook")
        call = await desk.world.get(f"/v1/calls/{session}")
        assert call["readiness"]["insights"]["state"] == "ready"
        (sentiment,) = call["sentiments"]
        assert (sentiment["source"], sentiment["label"]) == ("ringsense", shown["sentiment"])
        parties = {party["id"] for party in call["parties"]}
        assert shown["speakers"]
        assert all(speaker["partyId"] in parties for speaker in shown["speakers"])
        timeline = (await desk.world.get(f"/v1/calls/{session}/timeline"))["data"]
        told = [event["type"] for event in timeline]
        assert told.count("insights.ready") == 1
        assert told.count("sentiment.set") == 1
        assert "insights.updated" in told


async def test_without_the_events_one_look_finds_them(sqlite_url: str, tmp_path: Path) -> None:
    async with running(sqlite_url, tmp_path, filters=SESSIONS, delay=0.0, licensed=True) as desk:
        session, recording = await desk.play()

        async def is_ready() -> bool:
            return bool((await desk.insights(session))["data"])

        await desk.world.until(is_ready, "there are no insights")
        (shown,) = (await desk.insights(session))["data"]
        assert (shown["recordingId"], shown["source"]) == (recording, "insights")
        assert len(desk.looks()) == 1


async def test_an_account_without_the_product_is_asked_once(sqlite_url: str, tmp_path: Path) -> None:
    filters = f"{SESSIONS},{INSIGHTS}"
    async with running(sqlite_url, tmp_path, filters=filters, delay=0.0, licensed=False) as desk:
        first, _ = await desk.play()

        async def is_settled() -> bool:
            return bool((await desk.insights(first))["readiness"]["state"] == "none")

        await desk.world.until(is_settled, "nobody says that there are none")
        second, _ = await desk.play()
        for session in (first, second):
            readiness = (await desk.insights(session))["readiness"]
            assert (readiness["state"], readiness["reason"]) == ("none", "no-licence")
        assert len(desk.looks()) == 1
