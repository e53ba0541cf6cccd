"""How an event loop waits for native work: the loop watches one descriptor, and no thread of ours
ever enters the interpreter."""

from __future__ import annotations

import os
from asyncio import AbstractEventLoop, Future, Task, get_running_loop
from contextvars import Context
from weakref import WeakKeyDictionary, ref

from . import _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeAlias

    # Whom a token concerns: a future alone; a call and its future; a stream, its reader's future,
    # what has been taken of it, and of what kind the reader waits for.
    Waiter: TypeAlias = (
        Future[None]
        | tuple[_native.PendingCall[Any], Future[Any]]
        | tuple[_native.Stream, Future[None], list[Iterator[Any]], int]
    )


class LoopQueue:
    """What one event loop waits for."""

    __slots__ = ("__weakref__", "_watch", "_within_this_turn", "native", "waiting")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.native = _native.ReadyQueue()
        self.waiting: dict[int, Waiter] = {}
        self._watch: Task[None] | None = None
        self._within_this_turn = False
        descriptor = self.native.fileno()
        try:
            loop.add_reader(descriptor, self._wake)
        except NotImplementedError:
            # Windows' proactor has no readiness, only reads.
            self._watch = loop.create_task(self._read(loop))
            return
        # In debug mode a loop names those who keep it, by its own handles.
        self._within_this_turn = not loop.get_debug() and _make_reentrant(loop, descriptor)

    def wait(self, loop: AbstractEventLoop, token: int) -> Future[None]:
        """Done when this token is worth polling again."""
        # What `loop.create_future` does in the end.
        future: Future[None] = Future(loop=loop)
        self.waiting[token] = future
        return future

    def forget(self, token: int) -> None:
        """Nobody waits for this token any more."""
        self.waiting.pop(token, None)

    def _wake(self) -> None:
        _native.hand_over(self.native, self.waiting, self._within_this_turn)

    async def _read(self, loop: AbstractEventLoop) -> None:
        import socket

        bell = socket.socket(fileno=self.native.fileno())
        try:
            while True:
                await loop.sock_recv(bell, 64)
                # Other tasks must wait until this one has its own turn behind it.
                _native.hand_over(self.native, self.waiting, False)
        finally:
            # The descriptor belongs to the native queue.
            bell.detach()


class _NoContext:
    """In place of the context that a loop calls a reader in, which can't be entered twice."""

    __slots__ = ()

    def run(self, callback: Callable[..., object], *args: object) -> object:
        return callback(*args)


_NO_CONTEXT = _NoContext()


def _make_reentrant(loop: AbstractEventLoop, descriptor: int) -> bool:
    """Has a loop call its reader within the reader, as it must where tasks go on in there: one that
    is patched for notebooks may be turned by a task. Whether that could be had."""
    selector: Any = getattr(loop, "_selector", None)
    if selector is None:
        # uvloop, say, which can't be turned from within.
        return True
    # Not public: where it is not what it is known to be, tasks go on by the loop.
    try:
        reader, _ = selector.get_key(descriptor).data
        if not isinstance(reader._context, Context):
            return False
        reader._context = _NO_CONTEXT
    except (AttributeError, KeyError, TypeError, ValueError):
        return False
    return True


# Held by their loops alone, which watch them: what a loop leaves unfinished when it is closed goes
# with it, and so do the connections behind that.
_queues: WeakKeyDictionary[AbstractEventLoop, ref[LoopQueue]] = WeakKeyDictionary()
# The one that was asked for last, which nearly always is the one that is asked for next.
_latest: tuple[ref[AbstractEventLoop], ref[LoopQueue]] | None = None


def running() -> tuple[AbstractEventLoop, LoopQueue]:
    """The running event loop and its queue."""
    loop = get_running_loop()
    latest = _latest
    if latest is not None and latest[0]() is loop:
        queue = latest[1]()
        if queue is not None:
            return loop, queue
    return loop, _find(loop)


def _find(loop: AbstractEventLoop) -> LoopQueue:
    global _latest
    known = _queues.get(loop)
    queue = None if known is None else known()
    if queue is None:
        queue = LoopQueue(loop)
        _queues[loop] = ref(queue)
    _latest = ref(loop), ref(queue)
    return queue


def _forked() -> None:
    """A forked child must leave its parent's queues alone."""
    global _latest, _queues
    _latest, _queues = None, WeakKeyDictionary()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
