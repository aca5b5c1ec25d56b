"""ETags: a version, and a mark of the content.

The version alone would not do. After a database was restored from a backup the same number names another content, and a
reader who holds the former one must not be told that nothing has changed.
"""

import hashlib


def of_body(version: int, body: bytes) -> str:
    """The strong ETag of an answer."""
    return f'"v{version}-{hashlib.sha256(body).hexdigest()[:12]}"'


def is_known(if_none_match: str, etag: str) -> bool:
    """Whether an If-None-Match header has this ETag; weakly compared, as RFC 9110 wants it for reading."""
    known = {part.strip().removeprefix("W/") for part in if_none_match.split(",")}
    return "*" in known or etag in known
