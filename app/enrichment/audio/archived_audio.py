"""Reads audio from the archive, the whole or a part of it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass

import structlog

from app.calls.media.rows import MediaRow
from app.enrichment.audio.archive_store import Archive
from app.enrichment.audio.audio_stream import AudioStream, OutOfRangeError
from app.enrichment.audio.byte_ranges import ByteRange, Span, is_same_version, satisfy
from app.errors import ArchiveUnavailable

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PlayableAudio:
    """A stream with what is known of the whole. `sha256`: in hex, of archived audio."""

    stream: AudioStream
    content_type: str | None
    sha256: str | None = None


def etag_of(sha256: str) -> str:
    """Return the ETag of archived audio."""
    return f'"{sha256}"'


async def open_archived(
    archive: Archive | None, rows: Sequence[MediaRow], asked: ByteRange | None, if_range: str | None
) -> AbstractAsyncContextManager[PlayableAudio] | None:
    """Return the archived audio of these rows, to be entered; None if it cannot be had there.

    The whole is returned if `if_range` names another version than the archived one. Raises OutOfRangeError.
    """
    row = next((row for row in rows if row.archive_path is not None), None)
    if row is None or archive is None:
        return None
    try:
        if await archive.size(str(row.archive_path)) != row.archive_bytes:
            log.warning("archived audio is missing", path=row.archive_path)
            return None
    except ArchiveUnavailable as error:
        log.warning("the archive cannot be read", why=str(error))
        return None
    total = int(row.archive_bytes or 0)
    if not is_same_version(if_range, etag_of(str(row.archive_sha256))):
        asked = None
    span = satisfy(asked, total) if asked is not None else Span(0, total - 1, total)
    if span is None:
        raise OutOfRangeError(total)
    return _opened(archive, row, span, is_part=asked is not None)


@asynccontextmanager
async def _opened(
    archive: Archive, row: MediaRow, span: Span, *, is_part: bool
) -> AsyncIterator[PlayableAudio]:
    last = -1 if span.last is None else span.last
    async with aclosing(archive.read(str(row.archive_path), span.first, last)) as chunks:
        yield PlayableAudio(
            AudioStream(span, is_part, row.content_type, chunks), row.content_type, row.archive_sha256
        )
