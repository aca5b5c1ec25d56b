"""Texts keep what a person wrote, become no markup, and fit."""

import pytest

from app.projections.rendering.texts import Block, length, one_line, render, shorten
from app.values.rich_text import text_of_html, tidy


@pytest.mark.parametrize(
    ("text", "html", "plain"),
    [
        ("Offer: $1,000", "<p>Offer: $1,000</p>", "Offer: $1,000"),
        ("- bullet\n- next", "<p>- bullet<br>- next</p>", "- bullet\n- next"),
        ("<b>not bold</b>", "<p>&lt;b&gt;not bold&lt;/b&gt;</p>", "<b>not bold</b>"),
        ("R&D, &amp;", "<p>R&amp;D, &amp;amp;</p>", "R&D, &amp;"),
        ('Dana\'s "offer"', '<p>Dana\'s "offer"</p>', 'Dana\'s "offer"'),
    ],
)
def test_a_text_is_shown_as_it_was_written(text: str, html: str, plain: str) -> None:
    blocks = [Block("", text)]
    assert render(blocks, "html", None) == (html, False)
    assert render(blocks, "plain", None) == (plain, False)


def test_blocks_are_paragraphs_with_headings() -> None:
    blocks = [Block("", "first"), Block("Note, by <Ana>", "second"), Block("Alone", "")]
    assert render(blocks, "html", None)[0] == (
        "<p>first</p><p><strong>Note, by &lt;Ana&gt;</strong><br>second</p><p><strong>Alone</strong></p>"
    )
    assert render(blocks, "plain", None)[0] == "first\n\nNote, by <Ana>\nsecond\n\nAlone"


@pytest.mark.parametrize(
    ("limit", "html"),
    [
        (30, "<p>a &lt; b &amp; c</p>"),
        (22, "<p>a &lt; b &amp;…</p>"),
        (17, "<p>a &lt; b …</p>"),
        (12, "<p>a …</p>"),
        (8, ""),
    ],
)
def test_a_cut_never_splits_an_entity_or_a_tag(limit: int, html: str) -> None:
    assert render([Block("", "a < b & c")], "html", limit) == (html, limit < 30)


@pytest.mark.parametrize(
    ("text", "limit", "short"),
    [
        ("Ana Ruiz", 8, "Ana Ruiz"),
        ("Ana Ruiz", 7, "Ana Ru…"),
        ("Ana Ruiz", 5, "Ana…"),
        ("😀😀😀", 6, "😀😀😀"),
        ("😀😀😀", 5, "😀😀…"),
    ],
)
def test_a_line_is_shortened_to_utf_16_code_units(text: str, limit: int, short: str) -> None:
    assert shorten(text, limit) == short
    assert length(short) <= limit


def test_control_characters_and_odd_breaks_go() -> None:
    assert tidy("\ufeffa\x00b\r\nc\rd\u2028e\x0b \n\n\n\nf  ") == "\ufeffab\nc\nd\ne\n\nf"
    assert one_line(" Dana\n  Field\t") == "Dana Field"


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Dana wants <b>40</b> seats</p><p>by Friday</p>", "Dana wants 40 seats\n\nby Friday"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("<ul><li>one</li><li>two</li></ul>", "- one\n- two"),
        ("&lt;b&gt; &amp; &#36;1,000", "<b> & $1,000"),
        ("<script>alert(1)</script><style>p{}</style>seen<!-- unseen -->", "seen"),
        ("<p>never closed", "never closed"),
        ("5 < 6 and 7 > 6", "5 < 6 and 7 > 6"),
        ("<img src=x onerror=alert(1)>picture", "picture"),
    ],
)
def test_html_is_read_as_a_person_would(html: str, text: str) -> None:
    assert text_of_html(html) == text


def test_markup_is_kept_where_it_is_shown_and_fits() -> None:
    block = Block("Note", "Dana wants 40 seats", "<p>Dana wants <b>40</b> seats</p>")
    whole = "<p><strong>Note</strong></p><p>Dana wants <b>40</b> seats</p>"
    assert render([block], "html", None) == (whole, False)
    assert render([block], "html", len(whole)) == (whole, False)
    assert render([block], "plain", None) == ("Note\nDana wants 40 seats", False)
    bare = "<p><strong>Note</strong><br>Dana wants 40 seats</p>"
    assert render([block], "html", len(whole) - 1) == (bare, False)
    cut, is_cut = render([block], "html", len(bare) - 1)
    assert is_cut
    assert len(cut) < len(bare)
