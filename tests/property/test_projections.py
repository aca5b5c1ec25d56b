"""Whatever the call is: a projection is complete, in the CRM's words and within limits, or says why not."""

import json
import re
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.projections.inputs import Context, WarningCode
from app.projections.mappings.model import INPUT_TYPES, Crm, InputKind, ObjectMapping
from app.projections.projecting import project
from app.projections.rendering.notes import notes_of
from app.projections.rendering.texts import length, render
from app.projections.schemas import ProjectionOut
from app.projections.standing import ReasonCode
from app.values.rich_text import sanitised_html, text_of_html
from tests.projected_calls import OBJECTS, calls, contexts, fields_of, long_words


def made(call: Any, crm: Crm, mapping: ObjectMapping, context: Context) -> dict[str, Any]:
    return project(call, crm, mapping, next(iter(mapping.paths), None), context)


@settings(max_examples=40)
@given(call=calls(), context=contexts)
def test_a_required_field_has_a_value_or_the_call_is_not_safe_to_create(call: Any, context: Context) -> None:
    for crm, mapping in OBJECTS:
        shown = made(call, crm, mapping, context)
        filled = fields_of(shown, mapping)
        missing = {one["field"] for one in shown["reasons"] if one["code"] == ReasonCode.FIELD_MISSING}
        for field in mapping.fields:
            if field.required and not field.not_for:
                assert (field.name in filled) != (field.name in missing), field.name
        assert shown["safeToCreate"] == (not shown["reasons"])
        assert all(one["detail"] for one in [*shown["reasons"], *shown["warnings"]])
        assert "null" not in re.sub(r'"(\\.|[^"\\])*"', "", json.dumps(shown["request"]["body"]))
        ProjectionOut.model_validate(shown)


@settings(max_examples=40)
@given(call=calls(), context=contexts)
def test_values_are_the_crms_own_and_within_its_limits(call: Any, context: Context) -> None:
    for crm, mapping in OBJECTS:
        shown = made(call, crm, mapping, context)
        filled = fields_of(shown, mapping)
        cut = {one["field"] for one in shown["warnings"] if one["code"] == WarningCode.SHORTENED}
        for field in mapping.fields:
            if field.name not in filled:
                continue
            value = filled[field.name]
            if field.values is not None:
                assert value in set(field.values.values())
            if field.limit is not None:
                assert length(value) <= field.limit
            if field.name in cut:
                assert "…" in value
            if field.as_text:
                assert isinstance(value, str)
            if field.format in ("seconds", "minutes", "milliseconds"):
                assert int(value) >= 0
            if field.format == "mm:ss":
                assert re.fullmatch(r"\d{2,}:[0-5]\d", value)
            if field.format == "utc without zone":
                assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", value)
            if field.format in ("utc", "local"):
                assert datetime.fromisoformat(value).tzinfo is not None
            if field.input is not None and INPUT_TYPES[field.input].kind is InputKind.TEXT:
                assert "\n" not in str(value)


@settings(max_examples=40)
@given(call=calls(), context=contexts)
def test_the_hash_ignores_what_the_crm_does_not_show(call: Any, context: Context) -> None:
    for crm, mapping in OBJECTS:
        later = deepcopy(call) | {
            "version": call["version"] + 7,
            "updatedAt": "2031-01-01T00:00:00.000Z",
            "bootstrappedAt": "2031-01-01T00:00:00.000Z",
            "timeToRecordSeconds": 9.5,
            "records": [],
            "parties": [],
            "readiness": {},
            "links": [{"crm": crm.value, "objects": [{"type": "call", "id": "3901"}]}],
        }
        before, after = made(call, crm, mapping, context), made(later, crm, mapping, context)
        assert before["hash"] == after["hash"]
        assert before["request"] == after["request"]
        assert not after["safeToCreate"]


@settings(max_examples=40)
@given(one=calls(), other=calls(), context=contexts)
def test_the_hash_changes_with_what_the_crm_shows(one: Any, other: Any, context: Context) -> None:
    for crm, mapping in OBJECTS:
        first, second = made(one, crm, mapping, context), made(other, crm, mapping, context)
        shown = ("request", "followUps", "lookups")
        is_same = all(first[name] == second[name] for name in shown)
        assert (first["hash"] == second["hash"]) == is_same


@settings(max_examples=40)
@given(call=calls(), context=contexts)
def test_equal_calls_give_equal_projections(call: Any, context: Context) -> None:
    for crm, mapping in OBJECTS:
        assert made(call, crm, mapping, context) == made(deepcopy(call), crm, mapping, context)


class Seen(HTMLParser):
    """The tags of a text, and what a person reads of it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.read = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert attrs == []
        self.tags.append(tag)
        self.read += "\n" if tag == "br" else ""

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        self.read += data


@settings(max_examples=40)
@given(call=calls(), limit=st.none() | st.integers(1, 4_000))
def test_no_text_becomes_markup(call: Any, limit: int | None) -> None:
    blocks = notes_of(call, "Answered", None)
    for block in blocks:
        assert sanitised_html(block.html).strip() == block.html.strip()
    # What was written with markup is the HTML above; the rest is text.
    blocks = tuple(replace(block, html="") for block in blocks)
    written, _ = render(blocks, "html", limit)
    seen = Seen(written)
    assert set(seen.tags) <= {"p", "/p", "strong", "/strong", "br"}
    assert seen.tags.count("p") == seen.tags.count("/p")
    assert seen.tags.count("strong") == seen.tags.count("/strong")
    plain = "".join(
        block.heading + ("\n" if block.heading and block.text else "") + block.text for block in blocks
    )
    if limit is None:
        assert seen.read == plain
    else:
        assert length(written) <= limit
        assert plain.replace("\n", "").startswith(seen.read.removesuffix("…").replace("\n", ""))


@settings(max_examples=40)
@given(call=calls(), limit=st.integers(1, 4_000))
def test_a_text_is_only_cut_if_it_is_too_long(call: Any, limit: int) -> None:
    blocks = notes_of(call, "Answered", None)
    for markup in ("html", "plain"):
        whole, _ = render(blocks, markup, None)
        kept, is_cut = render(blocks, markup, limit)
        assert (kept != whole) == (length(whole) > limit)
        # Without the markup of its notes it may fit.
        bare, _ = render([replace(block, html="") for block in blocks], markup, None)
        assert is_cut == (length(whole) > limit and length(bare) > limit)


@settings(max_examples=40)
@given(long_words)
def test_notes_in_html_are_read_without_their_tags(text: str) -> None:
    read = text_of_html(text)
    assert "<script" not in text_of_html(f"<script>{text.replace('<', '')}</script>")
    assert read == read.strip()


@settings(max_examples=40)
@given(call=calls(), context=contexts)
def test_local_times_are_the_same_instant(call: Any, context: Context) -> None:
    assume(call["startTime"])
    crm, mapping = next((crm, one) for crm, one in OBJECTS if crm is Crm.GENERIC)
    start = made(call, crm, mapping, context)["request"]["body"]["start"]
    instant = datetime.fromisoformat(call["startTime"])
    assert datetime.fromisoformat(start["local"]) == instant.replace(microsecond=0)
    assert start["localDate"] == instant.astimezone(context.zone).date().isoformat()
    assert datetime.fromtimestamp(start["unixMilliseconds"] / 1000, UTC) == instant
