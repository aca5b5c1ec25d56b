"""One look finds for several loops whether something is due."""

from collections.abc import Collection
from datetime import timedelta

from app.calls import store
from app.calls.media import recordings
from app.db.engine import Database
from app.enrichment.polling import targets
from app.enrichment.sweeps import rows as sweep_rows
from app.ids import AccountId
from app.push.sending.turns import ANY_DUE
from app.push.spreading.spread import ANY_BEHIND
from app.webhooks.folding import due_calls, unfolded
from app.work.context import WorkContext
from app.work.lookout import Lookout
from app.work.loops import Loop
from tests.fakes.clock import FakeClock

ACCOUNT = AccountId("37439510")
CONDITIONS = {
    "fold": unfolded.ANY_WAITING,
    "ends": due_calls.ANY_DUE,
    "polls": targets.ANY_WAITING,
    "readings": store.ANY_READING_DUE,
    "sweeps": sweep_rows.ANY_DUE,
    "recordings": recordings.TABLE.any_due(recordings.OPEN),
    "push": ANY_BEHIND,
    "webhooks": ANY_DUE,
    "upkeep": None,
}


async def _nothing() -> float | None:
    return None


async def test_a_look_wakes_the_loops_that_have_something_due(database: Database) -> None:
    clock, woken = FakeClock(), list[str]()

    def wake(topics: Collection[str]) -> None:
        woken.extend(topics)

    loops = [Loop(name, _nothing, (), 60.0, is_due=is_due) for name, is_due in CONDITIONS.items()]
    lookout = Lookout(WorkContext(database=database, clock=clock, replica="one"), wake, loops)
    async with database.write() as db:
        await sweep_rows.open_regular(db, ACCOUNT, clock.now(), timedelta(seconds=60))
    await lookout.step()
    assert woken == []
    clock.advance(61)
    await lookout.step()
    assert woken == ["due:sweeps"]
    async with database.write() as db:
        (due,) = await sweep_rows.find_due(db, clock.now())
        await sweep_rows.claim(db, due, "another", clock.now(), 15.0)
    await lookout.step()
    assert woken == ["due:sweeps"], "another replica has it"
    clock.advance(16)
    await lookout.step()
    assert woken == ["due:sweeps"] * 2
