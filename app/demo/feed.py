"""Reads server-sent events. No I/O.

As in the HTML standard, section "Server-sent events": a field ends with its line, an event with an empty
line.
"""

import json
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(slots=True)
class EventReader:
    """Assembles lines to events. Send `last_id` as `Last-Event-ID` when reconnecting."""

    last_id: str | None = None
    _data: list[str] = field(default_factory=list)

    def begin(self) -> None:
        """Discard an event that the last connection left incomplete."""
        self._data.clear()

    def read(self, line: str) -> Json | None:
        """Read one line without its line ending; returns the event's JSON if the line completes an event."""
        if not line:
            data = "\n".join(self._data)
            self._data.clear()
            # Comments keep the connection alive; their empty line completes no event.
            event: Json | None = json.loads(data) if data else None
            return event
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "id":
            self.last_id = value
        return None
