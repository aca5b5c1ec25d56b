"""Conversation insights from the simulator to the connector API, over real HTTP."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from app.simulator import Simulator, SimulatorSettings, Timing, serving
from app.simulator.cast import Wishes
from tests.cluster import free_port
from tests.e2e.process import ServiceProcess, service_environment

KEY = "ak_first-key-of-the-tests-0123456789"
SESSIONS = "/restapi/v1.0/account/~/telephony/sessions"
INSIGHTS = "/ai/ringsense/v1/public/accounts/~/domains/pbx/insights"
SPEED = 20.0

Json = dict[str, Any]


class Desk:
    """A simulator and a service that subscribes to it by itself."""

    def __init__(self, simulator: Simulator, client: httpx.AsyncClient) -> None:
        self.simulator = simulator
        self.client = client

    async def get(self, path: str) -> Json:
        answer = await self.client.get(path)
        assert answer.status_code == 200, answer.text
        shown: Json = answer.json()
        return shown

    async def play(self) -> tuple[str, str]:
        """Play a recorded call; return its session and its recording, once the service has its record."""
        async with asyncio.timeout(20):
            while not any(one.listed for one in self.simulator.subscriptions.values()):  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.05)
        wishes = Wishes(talk_seconds=40, ring_seconds=3, recorded=True)
        call = self.simulator.start_call("inbound_direct", wishes)
        name = call.sessions[0].telephony_session_id
        answer = await self.client.get(f"/v1/calls/{name}", params={"wait": 60, "until": "reconciled"})
        while answer.status_code == 404:
            await asyncio.sleep(0.2)
            answer = await self.client.get(f"/v1/calls/{name}", params={"wait": 60, "until": "reconciled"})
        assert answer.headers["Aftercall-Reached"] == "true"
        return name, call.recordings[0].id

    def asked(self) -> list[str]:
        """Return what was asked of the insights resources."""
        return [str(one["path"]) for one in self.simulator.requests if "/ringsense/" in str(one["path"])]


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.1)


@asynccontextmanager
async def running(
    url: str, folder: Path, *, filters: str, delay: float, licensed: bool, notes: bool = False
) -> AsyncIterator[Desk]:
    timing = Timing(
        insights_delay=delay,
        insights_notes_delay=40.0,
        straggler_share=0.0,
        media_delay_min=1.0,
        media_delay_max=2.0,
        attach_delay_min=0.0,
        attach_delay_max=1.0,
    )
    async with serving(SimulatorSettings(port=0, media_port=0, speed=SPEED, timing=timing)) as simulator:
        switches = {"insights_licensed": licensed, "insights_notes": notes}
        simulator.faults = simulator.faults.model_copy(update=switches)
        port = free_port()
        environment = service_environment(url, simulator) | {
            "AFTERCALL_API_KEY": KEY,
            "AFTERCALL_PUBLIC_URL": f"http://127.0.0.1:{port}",
            "AFTERCALL_SUBSCRIPTION_FILTERS": filters,
        }
        service = ServiceProcess(environment, folder, port)
        await service.start()
        try:
            async with httpx.AsyncClient(
                base_url=service.address,
                headers={"Authorization": f"Bearer {KEY}"},
                trust_env=False,
                timeout=90,
            ) as client:
                yield Desk(simulator, client)
        finally:
            service.kill()


async def test_events_bring_insights_and_their_sentiment(database_url: str, tmp_path: Path) -> None:
    filters = f"{SESSIONS},{INSIGHTS}"
    async with running(
        database_url, tmp_path, filters=filters, delay=120.0, licensed=True, notes=True
    ) as desk:
        session, recording = await desk.play()

        async def has_notes() -> bool:
            shown = (await desk.get(f"/v1/calls/{session}/insights"))["data"]
            return bool(shown and shown[0]["callNotes"])

        await until(has_notes)
        (shown,) = (await desk.get(f"/v1/calls/{session}/insights"))["data"]
        assert (shown["recordingId"], shown["source"]) == (recording, "webhook")
        call = await desk.get(f"/v1/calls/{session}")
        assert call["readiness"]["insights"]["state"] == "ready"
        (sentiment,) = call["sentiments"]
        assert (sentiment["source"], sentiment["label"]) == ("ringsense", shown["sentiment"])
        parties = {party["id"] for party in call["parties"]}
        assert all(speaker["partyId"] in parties for speaker in shown["speakers"])
        told = [event["type"] for event in (await desk.get(f"/v1/calls/{session}/timeline"))["data"]]
        assert told.count("insights.ready") == 1
        assert told.count("sentiment.set") == 1
        assert "insights.updated" in told


async def test_without_the_events_one_look_finds_them(sqlite_url: str, tmp_path: Path) -> None:
    async with running(sqlite_url, tmp_path, filters=SESSIONS, delay=0.0, licensed=True) as desk:
        session, recording = await desk.play()

        async def is_ready() -> bool:
            return bool((await desk.get(f"/v1/calls/{session}/insights"))["data"])

        await until(is_ready)
        (shown,) = (await desk.get(f"/v1/calls/{session}/insights"))["data"]
        assert (shown["recordingId"], shown["source"]) == (recording, "insights")
        assert len(desk.asked()) == 1


async def test_an_account_without_the_product_is_asked_once(sqlite_url: str, tmp_path: Path) -> None:
    filters = f"{SESSIONS},{INSIGHTS}"
    async with running(sqlite_url, tmp_path, filters=filters, delay=0.0, licensed=False) as desk:
        first, _ = await desk.play()

        async def is_settled() -> bool:
            shown = await desk.get(f"/v1/calls/{first}")
            return bool(shown["readiness"]["insights"]["state"] == "none")

        await until(is_settled)
        second, _ = await desk.play()
        for session in (first, second):
            readiness = (await desk.get(f"/v1/calls/{session}/insights"))["readiness"]
            assert (readiness["state"], readiness["reason"]) == ("none", "no-licence")
        assert len(desk.asked()) == 1
