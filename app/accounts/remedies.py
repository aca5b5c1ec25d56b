"""What a person has to do about a connection, in words."""

from typing import Any

from app.errors import AccessReason, CredentialsRefused, PermissionMissing, RateLimited, RingCentralError

_VALID_ONES = {
    "own": "set RC_CLIENT_ID, RC_CLIENT_SECRET and RC_JWT to valid ones and restart.",
    "jwt": "add valid ones with `aftercall accounts add`.",
    "oauth": "check that RC_CLIENT_ID and RC_CLIENT_SECRET are those of the app in the developer console.",
}
"""What to do if credentials of this kind are refused."""


def describe(error: RingCentralError, kind: str = "own") -> dict[str, Any] | None:
    """Return {code, detail} for what only a person can fix, None for what passes by itself.

    `kind` says where the credentials come from, as `Connection.kind` does.
    """
    if isinstance(error, PermissionMissing):
        what = "app scope" if error.code == "CMN-401" else "user permission"
        return {
            "code": error.code or AccessReason.PERMISSION_MISSING,
            "detail": f"RingCentral refuses access without the {what} {error.permission or '(unnamed)'}: "
            f"grant it to the {'app in the developer console' if what == 'app scope' else 'service user'}.",
        }
    if isinstance(error, CredentialsRefused) and error.code == AccessReason.SIGN_IN_AGAIN:
        return {
            "code": error.code,
            "detail": f"RingCentral has ended the sign-in of this account ({error.detail}): "
            "open /oauth/ringcentral/start, or an invitation (`aftercall accounts invite`), and sign in "
            "again.",
        }
    if isinstance(error, CredentialsRefused) and error.code == AccessReason.WRONG_ACCOUNT:
        return {
            "code": error.code,
            "detail": f"These are credentials of another account ({error.detail}): check whose "
            "credential RC_JWT is.",
        }
    if isinstance(error, CredentialsRefused):
        return {
            "code": error.code or AccessReason.CREDENTIALS_REFUSED,
            "detail": f"RingCentral refuses the credentials ({error.detail}): {_VALID_ONES[kind]}",
        }
    return None


def why_not_stored(error: RingCentralError) -> str:
    """Explain why a JWT credential was not stored, and what to do."""
    match error:
        case CredentialsRefused():
            return (
                f"RingCentral refuses this credential ({error.detail}): check that it has not expired or "
                "been deleted, "
                "that it may be used with this app, and that the app's client id and secret are right; "
                "nothing was stored"
            )
        case PermissionMissing():
            return (
                f"RingCentral does not say whose account this is ({error.detail}): grant the app the scope "
                f"{error.permission or 'ReadCallLog'} in the developer console; nothing was stored"
            )
        case RateLimited():
            return f"RingCentral asks us to wait ({error.detail}): try again in a minute; nothing was stored"
        case _:
            return (
                f"RingCentral gave no usable response ({error.detail}): try again, and check that "
                "RC_SERVER_URL is right; "
                "nothing was stored"
            )
