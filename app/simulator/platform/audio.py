"""The audio of recordings, and the byte ranges of it that a request gets. No I/O."""

import struct
from dataclasses import dataclass
from typing import Literal

AudioFormat = Literal["mp3", "wav"]
RangeMode = Literal["supported", "ignored", "unasked"]

CONTENT_TYPES: dict[str, str] = {"mp3": "audio/mpeg", "wav": "audio/x-wav"}
_WAV_RATE = 8000
_MP3_FRAME = bytes((0xFF, 0xF3, 0x18, 0xC4)) + bytes(32)
"""One frame of silence: MPEG-2 layer III, 8 kbit/s, 16 kHz, mono, 36 ms."""

_MP3_FRAME_SECONDS = 0.036


def make_audio(recording_id: str, seconds: float, form: AudioFormat) -> bytes:
    """Return playable silence of this length, the same bytes for the same recording only."""
    return _wav(recording_id, seconds) if form == "wav" else _mp3(recording_id, seconds)


def _mp3(recording_id: str, seconds: float) -> bytes:
    text = b"\x00" + recording_id.encode()
    frame = b"TIT2" + struct.pack(">IH", len(text), 0) + text
    tag = b"ID3\x03\x00\x00" + struct.pack(">I", len(frame)) + frame
    return tag + _MP3_FRAME * max(1, round(seconds / _MP3_FRAME_SECONDS))


def _wav(recording_id: str, seconds: float) -> bytes:
    # The id in the first samples makes the bytes of each recording different.
    mark = recording_id.encode()
    samples = mark + b"\x80" * max(0, round(seconds * _WAV_RATE) - len(mark))
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36 + len(samples), b"WAVE", b"fmt ", 16, 1, 1, *_WAV_TAIL)
    return head + struct.pack("<4sI", b"data", len(samples)) + samples


_WAV_TAIL = (_WAV_RATE, _WAV_RATE, 1, 8)


@dataclass(frozen=True, slots=True)
class Slice:
    """The bytes of a response, `first` to `last` inclusive, and its status, 200 or 206."""

    status: int
    first: int
    last: int


def choose_slice(header: str | None, total: int, mode: RangeMode) -> Slice | None:
    """Choose the bytes for a Range header; None if the range cannot be satisfied.

    In mode `unasked` a request without a range gets the first half, as the media guide warns.
    """
    whole = Slice(200, 0, total - 1)
    if mode == "ignored":
        return whole
    if header is None:
        return Slice(206, 0, max(0, total // 2 - 1)) if mode == "unasked" else whole
    unit, _, span = header.partition("=")
    first_text, dash, last_text = span.partition("-")
    if unit.strip() != "bytes" or not dash or "," in span:
        return whole
    try:
        if not first_text:
            return Slice(206, max(0, total - int(last_text)), total - 1) if int(last_text) > 0 else None
        first, last = int(first_text), int(last_text) if last_text else total - 1
    except ValueError:
        return whole
    if first >= total or last < first:
        return None
    return Slice(206, first, min(last, total - 1))
