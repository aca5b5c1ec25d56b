"""Calls as rows of CSV: safe for spreadsheets, and readable as what they were."""

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.calls.schemas import _CALL_EXAMPLE
from app.exports.columns import COLUMNS, CURSOR, LONGEST_CELL, call_lines, cell, end_line, header_line

PAGE = Path(__file__).parents[3] / "docs" / "api" / "export.md"


def read(lines: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(lines.decode(), newline="")))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (True, "true"),
        (96, "96"),
        (-1.5, "-1.5"),
        ("+15550179001", "+15550179001"),
        ("Ana Ruiz", "Ana Ruiz"),
        ('=HYPERLINK("http://evil.example","x")', '\'=HYPERLINK("http://evil.example","x")'),
        ("+1555+cmd|' /C calc'!A0", "'+1555+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("  =1", "'  =1"),
        ("＝1", "'＝1"),
        ("x" * 40_000, "x" * LONGEST_CELL),
    ],
)
def test_no_cell_is_a_formula(value: Any, shown: str) -> None:
    assert cell(value) == shown


@given(st.text())
def test_texts_start_no_formula_and_stay_readable(text: str) -> None:
    shown = cell(text)
    assert shown.removeprefix("'") == text[: len(shown.removeprefix("'"))].removeprefix("'") or shown == text
    assert not re.match(r"\s*[=@\-＝＋－＠]", shown)
    assert not shown.startswith("+") or re.fullmatch(r"\+[0-9]+", shown)


def test_a_call_is_one_row_whatever_its_notes_contain() -> None:
    notes = [{"text": 'He said "no",\r\nthen\n=1+1'}, {"text": "=2+2"}]
    lines = header_line() + call_lines([{**_CALL_EXAMPLE, "notes": notes}], "c1") + end_line("#export", None)
    header, row, end = read(lines)
    assert header == [*COLUMNS, CURSOR]
    assert len(row) == len(end) == len(header)
    shown = dict(zip(header, row, strict=True))
    assert shown["notes"] == 'He said "no",\r\nthen\n=1+1\n\n=2+2'
    assert (shown["fromNumber"], shown["agentEmail"], shown["cursor"]) == (
        "+15550179001",
        "ana@example.com",
        "c1",
    )


def test_only_the_last_call_of_a_page_has_the_cursor() -> None:
    rows = read(call_lines([_CALL_EXAMPLE, _CALL_EXAMPLE], "c1"))
    assert [row[-1] for row in rows] == ["", "c1"]
    assert call_lines([], "c1") == b""


def test_the_page_lists_every_column_in_order() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert listed == [*COLUMNS, CURSOR]
