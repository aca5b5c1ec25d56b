"""`If-Match` and `If-None-Match` of writes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from app.api.etags import split_etags
from app.calls.attachments.stored import StoredAttachment
from app.errors import PreconditionFailed

_ETAG = re.compile(r'"?v(\d{1,9})(?:-([0-9a-f]{12}))?(?:-parked)?"?')


@dataclass(frozen=True, slots=True)
class Precondition:
    """What the headers of a request require of the current state. The default accepts any state."""

    versions: frozenset[tuple[int, str | None]] | None = None
    """The versions that match, each with the digest of its content, or None for any content. None: all."""
    must_exist: bool = False
    must_be_new: bool = False

    @classmethod
    def read(cls, if_match: Sequence[str], if_none_match: Sequence[str]) -> Self:
        """Read the lines of the two headers. An ETag that we did not issue matches no version."""
        etags = split_etags(if_match)
        must_be_new = "*" in split_etags(if_none_match)
        if not etags or "*" in etags:
            return cls(must_exist=bool(etags), must_be_new=must_be_new)
        found = [match for match in map(_ETAG.fullmatch, etags) if match]
        return cls(frozenset((int(match[1]), match[2]) for match in found), must_be_new=must_be_new)

    def check(self, current: StoredAttachment | None) -> None:
        """Raises PreconditionFailed, with the current version, if the state is another one."""
        if current is None:
            if self.must_exist or self.versions is not None:
                raise PreconditionFailed("Nothing exists here yet, so no version can match")
            return
        version = current.version
        if self.must_be_new:
            raise PreconditionFailed("It exists already", version=version)
        if self.versions is None or (version, None) in self.versions:
            return
        if (version, current.digest) not in self.versions:
            raise PreconditionFailed(f"The current version is {version}", version=version)


ANY_STATE = Precondition()
