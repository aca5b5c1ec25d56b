"""What is known of the key of a request while it is answered, shared by the parts of the app."""

from dataclasses import dataclass

from starlette.types import Scope

from app.api.usage.bucket import Verdict

_PLACE = "aftercall.key_use"


@dataclass(slots=True)
class KeyUse:
    """Filled in by authentication. Middleware outside and inside see the same object."""

    owner: str | None = None
    key_id: str | None = None
    verdict: Verdict | None = None

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that tell a client its limit.

        `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers-10: the quota `q` in a
        window of `w` seconds, and what remains (`r`) and when it is whole again (`t`).
        """
        if self.verdict is None:
            return []
        quota = self.verdict.quota
        policy = f'"key";q={quota.requests};w={max(1, round(quota.seconds))}'
        state = f'"key";r={self.verdict.remaining};t={self.verdict.reset_seconds}'
        return [(b"ratelimit-policy", policy.encode()), (b"ratelimit", state.encode())]


def use_of(scope: Scope) -> KeyUse:
    """Return what is known of the key of this request."""
    use: KeyUse = scope.setdefault(_PLACE, KeyUse())
    return use
