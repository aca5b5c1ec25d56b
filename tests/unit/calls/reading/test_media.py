"""Which form of a call a client gets."""

import pytest

from app.calls.reading.media import Media, choose_media
from app.errors import NotAcceptable


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        (None, Media.JSON),
        ("", Media.JSON),
        ("*/*", Media.JSON),
        ("application/*", Media.JSON),
        ("text/html,application/xhtml+xml,*/*;q=0.8", Media.JSON),
        ("application/vcon+json", Media.VCON),
        ("application/vcon+json, application/json", Media.JSON),
        ("Application/VCON+json;q=0.9, application/json;q=0.5", Media.VCON),
        ("application/json;q=0, */*", Media.VCON),
        ("application/json;q=nonsense", Media.JSON),
    ],
)
def test_the_preferred_form_is_chosen(accept: str | None, media: Media) -> None:
    assert choose_media(accept) is media


@pytest.mark.parametrize("accept", ["text/csv", "application/json;q=0", "image/*, text/html;q=0.9"])
def test_what_cannot_be_served_is_refused_with_what_can(accept: str) -> None:
    with pytest.raises(NotAcceptable) as refused:
        choose_media(accept)
    assert refused.value.extra["available"] == ["application/json", "application/vcon+json"]
