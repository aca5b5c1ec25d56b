"""A call as its facts show it: what is read of its parties, and what is derived from them."""

from typing import Any

from app.calls.derivation.derive import derive_call
from app.calls.evidence.events import state_events
from app.calls.evidence.facts import SessionFacts
from app.calls.evidence.parties import read_parties


class Seen:
    """Has the attributes of the derived call and, where it has none of the name, of its view."""

    def __init__(self, facts: SessionFacts) -> None:
        self.view = read_parties(facts)
        statement = state_events(self.view)
        self.call = derive_call([statement] if statement else [])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.call if hasattr(self.call, name) else self.view, name)
