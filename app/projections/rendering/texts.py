"""Texts that a CRM shows: blocks of plain text, written as HTML or as they are, no longer than allowed. Pure.

A block's text is always plain, and nothing in it becomes markup: `<b>` in a plain note is shown as `<b>`, and
`$1,000` and `- bullet` stay what they are. A note in Markdown or HTML also has sanitised HTML, which is what
a CRM that takes HTML gets, unless the text has to be cut.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from app.values.rich_text import tidy

_ELLIPSIS = "…"

Markup = Literal["html", "plain"]


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph with a heading of its own, which may be empty."""

    heading: str
    text: str
    html: str = ""
    """The text as sanitised HTML, if it was written with markup."""


def one_line(text: str) -> str:
    """Return a text on one line."""
    return " ".join(tidy(text).split())


def length(text: str) -> int:
    """Return the length in UTF-16 code units, as the databases and languages of CRMs count."""
    return len(text) + sum(character > "\uffff" for character in text)


def shorten(text: str, limit: int | None) -> str:
    """Return a text with at most `limit` code units; one that was cut ends with an ellipsis."""
    if limit is None or length(text) <= limit:
        return text
    kept = text[: limit - 1]
    while length(kept) > limit - 1:
        kept = kept[:-1]
    return kept.rstrip() + _ELLIPSIS


def render(blocks: Sequence[Block], markup: Markup, limit: int | None) -> tuple[str, bool]:
    """Return the blocks as one text of at most `limit` code units, and whether it was cut for that.

    It is never cut within markup: what does not fit as a whole is written without the markup of its notes.
    """
    if any(block.html for block in blocks):
        whole = _render(blocks, markup)
        if limit is None or length(whole) <= limit:
            return whole, False
        blocks = [replace(block, html="") for block in blocks]
    characters = sum(len(block.heading) + len(block.text) for block in blocks)
    if limit is None or characters <= limit:
        whole = _render(blocks, markup)
        if limit is None or length(whole) <= limit:
            return whole, False
    # The longest beginning that fits. A longer beginning never gives a shorter result, and no character takes
    # less than one code unit.
    low, high = 0, min(characters, limit)
    while low < high:
        middle = (low + high + 1) // 2
        if length(_render(_cut(blocks, middle), markup)) <= limit:
            low = middle
        else:
            high = middle - 1
    return _render(_cut(blocks, low), markup) if low else "", True


def _cut(blocks: Sequence[Block], characters: int) -> list[Block]:
    """Return the first characters of headings and texts, with an ellipsis at the end."""
    kept: list[Block] = []
    for block in blocks:
        if characters <= 0:
            break
        heading = block.heading[:characters]
        text = block.text[: max(0, characters - len(block.heading))]
        kept.append(Block(heading, text))
        characters -= len(block.heading) + len(block.text)
    if kept:
        last = kept[-1]
        in_text = bool(last.text) or not last.heading
        kept[-1] = (
            replace(last, text=last.text + _ELLIPSIS)
            if in_text
            else replace(last, heading=last.heading + _ELLIPSIS)
        )
    return kept


def _render(blocks: Sequence[Block], markup: Markup) -> str:
    if markup == "plain":
        return "\n\n".join(
            "\n".join(part for part in (block.heading, block.text) if part) for block in blocks
        )
    return "".join(_html_of(block) for block in blocks)


def _html_of(block: Block) -> str:
    heading = f"<strong>{_escape(block.heading)}</strong>" if block.heading else ""
    if block.html:
        return (f"<p>{heading}</p>" if heading else "") + block.html
    between = "<br>" if heading and block.text else ""
    return f"<p>{heading}{between}{_escape(block.text)}</p>"


def _escape(text: str) -> str:
    return html.escape(text, quote=False).replace("\n", "<br>")
