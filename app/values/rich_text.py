"""HTML and Markdown that people wrote: what is safe to keep and show, and what they say as plain text. Pure.

`nh3` (the Rust crate ammonia) sanitises HTML by a list of what is allowed: everything else goes, with the
text of elements that are not shown. `markdown-it-py` reads CommonMark with strike-through.
"""

import re
from functools import cache
from html.parser import HTMLParser

import nh3
from markdown_it import MarkdownIt

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_BLANKS = re.compile(r"[ \t]+(?=\n|$)")
_GAPS = re.compile(r"\n{3,}")

_ALLOWED_TAGS = frozenset(
    {"a", "b", "blockquote", "br", "code", "dd", "del", "div", "dl", "dt", "em", "h1", "h2", "h3", "h4", "h5",
     "h6", "hr", "i", "ins", "li", "ol", "p", "pre", "s", "span", "strong", "sub", "sup", "table", "tbody",
     "td", "th", "thead", "tr", "u", "ul"}
)  # fmt: skip
"""No images and frames: they would tell another server who reads the note, and when."""

_ALLOWED_ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}, "td": {"colspan", "rowspan"},
                       "th": {"colspan", "rowspan"}}  # fmt: skip
_ALLOWED_SCHEMES = frozenset({"http", "https", "mailto", "tel"})
_UNSEEN = frozenset({"head", "noscript", "script", "style", "template", "title"})

_BREAKS = frozenset(
    {"address", "article", "blockquote", "br", "dd", "div", "dl", "dt", "figure", "footer", "form", "h1",
     "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "ol", "p", "pre", "section", "table", "tr",
     "ul"}
)  # fmt: skip


def tidy(text: str) -> str:
    """Return a text with `\\n` as its only line break, without control characters and blank ends."""
    unified = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    return _GAPS.sub("\n\n", _BLANKS.sub("", _CONTROLS.sub("", unified))).strip()


def sanitised_html(source: str) -> str:
    """Return HTML that is safe in a page of another origin's: no scripts, handlers, styles, images or forms.

    Sanitising it again changes nothing.
    """
    clean = source
    # What a parser repairs can be read in another way the next time, so it is repaired until it stands still.
    for _ in range(4):
        again = nh3.clean(
            clean,
            tags=set(_ALLOWED_TAGS),
            clean_content_tags=set(_UNSEEN),
            attributes={tag: set(names) for tag, names in _ALLOWED_ATTRIBUTES.items()},
            url_schemes=set(_ALLOWED_SCHEMES),
            link_rel="noopener noreferrer",
        )
        if again == clean:
            return clean
        clean = again
    # It never came to rest: nothing of it is markup that anybody meant.
    return nh3.clean_text(text_of_html(clean))


@cache
def _markdown() -> MarkdownIt:
    # Single line breaks stay line breaks, as in the note fields of CRMs. HTML in Markdown is text.
    reader = MarkdownIt("commonmark", {"html": False, "breaks": True})
    # No tables: a note of 60 KB can be read as one with a million cells.
    return reader.enable("strikethrough").disable("image")


def html_of_markdown(source: str) -> str:
    """Return Markdown as sanitised HTML. HTML in it is shown as it is written."""
    return sanitised_html(str(_markdown().render(source))).strip()


def text_of_markdown(source: str) -> str:
    """Return what a person would read of Markdown."""
    return text_of_html(str(_markdown().render(source)))


class _TextOfHtml(HTMLParser):
    """Collects what a browser would show, with a line break for each element that begins a line."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSEEN:
            self._unseen += 1
        elif tag in _BREAKS:
            self.parts.append("\n- " if tag == "li" else "\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._unseen = max(0, self._unseen - 1)
        elif tag in _BREAKS - {"br", "hr", "li"}:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(re.sub(r"\s+", " ", data))


def text_of_html(source: str) -> str:
    """Return what a person would read of HTML: without tags, scripts and comments, entities resolved."""
    parser = _TextOfHtml()
    parser.feed(source)
    parser.close()
    return tidy("\n".join(line.strip() for line in "".join(parser.parts).split("\n")))
