"""Who takes part in a scripted call, and how each side appears in events and in records. No I/O."""

import random
from dataclasses import dataclass

from app.simulator.scripting.company import Company, Customer, Extension
from app.simulator.scripting.model import Json
from app.simulator.scripting.timeline import Timeline


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What the caller of `start_call` may choose; None leaves it to chance. Times are simulated seconds.

    `agent`, `colleague` and `customer` are numbers: for the first two a short number, a direct number or an
    extension id.
    """

    talk_seconds: float | None = None
    ring_seconds: float | None = None
    hold_seconds: float | None = None
    agent: str | None = None
    colleague: str | None = None
    customer: str | None = None
    recorded: bool | None = None


@dataclass(frozen=True, slots=True)
class Casting:
    """The participants of a call and its times; `ring`, `talk` and `hold` are simulated seconds."""

    timeline: Timeline
    company: Company
    agent: Extension
    colleague: Extension
    customer: Customer
    ring: float
    talk: float
    hold: float
    recorded: bool

    @property
    def caller(self) -> Json:
        """The customer as a side of an event's party."""
        return {"phoneNumber": self.customer.number, "name": self.customer.name}


class UnknownNumberError(ValueError):
    """No extension of the company has the given number."""


def choose_casting(timeline: Timeline, company: Company, options: CallOptions) -> Casting:
    """Choose the participants and times; raises UnknownNumberError."""
    # Everything is drawn before the options apply, so that an option changes nothing but its own value.
    rng = timeline.rng
    # The service user has an extension but takes no calls.
    first, second = rng.sample(
        [person for person in company.people if not person.name.endswith("Service")], k=2
    )
    agent = _find_extension(company, options.agent) or first
    colleague = _find_extension(company, options.colleague) or (second if second.id != agent.id else first)
    ring, talk, hold = rng.uniform(2.0, 12.0), draw_talk(rng), rng.uniform(5.0, 20.0)
    customer, recorded = rng.choice(company.customers), rng.random() < 0.6
    if options.customer is not None:
        customer = next(
            (known for known in company.customers if known.number == options.customer),
            Customer(options.customer, options.customer),
        )
    timeline.add_name(customer.number, customer.name)
    return Casting(
        timeline,
        company,
        agent,
        colleague,
        customer,
        ring if options.ring_seconds is None else options.ring_seconds,
        talk if options.talk_seconds is None else options.talk_seconds,
        hold if options.hold_seconds is None else options.hold_seconds,
        recorded if options.recorded is None else options.recorded,
    )


def draw_talk(rng: random.Random, median: float = 60.0) -> float:
    """Draw a talk time: many short ones, few long ones, between a quarter of the median and six times it."""
    return min(max(rng.lognormvariate(0.0, 0.8) * median, median / 4), median * 6)


def _find_extension(company: Company, number: str | None) -> Extension | None:
    if number is None:
        return None
    found = company.find(number)
    if found is None:
        raise UnknownNumberError(number)
    return found


def event_side(extension: Extension, number: str | None = None) -> Json:
    """Return an extension as a side of an event's party."""
    return {
        "phoneNumber": number or extension.direct_number,
        "name": extension.name,
        "extensionId": extension.id,
    }


def record_side(extension: Extension, number: str | None = None) -> Json:
    """Return an extension as a side of a record."""
    return {
        "phoneNumber": number or extension.direct_number,
        "name": extension.name,
        "location": extension.location,
    }


def internal_side(extension: Extension) -> Json:
    """Return an extension as a side of an internal call or of a leg to its phone."""
    return {
        "name": extension.name,
        "extensionNumber": extension.number,
        "extensionId": extension.id,
        "device": {"id": f"8037500{extension.id[-5:]}"},
    }


def unresolved_caller(customer: Customer) -> Json:
    """Return a customer as the log first shows them: with the caller id of the public network."""
    return {"phoneNumber": customer.number, "name": customer.caller_id, "location": customer.location}
