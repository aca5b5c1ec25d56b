"""What is stored of a note's text, and what a program that shows plain text gets of it. Pure.

Plain text and Markdown are stored as they are written, HTML as it is after sanitising. Beside Markdown and
HTML their plain text is stored, so that no list of notes has to read markup.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from app.errors import Unprocessable
from app.values.rich_text import sanitised_html, text_of_html, text_of_markdown

LONGEST_HTML = 131_072
"""Characters of sanitised HTML, which writes out what browsers would repair: it can be longer than what was
sent.
"""


class NoteFormat(StrEnum):
    """How a note's text is to be read."""

    PLAIN = "plain"
    MARKDOWN = "markdown"
    HTML = "html"


def stored_texts(format_: str, text: str) -> dict[str, Any]:
    """Return the columns `text`, `format` and `plain_text` of a note that is written with this text.

    Raises Unprocessable for HTML of which nothing is left to read, or that is too long.
    """
    if format_ == NoteFormat.HTML:
        text = sanitised_html(text)
        if len(text) > LONGEST_HTML:
            raise Unprocessable(f"The note has more than {LONGEST_HTML} characters after sanitising its HTML")
    plain = plain_text_of(format_, text)
    if plain is not None and not plain.strip():
        raise Unprocessable(
            "Nothing can be read in the text of this note: scripts, images and empty elements are left out"
        )
    return {"text": text, "format": format_, "plain_text": plain}


def plain_text_of(format_: str, text: str) -> str | None:
    """Return the plain text of Markdown or sanitised HTML; None for plain text, which is its own."""
    match format_:
        case NoteFormat.HTML:
            return text_of_html(text)
        case NoteFormat.MARKDOWN:
            return text_of_markdown(text)
    return None


def shown_texts(columns: Mapping[Any, Any]) -> dict[str, str]:
    """Return the texts of a stored note as the API shows them.

    An earlier version stored no plain text, and HTML as it was sent.
    """
    text, plain, format_ = columns["text"], columns["plain_text"], columns["format"]
    if plain is None and format_ == NoteFormat.HTML:
        text = sanitised_html(text)
    if plain is None:
        plain = plain_text_of(format_, text)
    return {"text": text, "plainText": text if plain is None else plain}
