"""The four kinds of attachment, and an attachment as it is stored and as the API shows it. No I/O."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from sqlalchemy import Table

from app.calls.attachments.rules.notes import shown_texts
from app.db.tables import crm_links, dispositions, notes, sentiments
from app.values.times import time_text

_NOT_CONTENT = frozenset({"account_id", "subject", "parked", "plain_text", "made_by"})
"""Where an attachment is, what follows from the rest, and what is part of its key and never changes."""


@dataclass(frozen=True, slots=True)
class AttachmentKind:
    """One kind of attachment, and what distinguishes its rows."""

    word: str
    """The start of the names of its events."""
    table: Table
    slot: tuple[str, ...]
    """Columns that are unique within a subject. A row with a null in one of them has no slot."""
    row_key: tuple[str, ...]
    """The primary key, without the account."""
    order: tuple[str, ...]
    """The columns by which a call shows several."""
    created: str
    changed: str
    event_fields: Mapping[str, str]
    """The data of its events: field -> column. Never a text that a person wrote."""
    shown: Mapping[str, str]
    """Its own fields in the API: field -> column."""


NOTE = AttachmentKind(
    word="note",
    table=notes,
    slot=("source", "external_id"),
    row_key=("note_id",),
    order=("created_at", "note_id"),
    created="note.created",
    changed="note.updated",
    event_fields={"noteId": "note_id", "source": "source"},
    shown={
        "source": "source",
        "externalId": "external_id",
        "title": "title",
        "text": "text",
        "plainText": "plain_text",
        "format": "format",
        "author": "author",
    },
)
SENTIMENT = AttachmentKind(
    word="sentiment",
    table=sentiments,
    slot=("source", "made_by"),
    row_key=("subject", "source", "made_by"),
    order=("source", "made_by"),
    created="sentiment.set",
    changed="sentiment.set",
    event_fields={"source": "source", "label": "label", "madeBy": "made_by"},
    shown={
        "source": "source",
        "madeBy": "made_by",
        **{name: name for name in ("label", "score", "confidence", "scope", "original")},
    },
)
DISPOSITION = AttachmentKind(
    word="disposition",
    table=dispositions,
    slot=(),
    row_key=("subject",),
    order=(),
    created="disposition.set",
    changed="disposition.set",
    event_fields={"code": "code"},
    shown={name: name for name in ("code", "label", "author")},
)
LINK = AttachmentKind(
    word="link",
    table=crm_links,
    slot=("crm",),
    row_key=("subject", "crm"),
    order=("crm",),
    created="link.set",
    changed="link.set",
    event_fields={"crm": "crm"},
    shown={name: name for name in ("crm", "objects")},
)
KINDS = (NOTE, SENTIMENT, DISPOSITION, LINK)
CONVERSATION_KINDS = (NOTE, DISPOSITION)
"""What a CRM is told of the main call although it is attached to another call of the conversation."""


@dataclass(frozen=True, slots=True)
class StoredAttachment:
    """One row of a kind's table. `columns` has all of them."""

    kind: AttachmentKind
    subject: str
    """The id of the call; while parked, the name under which it waits for its call."""
    parked: bool
    version: int
    columns: Mapping[Any, Any]

    @classmethod
    def read(cls, kind: AttachmentKind, columns: Mapping[Any, Any]) -> Self:
        return cls(kind, columns["subject"], columns["parked"], columns["version"], columns)

    @property
    def slot(self) -> tuple[Any, ...]:
        return tuple(self.columns[name] for name in self.kind.slot)

    @property
    def row_key(self) -> dict[str, Any]:
        return {name: self.columns[name] for name in self.kind.row_key}

    @property
    def updated_at(self) -> datetime:
        moment: datetime = self.columns["updated_at"]
        return moment

    @property
    def digest(self) -> str:
        """The digest of the content and its times, the same while it is parked and after it has joined its
        call.

        A version alone does not identify content: a restored database assigns the same version again.
        """
        content = {name: value for name, value in self.columns.items() if name not in _NOT_CONTENT}
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:12]

    @property
    def etag(self) -> str:
        # Joining changes the response but not the content, hence another ETag of the same version.
        return f'"v{self.version}-{self.digest}{"-parked" if self.parked else ""}"'

    def event_data(self) -> dict[str, Any]:
        return {field: self.columns[name] for field, name in self.kind.event_fields.items()}

    def to_json(self) -> dict[str, Any]:
        """Return it as the API shows it."""
        columns = self.columns
        return {
            **({"id": columns["note_id"]} if self.kind is NOTE else {}),
            "callId": None if self.parked else self.subject,
            "sessionRef": self.subject if self.parked else None,
            "status": "parked" if self.parked else "attached",
            **{field: columns[name] for field, name in self.kind.shown.items()},
            **(shown_texts(columns) if self.kind is NOTE else {}),
            "version": self.version,
            "createdAt": time_text(columns["created_at"]),
            "updatedAt": time_text(columns["updated_at"]),
        }
