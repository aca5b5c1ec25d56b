"""The archive, which stores audio for longer than RingCentral does: a folder, or a bucket of an S3-compatible
store.

A file is saved completely or not at all. Paths consist of `/`-separated segments without dots.
"""

import asyncio
import errno
import os
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from datetime import datetime
from glob import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlsplit

from app.errors import ArchiveUnavailable, SettingsError
from app.settings import Settings

_CHUNK_BYTES = 256 * 1024
_SAVING = ".saving-"
_SUFFIXES = {
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
}


def suffix_of(content_type: str | None) -> str:
    """Return the usual ending of a file with this content type."""
    return _SUFFIXES.get((content_type or "").partition(";")[0].strip().lower(), "bin")


def archive_path(account_id: str, recording_id: str, started_at: datetime, content_type: str | None) -> str:
    """Return the path of a recording in the archive: account, year, month, id."""
    account, name = (quote(part, safe="").replace(".", "%2E") for part in (account_id, recording_id))
    return f"{account}/{started_at:%Y/%m}/{name}.{suffix_of(content_type)}"


class Archive(Protocol):
    """A store of files. Every method raises ArchiveUnavailable when the store fails."""

    async def save(self, path: str, file: Path) -> None:
        """Store a copy of the file under this path; replace what was there."""
        ...

    async def size(self, path: str) -> int | None:
        """Return the size in bytes of what is stored under this path; None if nothing is."""
        ...

    def read(self, path: str, first: int, last: int) -> AsyncGenerator[bytes]:
        """Yield the bytes from `first` to `last` inclusive, in chunks."""
        ...

    async def delete(self, path: str) -> None:
        """Delete what is stored under this path, if anything is."""
        ...


def open_archive(settings: Settings) -> Archive | None:
    """Return the archive of the settings, if they have one. Nothing is written before the first `save`.

    Raises SettingsError when the address is invalid.
    """
    if not settings.archive_url:
        return None
    parts = urlsplit(settings.archive_url)
    if parts.scheme == "file" and not parts.netloc and parts.path.strip("/"):
        return FolderArchive(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        if find_spec("obstore") is None:
            raise SettingsError(
                "AFTERCALL_ARCHIVE_URL names a bucket, which needs the extra `aftercall[s3]`; "
                "see docs/settings.md"
            )
        return BucketArchive(parts.netloc, parts.path.strip("/"), settings.archive_endpoint_url)
    raise SettingsError("AFTERCALL_ARCHIVE_URL must be file:///folder or s3://bucket/prefix")


class FolderArchive:
    """Files below one folder. A file is written next to its place, flushed to the disk, and moved there."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def save(self, path: str, file: Path) -> None:
        with _folder_errors():
            await asyncio.to_thread(self._save, self._root / path, file)

    def _save(self, place: Path, file: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f"{_SAVING}{place.name}-", dir=place.parent)
        unfinished = Path(name)
        try:
            with os.fdopen(handle, "wb") as target, file.open("rb") as source:
                while chunk := source.read(_CHUNK_BYTES):
                    target.write(chunk)
                target.flush()
                os.fsync(target.fileno())
            unfinished.replace(place)
        finally:
            unfinished.unlink(missing_ok=True)
        # The name and those of new folders have to be on the disk before the database says that the file is
        # stored.
        for folder in (place.parent, *place.parent.parents):
            _flush(folder)
            if folder == self._root:
                break

    async def delete(self, path: str) -> None:
        with _folder_errors():
            await asyncio.to_thread(self._delete, self._root / path)

    def _delete(self, place: Path) -> None:
        if not place.parent.is_dir():
            return
        # With what a crash has left of saving it.
        for file in (*place.parent.glob(f"{_SAVING}{escape(place.name)}-*"), place):
            file.unlink(missing_ok=True)
        # That it is gone has to be on the disk before the database forgets where it was.
        _flush(place.parent)

    async def size(self, path: str) -> int | None:
        with _folder_errors():
            try:
                return (await asyncio.to_thread((self._root / path).stat)).st_size
            except FileNotFoundError:
                return None

    async def read(self, path: str, first: int, last: int) -> AsyncGenerator[bytes]:
        with _folder_errors(), await asyncio.to_thread((self._root / path).open, "rb") as file:
            await asyncio.to_thread(file.seek, first)
            left = last - first + 1
            while left > 0:
                chunk = await asyncio.to_thread(file.read, min(left, _CHUNK_BYTES))
                if not chunk:
                    raise ArchiveUnavailable("the stored file is shorter than it was")
                left -= len(chunk)
                yield chunk


@contextmanager
def _folder_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ArchiveUnavailable(f"the archive's folder: {error.strerror}") from error


def _flush(folder: Path) -> None:
    """Flush the names in a folder to the disk. Some network file systems refuse that and do it anyway."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


class BucketArchive:
    """A bucket, through `obstore`. Credentials and region come from AWS's environment variables.

    `endpoint` is for stores other than Amazon's; one that begins with `http://` is used without TLS.
    """

    def __init__(self, bucket: str, prefix: str, endpoint: str | None) -> None:
        # Imported here because it is 16 MB of native code that only buckets need.
        import obstore
        from obstore.exceptions import BaseError
        from obstore.store import S3Store

        options: dict[str, Any] = {"prefix": prefix} if prefix else {}
        if endpoint:
            options["endpoint"] = endpoint
            options["client_options"] = {"allow_http": endpoint.startswith("http://")}
        if not (os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")):
            options["region"] = "us-east-1"
        self._obstore = obstore
        self._failures: tuple[type[Exception], ...] = (BaseError, OSError, ValueError)
        self._store = S3Store(bucket, **options)

    async def save(self, path: str, file: Path) -> None:
        try:
            await self._obstore.put_async(self._store, path, file)
        except self._failures as error:
            raise ArchiveUnavailable(f"the archive's bucket: {type(error).__name__}") from error

    async def size(self, path: str) -> int | None:
        try:
            return int((await self._obstore.head_async(self._store, path))["size"])
        except FileNotFoundError:
            return None
        except self._failures as error:
            raise ArchiveUnavailable(f"the archive's bucket: {type(error).__name__}") from error

    async def delete(self, path: str) -> None:
        try:
            await self._obstore.delete_async(self._store, path)
        except FileNotFoundError:
            return
        except self._failures as error:
            raise ArchiveUnavailable(f"the archive's bucket: {type(error).__name__}") from error

    async def read(self, path: str, first: int, last: int) -> AsyncGenerator[bytes]:
        try:
            found = await self._obstore.get_async(self._store, path, options={"range": (first, last + 1)})
            async for chunk in found.stream(min_chunk_size=_CHUNK_BYTES):
                yield bytes(chunk)
        except self._failures as error:
            raise ArchiveUnavailable(f"the archive's bucket: {type(error).__name__}") from error
