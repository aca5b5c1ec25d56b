"""Whatever stalls, and for how long: every call ends final, as the last word on it was."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any, TypeVar, cast

import pytest

from app.enrichment.call_log.extract_sync import CallLogFeed
from app.enrichment.call_log.reader import CallLogReader
from app.enrichment.recordings.recording_plan import RecordingPlan
from app.enrichment.recordings.watcher import RecordingWatcher
from app.ringcentral.models import BulkItem, Recording, RecordsPage, RecordsSync
from tests.fakes.clock import START, FakeClock
from tests.fakes.context import accounts_context, work_context
from tests.fakes.desk import PLAN, Desk
from tests.fakes.ringcentral import FakeConnections, FakeRingCentral
from tests.integration.enrichment.call_log.test_reader import detailed

CALLS = 6
Row = dict[str, Any]
T = TypeVar("T")


class SlowRingCentral(FakeRingCentral):
    """Its Call Log goes on changing, and requests and responses take up to a minute."""

    def __init__(self, clock: FakeClock, chance: Random) -> None:
        super().__init__(clock)
        self.moving = clock
        self.chance = chance
        self.versions: list[tuple[datetime, Row]] = []

    def tell(self, at: datetime, row: Row) -> None:
        """Let the Call Log have this from a moment on."""
        self.versions.append((at, row | {"lastModifiedTime": at.isoformat()}))
        self.versions.sort(key=lambda version: version[0])

    def dawdle(self) -> None:
        likely = self.chance.random() < 0.7
        self.moving.advance(self.chance.uniform(0.0, 0.5 if likely else 70.0))

    def look(self) -> None:
        """Let the request arrive: from then on the answer is what it is."""
        self.dawdle()
        now = self.moving.now()
        rows = [row | {"changed": number} for number, (at, row) in enumerate(self.versions, 1) if at <= now]
        self.log = list({row["id"]: row for row in rows}.values())

    async def fetch_call_log_by_session(self, session_id: str, **named: Any) -> RecordsPage:
        return await self._slowly(super().fetch_call_log_by_session, session_id, **named)

    async def fetch_call_log_window(self, *dates: datetime, **named: Any) -> RecordsPage:
        return await self._slowly(super().fetch_call_log_window, *dates, **named)

    async def fetch_call_records(self, *ids: Any, **named: Any) -> list[BulkItem]:
        return await self._slowly(super().fetch_call_records, *ids, **named)

    async def fetch_call_log_changes(self, *place: Any, **named: Any) -> RecordsSync | None:
        return await self._slowly(super().fetch_call_log_changes, *place, **named)

    async def fetch_recording(self, recording_id: str, **named: Any) -> Recording | None:
        self.look()
        can_be_heard = any(recording_id == (row.get("recording") or {}).get("id") for row in self.log)
        self.dawdle()
        return Recording(id=recording_id, content_type="audio/mpeg") if can_be_heard else None

    async def _slowly(self, fetch: Callable[..., Awaitable[T]], *given: Any, **named: Any) -> T:
        sent_at = self.moving.now()
        self.look()
        answer = await fetch(*given, **named)
        self.dawdle()
        return cast("T", _sent(answer, sent_at))


def _sent(answer: Any, at: datetime) -> Any:
    """Date an answer as the client does, by the request's leaving."""
    if isinstance(answer, list):
        return [replace(item, sent_at=at) for item in answer]
    return answer and replace(answer, sent_at=at)


def story(desk: Desk, ringcentral: SlowRingCentral, number: int, chance: Random) -> None:
    """Let a call's record appear, get its recording, and be corrected, in any order and up to two minutes
    late."""
    row = detailed(desk, number)
    row.pop("lastModifiedTime")
    address = f"{desk.settings.rc_media_url}/rc{number}/content"
    named: Row = {"recording": {"id": f"rc{number}", "type": "Automatic", "contentUri": address}}
    corrected: Row = {"result": "Call connected"}
    ended_at = START + timedelta(seconds=20 * number)
    moment, shown = ended_at + timedelta(seconds=chance.uniform(5, 60)), row
    ringcentral.tell(moment, shown)
    for more in chance.sample([named, corrected], k=2):
        moment += timedelta(seconds=chance.uniform(0, 55))
        shown = shown | more
        ringcentral.tell(moment, shown)


@pytest.mark.parametrize("has_feed", [True, False], ids=["feed", "no feed"])
@pytest.mark.parametrize("seed", range(6))
async def test_every_call_ends_final_with_the_last_word_on_it(desk: Desk, has_feed: bool, seed: int) -> None:
    chance = Random(seed)
    ringcentral = SlowRingCentral(desk.clock, chance)
    ringcentral.has_feed = has_feed
    ringcentral.page_size = chance.choice([2, 1000])
    for number in range(1, CALLS + 1):
        ended_at = START + timedelta(seconds=20 * number)
        await desk.end_call(number, ended_at=ended_at, read_at=ended_at + timedelta(seconds=30))
        story(desk, ringcentral, number, chance)
    connections = FakeConnections(ringcentral, desk.settings, desk.database, desk.clock)
    feed = CallLogFeed(work_context(desk.database, desk.clock, replica="one", lease_seconds=900.0), PLAN)
    reader = CallLogReader(accounts_context(desk.database, desk.clock, connections), PLAN, feed=feed)
    watcher = RecordingWatcher(
        accounts_context(desk.database, desk.clock, connections), RecordingPlan(gaps=(60.0, 120.0, 300.0))
    )
    until = START + timedelta(seconds=1200)
    while desk.clock.now() < until:
        pauses = [await reader.step(), await watcher.step(), 10.0]
        desk.clock.advance(max(0.1, min(pause for pause in pauses if pause is not None)))
    shown = {number: await desk.call(number) for number in range(1, CALLS + 1)}
    assert {number: call.stage for number, call in shown.items()} == dict.fromkeys(shown, "final")
    assert {call.result for call in shown.values()} == {"Call connected"}
    assert {call.readiness["recording"]["state"] for call in shown.values()} == {"ready"}
    assert len(ringcentral.asked) < 120
