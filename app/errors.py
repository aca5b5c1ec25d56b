"""All errors of the service, by whose fault they are.

AftercallError
├── SettingsError          the operator's: the service refuses to start and says what to set
│   ├── SchemaMismatch     the database's schema is not the one that this version needs
│   └── DatabaseUnusable   a command cannot use the database; says which one, why, and what to do
├── CallerError            the caller's: drawn as a problem (RFC 9457), 4xx
│   ├── NotFound           404
│   ├── AmbiguousCall      409, with the candidates
│   ├── NotAcceptable      406, with the forms that there are
│   ├── Conflict           409
│   ├── HistoryChanged     410, with the cursor to start from
│   │   └── CursorExpired  410, the same for changes that are not kept any more
│   ├── VersionExpired     410, with the oldest version that is kept
│   ├── CallErased         410, with the time of the erasure
│   ├── HeldCalls          409, with the number of calls under legal hold
│   ├── PreconditionFailed 412
│   ├── PreconditionRequired 428
│   ├── Unauthenticated    401
│   ├── Forbidden          403
│   │   └── OriginRefused  403, for a page of another origin
│   ├── TooManyRequests    429, with the seconds to wait
│   ├── PayloadTooLarge    413
│   ├── AddressTooLong     414
│   ├── HeadersTooLarge    431
│   ├── UnsupportedMediaType 415
│   ├── RangeNotSatisfiable 416
│   ├── TooManyExports     429, with the time to wait
│   ├── BadInput           400
│   └── Unprocessable      422
├── StorageUnavailable     ours: the database did not answer, 503; nothing was accepted
├── ArchiveUnavailable     ours: the audio archive cannot be read or written; retried
├── NoCredentials          the operator's: no credentials for RingCentral, 503; says which command to run
├── LeaseLost              ours: another replica has taken the work over; drop the result
└── RingCentralError       theirs, or the way to them
    ├── RingCentralUnreachable  timeout, connection refused, 5xx after all tries
    ├── RateLimited             429: nothing of the bucket may be sent until `retry_at`
    ├── CredentialsRefused      the token endpoint refused them: a person has to act
    ├── PermissionMissing       403: app scope (CMN-401) or user permission (CMN-408), a person has to act
    ├── ForeignHost             an address outside the allow-list
    └── RequestRefused          any other 4xx
        └── FeatureMissing      403: not in the account's plan (CMN-109, CMN-403), a person has to act
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Self


class AccessReason(StrEnum):
    """Why credentials cannot be used, or why something cannot be read with them.

    A code of ours, as the API, the log and metrics report it; RingCentral's own codes stand beside these.
    """

    NO_CREDENTIALS = "no-credentials"
    """No credentials that work serve the account."""

    NO_PERMISSION = "no-permission"
    """The credentials that work may not read it."""

    CREDENTIALS_REFUSED = "credentials-refused"
    PERMISSION_MISSING = "permission-missing"
    """RingCentral refused without a code of its own."""

    SIGN_IN_AGAIN = "sign-in-again"
    """RingCentral no longer accepts the refresh token: only a person can get a new one."""

    NO_REFRESH_TOKEN = "no-refresh-token"  # noqa: S105 - a code
    WRONG_ACCOUNT = "wrong-account"
    """The credentials are of another account than the events."""

    OTHER_APP = "other-app"
    """The credentials were issued to another app than the one in the settings."""

    UNREADABLE = "unreadable"
    """The credentials were encrypted with a key that this process does not have."""

    REMOVED = "removed"
    SILENCED = "silenced"
    """RingCentral asked for a long silence (429)."""


class AftercallError(Exception):
    """The root; never raised itself."""


class SettingsError(AftercallError):
    """Settings that cannot work; says what to set."""


class SchemaMismatch(SettingsError):
    """The schema is missing, older or newer than this version needs. `is_behind`: migrating helps."""

    def __init__(self, detail: str, *, is_behind: bool) -> None:
        super().__init__(detail)
        self.is_behind = is_behind


class DatabaseUnusable(SettingsError):
    """A command cannot use the database; says which one, why, and what to do."""


class CallerError(AftercallError):
    """The caller's request cannot be carried out. `extra` goes into the problem document."""

    status: ClassVar[int] = 400
    kind: ClassVar[str] = "bad-request"
    title: ClassVar[str] = "The request is malformed"

    def __init__(self, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra: Mapping[str, Any] = extra


class BadInput(CallerError):
    """400."""


class Unprocessable(CallerError):
    """422: well-formed, but not possible."""

    status = 422
    kind = "unprocessable"
    title = "The request cannot be carried out"


class Unauthenticated(CallerError):
    """401."""

    status = 401
    kind = "unauthenticated"
    title = "Authentication failed"


class Forbidden(CallerError):
    """403."""

    status = 403
    kind = "forbidden"
    title = "The API key is not allowed to do this"


class OriginRefused(Forbidden):
    """403: a page of another origin than the key names."""

    kind = "origin-refused"
    title = "The key may not be used from this origin"


class TooManyRequests(CallerError):
    """429. `retryAfterSeconds`: when the next request may pass."""

    status = 429
    kind = "too-many-requests"
    title = "The key has sent too many requests"


class NotFound(CallerError):
    """404."""

    status = 404
    kind = "not-found"
    title = "Not found"


class Conflict(CallerError):
    """409."""

    status = 409
    kind = "conflict"
    title = "The request conflicts with the current state"


class AmbiguousCall(Conflict):
    """409: an alias belongs to several calls; `candidates` lists their ids."""

    kind = "ambiguous-call"
    title = "The id matches several calls"

    def __init__(self, detail: str, candidates: Sequence[str]) -> None:
        super().__init__(detail, candidates=list(candidates))


class HistoryChanged(CallerError):
    """410: a cursor from before the database was restored; `startFrom` is the cursor to continue with."""

    status = 410
    kind = "history-changed"
    title = "The cursor belongs to a different history of the database"

    @classmethod
    def ahead(cls) -> Self:
        """The cursor's number has not been assigned yet."""
        return cls._of("The cursor is ahead of this feed")

    @classmethod
    def replaced(cls) -> Self:
        """The cursor's number was given to another change."""
        return cls._of("This feed has another change at the number of the cursor")

    @classmethod
    def _of(cls, what: str) -> Self:
        return cls(
            f"{what}: the database was restored from a backup, or the cursor belongs to another account. "
            "You may have missed changes, and changes that you have seen may be lost here. Start again from "
            "`startFrom`.",
            parameter="cursor",
            startFrom="0",
        )


class CursorExpired(HistoryChanged):
    """410: changes after the cursor were removed after their retention; `startFrom` is the oldest cursor."""

    kind = "cursor-expired"
    title = "Changes after this cursor are not kept any more"

    @classmethod
    def before(cls, oldest: int) -> Self:
        """Changes up to the number `oldest` are removed."""
        return cls(
            f"You have not read all changes up to number {oldest}, and they are not kept any more "
            "(AFTERCALL_RETENTION_TIMELINE_DAYS). Read the state of all calls from /v1/calls, then continue "
            "from `startFrom`.",
            parameter="cursor",
            startFrom=str(oldest),
        )


class VersionExpired(CallerError):
    """410: the change to this version was removed after its retention; `oldestVersion` is kept."""

    status = 410
    kind = "version-expired"
    title = "This version of the call is not kept any more"


class CallErased(CallerError):
    """410: the call existed and was erased, on the order of a person; includes `erasedAt`."""

    status = 410
    kind = "call-erased"
    title = "The call was erased"


class HeldCalls(CallerError):
    """409: calls under legal hold cannot be erased; includes their number, `heldCalls`."""

    status = 409
    kind = "legal-hold"
    title = "Calls are under legal hold"


class NotAcceptable(CallerError):
    """406: nothing that the client takes can be sent; `available` lists what can."""

    status = 406
    kind = "not-acceptable"
    title = "The response cannot be sent in a form that `Accept` allows"


class PreconditionFailed(CallerError):
    """412: `If-Match` names a version that has passed."""

    status = 412
    kind = "precondition-failed"
    title = "The resource has changed since you read it"


class PreconditionRequired(CallerError):
    """428."""

    status = 428
    kind = "precondition-required"
    title = "This change requires an If-Match header"


class TooManyExports(CallerError):
    """429: the account has as many exports running as it may. `retrySeconds`: when to ask again."""

    status = 429
    kind = "too-many-exports"
    title = "Too many exports at the same time"


class PayloadTooLarge(CallerError):
    """413."""

    status = 413
    kind = "payload-too-large"
    title = "The body is too large"


class AddressTooLong(CallerError):
    """414."""

    status = 414
    kind = "address-too-long"
    title = "The URL is too long"


class HeadersTooLarge(CallerError):
    """431."""

    status = 431
    kind = "headers-too-large"
    title = "The headers are too large"


class UnsupportedMediaType(CallerError):
    """415."""

    status = 415
    kind = "unsupported-media-type"
    title = "The body must be sent as JSON"


class RangeNotSatisfiable(CallerError):
    """416; includes `total`, the size in bytes, if it is known."""

    status = 416
    kind = "range-not-satisfiable"
    title = "The range starts after the end of the content"


class NoCredentials(AftercallError):
    """No credentials that work serve the account, so nothing was sent; `detail` says which command to run."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class StorageUnavailable(AftercallError):
    """The database is not available. Nothing was accepted; the sender should retry."""


class ArchiveUnavailable(AftercallError):
    """The audio archive could not store or return a file."""


class LeaseLost(AftercallError):
    """Another replica holds the work now; drop the result."""


class RingCentralError(AftercallError):
    """RingCentral's fault, or the network's.

    `status`, `code` and `request_id` are None if no response came.
    """

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.code = code
        self.request_id = request_id


class RingCentralUnreachable(RingCentralError):
    """No usable response after all tries: timeout, refused connection, 5xx."""


class RateLimited(RingCentralError):
    """429. Nothing of the bucket may be sent before `retry_at` (aware UTC)."""

    def __init__(
        self,
        detail: str,
        *,
        retry_at: datetime,
        status: int | None = 429,
        code: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(detail, status=status, code=code, request_id=request_id)
        self.retry_at = retry_at


class CredentialsRefused(RingCentralError):
    """The token endpoint refused the credentials; a retry will not help."""


class PermissionMissing(RingCentralError):
    """403: `permission` names the app scope or the user permission that a person has to grant."""

    def __init__(
        self,
        detail: str,
        *,
        permission: str | None,
        status: int | None = 403,
        code: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(detail, status=status, code=code, request_id=request_id)
        self.permission = permission


class ForeignHost(RingCentralError):
    """An address whose host is not on the allow-list; the token was not sent there.

    `setting` is the variable that would allow it, if the host is RingCentral's.
    """

    def __init__(self, detail: str, *, setting: str = "RC_SERVER_URL") -> None:
        super().__init__(detail, code="foreign-host")
        self.setting = setting


class RequestRefused(RingCentralError):
    """Any other 4xx; `status` and `code` say which."""


class FeatureMissing(RequestRefused):
    """403: the account does not have the requested feature; a retry will not help."""
