"""What RingCentral's refusals of a subscription mean, and what a person does about them. No I/O.

The codes are those of the guide "Troubleshooting webhooks" and the API description.
"""

_REACHABLE = "RingCentral must reach AFTERCALL_PUBLIC_URL from outside over https"

ADVICE = {
    "SUB-402": "Presence is switched off for a user whose presence is asked for: switch it on, or take the filter out of AFTERCALL_SUBSCRIPTION_FILTERS.",
    "SUB-403": "The user of these credentials may not have events of other extensions: give that user the company's call log, or ask for their own extension.",
    "SUB-404": "An extension in AFTERCALL_SUBSCRIPTION_FILTERS does not exist any more: take it out.",
    "SUB-405": "The user of these credentials may not have these events: grant what the filters need, or change AFTERCALL_SUBSCRIPTION_FILTERS.",
    "SUB-406": "A filter names another account: use ~ in AFTERCALL_SUBSCRIPTION_FILTERS.",
    "SUB-407": "The user of these credentials may not have these events: grant what the filters need, or change AFTERCALL_SUBSCRIPTION_FILTERS.",
    "SUB-408": "The user of these credentials may not have these events: grant what the filters need, or change AFTERCALL_SUBSCRIPTION_FILTERS.",
    "SUB-505": "The user has too many subscriptions of this app: delete those that nobody uses; ours are reused, never piled up.",
    "SUB-507": "The subscription is gone; it is made anew.",
    "SUB-508": "RingCentral does not know a filter of AFTERCALL_SUBSCRIPTION_FILTERS: correct it.",
    "SUB-511": "The transport cannot do this: the subscription was not made for webhooks. Delete it; one is made anew.",
    "SUB-516": "The reminder filter does not fit: its threshold may be half of the lifetime, its interval half of the threshold.",
    "SUB-520": "The handshake's token did not come back: something in front of us drops the header Validation-Token, in requests or in answers.",
    "SUB-521": f"{_REACHABLE}: see that its name resolves, that no firewall is in the way, and that the proxy passes POST /webhooks/ringcentral on.",
    "SUB-523": "AFTERCALL_PUBLIC_URL must begin with https://.",
    "SUB-524": "The certificate at AFTERCALL_PUBLIC_URL is not accepted: serve the whole chain, with the intermediate certificates.",
    "SUB-525": "The answer to the handshake is not accepted: it may have 1024 bytes with all headers, and has 3 s. Let the proxy add no cookies or policies to POST /webhooks/ringcentral.",
    "SUB-527": "Missed calls of another extension cannot be subscribed to: take the filter out of AFTERCALL_SUBSCRIPTION_FILTERS.",
}


def advise(code: str | None, detail: str) -> str:
    """Return what was refused, in RingCentral's words, and what to do about it, in ours."""
    advice = ADVICE.get(code or "")
    return f"{detail}. {advice}" if advice else detail
