"""A call as a row of a CSV file. Pure."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Json = Mapping[str, Any]

_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What spreadsheets take for the beginning of a formula (OWASP, "CSV Injection")."""

_A_NUMBER = re.compile(r"\+[0-9]{1,20}")
"""A phone number in E.164: whatever a spreadsheet makes of it, it is a number."""

LONGEST_CELL = 32_767
"""Characters that a cell of a spreadsheet can hold."""


def _part(name: str, key: str) -> Callable[[Json], Any]:
    return lambda call: (call[name] or {}).get(key)


def _joined(name: str, key: str) -> Callable[[Json], Any]:
    return lambda call: "\n\n".join(str(one[key]) for one in call[name] if one.get(key)) or None


COLUMNS: Mapping[str, Callable[[Json], Any]] = {
    "id": lambda call: call["id"],
    "sessionId": lambda call: call["sessionId"],
    "telephonySessionId": lambda call: call["telephonySessionId"],
    "version": lambda call: call["version"],
    "stage": lambda call: call["stage"],
    "direction": lambda call: call["direction"],
    "internal": lambda call: call["internal"],
    "outcome": lambda call: call["outcome"],
    "result": lambda call: call["result"],
    "fromNumber": _part("from", "phoneNumber"),
    "fromName": _part("from", "name"),
    "toNumber": _part("to", "phoneNumber"),
    "toName": _part("to", "name"),
    "externalNumber": lambda call: call["externalNumber"],
    "queueName": lambda call: call["queueName"],
    "agentName": _part("agent", "name"),
    "agentEmail": _part("agent", "email"),
    "agentExtensionNumber": _part("agent", "extensionNumber"),
    "agentExtensionId": _part("agent", "extensionId"),
    "startTime": lambda call: call["startTime"],
    "answerTime": lambda call: call["answerTime"],
    "endTime": lambda call: call["endTime"],
    "duration": lambda call: call["duration"],
    "ringSeconds": lambda call: call["ringSeconds"],
    "talkSeconds": lambda call: call["talkSeconds"],
    "holdSeconds": lambda call: call["holdSeconds"],
    "recordingIds": lambda call: " ".join(one["id"] for one in call["recordings"]),
    "voicemailId": _part("voicemail", "id"),
    "voicemailTranscript": _part("voicemail", "transcript"),
    "conversationId": lambda call: call["conversationId"],
    "isMain": lambda call: call["conversation"]["isMain"],
    "mainCallId": lambda call: call["conversation"]["mainCallId"],
    "notes": _joined("notes", "text"),
    "sentiments": lambda call: " ".join(f"{one['source']}:{one['label']}" for one in call["sentiments"]),
    "disposition": _part("disposition", "code"),
    "crms": lambda call: " ".join(one["crm"] for one in call["links"]),
    "updatedAt": lambda call: call["updatedAt"],
}
"""The columns, by name, each with what it shows of a call as the API shows it."""

CURSOR = "cursor"
"""The name of the last column, which only the last call of a page fills."""


def cell(value: Any) -> str:
    """Return a value as text that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    text = str(value)
    if text.lstrip().startswith(_STARTS_A_FORMULA) or text.startswith(_STARTS_A_FORMULA):
        text = text if _A_NUMBER.fullmatch(text) else f"'{text}"
    return text[:LONGEST_CELL]


def header_line() -> bytes:
    return _write([[*COLUMNS, CURSOR]])


def call_lines(calls: Iterable[Json], cursor: str | None) -> bytes:
    """Return the rows of a page. `cursor`: that continues after it."""
    rows = [[cell(show(call)) for show in COLUMNS.values()] + [""] for call in calls]
    if rows:
        rows[-1][-1] = cursor or ""
    return _write(rows)


def end_line(words: str, cursor: str | None) -> bytes:
    """Return the last row, whose first cell says how the export ended."""
    return _write([[words, *[""] * (len(COLUMNS) - 1), cursor or ""]])


def _write(rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode("utf-8", "replace")
