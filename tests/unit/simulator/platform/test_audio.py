"""The audio of recordings and its byte ranges."""

import io
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.simulator.platform.audio import RangeMode, Slice, choose_slice, make_audio


def test_wav_has_the_length_of_its_recording() -> None:
    with wave.open(io.BytesIO(make_audio("3019664700", 2.5, "wav"))) as sound:
        assert sound.getnframes() / sound.getframerate() == 2.5


def test_mp3_starts_with_a_tag_and_consists_of_frames() -> None:
    content = make_audio("3019664700", 3.6, "mp3")
    assert content.startswith(b"ID3")
    assert content.count(b"\xff\xf3\x18\xc4") == 100


def test_each_recording_has_its_own_constant_audio() -> None:
    assert make_audio("1", 1.0, "mp3") == make_audio("1", 1.0, "mp3") != make_audio("2", 1.0, "mp3")


@pytest.mark.parametrize(
    ("asked", "mode", "expected"),
    [
        (None, "supported", Slice(200, 0, 99)),
        ("bytes=0-9", "supported", Slice(206, 0, 9)),
        ("bytes=90-", "supported", Slice(206, 90, 99)),
        ("bytes=-5", "supported", Slice(206, 95, 99)),
        ("bytes=90-500", "supported", Slice(206, 90, 99)),
        ("bytes=100-", "supported", None),
        ("bytes=9-3", "supported", None),
        ("bytes=-0", "supported", None),
        ("lines=1-2", "supported", Slice(200, 0, 99)),
        ("bytes=x-y", "supported", Slice(200, 0, 99)),
        ("bytes=0-9", "ignored", Slice(200, 0, 99)),
        (None, "unasked", Slice(206, 0, 49)),
        ("bytes=50-", "unasked", Slice(206, 50, 99)),
    ],
)
def test_the_mode_determines_the_response_to_a_range(
    asked: str | None, mode: RangeMode, expected: Slice | None
) -> None:
    assert choose_slice(asked, 100, mode) == expected


@given(st.text(max_size=20), st.integers(1, 1000))
def test_no_range_header_selects_bytes_outside_the_content(asked: str, total: int) -> None:
    part = choose_slice(f"bytes={asked}", total, "supported")
    assert part is None or 0 <= part.first <= part.last < total
