"""What each problem means to a person: a title and what helps. No I/O.

The dashboard, `aftercall check` and `/v1/ops/summary` take their words from here, so the same problem has the same
name everywhere. The table in `docs/operations.md` lists every title.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from app.ringcentral.reachability import Unreached


@dataclass(frozen=True, slots=True)
class Remedy:
    """`title` names the trouble, `todo` says what to do about it."""

    title: str
    todo: str


_GRANTED = "What waits for it goes on by itself once it is granted."
_LATER = "Calls from this time are fetched afterwards."
_AWAY = "RingCentral cannot be reached"
_DEAF = "RingCentral cannot reach us"
_REFUSED = Remedy(
    "RingCentral refuses the subscription",
    "No event comes until it is accepted. Correct what RingCentral names; the service tries again by itself.",
)
_CREDENTIALS = Remedy(
    "RingCentral refuses our credentials",
    "The JWT may have expired, been deleted, or be meant for another app: see RingCentral's developer console.",
)
_OTHER = Remedy(
    "Something is wrong with this account", "See the log of the service for the request that failed."
)
_FALLBACKS = {
    "subscription": _REFUSED,
    "credentials": _CREDENTIALS,
    "sweep": Remedy(
        "A part of the Call Log is not read",
        f"Correct what the message names. {_LATER}",
    ),
}
_BY_CODE: Sequence[tuple[str, Remedy]] = (
    (
        "no-credentials",
        Remedy(
            "No RingCentral user is set up",
            "Set RC_CLIENT_ID, RC_CLIENT_SECRET and RC_JWT, then restart; or add an account: aftercall accounts add.",
        ),
    ),
    (
        "no-public-url",
        Remedy(
            "No public address is set up",
            "Set AFTERCALL_PUBLIC_URL to the https address at which RingCentral reaches this service, then restart.",
        ),
    ),
    (
        Unreached.NAME,
        Remedy(
            _AWAY,
            "Our side: check that DNS works on this machine or in this container, and that RC_SERVER_URL is spelled "
            f"right. {_LATER}",
        ),
    ),
    (
        Unreached.TLS,
        Remedy(
            _AWAY,
            "Our side: a proxy that opens TLS needs its CA certificate in SSL_CERT_FILE, and the machine's clock must "
            f"be right. {_LATER}",
        ),
    ),
    (
        f"{Unreached.CONNECTION}|{Unreached.TIMEOUT}|{Unreached.NETWORK}",
        Remedy(
            _AWAY,
            "Check that no firewall or proxy is in the way: curl the address from this machine. If that answers "
            f"nothing either, see status.ringcentral.com. {_LATER}",
        ),
    ),
    (
        Unreached.SERVER,
        Remedy(
            "RingCentral answers with errors",
            f"RingCentral's side: see status.ringcentral.com. The service tries again by itself. {_LATER}",
        ),
    ),
    (
        "SUB-52[01345]",
        Remedy(
            _DEAF,
            "Check that AFTERCALL_PUBLIC_URL can be reached from the internet over https, and that the proxy passes "
            "POST /webhooks/ringcentral on unchanged.",
        ),
    ),
    (
        "subscription-missing",
        Remedy(
            "No subscription delivers events",
            "Check that a worker runs: aftercall serve, or aftercall serve --role worker. It makes or renews the "
            "subscription by itself and says in its log if it cannot.",
        ),
    ),
    (
        "inbox-backlog",
        Remedy(
            "Events wait to be processed",
            "Check that a worker runs (aftercall serve --role worker) and read its log; add a worker if all are busy.",
        ),
    ),
    (
        "sign-in-again",
        Remedy(
            "Somebody has to sign in again",
            "Open /oauth/ringcentral/start on this service, or send an invitation: aftercall accounts invite makes one.",
        ),
    ),
    (
        "unreadable|other-app",
        Remedy(
            "Stored credentials cannot be used",
            "Give them again with aftercall accounts add, or send an invitation: aftercall accounts invite makes one.",
        ),
    ),
    (
        "wrong-account",
        Remedy(
            "These are credentials of another account",
            "Set RC_JWT to a credential of the account whose events come in, and restart.",
        ),
    ),
    ("users-not-asked", _FALLBACKS["sweep"]),
    (
        "CMN-301|rate-limited",
        Remedy(
            "RingCentral makes us wait",
            "It goes on by itself. If it happens often, another program uses the same user and app: give this service "
            "a user of its own.",
        ),
    ),
    (
        "^silenced$",
        Remedy(
            "RingCentral asked us to wait",
            "Nothing needs to be done: calls are read from the Call Log afterwards. If it is unexpected, ask "
            "RingCentral's support.",
        ),
    ),
    (
        "^record-set-aside$",
        Remedy(
            "A record could not be stored",
            "Other calls are not affected. The log says which record and why; please report it.",
        ),
    ),
    (
        "CMN-401",
        Remedy("An app scope is missing", f"Grant it to the app in the developer console. {_GRANTED}"),
    ),
    (
        "CMN-109|CMN-403",
        Remedy(
            "The RingCentral account lacks a feature",
            "Ask RingCentral to enable the feature that the message names for the account. Everything else goes on.",
        ),
    ),
    (
        "CMN-40[2-8]|CMN-419|permission",
        Remedy("A permission is missing", f"Grant it to the user in the admin portal. {_GRANTED}"),
    ),
    ("OAU-|invalid_|unauthorized|credentials", _CREDENTIALS),
    (
        "disabled-filters",
        Remedy(
            "RingCentral leaves some events out",
            "Give the service user the permissions that these filters need, or take them out of "
            "AFTERCALL_SUBSCRIPTION_FILTERS.",
        ),
    ),
    (
        "clock-skew",
        Remedy(
            "A clock is off",
            "Let the machine set its clock by NTP. The warning disappears some seconds later.",
        ),
    ),
)
_COMPILED = [(re.compile(pattern, re.IGNORECASE), remedy) for pattern, remedy in _BY_CODE]


def remedy_of(about: str, code: str) -> Remedy:
    """Return the words for a problem's code, RingCentral's own or ours."""
    found = next((remedy for pattern, remedy in _COMPILED if pattern.search(code)), None)
    return found or _FALLBACKS.get(about, _OTHER)


def all_titles() -> frozenset[str]:
    """Return the title of every problem that can be shown."""
    return frozenset(remedy.title for remedy in (_OTHER, *_FALLBACKS.values(), *(one for _, one in _BY_CODE)))
