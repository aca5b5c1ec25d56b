"""Did we lose a call yesterday? On both databases."""

from datetime import date, timedelta
from typing import Any

import httpx
import pytest

from app.calls.model import Stage
from app.db.engine import Database
from app.enrichment import gaps
from app.enrichment.gaps import Reason
from app.enrichment.sweeps import rows as sweep_rows
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.ops.figures.completeness import add_up
from tests.factories_calls import seed_call
from tests.fakes.clock import START, FakeClock
from tests.integration.ops.figures.test_figures import seed_delivery

YESTERDAY = START - timedelta(days=1)


async def seed(database: Database, stage: Stage, ended_at: Any = YESTERDAY, **fields: Any) -> str:
    started_at = ended_at and ended_at - timedelta(seconds=96)
    values = {"started_at": started_at, "ended_at": ended_at, "window_closes_at": None}
    return (await seed_call(database, stage=stage, **values | fields)).call_id


async def test_every_call_of_a_day_is_accounted_for(
    database: Database, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    for stage in (Stage.FINAL, Stage.FINAL, Stage.RECONCILED, Stage.BOOTSTRAPPED, Stage.ENDED):
        await seed(database, stage)
    await seed(database, Stage.FINAL, source="sweep")
    await seed(database, Stage.ABSENT, absent_reason="test-call")
    await seed(database, Stage.ABSENT, absent_reason="never-logged")
    await seed(database, Stage.LIVE, ended_at=YESTERDAY)
    await seed(database, Stage.FINAL, START - timedelta(minutes=5))
    response = await client.get("/v1/ops/gaps")
    assert response.status_code == 200
    yesterday, today = response.json()["days"]
    assert yesterday == {
        "day": "2026-03-09", "ended": 8, "final": 3, "reconciled": 1, "bootstrapped": 1, "open": 1,
        "absent": {"test-call": 1, "never-logged": 1}, "swept": 1, "removed": 0,
    }  # fmt: skip
    assert (today["day"], today["ended"], today["final"]) == ("2026-03-10", 1, 1)


async def test_calls_without_record_are_listed_with_the_reason(
    database: Database, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    absent = await seed(database, Stage.ABSENT, absent_reason="never-logged", read_at=None)
    next_look = START + timedelta(minutes=4)
    overdue = await seed(
        database, Stage.ENDED, START - timedelta(minutes=9), window_closes_at=START - timedelta(minutes=7),
        read_at=next_look,
    )  # fmt: skip
    await seed(
        database, Stage.ENDED, START - timedelta(minutes=1), window_closes_at=START + timedelta(minutes=1)
    )
    await seed(database, Stage.FINAL)
    shown = (await client.get("/v1/ops/gaps")).json()["calls"]
    assert [(call["callId"], call["stage"], call["reason"]) for call in shown] == [
        (overdue, "ended", "not-in-the-call-log-yet"),
        (absent, "absent", "never-logged"),
    ]
    assert shown[0]["nextLookAt"].startswith("2026-03-10T18:11:41")
    assert shown[1]["nextLookAt"] is None


async def test_gaps_are_listed_with_the_calls_they_cost(
    database: Database, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    async with database.write() as db:
        await gaps.note_gap(
            db, UNBOUND_ACCOUNT, Reason.SUSPENDED, START - timedelta(hours=3), START - timedelta(hours=2),
            START, sweep_after=timedelta(seconds=60), detail="Read timed out",
        )  # fmt: skip
        await gaps.note_gap(
            db, UNBOUND_ACCOUNT, Reason.MISSING, START - timedelta(hours=1), None, START,
            sweep_after=timedelta(seconds=60),
        )  # fmt: skip
        await sweep_rows.open_regular(db, UNBOUND_ACCOUNT, START, timedelta(seconds=900))
    await seed(database, Stage.FINAL, START - timedelta(hours=2, minutes=30), source="sweep")
    await seed(database, Stage.FINAL, START - timedelta(hours=2, minutes=40))
    shown = (await client.get("/v1/ops/gaps")).json()
    assert [gap["found"] for gap in shown["deliveries"]] == [0, 1]
    assert [(gap["reason"], gap["state"], gap["detail"]) for gap in shown["deliveries"]] == [
        ("subscription-missing", "lasting", None),
        ("subscription-suspended", "waiting", "Read timed out"),
    ]
    assert shown["deliveries"][0]["to"] is None
    assert shown["deliveries"][1]["from"].startswith("2026-03-10T15:07:41")
    assert shown["lastLookAt"] is None


async def test_gaps_include_dead_letters(
    database: Database, client: httpx.AsyncClient, account: AccountId, clock: FakeClock
) -> None:
    await seed_delivery(database, "1", "ignored: test-call")
    shown = (await client.get("/v1/ops/gaps?days=3")).json()
    assert len(shown["days"]) == 3
    assert shown["deadLetters"] == [{"reason": "ignored: test-call", "count": 1}]


@pytest.mark.parametrize("days", ["0", "400", "x"])
async def test_invalid_period_is_refused(client: httpx.AsyncClient, days: str) -> None:
    assert (await client.get(f"/v1/ops/gaps?days={days}")).status_code == 422


def test_days_without_calls_are_listed() -> None:
    counted = add_up(
        [(20_522, "final", None, True, 2), (20_522, "absent", None, False, 1)], date(2026, 3, 9), 3
    )
    assert [(day.day.day, day.ended, day.swept) for day in counted] == [(9, 0, 0), (10, 3, 2), (11, 0, 0)]
    assert counted[1].absent == {"unknown": 1}


async def test_calls_in_doubt_are_listed(
    database: Database, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    async with database.write() as db:
        await gaps.note_gap(
            db, UNBOUND_ACCOUNT, Reason.NOT_STORED, START - timedelta(hours=1), START - timedelta(minutes=50),
            START, sweep_after=timedelta(seconds=60),
        )  # fmt: skip
    began = START - timedelta(minutes=70)
    after = START - timedelta(minutes=40)
    in_doubt = await seed(database, Stage.LIVE, started_at=began, ended_at=None, state_known_at=began)
    await seed(database, Stage.LIVE, started_at=began, ended_at=None, state_known_at=after)
    await seed(database, Stage.LIVE, started_at=after, ended_at=None)
    silent = await seed(
        database, Stage.LIVE, started_at=START - timedelta(hours=9), ended_at=None,
        state_known_at=START - timedelta(hours=5), ask_at=START + timedelta(minutes=5),
    )  # fmt: skip
    shown = (await client.get("/v1/ops/gaps")).json()["live"]
    assert [(call["callId"], call["reason"], call["nextLookAt"]) for call in shown] == [
        (silent, "live-for-too-long", "2026-03-10T18:12:41.000Z"),
        (in_doubt, "not-asked-since-the-gap", None),
    ]
    assert shown[1]["since"] == "2026-03-10T16:57:41.000Z"
