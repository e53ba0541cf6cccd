"""How an event loop waits for native work: the loop watches one descriptor, and no thread of ours
ever enters the interpreter."""

from __future__ import annotations

import os
from asyncio import AbstractEventLoop, Future, Task, get_running_loop
from weakref import WeakKeyDictionary

from . import _native


class LoopQueue:
    """What one event loop waits for."""

    __slots__ = ("__weakref__", "_process", "_waiting", "_watch", "native")

    def __init__(self, loop: AbstractEventLoop, process: int) -> None:
        self.native = _native.ReadyQueue()
        self._process = process
        self._waiting: dict[int, Future[None]] = {}
        self._watch: Task[None] | None = None
        try:
            loop.add_reader(self.native.fileno(), self._wake)
        except NotImplementedError:
            # Windows' proactor has no readiness, only reads.
            self._watch = loop.create_task(self._read(loop))

    def wait(self, loop: AbstractEventLoop, token: int) -> Future[None]:
        """Done when this token is worth polling again."""
        future = loop.create_future()
        self._waiting[token] = future
        return future

    def forget(self, token: int) -> None:
        """Nobody waits for this token any more."""
        self._waiting.pop(token, None)

    def _wake(self) -> None:
        waiting = self._waiting
        for token in self.native.drain():
            future = waiting.pop(token, None)
            if future is not None and not future.done():
                future.set_result(None)

    async def _read(self, loop: AbstractEventLoop) -> None:
        import socket

        bell = socket.socket(fileno=self.native.fileno())
        try:
            while True:
                await loop.sock_recv(bell, 64)
                self._wake()
        finally:
            # The descriptor belongs to the native queue.
            bell.detach()

    def is_of(self, process: int) -> bool:
        """Whether this process made it; a forked child must leave its parent's alone."""
        return self._process == process


_QUEUES: WeakKeyDictionary[AbstractEventLoop, LoopQueue] = WeakKeyDictionary()


def running() -> tuple[AbstractEventLoop, LoopQueue]:
    """The running event loop and its queue."""
    loop = get_running_loop()
    queue = _QUEUES.get(loop)
    process = os.getpid()
    if queue is None or not queue.is_of(process):
        # A closed loop's queue may hold futures that hold the loop. Other threads have loops, too:
        # the list of them is taken in one go, and what is gone from it is gone.
        for known in _QUEUES.keyrefs():
            old = known()
            if old is not None and old.is_closed():
                _QUEUES.pop(old, None)
        queue = _QUEUES[loop] = LoopQueue(loop, process)
    return loop, queue
