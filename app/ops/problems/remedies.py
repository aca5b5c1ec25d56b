"""What each problem means to a person: a title, and what to do. No I/O.

The dashboard, `aftercall check` and `/v1/ops/summary` take their words from here, so a problem has the same
name everywhere. The table in `docs/operations.md` lists every title.
"""

import re
from dataclasses import dataclass

from app.ringcentral.reachability import Unreached


@dataclass(frozen=True, slots=True)
class Remedy:
    """`title` names the problem, `todo` says what to do about it."""

    title: str
    todo: str


_UNREACHABLE = "RingCentral cannot be reached"
_GRANTED = "What depends on it continues automatically once it is granted."
_LATER = "Calls from this time are fetched afterwards."
_CREDENTIALS = Remedy(
    "RingCentral refuses our credentials",
    "The JWT may have expired, been deleted, or belong to another app: check RingCentral's developer "
    "console.",
)
_SWEEP = Remedy("Part of the Call Log cannot be read", f"Correct what the message names. {_LATER}")
_OTHER = Remedy("Something is wrong with this account", "Find the failed request in the service's log.")
_BY_SUBJECT = {
    "subscription": Remedy(
        "RingCentral refuses the subscription",
        "No events arrive until it is accepted. Correct what RingCentral names; the service retries "
        "automatically.",
    ),
    "credentials": _CREDENTIALS,
    "sweep": _SWEEP,
    "directory": Remedy(
        "The company directory cannot be read",
        "Correct what RingCentral names, or set AFTERCALL_DIRECTORY_REFRESH_SECONDS to 0. Calls are complete "
        "without it, with fewer names.",
    ),
}


def _rule(pattern: str, title: str, todo: str) -> tuple[re.Pattern[str], Remedy]:
    return re.compile(pattern, re.IGNORECASE), Remedy(title, todo)


# The first pattern that is found in a code applies, so the specific ones come before the general ones.
_RULES = (
    _rule(
        "no-credentials",
        "No RingCentral credentials are configured",
        "Set RC_CLIENT_ID, RC_CLIENT_SECRET and RC_JWT, then restart; or add an account: aftercall accounts "
        "add.",
    ),
    _rule(
        "no-public-url",
        "No public address is configured",
        "Set AFTERCALL_PUBLIC_URL to the https address at which RingCentral reaches this service, then "
        "restart.",
    ),
    _rule(
        Unreached.NAME,
        _UNREACHABLE,
        "Our side: check that DNS works on this machine or in this container, and that RC_SERVER_URL is "
        f"correct. {_LATER}",
    ),
    _rule(
        Unreached.TLS,
        _UNREACHABLE,
        "Our side: a proxy that intercepts TLS needs its CA certificate in SSL_CERT_FILE, and the machine's "
        f"clock must be correct. {_LATER}",
    ),
    _rule(
        f"{Unreached.CONNECTION}|{Unreached.TIMEOUT}|{Unreached.NETWORK}",
        _UNREACHABLE,
        "Check that no firewall or proxy blocks the requests: curl the address from this machine. If that "
        f"gets no response either, see status.ringcentral.com. {_LATER}",
    ),
    _rule(
        Unreached.SERVER,
        "RingCentral answers with errors",
        f"RingCentral's side: see status.ringcentral.com. The service retries automatically. {_LATER}",
    ),
    _rule(
        "SUB-52[01345]",
        "RingCentral cannot reach us",
        "Check that AFTERCALL_PUBLIC_URL can be reached from the internet over https, and that the proxy "
        "forwards POST /webhooks/ringcentral unchanged.",
    ),
    _rule(
        "subscription-missing",
        "No subscription delivers events",
        "Check that a worker is running: aftercall serve, or aftercall serve --role worker. It creates or "
        "renews the subscription and logs why it cannot.",
    ),
    _rule(
        "inbox-backlog",
        "Events are waiting to be processed",
        "Check that a worker is running (aftercall serve --role worker) and read its log; add a worker if "
        "all are busy.",
    ),
    _rule(
        "sign-in-again",
        "Someone must sign in again",
        "Open /oauth/ringcentral/start on this service, or send an invitation: aftercall accounts invite.",
    ),
    _rule(
        "unreadable|other-app",
        "Stored credentials cannot be used",
        "Add them again with aftercall accounts add, or send an invitation: aftercall accounts invite.",
    ),
    _rule(
        "wrong-account",
        "The credentials belong to another account",
        "Set RC_JWT to a credential of the account whose events arrive, then restart.",
    ),
    _rule("users-not-asked", _SWEEP.title, _SWEEP.todo),
    _rule(
        "CMN-301|rate-limited",
        "RingCentral limits our requests",
        "The service continues automatically. If it happens often, another program uses the same user and "
        "app: give this service its own user.",
    ),
    _rule(
        "^silenced$",
        "RingCentral asked for a long pause",
        "Nothing to do: calls are read from the Call Log afterwards. If it is unexpected, ask RingCentral's "
        "support.",
    ),
    _rule(
        "^record-set-aside$",
        "A record could not be stored",
        "Other calls are not affected. The log names the record and the reason; please report it.",
    ),
    _rule(
        "CMN-401",
        "An app scope is missing",
        f"Grant it to the app in the developer console. {_GRANTED}",
    ),
    _rule(
        "CMN-109|CMN-403",
        "The RingCentral account lacks a feature",
        "Ask RingCentral to enable the feature that the message names. Everything else continues to work.",
    ),
    _rule(
        "CMN-40[2-8]|CMN-419|permission",
        "A permission is missing",
        f"Grant it to the user in the admin portal. {_GRANTED}",
    ),
    _rule("OAU-|invalid_|unauthorized|credentials", _CREDENTIALS.title, _CREDENTIALS.todo),
    _rule(
        "disabled-filters",
        "RingCentral omits some events",
        "Give the service's user the permissions that these filters need, or remove the filters from "
        "AFTERCALL_SUBSCRIPTION_FILTERS.",
    ),
    _rule(
        "^webhook-disabled$",
        "A webhook endpoint was disabled",
        "Repair the receiver, then enable the endpoint again: PATCH /v1/webhook-endpoints/{endpoint} with "
        '{"enabled": true}. What it missed is sent then.',
    ),
    _rule(
        "clock-skew",
        "A clock is wrong",
        "Synchronize the machine's clock by NTP. The warning disappears some seconds later.",
    ),
)


def remedy_for(about: str, code: str) -> Remedy:
    """Return the title and remedy of a problem by its code, RingCentral's or ours, else by its subject."""
    found = next((remedy for pattern, remedy in _RULES if pattern.search(code)), None)
    return found or _BY_SUBJECT.get(about, _OTHER)


def all_titles() -> frozenset[str]:
    """Return the title of every problem that can be shown."""
    return frozenset(remedy.title for remedy in (_OTHER, *_BY_SUBJECT.values(), *(one for _, one in _RULES)))
