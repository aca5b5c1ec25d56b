"""ETags: a version, and a digest of the content.

The version alone would not do. After a restore from a backup the same version can stand for other content,
and a client that holds the lost content must not receive 304.
"""

import hashlib
from collections.abc import Sequence


def etag_of_body(version: int, body: bytes) -> str:
    """Return the strong ETag of a response body."""
    return f'"v{version}-{hashlib.sha256(body).hexdigest()[:12]}"'


def split_etags(headers: Sequence[str]) -> list[str]:
    """Return the ETags in the lines of an If-Match or If-None-Match header, without the weakness prefix.

    A proxy that compresses a response weakens its ETag on the way to the client.
    """
    return [etag.strip().removeprefix("W/") for line in headers for etag in line.split(",")]


def is_known(if_none_match: str | None, etag: str) -> bool:
    """Whether an If-None-Match header contains this ETag, by weak comparison (RFC 9110, section 13.1.2)."""
    return if_none_match is not None and not {"*", etag}.isdisjoint(split_etags([if_none_match]))
