"""Reads server-sent events. No I/O.

As in the HTML standard, section "Server-sent events": fields end with their line, an event with an empty one.
"""

import json
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(slots=True)
class EventReader:
    """Puts lines together to events. `last_id` is what to send as `Last-Event-ID` after a break."""

    last_id: str | None = None
    _data: list[str] = field(default_factory=list)

    def begin(self) -> None:
        """Forget an event that the last connection left unfinished."""
        self._data.clear()

    def read(self, line: str) -> Json | None:
        """Take one line without its end; return the event's JSON when the line completes one."""
        if not line:
            data = "\n".join(self._data)
            self._data.clear()
            event: Json | None = json.loads(data) if data else None
            return event
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "id":
            self.last_id = value
        return None
