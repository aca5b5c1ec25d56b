"""How the dashboard writes values."""

import pytest

from app.ops.dashboard import wording as view


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "–"),
        (3.44, "3.4 s"),
        (99.96, "1 min 40 s"),
        (7260, "2 h 01 min"),
        (604_799, "6 d 23 h"),
    ],
)
def test_durations_are_abbreviated(seconds: float | None, said: str) -> None:
    assert view.format_duration(seconds) == said


@pytest.mark.parametrize(("value", "size"), [("42 s", ""), ("1 min 5 s", "long"), ("1 min 53 s", "longer")])
def test_long_values_are_set_smaller(value: str, size: str) -> None:
    assert view.figure(value, "")["size"] == size
