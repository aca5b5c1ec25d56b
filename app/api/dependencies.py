"""What routes depend on: the services of the process, and a fast JSON response."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request, Response

from app.api.answers import Answers
from app.api.known_keys import KnownKeys
from app.api.lookups import Lookups
from app.api.revocations import Revocations
from app.api.usage.limits import KeyLimits
from app.api.usage.recent import RecentRequests
from app.clock import Clock
from app.db.engine import Database
from app.settings import Settings
from app.values.exact_json import write_json
from app.work.stopping import StopSignal
from app.work.wakeups import Wakeups


@dataclass(frozen=True, slots=True)
class Services:
    """What a process has opened; `app.state.services`.

    `stopping` is set when the process starts to shut down, so that long polls and streams end.
    """

    settings: Settings
    database: Database
    wakeups: Wakeups
    clock: Clock
    stopping: StopSignal = field(default_factory=StopSignal)
    revocations: Revocations = field(init=False)
    known_keys: KnownKeys = field(init=False)
    answers: Answers = field(init=False)
    lookups: Lookups = field(init=False)
    key_limits: KeyLimits = field(init=False)
    recent_requests: RecentRequests = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "revocations", Revocations(self.database, self.wakeups, self.clock))
        object.__setattr__(self, "lookups", Lookups(self.database))
        object.__setattr__(self, "known_keys", KnownKeys(self.lookups, self.wakeups, self.clock))
        object.__setattr__(self, "answers", Answers(self.clock))
        limits = KeyLimits(self.clock, self.settings.key_requests_per_minute, self.settings.key_burst_seconds)
        object.__setattr__(self, "key_limits", limits)
        object.__setattr__(self, "recent_requests", RecentRequests(self.database, self.clock))


async def current_services(request: Request) -> Services:
    """The services that the app was started with."""
    services: Services = request.app.state.services
    return services


CurrentServices = Annotated[Services, Depends(current_services)]


class JsonResponse(Response):
    """Serialises dicts, dates and enums directly, without validation by a model."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return write_json(content)
