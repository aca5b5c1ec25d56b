"""What a person has to do about a connection, in words."""

from typing import Any

from app.errors import CredentialsRefused, PermissionMissing, RingCentralError
from app.ringcentral.auth import SIGN_IN_AGAIN

WRONG_ACCOUNT = "wrong-account"
"""Our own code: the credentials are of another account than the events."""


def describe(error: RingCentralError) -> dict[str, Any] | None:
    """Return {code, detail} for what only a person can mend, None for what passes by itself."""
    if isinstance(error, PermissionMissing):
        what = "app scope" if error.code == "CMN-401" else "user permission"
        return {
            "code": error.code or "permission-missing",
            "detail": f"RingCentral refuses for want of the {what} {error.permission or '(unnamed)'}: "
            f"grant it to the {'app in the developer console' if what == 'app scope' else 'service user'}.",
        }
    if isinstance(error, CredentialsRefused) and error.code == SIGN_IN_AGAIN:
        return {
            "code": error.code,
            "detail": f"RingCentral has ended the sign-in of this account ({error.detail}): "
            "open /oauth/ringcentral/start and sign in again.",
        }
    if isinstance(error, CredentialsRefused) and error.code == WRONG_ACCOUNT:
        return {
            "code": error.code,
            "detail": f"These are credentials of another account ({error.detail}): see whose credential RC_JWT is.",
        }
    if isinstance(error, CredentialsRefused):
        return {
            "code": error.code or "credentials-refused",
            "detail": f"RingCentral refuses the credentials ({error.detail}): set RC_CLIENT_ID, RC_CLIENT_SECRET and "
            "RC_JWT to valid ones and restart, or replace those of an added account with `aftercall accounts add`.",
        }
    return None
