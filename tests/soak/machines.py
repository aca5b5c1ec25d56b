"""A simulated machine is one life of one process of the service: what it is doing ends with it.

Every task belongs to the machine in whose context it was made. A machine that dies does no input or output
from that moment on: its tasks are cancelled, but whatever they still try to write is lost.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tests.soak.virtual_loop import VirtualClock, VirtualLoop

T = TypeVar("T")
_MOST_ROUNDS = 500

CURRENT: contextvars.ContextVar["Machine | None"] = contextvars.ContextVar("machine", default=None)


class MachineDiedError(ConnectionError):
    """The process ended within this operation."""


class Machine:
    """One life of a process. `on_death` is called at the moment of its death."""

    def __init__(self, name: str, loop: VirtualLoop, clock: VirtualClock) -> None:
        self.name = name
        self.clock = clock
        self.is_dead = False
        self.on_death: list[Callable[[], None]] = []
        self.fuse: int | None = None
        """How many operations of input or output are left until its death; None: it is not to die."""
        self._loop = loop
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._context = contextvars.copy_context()
        self._context.run(CURRENT.set, self)

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str | None = None) -> "asyncio.Task[T]":
        """Run a coroutine on this machine."""
        return self._loop.create_task(coroutine, name=name, context=self._context.copy())

    def own(self, task: "asyncio.Task[Any]") -> None:
        """Take a task in: it ends with the machine."""
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)

    def check(self) -> None:
        """Come before each input or output. Raises MachineDiedError where there is none any more."""
        if self.fuse is not None and not self.is_dead:
            self.fuse -= 1
            if self.fuse < 0:
                self.die()
        if self.is_dead:
            raise MachineDiedError(f"{self.name} is dead")

    def die(self) -> None:
        """End: from here on nothing leaves the machine."""
        if self.is_dead:
            return
        self.is_dead = True
        for act in self.on_death:
            act()
        self.on_death.clear()

    async def bury(self) -> None:
        """Cancel the tasks of a dead machine until none is left."""
        self.die()
        for _ in range(_MOST_ROUNDS):
            for task in list(self._tasks):
                task.cancel()
            await asyncio.sleep(0)
            if not self._tasks:
                return
        raise AssertionError(f"tasks of {self.name} do not end: {[*self._tasks][:5]}")


def adopt_tasks(loop: VirtualLoop) -> None:
    """Let each new task belong to the machine of its context."""

    def make(
        loop: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, T],
        context: contextvars.Context | None = None,
    ) -> "asyncio.Task[T]":
        task = asyncio.Task(coroutine, loop=loop, context=context)
        machine = CURRENT.get() if context is None else context.get(CURRENT)
        if machine is not None:
            machine.own(task)
        return task

    loop.set_task_factory(make)  # type: ignore[arg-type]
