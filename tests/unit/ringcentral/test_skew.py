"""How far our clock is off, from the dates of responses."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st

from app.errors import PermissionMissing
from app.ringcentral.auth import MemoryTokenStore
from app.ringcentral.client import connect
from app.ringcentral.skew import Estimate, Skew, SkewMeter, read_skew, weigh
from app.ringcentral.transport import Meters
from tests.fakes.clock import FakeClock
from tests.unit.ringcentral.conftest import AUTH, CONFIG
from tests.unit.ringcentral.doubles import NOON, Ledger

NOW = datetime(2026, 3, 10, 18, 7, 41, 250_000, tzinfo=UTC)


def dated(moment: datetime, **headers: str) -> dict[str, str]:
    """The headers of a response made at this moment of RingCentral's clock."""
    return {"date": format_datetime(moment.replace(microsecond=0), usegmt=True), **headers}


def heard(meter: SkewMeter, ahead: float, after: float = 0.0, trip: float = 0.1) -> None:
    """One response, made halfway through the trip, `after` seconds from now by our clock, off by `ahead`."""
    sent_at = NOW + timedelta(seconds=after)
    made_at = sent_at + timedelta(seconds=trip / 2 - ahead)
    meter.observe(dated(made_at), sent_at, sent_at + timedelta(seconds=trip))


def test_one_response_gives_the_skew_within_a_second_and_the_round_trip() -> None:
    skew = read_skew(dated(NOW), NOW, NOW + timedelta(seconds=0.1))
    assert skew is not None
    assert [skew.low, skew.high] == pytest.approx([-0.75, 0.35])
    assert skew.least == 0


@pytest.mark.parametrize(("ahead", "least"), [(0.9, 0.0), (5.0, 4.0), (-5.0, -4.0), (90.0, 89.0)])
def test_the_smallest_skew_that_explains_a_response_is_used(ahead: float, least: float) -> None:
    meter = SkewMeter()
    heard(meter, ahead)
    assert meter.skew is not None
    assert meter.skew.least == pytest.approx(least, abs=1.0)
    assert abs(meter.skew.least) <= abs(ahead)


@given(
    st.floats(-600, 600),
    st.lists(st.tuples(st.floats(0, 3600), st.floats(0.01, 9.0)), min_size=1, max_size=30),
)
def test_the_true_difference_always_lies_within_the_bounds(
    ahead: float, answers: list[tuple[float, float]]
) -> None:
    meter = SkewMeter()
    for after, trip in answers:
        heard(meter, ahead, after, trip)
    assert meter.skew is not None
    assert meter.skew.low - 1e-5 <= ahead <= meter.skew.high + 1e-5
    assert meter.skew.most >= abs(ahead) - 1e-5


def test_many_responses_narrow_the_skew() -> None:
    meter = SkewMeter()
    for step in range(20):
        heard(meter, 3.0, after=step * 1.13)
    assert meter.skew is not None
    assert meter.skew.least == pytest.approx(3.0, abs=0.2)


def test_a_changed_clock_is_believed_at_the_second_response() -> None:
    known = weigh(weigh(None, Skew(4.0, 5.0)), Skew(4.5, 5.5))
    assert known == Estimate(Skew(4.5, 5.0))
    doubting = weigh(known, Skew(-0.5, 0.5))
    assert doubting.skew == known.skew
    assert weigh(doubting, Skew(-0.2, 0.8)) == Estimate(Skew(-0.2, 0.5))


def test_one_odd_server_among_many_changes_nothing() -> None:
    known = weigh(None, Skew(-0.5, 0.5))
    for _ in range(5):
        known = weigh(weigh(known, Skew(7.0, 8.0)), Skew(-0.4, 0.6))
    assert known.skew == Skew(-0.4, 0.5)


@pytest.mark.parametrize(
    "headers",
    [{}, {"date": ""}, {"date": "yesterday"}, {"date": "Tue, 99 Mar 2026"}, dated(NOW, age="3600")],
)
def test_a_response_without_a_date_of_its_own_is_ignored(headers: dict[str, str]) -> None:
    assert read_skew(headers, NOW, NOW) is None
    meter = SkewMeter()
    meter.observe(headers, NOW, NOW)
    assert meter.skew is None


def test_a_date_without_a_zone_is_none() -> None:
    assert read_skew({"date": "Tue, 10 Mar 2026 18:07:41 -0000"}, NOW, NOW) is None


async def test_every_response_is_observed_including_refusals(
    ringcentral: respx.MockRouter, clock: FakeClock, budget: Ledger, store: MemoryTokenStore
) -> None:
    meters = Meters.made(clock)
    behind = dated(NOON - timedelta(seconds=30))
    ringcentral.get("/restapi/v1.0/subscription").respond(403, headers=behind, json={"errorCode": "CMN-401"})
    async with httpx.AsyncClient() as http:
        client = connect(http, CONFIG, AUTH, store=store, budget=budget, clock=clock, meters=meters)
        await client.fetch_token()
        assert meters.skew.skew is None
        with pytest.raises(PermissionMissing):
            await client.list_subscriptions()
    assert meters.skew.skew == Skew(29.0, 30.0)
