"""A problem that a person has to fix, as a value. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.ops.problems.remedies import remedy_for

_UNREACHED = "unreachable-"


class Subject(StrEnum):
    """What a problem is about: the value of `about` in the API."""

    SETUP = "setup"
    REACH = "reach"
    CREDENTIALS = "credentials"
    RATE_LIMIT = "rate-limit"
    RECORDS = "records"
    SUBSCRIPTION = "subscription"
    SWEEP = "sweep"
    INBOX = "inbox"
    CLOCK = "clock"
    DIRECTORY = "directory"
    WEBHOOK = "webhook"


class ProblemCode(StrEnum):
    """The codes given here. Others are RingCentral's, or those of the package that stored them."""

    NO_PUBLIC_URL = "no-public-url"
    SUBSCRIPTION_MISSING = "subscription-missing"
    INBOX_BACKLOG = "inbox-backlog"
    CLOCK_SKEW = "clock-skew"
    RATE_LIMITED = "rate-limited"
    WEBHOOK_DISABLED = "webhook-disabled"


@dataclass(frozen=True, slots=True)
class ProblemToFix:
    """Something that only a person can fix. `credentials` names those that it is about."""

    account_id: str
    about: Subject
    code: str
    detail: str
    since: datetime | None = None
    credentials: str | None = None

    @property
    def title(self) -> str:
        return remedy_for(self.about, self.code).title

    @property
    def todo(self) -> str:
        return remedy_for(self.about, self.code).todo

    def to_json(self) -> dict[str, str | None]:
        """Return the stored form, which `read_problem` reads."""
        since = self.since.isoformat() if self.since else None
        return {"code": self.code, "detail": self.detail, "since": since}


def read_problem(
    about: Subject, account_id: str, stored: Mapping[str, Any], credentials: str | None = None
) -> ProblemToFix:
    """Read a stored problem: `code` (null: the subject stands for it), `detail`, `since` (ISO 8601)."""
    since = stored.get("since")
    code = str(stored.get("code") or about)
    return ProblemToFix(
        account_id=account_id,
        # Whatever the request was for, without a response the network is the subject.
        about=Subject.REACH if code.startswith(_UNREACHED) else about,
        code=code,
        detail=str(stored.get("detail") or ""),
        since=datetime.fromisoformat(since) if isinstance(since, str) else None,
        credentials=credentials,
    )
