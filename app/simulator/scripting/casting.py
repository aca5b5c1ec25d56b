"""Who plays in a scripted call, and how the two sides look in events and in records. No I/O."""

import random
from dataclasses import dataclass

from app.simulator.scripting.company import Customer, Extension, World
from app.simulator.scripting.model import Json
from app.simulator.scripting.timeline import Timeline


@dataclass(frozen=True, slots=True)
class Wishes:
    """What whoever starts a call may choose; None leaves it to chance.

    Seconds are those of the unscaled world. `agent`, `colleague` and `customer` are numbers: a short
    number, a direct number or an extension id for the first two.
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
    """Who plays, and for how long."""

    tape: Timeline
    world: World
    agent: Extension
    colleague: Extension
    customer: Customer
    ring: float
    talk: float
    hold: float
    recorded: bool

    @property
    def caller(self) -> Json:
        """The customer as the telephony stream names them."""
        return {"phoneNumber": self.customer.number, "name": self.customer.name}


class UnknownNumberError(ValueError):
    """No extension of the company has the number that was asked for."""


def casting_for(tape: Timeline, world: World, wishes: Wishes) -> Casting:
    """Fill the roles. The draws are the same whatever was wished, so that one wish changes one thing."""
    rng = tape.rng
    first, second = rng.sample(
        [person for person in world.people if not person.name.endswith("Service")], k=2
    )
    agent = _extension(world, wishes.agent) or first
    colleague = _extension(world, wishes.colleague) or (second if second.id != agent.id else first)
    ring, talk, hold = rng.uniform(2.0, 12.0), draw_talk(rng), rng.uniform(5.0, 20.0)
    customer, recorded = rng.choice(world.customers), rng.random() < 0.6
    if wishes.customer is not None:
        customer = next(
            (known for known in world.customers if known.number == wishes.customer),
            Customer(wishes.customer, wishes.customer),
        )
    tape.knows(customer.number, customer.name)
    return Casting(
        tape,
        world,
        agent,
        colleague,
        customer,
        ring if wishes.ring_seconds is None else wishes.ring_seconds,
        talk if wishes.talk_seconds is None else wishes.talk_seconds,
        hold if wishes.hold_seconds is None else wishes.hold_seconds,
        recorded if wishes.recorded is None else wishes.recorded,
    )


def draw_talk(rng: random.Random, median: float = 60.0) -> float:
    """Draw a talk time: many short ones, few long ones, between a quarter and six times the median."""
    return min(max(rng.lognormvariate(0.0, 0.8) * median, median / 4), median * 6)


def _extension(world: World, number: str | None) -> Extension | None:
    if number is None:
        return None
    found = world.find(number)
    if found is None:
        raise UnknownNumberError(number)
    return found


def seen(extension: Extension, number: str | None = None) -> Json:
    """An extension as a side of an event's party."""
    return {
        "phoneNumber": number or extension.direct_number,
        "name": extension.name,
        "extensionId": extension.id,
    }


def logged(extension: Extension, number: str | None = None) -> Json:
    """An extension as a side of a record."""
    return {
        "phoneNumber": number or extension.direct_number,
        "name": extension.name,
        "location": extension.location,
    }


def inside(extension: Extension) -> Json:
    """An extension as a side of an internal call or of a leg to its phone."""
    return {
        "name": extension.name,
        "extensionNumber": extension.number,
        "extensionId": extension.id,
        "device": {"id": f"8037500{extension.id[-5:]}"},
    }


def raw_caller(customer: Customer) -> Json:
    """A customer as the log first knows them: by the public network's caller id."""
    return {"phoneNumber": customer.number, "name": customer.caller_id, "location": customer.location}
