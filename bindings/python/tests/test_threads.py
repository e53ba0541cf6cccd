"""Threads. A call must let go of the interpreter while it waits, and one client, or one stream, in
several threads must neither mix up their answers nor hang.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from agentcore_client import AgentCoreClient, ClosedError
from support import HANG, connections, disconnects, of_kind, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentcore_client.testing import LocalDataPlane

SILENT = {"mode": "silent"}


@pytest.fixture
def client(local_data_plane: LocalDataPlane) -> Iterator[AgentCoreClient]:
    with AgentCoreClient(**local_data_plane.client_options()) as client:
        yield client


@pytest.mark.parametrize("waits_in", ["invoke", "head", "stream"])
def test_others_run_while_a_call_waits(client: AgentCoreClient, waits_in: str) -> None:
    """A hundred ticks fit into a wait of a second; none, or one, if it keeps the interpreter."""
    ticks = 0
    stop = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not stop.wait(0.01):
            ticks += 1

    stream = client.stream({"mode": "stream", "tokens": 2, "delay_ms": 1000})
    next(stream)
    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        if waits_in == "invoke":
            client.invoke({"mode": "slow", "delay_ms": 1000})
        elif waits_in == "head":
            client.stream({"mode": "stream", "head_delay_ms": 1000}).close()
        else:
            next(stream)
        assert ticks > 5
    finally:
        stop.set()
        ticker.join(HANG)
        stream.close()


def test_many_threads_share_one_client(
    local_data_plane: LocalDataPlane, client: AgentCoreClient
) -> None:
    """As many as there are run-times for them; every second answer is a stream."""
    threads, calls = 64, 20
    here = threading.Barrier(threads)

    def work(thread: int) -> None:
        here.wait(HANG)
        for call in range(calls):
            prompt = f"thread {thread} call {call}"
            if call % 2:
                answer = client.invoke({"prompt": prompt}).text
            else:
                with client.stream({"prompt": prompt}) as stream:
                    answer = "".join(stream.text_deltas())
            assert answer == f"You said: {prompt}."

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, thread) for thread in range(threads)]:
            done.result(4 * HANG)
    assert local_data_plane.count_posts() == threads * calls
    assert not of_kind(local_data_plane, "disconnect", "bad_request")


def test_more_threads_than_run_times(
    local_data_plane: LocalDataPlane, client: AgentCoreClient
) -> None:
    """All wait at the same time, so some share what drives their sockets: each must be woken for
    what is its own, though another one drives, or has just gone."""
    threads = 150
    here = threading.Barrier(threads)

    def work(thread: int) -> None:
        here.wait(HANG)
        tokens = 3 + thread % 5
        payload = {"mode": "stream", "tokens": tokens, "delay_ms": 5 + thread % 7}
        for _ in range(3):
            with client.stream(payload) as stream:
                assert [event.text for event in stream] == [f"token{n} " for n in range(tokens)]

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, thread) for thread in range(threads)]:
            done.result(4 * HANG)
    assert local_data_plane.count_posts() == threads * 3
    assert not of_kind(local_data_plane, "disconnect", "bad_request")


def test_one_thread_reads_many_streams_in_turn(
    local_data_plane: LocalDataPlane, client: AgentCoreClient
) -> None:
    tokens = 10
    streams = [
        client.stream({"mode": "stream", "tokens": tokens, "delay_ms": 2}) for _ in range(100)
    ]
    for token in range(tokens):
        for stream in streams:
            assert next(stream).text == f"token{token} "
    for stream in streams:
        with pytest.raises(StopIteration):
            next(stream)
        assert stream.end == "complete"
    assert len(connections(of_kind(local_data_plane, "request"))) == 100
    # And what was open at the same time is used one after the other.
    for _ in range(10):
        assert client.invoke({"prompt": "Hi"}).status == 200
    assert len(connections(of_kind(local_data_plane, "request"))) == 100


def test_threads_read_the_streams_of_others(client: AgentCoreClient) -> None:
    """A stream moves to whichever thread reads it next."""
    streams = [client.stream({"mode": "stream", "tokens": 20, "delay_ms": 3}) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for token in range(20):
            for event in pool.map(next, streams):
                assert event.text == f"token{token} "
            streams.append(streams.pop(0))


def reads_in(stream: Any, outcome: list[BaseException]) -> threading.Thread:
    def read() -> None:
        try:
            next(stream)
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("by", ["stream", "client", "sibling"])
def test_a_stream_that_waits_is_closed_by_another_thread(
    local_data_plane: LocalDataPlane, client: AgentCoreClient, by: str
) -> None:
    stream = client.stream(SILENT)
    outcome: list[BaseException] = []
    reader = reads_in(stream, outcome)
    time.sleep(0.1)
    assert reader.is_alive()
    close: dict[str, Callable[[], None]] = {
        "stream": stream.close,
        "client": client.close,
        "sibling": client.with_options(retry="never").close,
    }
    close[by]()
    disconnects(local_data_plane)
    reader.join(HANG)
    assert not reader.is_alive(), "it waits for ever"
    assert isinstance(outcome[0], ClosedError), outcome


def test_streams_are_closed_while_threads_read_them(client: AgentCoreClient) -> None:
    """At any moment: between two events, within one, at the end."""
    for n in range(60):
        stream = client.stream({"mode": "stream", "tokens": 50, "delay_ms": n % 3})
        ended: list[object] = []

        def read(stream: Any = stream, ended: list[object] = ended) -> None:
            try:
                for _ in stream:
                    pass
                ended.append("complete")
            except ClosedError as error:
                ended.append(error)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        time.sleep(n / 2000)
        stream.close()
        reader.join(HANG)
        assert not reader.is_alive(), "it waits for ever"
        assert len(ended) == 1


def test_two_threads_cannot_read_one_stream(client: AgentCoreClient) -> None:
    stream = client.stream({"mode": "stream", "tokens": 2, "delay_ms": 600})
    assert next(stream).text == "token0 "
    outcome: list[BaseException] = []
    reader = reads_in(stream, outcome)
    time.sleep(0.1)
    for _ in range(2):
        # Being refused is nobody else's right to read.
        with pytest.raises(RuntimeError, match="another thread"):
            next(stream)
    reader.join(HANG)
    assert not outcome, "the first one is not disturbed"
    assert list(stream) == []
    assert stream.end == "complete"


def test_calls_under_way_end_properly_when_their_client_is_closed(
    local_data_plane: LocalDataPlane, client: AgentCoreClient
) -> None:
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(client.invoke, {"mode": "slow", "delay_ms": 400}) for _ in range(4)]
        wait_until(lambda: local_data_plane.count_posts() == 4)
        client.close()
        assert [call.result(HANG).status for call in calls] == [200] * 4
        with pytest.raises(ClosedError):
            client.invoke({"prompt": "Hi"})
    # Their connections are not kept for anyone.
    wait_until(lambda: len(of_kind(local_data_plane, "connection_closed")) == 4)


def test_clients_come_and_go_in_threads(local_data_plane: LocalDataPlane) -> None:
    def work(_: int) -> None:
        for turn in range(10):
            client = AgentCoreClient(**local_data_plane.client_options())
            stream = client.stream({"mode": "stream", "tokens": 3})
            assert next(stream).text == "token0 "
            if turn % 2:
                client.close()
            del client, stream

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    wait_until(
        lambda: (
            len(of_kind(local_data_plane, "connection_closed"))
            == len(of_kind(local_data_plane, "connection_opened"))
        )
    )
