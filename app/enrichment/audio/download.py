"""Downloads audio into a partial file that survives failures and restarts."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from app.clock import Clock
from app.enrichment.audio.audio_stream import AudioSource, AudioStream, OutOfRangeError, open_audio_stream
from app.enrichment.audio.byte_ranges import ByteRange
from app.errors import RequestRefused, RingCentralError

LARGEST_BYTES = 4 * 1024**3
_OVERLAP_BYTES = 16 * 1024
"""This much of a partial file is fetched again and compared: RingCentral gives no version of the audio, and
halves of two versions do not fit together."""

_PIECE_BYTES = 64 * 1024
_PIECE_SECONDS = 1.0
"""A crash may lose this much of a download, or what arrived in this time."""


class MismatchError(Exception):
    """The bytes that arrived do not fit the partial file."""


def part_of(spool: Path, account_id: str, name: str) -> Path:
    """Return the partial file of a recording or voicemail."""
    return spool / f"{quote(account_id, safe='')}-{quote(name, safe='')}.part"


async def download(source: AudioSource, part: Path, clock: Clock) -> str | None:
    """Complete the partial file; return the content type of the audio if it is known.

    Raises MismatchError, and deletes the file, if the audio has changed since.
    """
    have = await asyncio.to_thread(_size, part)
    asked = ByteRange(have - _OVERLAP_BYTES, None) if have > _OVERLAP_BYTES else None
    try:
        async with open_audio_stream(source, asked, deadline=clock.now()) as audio:
            await _write(audio, part, clock)
            return audio.content_type
    except (OutOfRangeError, MismatchError) as error:
        await asyncio.to_thread(part.unlink, missing_ok=True)
        raise MismatchError(str(error)) from error


async def _write(audio: AudioStream, part: Path, clock: Clock) -> None:
    """Append the stream to the file; both have to be equal where they overlap."""
    position = audio.span.first
    overlap = await asyncio.to_thread(_read_from, part, position) if position else b""
    await asyncio.to_thread(_truncate, part, position + len(overlap))
    async for chunk in _joined(audio.chunks, clock):
        position += len(chunk)
        if position > LARGEST_BYTES:
            raise RequestRefused(f"the audio has more than {LARGEST_BYTES} bytes")
        if not (chunk.startswith(overlap) or overlap.startswith(chunk)):
            raise MismatchError("the audio has changed during the download")
        await asyncio.to_thread(_append, part, chunk[len(overlap) :])
        overlap = overlap[len(chunk) :]
    if overlap:
        raise MismatchError("the partial file is longer than the audio")
    if audio.span.total not in {None, position}:
        raise MismatchError(f"{position} of {audio.span.total} bytes arrived")


async def _joined(chunks: AsyncIterator[bytes], clock: Clock) -> AsyncIterator[bytes]:
    """Join small chunks, so that the disk is used less often; also yield what arrived before a failure."""
    buffer, since = bytearray(), clock.monotonic()
    try:
        async for chunk in chunks:
            buffer += chunk
            if len(buffer) >= _PIECE_BYTES or clock.monotonic() - since >= _PIECE_SECONDS:
                yield bytes(buffer)
                buffer.clear()
                since = clock.monotonic()
    except RingCentralError:
        if buffer:
            yield bytes(buffer)
        raise
    if buffer:
        yield bytes(buffer)


def measure(file: Path) -> tuple[int, str]:
    """Return the size of a file and its SHA-256 in hex."""
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
        return opened.tell(), digest


def delete_leftovers(spool: Path, before: datetime) -> None:
    """Delete partial files unchanged since a moment: of calls that were erased, of a crash before the last
    try."""
    for part in spool.glob("*.part"):
        with suppress(FileNotFoundError):
            if part.stat().st_mtime < before.timestamp():
                part.unlink()


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _truncate(file: Path, size: int) -> None:
    with file.open("ab") as opened:
        opened.truncate(size)


def _read_from(file: Path, position: int) -> bytes:
    with file.open("rb") as opened:
        opened.seek(position)
        return opened.read()


def _append(file: Path, chunk: bytes) -> None:
    with file.open("ab") as opened:
        opened.write(chunk)
