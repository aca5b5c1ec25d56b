"""Where the audio is kept for longer than RingCentral keeps it: a folder, or a bucket of an S3-compatible store.

What is saved is saved whole or not at all. Paths are made of `/`-separated segments without dots.
"""

import asyncio
import errno
import os
import tempfile
from collections.abc import AsyncGenerator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from app.errors import ArchiveUnavailable, SettingsError
from app.settings import Settings

_CHUNK_BYTES = 256 * 1024


class Archive(Protocol):
    """A place for files. Every method raises ArchiveUnavailable when the place does not do what it should."""

    async def save(self, path: str, file: Path) -> None:
        """Keep a copy of the file under this path, over whatever was there."""
        ...

    async def size(self, path: str) -> int | None:
        """Return how many bytes are kept under this path; None: nothing is."""
        ...

    def read(self, path: str, first: int, last: int) -> AsyncGenerator[bytes]:
        """Yield the bytes from `first` to `last` inclusive, in chunks."""
        ...


def open_archive(settings: Settings) -> Archive | None:
    """Return the archive that the settings name; None if they name none.

    Raises SettingsError when it cannot be one. Nothing is written before the first `save`.
    """
    if not settings.archive_url:
        return None
    parts = urlsplit(settings.archive_url)
    if parts.scheme == "file" and not parts.netloc and parts.path.strip("/"):
        return FolderArchive(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        if find_spec("obstore") is None:
            raise SettingsError(
                "AFTERCALL_ARCHIVE_URL names a bucket, which needs the extra `aftercall[s3]`; see docs/settings.md"
            )
        return BucketArchive(parts.netloc, parts.path.strip("/"), settings.archive_endpoint_url)
    raise SettingsError("AFTERCALL_ARCHIVE_URL must be file:///folder or s3://bucket/prefix")


class FolderArchive:
    """Files below one folder. A save is written beside its place, flushed to the disk, and moved there."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def save(self, path: str, file: Path) -> None:
        try:
            await asyncio.to_thread(self._save, self._root / path, file)
        except OSError as error:
            raise ArchiveUnavailable(f"the archive's folder: {error.strerror}") from error

    def _save(self, place: Path, file: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".saving-", dir=place.parent)
        beside = Path(name)
        try:
            with os.fdopen(handle, "wb") as target, file.open("rb") as source:
                while chunk := source.read(_CHUNK_BYTES):
                    target.write(chunk)
                target.flush()
                os.fsync(target.fileno())
            beside.replace(place)
        finally:
            beside.unlink(missing_ok=True)
        # Its name too has to be on the disk, and those of the folders made for it, before it is noted as kept.
        for folder in (place.parent, *place.parent.parents):
            _flush(folder)
            if folder == self._root:
                break

    async def size(self, path: str) -> int | None:
        try:
            return (await asyncio.to_thread((self._root / path).stat)).st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ArchiveUnavailable(f"the archive's folder: {error.strerror}") from error

    async def read(self, path: str, first: int, last: int) -> AsyncGenerator[bytes]:
        try:
            with await asyncio.to_thread((self._root / path).open, "rb") as file:
                await asyncio.to_thread(file.seek, first)
                left = last - first + 1
                while left > 0:
                    chunk = await asyncio.to_thread(file.read, min(left, _CHUNK_BYTES))
                    if not chunk:
                        raise ArchiveUnavailable("the kept file is shorter than it was")
                    left -= len(chunk)
                    yield chunk
        except OSError as error:
            raise ArchiveUnavailable(f"the archive's folder: {error.strerror}") from error


def _flush(folder: Path) -> None:
    """Bring the names in a folder to the disk; some network file systems have no such thing and do it anyway."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


class BucketArchive:
    """A bucket, through `obstore`. Credentials and region come from the environment by AWS's own names.

    `endpoint` is for stores that are not Amazon's; one with `http://` is taken to be meant so.
    """

    def __init__(self, bucket: str, prefix: str, endpoint: str | None) -> None:
        # 16 MB of native code: only who has a bucket pays for it.
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

    async def read(self, path: str, first: int, last: int) -> AsyncGenerator[bytes]:
        try:
            found = await self._obstore.get_async(self._store, path, options={"range": (first, last + 1)})
            async for chunk in found.stream(min_chunk_size=_CHUNK_BYTES):
                yield bytes(chunk)
        except self._failures as error:
            raise ArchiveUnavailable(f"the archive's bucket: {type(error).__name__}") from error
