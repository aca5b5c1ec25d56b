"""The lookout finds what a lost wake-up has left to be sent."""

from collections.abc import Collection

from app.push.sending.turns import ANY_DUE
from app.push.spreading.spread import ANY_BEHIND
from app.work.lookout import Lookout
from app.work.loops import Loop
from tests.factories_calls import seed_call, touch
from tests.fakes.clock import START
from tests.fakes.context import work_context
from tests.integration.push.conftest import World


async def _nothing() -> float | None:
    return None


async def test_a_change_and_a_message_are_found(world: World) -> None:
    found: list[str] = []

    def wake(topics: Collection[str]) -> None:
        found.extend(topics)

    async def looked() -> list[str]:
        found.clear()
        await lookout.step()
        return found.copy()

    loops = [Loop(name, _nothing, (), 60.0, is_due=due) for name, due in PUSH.items()]
    lookout = Lookout(work_context(world.database, world.clock), wake, loops)
    call = await seed_call(world.database)
    await world.add_endpoint()
    replica = world.replica()
    assert await looked() == []

    await touch(world.database, call, "call.updated", START)
    assert await looked() == ["due:push"]
    while await replica.spreader.step() is not None:
        pass
    assert await looked() == ["due:webhooks"]
    await replica.settle()
    assert len(world.receiver.received) == 1
    assert await looked() == []


PUSH = {"push": ANY_BEHIND, "webhooks": ANY_DUE}
