"""In which form a call is shown: the header `Accept`."""

from enum import StrEnum
from typing import Annotated

from fastapi import Depends, Header

from app.calls.reading.vcon import MEDIA_TYPE as VCON_TYPE
from app.errors import NotAcceptable

_HIGHEST = 1.0


class Media(StrEnum):
    """The forms, the one that is preferred first."""

    JSON = "application/json"
    VCON = VCON_TYPE


def choose_media(accept: str | None) -> Media:
    """Return the form that a client prefers (RFC 9110, section 12.5.1).

    Raises NotAcceptable if it takes none of ours.
    """
    if accept is None or not accept.strip():
        return Media.JSON
    ranges = dict(_read(part) for part in accept.split(","))
    weights = {media: _weight(media, ranges) for media in Media}
    best = max(Media, key=lambda media: weights[media])
    if weights[best] <= 0:
        served = " or ".join(Media)
        raise NotAcceptable(f"This route serves {served}", available=[media.value for media in Media])
    return best


def _read(part: str) -> tuple[str, float]:
    """Return a range and its weight; one that cannot be read counts as 1."""
    name, *parameters = (piece.strip().casefold() for piece in part.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return name, min(_HIGHEST, max(0.0, float(value)))
            except ValueError:
                return name, _HIGHEST
    return name, _HIGHEST


def _weight(media: Media, ranges: dict[str, float]) -> float:
    nearest = (media.value, f"{media.value.partition('/')[0]}/*", "*/*")
    return next((ranges[one] for one in nearest if one in ranges), 0.0)


async def read_media(
    accept: Annotated[
        str | None,
        Header(description="`application/vcon+json` for a vCon.", examples=["application/json"]),
    ] = None,
) -> Media:
    """The form that the request asks for."""
    return choose_media(accept)


WantedMedia = Annotated[Media, Depends(read_media)]
