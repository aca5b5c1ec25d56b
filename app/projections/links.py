"""The address of a call's recording that a projection has if the reader gives none: that of an open link."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.dependencies import Services
from app.calls.media.audio_links import AUDIO, LinkSigner, MediaKind, load_open_links
from app.ids import AccountId
from app.vault import Vault

Json = Mapping[str, Any]


async def find_addresses(
    services: Services, db: AsyncConnection, account_id: AccountId, calls: Sequence[Json]
) -> dict[str, str]:
    """Return the address of the newest open link to the audio of each call that has one, by the call's id.

    A recording goes before the voicemail. Where listening takes a sign-in, the address is that of the page,
    since no CRM could play the audio.
    """
    settings = services.settings
    if not (settings.public_url or "").startswith("https://"):
        return {}
    media = {call["id"]: _media_of(call) for call in calls}
    wanted = {
        kind: {media_id for named in media.values() for of, media_id in named if of is kind}
        for kind in MediaKind
    }
    links = await load_open_links(db, account_id, wanted, services.clock.now())
    if not links:
        return {}
    signer, end = LinkSigner(Vault(settings.secrets()[0])), "" if settings.listen_sign_in else AUDIO
    found = {}
    for call_id, named in media.items():
        link = next((links[one] for one in named if one in links), None)
        if link is not None:
            found[call_id] = f"{settings.public_url}{signer.path_of(link)}{end}"
    return found


def _media_of(call: Json) -> list[tuple[MediaKind, str]]:
    named = [(MediaKind.RECORDING, one["id"]) for one in call["recordings"]]
    voicemail = call["voicemail"]
    return named if voicemail is None else [*named, (MediaKind.VOICEMAIL, voicemail["id"])]
