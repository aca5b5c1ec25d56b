"""Which calls are on the board."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.calls.model import Source, Stage
from app.ops.dashboard.board import STAY_SECONDS, Lane, choose

NOW = datetime(2026, 3, 10, 18, 10, tzinfo=UTC)


def waiting(number: int, begun: float = 60) -> Lane:
    return Lane(
        call_id=f"call_{number}",
        stage=Stage.ENDED,
        started_at=NOW - timedelta(seconds=begun),
        ended_at=NOW - timedelta(seconds=5),
        window_closes_at=NOW + timedelta(seconds=115),
    )


def live(number: int, begun: float = 10) -> Lane:
    return Lane(call_id=f"call_{number}", stage=Stage.LIVE, started_at=NOW - timedelta(seconds=begun))


def done(number: int, begun: float = 300, found: float = 100) -> Lane:
    return Lane(
        call_id=f"call_{number}",
        stage=Stage.FINAL,
        started_at=NOW - timedelta(seconds=begun),
        bootstrapped_at=NOW - timedelta(seconds=found),
        bootstrapped_by=Source.ACTIVE_CALLS,
    )


def ids(lanes: list[Lane]) -> list[str]:
    return [lane.call_id for lane in lanes]


LANES = st.lists(
    st.builds(
        lambda make, number, begun: make(number, begun),
        st.sampled_from([waiting, live, done]),
        st.integers(0, 10_000),
        st.floats(0, 3000),
    ),
    max_size=40,
    unique_by=lambda lane: lane.call_id,
)


@given(LANES, st.integers(1, 12))
def test_waiting_call_keeps_its_lane(lanes: list[Lane], size: int) -> None:
    shown = frozenset(ids(choose(lanes, frozenset(), NOW, size)))
    crowd = [waiting(20_000 + number, 1) for number in range(30)]
    still = choose([*lanes, *crowd], shown, NOW, size)
    kept = {lane.call_id for lane in lanes if lane.call_id in shown and lane.stage == Stage.ENDED}
    assert kept <= set(ids(still))
    assert len(still) == size


@given(LANES)
def test_latest_start_comes_first(lanes: list[Lane]) -> None:
    begun = [lane.started_at for lane in choose(lanes, frozenset(), NOW)]
    assert begun == sorted(begun, reverse=True)


def test_board_shows_last_calls_of_a_quiet_company() -> None:
    lanes = [done(number, begun=100 + number) for number in range(5)]
    assert ids(choose(lanes, frozenset({"call_4", "call_3"}), NOW, size=2)) == ["call_0", "call_1"]


def test_waiting_call_replaces_a_finished_one() -> None:
    assert ids(choose([done(1), live(2), waiting(3)], frozenset({"call_1", "call_2"}), NOW, size=2)) == [
        "call_2",
        "call_3",
    ]


def test_found_call_stays_on_the_board_for_some_seconds() -> None:
    just = done(1, found=STAY_SECONDS - 1)
    past = done(1, found=STAY_SECONDS + 1)
    assert ids(choose([just, waiting(2)], frozenset({"call_1"}), NOW, size=1)) == ["call_1"]
    assert ids(choose([past, waiting(2)], frozenset({"call_1"}), NOW, size=1)) == ["call_2"]
