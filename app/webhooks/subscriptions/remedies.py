"""What RingCentral's refusals of a subscription mean, and what a person does about them. No I/O.

The codes are those of the guide "Troubleshooting webhooks" and the API description.
"""

_FILTERS = "AFTERCALL_SUBSCRIPTION_FILTERS"
_NOT_PERMITTED = (
    "The user of these credentials has no permission for these events: grant what the filters need, or "
    f"change {_FILTERS}."
)

ADVICE = {
    "SUB-402": (
        "A filter asks for the presence of a user whose presence is switched off: switch it on, or remove "
        f"the filter from {_FILTERS}."
    ),
    "SUB-403": (
        "The user of these credentials has no permission for events of other extensions: grant that user "
        "the company's call log, or subscribe to their own extension."
    ),
    "SUB-404": f"An extension in {_FILTERS} does not exist any more: remove it.",
    "SUB-405": _NOT_PERMITTED,
    "SUB-406": f"A filter names another account: use ~ in {_FILTERS}.",
    "SUB-407": _NOT_PERMITTED,
    "SUB-408": _NOT_PERMITTED,
    "SUB-505": (
        "The user has too many subscriptions of this app: delete those that are not used. The service "
        "reuses its own subscriptions and does not accumulate them."
    ),
    "SUB-507": "The subscription does not exist any more; it is created again.",
    "SUB-508": f"RingCentral does not know a filter of {_FILTERS}: correct it.",
    "SUB-511": (
        "The transport does not support this: the subscription was not created for webhooks. Delete it; a "
        "new one is created."
    ),
    "SUB-516": (
        "The reminder filter does not fit: its threshold can be at most half of the lifetime, its interval "
        "at most half of the threshold."
    ),
    "SUB-520": (
        "The token of the handshake did not come back: a proxy in front of the service drops the header "
        "Validation-Token, in requests or in responses."
    ),
    "SUB-521": (
        "RingCentral must reach AFTERCALL_PUBLIC_URL from outside over https: check that its name resolves, "
        "that no firewall blocks it, and that the proxy forwards POST /webhooks/ringcentral."
    ),
    "SUB-523": "AFTERCALL_PUBLIC_URL must begin with https://.",
    "SUB-524": (
        "The certificate at AFTERCALL_PUBLIC_URL is not accepted: serve the full chain, with the "
        "intermediate certificates."
    ),
    "SUB-525": (
        "The response to the handshake is not accepted: it may have 1024 bytes, headers included, and must "
        "arrive within 3 s. Configure the proxy to add no cookies or policies to POST "
        "/webhooks/ringcentral."
    ),
    "SUB-527": (
        f"Missed calls of another extension cannot be subscribed to: remove the filter from {_FILTERS}."
    ),
}


def advise(code: str | None, detail: str) -> str:
    """Return the refusal in RingCentral's words, followed by what to do about it."""
    advice = ADVICE.get(code or "")
    return f"{detail}. {advice}" if advice else detail
