"""The listening page in a real Chromium, which plays an archived recording, with and without a sign-in."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, Page, expect

from app.calls import accounts
from app.calls.media import recordings
from app.calls.media.recordings import RecordingRow, State
from app.clock import SystemClock
from app.db.engine import Database
from app.simulator.platform.audio import make_audio
from tests.cluster import free_port
from tests.conftest import SECRETS
from tests.e2e.test_dashboard import open_page, running
from tests.factories_calls import ACCOUNT, seed_call

pytestmark = pytest.mark.asyncio(loop_scope="session")  # that of the browser

RECORDING = "3019664700"
SECONDS = 3


async def seed_archived(url: str, archive: Path) -> None:
    """A call whose recording is in the archive."""
    sound = make_audio(RECORDING, SECONDS, "wav")
    (archive / "a.wav").write_bytes(sound)
    now = SystemClock().now()
    database = Database(url)
    try:
        async with database.write() as db:
            await accounts.open_unbound(db, now)
            await accounts.bind(db, ACCOUNT, now)
        call = await seed_call(database, has_recording=True)
        row = RecordingRow(
            account_id=ACCOUNT, recording_id=RECORDING, call_id=call.call_id, state=State.READY,
            type="Automatic", created_at=now, updated_at=now,
        )  # fmt: skip
        archived: dict[str, Any] = {
            "content_type": "audio/wav",
            "archive_path": "a.wav",
            "archive_bytes": len(sound),
            "archive_sha256": hashlib.sha256(sound).hexdigest(),
            "archived_at": now,
        }
        async with database.write() as db:
            await recordings.save(db, [replace(row)])
            await recordings.change(db, ACCOUNT, RECORDING, **archived)
    finally:
        await database.close()


async def make_link(base: str) -> str:
    headers = {"Authorization": f"Bearer {SECRETS['api_key']}"}
    async with httpx.AsyncClient(base_url=base, headers=headers, timeout=60) as client:
        made = await client.post(f"/v1/recordings/{RECORDING}/links", json={})
        assert made.status_code == 201, made.text
        return str(made.json()["url"])


async def play(page: Page) -> None:
    """Play to the end, as fast as the browser can; the player has read the length and can seek."""
    player = page.locator("audio")
    await expect(player).to_be_visible()
    ended = await player.evaluate(
        """async (player) => {
            player.muted = true;
            await player.play();
            player.currentTime = player.duration - 0.1;
            await new Promise((resolve) => player.addEventListener("ended", resolve));
            return player.duration;
        }"""
    )
    assert ended == pytest.approx(SECONDS, abs=0.2)


@pytest.mark.parametrize("takes_sign_in", [False, True])
async def test_a_person_listens_by_a_link(
    browser: Browser, sqlite_url: str, make_settings: Any, tmp_path: Path, takes_sign_in: bool
) -> None:
    await seed_archived(sqlite_url, tmp_path)
    port = free_port()
    settings = make_settings(
        database_url=sqlite_url,
        public_url=f"http://127.0.0.1:{port}",
        archive_url=tmp_path.as_uri(),
        listen_sign_in=takes_sign_in,
    )
    with running(settings, port) as base:
        link = await make_link(base)
        async with open_page(browser) as page:
            await page.goto(link)
            if takes_sign_in:
                await page.wait_for_url("**?checked")
                await expect(page.locator("audio")).to_have_count(0)
                await page.get_by_label("API key").fill(SECRETS["api_key"])
                await page.get_by_role("button", name="Sign in").click()
                await page.wait_for_url(link)
            await play(page)
