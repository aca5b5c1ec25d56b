"""What the settings say about RingCentral: credentials, addresses, limits."""

from app.accounts.credentials import Secret
from app.rate_limits.bucket import Limits
from app.ringcentral.auth import AuthConfig
from app.ringcentral.transport import ClientConfig
from app.settings import Settings


def own_auth(settings: Settings) -> AuthConfig | None:
    """Return how to sign in with the credentials of the environment; None if they are incomplete."""
    if not settings.has_credentials or settings.rc_client_id is None or settings.rc_jwt is None:
        return None
    return auth_config(settings, Secret(settings.rc_client_id, jwt=settings.rc_jwt.get_secret_value()))


def auth_config(settings: Settings, secret: Secret) -> AuthConfig | None:
    """Return how to sign in. None for a secret of the environment's app if that is another app now."""
    client_secret = secret.client_secret
    if client_secret is None:
        if settings.rc_client_secret is None or secret.client_id != settings.rc_client_id:
            return None
        client_secret = settings.rc_client_secret.get_secret_value()
    return AuthConfig(
        client_id=secret.client_id,
        client_secret=client_secret,
        jwt=secret.jwt,
        sign_in=secret.sign_in,
        server_url=settings.rc_server_url,
        request_seconds=settings.rc_timeout_seconds,
        penalty_seconds=settings.rate_limit_penalty_seconds,
    )


def client_config(settings: Settings) -> ClientConfig:
    """Return how to talk to RingCentral."""
    return ClientConfig(
        server_url=settings.rc_server_url,
        media_url=settings.rc_media_url,
        timeout_seconds=settings.rc_timeout_seconds,
        backoff_seconds=settings.active_calls_window_seconds / 60,
        penalty_seconds=settings.rate_limit_penalty_seconds,
    )


def rate_limits(settings: Settings) -> dict[str, Limits]:
    """Return the limits by group that apply until RingCentral's headers say otherwise."""
    groups = {
        "heavy": settings.rate_limit_heavy,
        "medium": settings.rate_limit_medium,
        "light": settings.rate_limit_light,
        "auth": settings.rate_limit_auth,
    }
    return {
        group: Limits(
            limit=limit,
            window_seconds=settings.rate_limit_window_seconds,
            penalty_seconds=settings.rate_limit_penalty_seconds,
            request_timeout_seconds=settings.rc_timeout_seconds * 2,
        )
        for group, limit in groups.items()
    }
