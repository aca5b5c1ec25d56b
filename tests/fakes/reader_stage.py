"""The service before a simulated RingCentral, both on loopback: what readers get of lists and recordings.

Played at a thousandfold speed, so a recording is ready soon after its call. No background work runs but what
a test starts by hand.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from app.calls import accounts
from app.calls.media import recordings
from app.calls.media.recordings import RecordingRow, State
from app.db.engine import Database
from app.main import create_app
from app.process import Process, Role
from app.settings import Settings
from app.simulator import Faults, Simulator, SimulatorSettings, Timing, serving
from tests.conftest import SECRETS, answer_to
from tests.factories_calls import ACCOUNT, seed_call

GENEROUS = {"Light": 10_000, "Medium": 10_000, "Heavy": 10_000, "Auth": 10_000}
PLAIN = Timing(provisional_share=0.0, straggler_share=0.0, correction_share=0.0, retention=1e6)
"""Active Calls shows a call for as long as any test takes."""

Json = dict[str, Any]


PATIENCE_SECONDS = 60.0
"""How long a request may take: a busy machine must not decide a test."""


@dataclass
class Stage:
    """The simulator, the service, and a reader of it."""

    simulator: Simulator
    app: FastAPI
    reader: httpx.AsyncClient
    settings: Settings

    @property
    def process(self) -> Process:
        process: Process = self.app.state.process
        return process

    @property
    def database(self) -> Database:
        return self.process.database

    def faults(self, **switches: Any) -> None:
        self.simulator.faults = Faults(**switches)

    def asked(self, part: str = "/restapi/v1.0/account") -> list[Json]:
        """The requests that RingCentral got, oldest first."""
        return [one for one in self.simulator.requests if part in one["path"]]

    async def play(self, script: str, **wishes: Any) -> Json:
        """Let a call happen and wait for its end; return its truth."""
        async with httpx.AsyncClient(
            base_url=self.simulator.links.platform, trust_env=False, timeout=PATIENCE_SECONDS
        ) as control:
            answer = await control.post("/_sim/calls", json={"script": script} | wishes)
            assert answer.status_code == 200, answer.text
            name = answer.json()[0]["id"]

            async def ended() -> Json | None:
                truth: Json = (await control.get(f"/_sim/calls/{name}")).json()
                ready = [one["readyAt"] for session in truth["sessions"] for one in session["recordings"]]
                last = max([truth["endedAt"], *filter(None, ready)])
                now: str = (await control.get("/_sim/clock")).json()["now"]
                return truth if now > last else None

            return await answer_to(ended)

    async def recorded(self, **wishes: Any) -> str:
        """Let a recorded call happen; return the id of its recording."""
        truth = await self.play("inbound_recorded_with_hold", talkSeconds=60, **wishes)
        return str(truth["sessions"][0]["recordings"][0]["id"])

    async def whole(self, recording_id: str) -> bytes:
        """The sound as RingCentral has it."""
        from app.simulator.platform import audio

        known = self.simulator.recording(recording_id)
        assert known is not None
        return audio.make_audio(
            known.recording.id, known.recording.seconds, self.simulator.faults.recording_format
        )

    async def know(self, recording_id: str, state: State = State.READY, **fields: Any) -> str:
        """Let a call of ours name the recording; return the call's id."""
        call = await seed_call(self.database, has_recording=True)
        now = self.process.clock.now()
        row = RecordingRow(
            account_id=ACCOUNT, recording_id=recording_id, call_id=call.call_id, state=state,
            type="Automatic",
            content_uri=self.simulator.links.content(recording_id), created_at=now, updated_at=now,
        )  # fmt: skip
        content_type = fields.pop("content_type", None)
        async with self.database.write() as db:
            await recordings.save(db, [replace(row, **fields)])
            await recordings.change(db, ACCOUNT, recording_id, content_type=content_type)
        return call.call_id


def simulated(**fields: Any) -> SimulatorSettings:
    given: Json = {"port": 0, "media_port": 0, "speed": 1000.0, "rate_limits": GENEROUS, "timing": PLAIN}
    return SimulatorSettings(**(given | fields))


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """Signals are the test runner's."""


@asynccontextmanager
async def staged(
    make_settings: Any, database_url: str, simulator_settings: SimulatorSettings, **values: Any
) -> AsyncIterator[Stage]:
    async with serving(simulator_settings) as simulator:
        settings: Settings = make_settings(
            **{
                "database_url": database_url,
                "rc_server_url": simulator.links.platform,
                "rc_media_url": simulator.links.media,
                "rc_client_id": simulator.settings.client_id,
                "rc_client_secret": simulator.settings.client_secret,
                "rc_jwt": simulator.settings.jwt,
                "rate_limit_heavy": 10_000,
            }
            | values
        )
        app = create_app(settings, role=Role.WEB)
        config = uvicorn.Config(
            app, host="127.0.0.1", port=0, log_config=None, access_log=False, timeout_graceful_shutdown=1
        )
        server = _Server(config)
        serving_task = asyncio.create_task(server.serve())
        try:
            while not server.started:
                await asyncio.sleep(0.01)
                assert not serving_task.done(), serving_task.result()
            port = server.servers[0].sockets[0].getsockname()[1]
            async with (
                app.state.process.database.write() as db,
            ):
                await accounts.bind(db, ACCOUNT, app.state.process.clock.now())
            async with httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}",
                headers={"Authorization": f"Bearer {SECRETS['api_key']}"},
                trust_env=False,
                timeout=PATIENCE_SECONDS,
            ) as reader:
                yield Stage(simulator, app, reader, settings)
        finally:
            server.should_exit = True
            await serving_task
