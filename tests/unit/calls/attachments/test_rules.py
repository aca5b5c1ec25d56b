"""Whose sentiment counts, what is stored of a note, and when a write changes nothing."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.calls.attachments.rules.notes import LONGEST_HTML, shown_texts, stored_texts
from app.calls.attachments.rules.receipts import is_unchanged
from app.calls.attachments.rules.sentiments import Maker, choose, maker_of
from app.errors import Unprocessable
from app.values.rich_text import html_of_markdown, sanitised_html, text_of_markdown


def sentiment(source: str, made_by: str = "machine", second: int = 0, scope: str = "call") -> dict[str, Any]:
    at = f"2026-03-10T18:09:{second:02}.000Z"
    return {"source": source, "madeBy": made_by, "scope": {"type": scope}, "updatedAt": at}


@pytest.mark.parametrize(
    ("source", "maker"),
    [
        ("agent:711000101", "person"),
        ("Supervisor", "person"),
        ("user:ana", "person"),
        ("agent-assist", "machine"),
        ("ringsense:agent", "machine"),
        ("hubspot", "machine"),
    ],
)
def test_the_source_says_who_made_a_sentiment(source: str, maker: str) -> None:
    assert maker_of(source) == maker
    assert maker_of(source, "person") is Maker.PERSON
    assert maker_of(source, "machine") is Maker.MACHINE


@pytest.mark.parametrize(
    "ranked",
    [
        [sentiment("a", "person", second=1), sentiment("b", second=9)],
        [sentiment("a", "person", scope="party"), sentiment("b")],
        [sentiment("a", second=1), sentiment("b", second=9, scope="period")],
        [sentiment("a", second=9), sentiment("b", second=1)],
        [sentiment("a"), sentiment("b")],
    ],
)
def test_a_person_counts_before_a_machine_and_the_whole_call_before_a_part(
    ranked: list[dict[str, Any]],
) -> None:
    assert choose(ranked) == choose(ranked[::-1]) == ranked[0]
    assert choose([]) is None


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ('<p onclick="x()">Dana <b>wants</b> 40</p>', "<p>Dana <b>wants</b> 40</p>"),
        ("a<script>alert(1)</script>b<style>p{}</style>c", "abc"),
        ('<a href="javascript:alert(1)">x</a>', '<a rel="noopener noreferrer">x</a>'),
        (
            '<a href="https://example.com/">x</a>',
            '<a href="https://example.com/" rel="noopener noreferrer">x</a>',
        ),
        ('seen<img src="https://example.com/pixel">', "seen"),
        ("$1,000 < $2,000", "$1,000 &lt; $2,000"),
        ('<svg><a xlink:href="javascript:x">y</a></svg>z', "z"),
    ],
)
def test_html_is_stored_without_what_is_not_safe(sent: str, kept: str) -> None:
    assert stored_texts("html", sent)["text"] == kept


_pieces = st.sampled_from(
    ["<p>", "</p>", "<b>", "<script>", "</script>", "<a href=", '"', "javascript:", "<!--", "-->", "<table>",
     "<tr>", "<td>", "<svg>", "<math>", "<style>", "&lt;", "&", "<", ">", "x", " ", "\n", "*", "`", "[",
     "](", ")", "- ", "#"]
)  # fmt: skip


@settings(max_examples=150)
@given(st.lists(_pieces, max_size=25).map("".join))
def test_sanitised_html_has_nothing_to_sanitise(text: str) -> None:
    for clean in (sanitised_html(text), html_of_markdown(text)):
        assert sanitised_html(clean).strip() == clean.strip()
        assert "<script" not in clean
        assert "<style" not in clean
        assert 'href="javascript' not in clean


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("Dana wants **40** seats\nby _Friday_", "Dana wants 40 seats\nby Friday"),
        ("- bullet\n- $1,000", "- bullet\n- $1,000"),
        ("5 < 6 <b>not bold</b>", "5 < 6 <b>not bold</b>"),
        ("[the offer](https://example.com/)", "the offer"),
        ("# Offer\n\nText", "Offer\n\nText"),
    ],
)
def test_markdown_is_read_as_a_person_would(markdown: str, text: str) -> None:
    assert text_of_markdown(markdown) == text
    stored = stored_texts("markdown", markdown)
    assert stored == {"text": markdown, "format": "markdown", "plain_text": text}
    assert "<b>not" not in html_of_markdown(markdown)


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "<p> </p>", "<img src=x>", "<" * 40_000])
def test_html_of_which_nothing_or_too_much_is_left_is_refused(text: str) -> None:
    with pytest.raises(Unprocessable, match=str(LONGEST_HTML) if text[1] == "<" else "Nothing can be read"):
        stored_texts("html", text)


def test_notes_of_an_earlier_version_are_sanitised_when_they_are_shown() -> None:
    old = {"format": "html", "text": "<b>one</b><script>x</script>", "plain_text": None}
    assert shown_texts(old) == {"text": "<b>one</b>", "plainText": "one"}
    assert shown_texts({"format": "plain", "text": "<b>", "plain_text": None}) == {
        "text": "<b>",
        "plainText": "<b>",
    }


CONTACT = {"type": "contact", "id": "501"}


@pytest.mark.parametrize(
    ("stored", "sent", "unchanged"),
    [
        ([CONTACT], [CONTACT], True),
        ([CONTACT | {"at": "2026-03-10T18:00:00Z"}], [CONTACT | {"at": "2026-03-10T19:00:00Z"}], True),
        ([CONTACT | {"at": "2026-03-10T18:00:00Z"}], [CONTACT], True),
        ([CONTACT], [CONTACT | {"at": "2026-03-10T19:00:00Z"}], False),
        ([CONTACT], [CONTACT | {"url": "https://crm.example.com/"}], False),
        ([CONTACT], [CONTACT, CONTACT], False),
    ],
)
def test_another_time_alone_changes_no_receipt(
    stored: list[dict[str, Any]], sent: list[dict[str, Any]], unchanged: bool
) -> None:
    assert is_unchanged({"objects": stored}, {"objects": sent}) is unchanged
