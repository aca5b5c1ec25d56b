"""Addresses at which a person or a CRM can open a recording or a voicemail without an API key.

An address has the id of its link and a signature over what the link opens, for which account and until when.
So an address cannot be made up or changed, and a changed row opens nothing. Links go with their call.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from sqlalchemy import and_, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.lists import is_one_of
from app.db.tables import audio_links, recordings, voicemails
from app.errors import NotFound
from app.ids import AccountId, new_id
from app.vault import Vault

PATH = "/listen"
AUDIO = "/audio"
_USE = "audio-links"
_SIGNATURE_BYTES = 18


class MediaKind(StrEnum):
    """What a link opens."""

    RECORDING = "recording"
    VOICEMAIL = "voicemail"


_NAMED_IN = {
    MediaKind.RECORDING: (recordings, recordings.c.recording_id),
    MediaKind.VOICEMAIL: (voicemails, voicemails.c.voicemail_id),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioLink:
    """A row of `audio_links`."""

    account_id: str
    link_id: str
    call_id: str
    kind: MediaKind
    media_id: str
    key_id: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    uses: int = 0
    last_used_at: datetime | None = None

    @classmethod
    def read(cls, row: Any) -> Self:
        return cls(**row._asdict() | {"kind": MediaKind(row.kind)})

    def is_open(self, now: datetime) -> bool:
        """Whether it opens its audio."""
        return self.revoked_at is None and now < self.expires_at


class LinkSigner:
    """Makes the addresses of links, and checks those that come in. Pure."""

    def __init__(self, vault: Vault) -> None:
        self._keys = vault.keys_for(_USE)

    def path_of(self, link: AudioLink) -> str:
        """Return the path of the listening page; that of the audio is `/audio` behind it."""
        return f"{PATH}/{link.link_id}/{_sign(self._keys[0], link)}"

    def is_signed(self, link: AudioLink, signature: str) -> bool:
        """Whether a signature is that of a link, by any of the secret keys."""
        sent = signature.encode("utf-8", "replace")
        return any(hmac.compare_digest(_sign(key, link).encode(), sent) for key in self._keys)


def _sign(key: bytes, link: AudioLink) -> str:
    until = int(link.expires_at.timestamp())
    content = "\n".join([link.account_id, link.link_id, link.kind, link.media_id, str(until)])
    return urlsafe_b64encode(hmac.digest(key, content.encode(), hashlib.sha256)[:_SIGNATURE_BYTES]).decode()


async def add_link(
    db: AsyncConnection,
    account_id: AccountId,
    media: tuple[MediaKind, str],
    made_by: str,
    times: tuple[datetime, datetime],
) -> AudioLink:
    """Make a link to a recording or voicemail that a call names. `times`: now, and when it expires.

    Raises NotFound if no call of the account names it.
    """
    kind, media_id = media
    table, column = _NAMED_IN[kind]
    named = select(table.c.call_id).where(table.c.account_id == account_id, column == media_id)
    call_id = await db.scalar(named.order_by(table.c.call_id).limit(1))
    if call_id is None:
        raise NotFound(f"No call of this account names the {kind} {media_id}")
    now, expires_at = times
    values: dict[str, Any] = {
        "account_id": account_id,
        "link_id": new_id("listen", now),
        "call_id": call_id,
        "kind": kind,
        "media_id": media_id,
        "key_id": made_by,
        "created_at": now,
        # Whole seconds: the signature has them.
        "expires_at": expires_at.replace(microsecond=0),
    }
    await db.execute(insert(audio_links).values(**values))
    return AudioLink(**values)


async def load_links(
    db: AsyncConnection, account_id: AccountId, kind: MediaKind, media_id: str
) -> list[AudioLink]:
    """Return the links to a recording or voicemail, the newest first."""
    mine = (
        audio_links.c.account_id == account_id,
        audio_links.c.kind == kind,
        audio_links.c.media_id == media_id,
    )
    order = (audio_links.c.created_at.desc(), audio_links.c.link_id.desc())
    return [
        AudioLink.read(row) for row in await db.execute(select(audio_links).where(*mine).order_by(*order))
    ]


async def load_open_links(
    db: AsyncConnection, account_id: AccountId, media: Mapping[MediaKind, Collection[str]], now: datetime
) -> dict[tuple[MediaKind, str], AudioLink]:
    """Return the newest link to each of these recordings and voicemails that has one that works."""
    named = [
        and_(audio_links.c.kind == kind, is_one_of(audio_links.c.media_id, ids))
        for kind, ids in media.items()
        if ids
    ]
    if not named:
        return {}
    mine = (
        audio_links.c.account_id == account_id,
        or_(*named),
        audio_links.c.revoked_at.is_(None),
        audio_links.c.expires_at > now,
    )
    query = select(audio_links).where(*mine).order_by(audio_links.c.created_at, audio_links.c.link_id)
    found = [AudioLink.read(row) for row in await db.execute(query)]
    return {(link.kind, link.media_id): link for link in found}


async def find_link(db: AsyncConnection, link_id: str) -> AudioLink | None:
    """Return the link with this id, of whichever account. Its signature says whether it may be used."""
    row = (await db.execute(select(audio_links).where(audio_links.c.link_id == link_id))).first()
    return None if row is None else AudioLink.read(row)


async def revoke_link(db: AsyncConnection, link: AudioLink, now: datetime) -> None:
    """Revoke a link. Revoking it again keeps the first time."""
    await db.execute(
        update(audio_links).where(*_one(link), audio_links.c.revoked_at.is_(None)).values(revoked_at=now)
    )


async def count_use(db: AsyncConnection, link: AudioLink, now: datetime) -> None:
    """Note that somebody listens."""
    used = update(audio_links).where(*_one(link))
    await db.execute(used.values(uses=audio_links.c.uses + 1, last_used_at=now))


def _one(link: AudioLink) -> Sequence[Any]:
    return audio_links.c.account_id == link.account_id, audio_links.c.link_id == link.link_id
