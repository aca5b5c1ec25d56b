"""The formats of exports: what is written at the start, for each page, and at the end. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from app.exports import columns
from app.values.exact_json import read_json, write_json

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Without it, spreadsheets read UTF-8 as a code page of the country."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How an export ended. `reason`: why it is not complete; `changes`: the end of the feed at its start."""

    rows: int
    changes: str
    reason: str | None = None
    cursor: str | None = None


class Format(Protocol):
    """A format of exports."""

    media_type: ClassVar[str]
    suffix: ClassVar[str]

    def start(self, *, is_first: bool) -> bytes:
        """Return what comes before the calls. `is_first`: whether it begins without a cursor."""

    def page(self, bodies: Sequence[bytes], cursor: str | None) -> bytes:
        """Return the lines of calls, as JSON, and the cursor that continues after them."""

    def end(self, ending: Ending) -> bytes:
        """Return the last line."""


class Ndjson:
    """A line for each call, and lines about the export: a cursor after each page, and its end."""

    media_type: ClassVar[str] = "application/x-ndjson"
    suffix: ClassVar[str] = "ndjson"

    def start(self, *, is_first: bool) -> bytes:
        return b""

    def page(self, bodies: Sequence[bytes], cursor: str | None) -> bytes:
        lines = b"".join(body + b"\n" for body in bodies)
        if cursor is None:
            return lines
        return lines + write_json({"export": {"state": "continues", "cursor": cursor}}) + b"\n"

    def end(self, ending: Ending) -> bytes:
        shown = {
            "state": "complete" if ending.reason is None else "incomplete",
            "rows": ending.rows,
            "changes": ending.changes,
            "reason": ending.reason,
            "cursor": ending.cursor,
        }
        return write_json({"export": shown}) + b"\n"


class Csv:
    """A row for each call, and a last row that begins with `#export`."""

    media_type: ClassVar[str] = "text/csv; charset=utf-8"
    suffix: ClassVar[str] = "csv"

    def start(self, *, is_first: bool) -> bytes:
        # What continues an export can be put behind what came before.
        return _BYTE_ORDER_MARK + columns.header_line() if is_first else b""

    def page(self, bodies: Sequence[bytes], cursor: str | None) -> bytes:
        return columns.call_lines((read_json(body) for body in bodies), cursor)

    def end(self, ending: Ending) -> bytes:
        state = "complete" if ending.reason is None else f"incomplete reason={ending.reason}"
        words = f"#export {state} rows={ending.rows} changes={ending.changes}"
        return columns.end_line(words, ending.cursor)
