"""The client that openapi-python-client makes of the description."""

import os
from http import HTTPStatus

from generated_aftercall import AuthenticatedClient
from generated_aftercall.api.calls import get_call, list_calls
from generated_aftercall.api.changes import list_changes
from generated_aftercall.api.notes_and_sentiment import add_note, put_link
from generated_aftercall.models import CallPage, Changes, LinkedObject, LinkIn, NoteIn, NoteOut, Problem
from generated_aftercall.types import UNSET

with AuthenticatedClient(os.environ["AFTERCALL_URL"], os.environ["AFTERCALL_API_KEY"]) as client:
    page = list_calls.sync(client=client)
    assert isinstance(page, CallPage), page
    assert page.next_cursor is None
    call = page.data[0]
    link = LinkIn(objects=[LinkedObject(type_="contact", id="501")])
    written = put_link.sync_detailed(call.id, "python", client=client, body=link)
    assert written.status_code is HTTPStatus.CREATED, written
    assert written.parsed.crm == "python"
    note = add_note.sync(call.id, client=client, body=NoteIn(text="Call back on Friday."))
    assert isinstance(note, NoteOut), note
    assert note.format_ == "plain"
    changes = list_changes.sync(client=client)
    assert isinstance(changes, Changes), changes
    assert "link.set" in [change.type_ for change in changes.data]
    unknown = get_call.sync(call="s-unknown", client=client)
    assert isinstance(unknown, Problem), unknown
    assert unknown.type_ == "/problems/not-found"
    assert unknown.errors is UNSET
