"""A server that sends event n + 1 only when event n has been handed over. Clients that hold back
what they have, until more comes or a buffer is full, wait here for ever; whether they do may depend
on the size of an event, and on where it is cut. So all sizes around a typical token's are tried,
and every cut.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from agentcore_client import AgentCoreClient, AsyncAgentCoreClient, Timeouts
from support import HANG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZES = range(90, 111)
EVENTS = 4
# What hangs ends with an error that says so.
LIMITS = Timeouts(idle=HANG, first_byte=HANG)


def event(size: int, number: int) -> bytes:
    """An event of so many bytes on the wire, its two line ends included."""
    frame = len(b'data: ""\n\n')
    text = f"{number}:".ljust(size - frame, "x")
    return f"data: {json.dumps(text)}\n\n".encode()


def text(size: int, number: int) -> str:
    return f"{number}:".ljust(size - len(b'data: ""\n\n'), "x")


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


class Server:
    """Answers each request with what `parts` gives: a part goes out when its permit is there.

    A part is one write, so one TCP segment on loopback, since nothing is ever left to be merged
    with: whoever waits for a part waits with an empty socket.
    """

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.permits = threading.Semaphore(0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, connection.makefile("rb") as incoming:
            while self._read_request(incoming.readline, incoming.read):
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                    b"transfer-encoding: chunked\r\n\r\n"
                )
                for part in self.parts:
                    if not self.permits.acquire(timeout=HANG):
                        return
                    try:
                        connection.sendall(part)
                    except OSError:
                        return

    @staticmethod
    def _read_request(line: Callable[[], bytes], read: Callable[[int], bytes]) -> bool:
        length = 0
        if not line():
            return False
        while header := line().strip().lower():
            name, _, value = header.partition(b":")
            if name == b"content-length":
                length = int(value)
        read(length)
        return True


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def of_size(size: int) -> list[bytes]:
    return [chunk(event(size, number)) for number in range(EVENTS)] + [b"0\r\n\r\n"]


def client_of(server: Server) -> AgentCoreClient:
    return AgentCoreClient(local_url=server.url, timeouts=LIMITS)


def async_client_of(server: Server) -> AsyncAgentCoreClient:
    return AsyncAgentCoreClient(local_url=server.url, timeouts=LIMITS)


def test_each_event_is_handed_over_before_the_next_is_sent(server: Server) -> None:
    with client_of(server) as client:
        for size in SIZES:
            server.parts = of_size(size)
            with client.stream("Hi") as stream:
                for number in range(EVENTS):
                    server.permits.release()
                    assert next(stream).text == text(size, number), size
                server.permits.release()
                assert list(stream) == []
                assert stream.end == "complete"


def test_each_text_is_handed_over_before_the_next_is_sent(server: Server) -> None:
    """The same by `text_deltas` and in a `for` loop, which take other ways."""
    with client_of(server) as client:
        for size in SIZES:
            server.parts = of_size(size)
            server.permits.release()
            with client.stream("Hi") as stream:
                seen = 0
                for number, got in enumerate(stream.text_deltas()):
                    assert got == text(size, number), size
                    seen += 1
                    server.permits.release()
                assert seen == EVENTS


def test_each_chunk_is_handed_over_before_the_next_is_sent(server: Server) -> None:
    with client_of(server) as client:
        for size in SIZES:
            server.parts = of_size(size)
            server.permits.release()
            with client.stream("Hi") as stream:
                seen = 0
                for number, got in enumerate(stream.iter_bytes()):
                    assert got == event(size, number), size
                    seen += 1
                    server.permits.release()
                assert seen == EVENTS


def test_each_event_is_handed_over_to_asyncio(server: Server) -> None:
    async def main() -> None:
        async with async_client_of(server) as client:
            for size in SIZES:
                server.parts = of_size(size)
                async with client.stream("Hi") as stream:
                    for number in range(EVENTS):
                        server.permits.release()
                        assert (await anext(stream)).text == text(size, number), size
                    server.permits.release()
                    assert [event async for event in stream] == []
                    assert stream.end == "complete"

    asyncio.run(main())


SIZE = 100
# Also through the frame of the chunk around the event.
WIRE = len(chunk(event(SIZE, 0)))


def cut_at(position: int) -> list[bytes]:
    parts: list[bytes] = []
    for number in range(2):
        whole = chunk(event(SIZE, number))
        parts += [whole[:position], whole[position:]]
    return [*parts, b"0\r\n\r\n"]


def test_an_event_in_two_segments_is_handed_over_with_the_second(server: Server) -> None:
    """The second segment follows while the client waits, mostly: it leaves a moment later."""
    with client_of(server) as client:
        for position in range(1, WIRE):
            server.parts = cut_at(position)
            with client.stream("Hi") as stream:
                for number in range(2):
                    server.permits.release()
                    later = threading.Timer(0.001, server.permits.release)
                    later.start()
                    assert next(stream).text == text(SIZE, number), position
                    # What ends a chunk may still be under way; the event was complete before.
                    later.join()
                server.permits.release()
                assert list(stream) == []


def test_an_event_in_two_segments_is_handed_over_to_asyncio(server: Server) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with async_client_of(server) as client:
            for position in range(1, WIRE):
                server.parts = cut_at(position)
                async with client.stream("Hi") as stream:
                    for number in range(2):
                        server.permits.release()
                        loop.call_later(0.001, server.permits.release)
                        assert (await anext(stream)).text == text(SIZE, number), position
                    await asyncio.sleep(0.002)
                    server.permits.release()
                    assert [event async for event in stream] == []

    asyncio.run(main())


def test_an_event_is_handed_over_without_the_end_of_its_chunk(server: Server) -> None:
    """Its own end is what counts, not that of the chunk or of the segment that it came in."""
    whole = chunk(event(SIZE, 0) + event(SIZE, 1)[:10])
    rest = chunk(event(SIZE, 1)[10:])
    end_of_first = whole.index(b"\n\n") + 2
    server.parts = [whole[:end_of_first], whole[end_of_first:], rest[:-2], rest[-2:] + b"0\r\n\r\n"]
    with client_of(server) as client, client.stream("Hi") as stream:
        server.permits.release()
        assert next(stream).text == text(SIZE, 0)
        server.permits.release(2)
        assert next(stream).text == text(SIZE, 1)
        server.permits.release()
        assert list(stream) == []
