"""Answers, whole and streamed, as the caller sees them; sync and asyncio give the same."""

import asyncio
import contextlib
import itertools
import json
import operator
import sys
import time

import pytest
from agentcore_client import (
    AgentCoreClient,
    AgentEvent,
    AgentStream,
    AsyncAgentCoreClient,
    AsyncAgentStream,
    ClosedError,
    ProtocolError,
    SessionId,
    StreamInterruptedError,
)

SSE = "text/event-stream"


def raw(*chunks, content_type=SSE):
    return {"mode": "raw", "chunks": chunks, "content_type": content_type}


def shown(item):
    return (item.event, item.id, item.data, item.text) if isinstance(item, AgentEvent) else item


class Both:
    """The same call over both clients; they must agree."""

    def __init__(self, plane):
        self.options = plane.client_options()

    def invoke(self, payload, **options):
        with AgentCoreClient(**self.options) as client:
            answer = client.invoke(payload, **options)

        async def again():
            async with AsyncAgentCoreClient(**self.options) as client:
                return await client.invoke(payload, **options)

        other = asyncio.run(again())
        for name in ("status", "content_type", "body", "text", "end"):
            assert getattr(answer, name) == getattr(other, name), name
        assert answer.headers.keys() == other.headers.keys()
        return answer

    def stream(self, payload, read=iter, **options):
        with AgentCoreClient(**self.options) as client:
            with client.stream(payload, **options) as stream:
                assert type(stream) is AgentStream
                seen = list(read(stream))

        async def again():
            async with AsyncAgentCoreClient(**self.options) as client:
                async with client.stream(payload, **options) as stream:
                    assert type(stream) is AsyncAgentStream
                    source = stream if read is iter else read(stream)
                    return [item async for item in source]

        other = asyncio.run(again())
        if read is iter_bytes:
            assert b"".join(seen) == b"".join(other)
        else:
            assert [shown(item) for item in seen] == [shown(item) for item in other]
        return seen


text_deltas = operator.methodcaller("text_deltas")
iter_bytes = operator.methodcaller("iter_bytes")


@pytest.fixture
def both(local_data_plane):
    return Both(local_data_plane)


# -- whole answers ----------------------------------------------------------------------------


def test_json(both):
    value = {"ключ": ["Grüße 🙂", 1, 2.5, None], "nested": {"a": True}}
    answer = both.invoke({"mode": "json", "value": value})
    assert answer.status == 200 and answer.content_type == "application/json"
    assert answer.json() == value and json.loads(answer.body) == value
    assert answer.text is None and answer.end == "complete"


def test_a_json_string_is_text(both):
    answer = both.invoke({"mode": "json", "value": 'Grüße\n"🙂"'})
    assert answer.text == 'Grüße\n"🙂"' == answer.json()


def test_text(both):
    answer = both.invoke({"mode": "text", "message": "Grüße\n🙂"})
    assert answer.text == "Grüße\n🙂" and answer.body == "Grüße\n🙂".encode()
    assert answer.content_type.startswith("text/plain")


def test_bytes(both):
    answer = both.invoke(raw("abc", "def", content_type="application/octet-stream"))
    assert answer.body == b"abcdef" and answer.text is None
    assert answer.content_type == "application/octet-stream"


def test_nothing(both):
    answer = both.invoke({"mode": "empty"})
    assert answer.body == b"" and answer.text is None and answer.content_type is None


def test_a_collected_stream(both):
    answer = both.invoke({"mode": "stream", "tokens": 3})
    assert answer.content_type.startswith(SSE)
    assert answer.text == "token0 token1 token2 "
    assert answer.body.count(b"data: ") == 3


def test_a_big_answer(both):
    answer = both.invoke({"mode": "big", "bytes": 3_000_000})
    assert len(answer.json()) >= 2_900_000 and answer.text == answer.json()


def test_what_is_no_json(client):
    answer = client.invoke({"mode": "text", "message": "no JSON"})
    with pytest.raises(ProtocolError, match="answer is not the JSON") as info:
        answer.json()
    assert isinstance(info.value.__cause__, json.JSONDecodeError)
    assert info.value.delivery == "accepted" and info.value.status == 200
    assert info.value.session_id == answer.session_id
    assert info.value.request_id == answer.request_id


def test_whose_answer_it_is(client):
    session = SessionId.generate()
    answer = client.invoke({"prompt": "Hi"}, session_id=session)
    assert answer.session_id == session and type(answer.session_id) is SessionId
    assert answer.request_id == answer.headers["x-amzn-requestid"]
    assert answer.headers["x-amzn-bedrock-agentcore-runtime-session-id"] == session
    assert all(name == name.lower() for name in answer.headers)
    # One that nobody gave is made, and it holds for the next turn.
    first = client.invoke({"prompt": "one"})
    assert "one" in client.invoke({"prompt": "two"}, session_id=first.session_id).text


def test_headers_of_answers(client, local_data_plane):
    name = "x-amzn-bedrock-agentcore-runtime-session-endpoint-url"
    for url, believed in (("https://a.example/x", True), ("http://a.example", False)):
        local_data_plane.add_fault(headers={name: url, "X-Mine": "1"})
        answer = client.invoke({"prompt": "Hi"})
        assert answer.session_endpoint_url == (url if believed else None)
        assert answer.headers["x-mine"] == "1"
        local_data_plane.add_fault(headers={name: url})
        with client.stream({"prompt": "Hi"}) as stream:
            assert stream.session_endpoint_url == (url if believed else None)
    assert client.invoke({"prompt": "Hi"}).session_endpoint_url is None


def test_repr_of_answers(client):
    answer = client.invoke({"mode": "text", "message": "a secret"})
    assert repr(answer) == (
        f"InvokeResponse(status=200, session_id='{answer.session_id}',"
        " content_type='text/plain; charset=utf-8', body=<8 bytes>)"
    )


# -- events -----------------------------------------------------------------------------------


def test_events(both):
    events = both.stream(
        raw('event: token\nid: 7\ndata: {"a":\ndata: "ü"}\n\n: comment\n\ndata: plain\n\n')
    )
    first, second = events
    assert type(first) is AgentEvent
    assert (first.event, first.id, first.data) == ("token", "7", '{"a":\n"ü"}')
    assert first.json() == {"a": "ü"}
    assert (second.event, second.data) == (None, "plain")
    with pytest.raises(ProtocolError, match="event is not the JSON") as info:
        second.json()
    assert info.value.delivery == "accepted"


def test_a_character_cut_in_two(both, local_data_plane):
    local_data_plane.add_fault(split=True, repeat=2)
    (event,) = both.stream(raw('data: "Grüße 世界 🙂"\n\n'))
    assert event.text == "Grüße 世界 🙂"


def test_one_event_for_json(both):
    (event,) = both.stream({"mode": "json", "value": {"a": [1, 2]}})
    assert event.json() == {"a": [1, 2]} and event.text is None and event.event is None
    (event,) = both.stream({"mode": "json", "value": "Hi"})
    assert event.text == "Hi"


def test_chunks_of_text_and_of_bytes(both):
    events = both.stream({"mode": "text", "message": "Grüße 🙂"})
    assert "".join(event.text for event in events) == "Grüße 🙂"
    events = both.stream(raw("abc", content_type="application/octet-stream"))
    assert b"".join(event.data for event in events) == b"abc"
    assert events[0].text is None


def test_no_events(both):
    assert both.stream({"mode": "empty"}) == []


def test_text_deltas(both):
    assert both.stream({"mode": "stream", "tokens": 3}, text_deltas) == [
        "token0 ",
        "token1 ",
        "token2 ",
    ]
    deltas = both.stream(raw('data: {"no": "text"}\n\n', 'data: "Hi"\n\n'), text_deltas)
    assert deltas == ["Hi"]


def test_iter_bytes(both):
    chunks = both.stream({"mode": "stream", "tokens": 3}, iter_bytes)
    assert b"".join(chunks) == b'data: "token0 "\n\ndata: "token1 "\n\ndata: "token2 "\n\n'
    assert all(type(chunk) is bytes and chunk for chunk in chunks)
    assert len(b"".join(both.stream({"mode": "big", "bytes": 1_000_000}, iter_bytes))) > 900_000


@pytest.mark.parametrize("is_async", [False, True])
def test_there_are_no_events_after_raw_bytes(local_data_plane, is_async):
    payload = {"mode": "stream", "tokens": 20, "delay_ms": 10}
    options = local_data_plane.client_options()

    async def with_asyncio():
        async with AsyncAgentCoreClient(**options) as client, client.stream(payload) as stream:
            first = await stream.iter_bytes().__anext__()
            with pytest.raises(ClosedError, match="raw bytes") as caught:
                await stream.__anext__()
            assert stream.end is None
            return first, [chunk async for chunk in stream.iter_bytes()], stream, caught.value

    def with_sync():
        with AgentCoreClient(**options) as client, client.stream(payload) as stream:
            first = next(stream.iter_bytes())
            with pytest.raises(ClosedError, match="raw bytes") as caught:
                next(stream)
            assert stream.end is None
            return first, list(stream.iter_bytes()), stream, caught.value

    first, rest, stream, error = asyncio.run(with_asyncio()) if is_async else with_sync()
    assert (error.delivery, error.session_id) == ("accepted", stream.session_id)
    assert first + b"".join(rest) == b"".join(b'data: "token%d "\n\n' % n for n in range(20))
    assert stream.end == "complete"


def test_events_that_a_close_forgets_do_not_count_as_seen(client):
    stream = client.stream(raw(*[f'data: "{n}"\n\n' for n in range(100)]))
    time.sleep(0.1)
    next(stream)
    next(stream)
    assert stream.events_seen == 2
    stream.close()
    assert stream.events_seen == 2


def closed_at_each_line(code, close):
    """Tracers that close at the first line of this code, at the second, and so on."""
    for wanted in range(20):
        lines = itertools.count()

        def trace(frame, event, _arg, lines=lines, wanted=wanted):
            if frame.f_code is not code:
                return None
            if event == "line" and next(lines) == wanted:
                close()
            return trace

        yield trace


def outcome(read):
    try:
        return read()
    except ClosedError:
        return "closed"


def test_a_close_at_any_moment_is_no_end_of_the_answer(local_data_plane):
    # As by another thread, or by the handler of a signal.
    payload = raw(*[f'data: "{n}"\n\n' for n in range(3)])
    options = local_data_plane.client_options()
    tracing = sys.gettrace()
    code = AgentStream.__next__.__code__
    seen = []
    with AgentCoreClient(**options) as client:
        streams = []
        for trace in closed_at_each_line(code, lambda: streams[-1].close()):
            streams.append(client.stream(payload))
            sys.settrace(trace)
            try:
                seen.append(outcome(streams[-1].__next__))
            finally:
                sys.settrace(tracing)
    assert {type(one) for one in seen} == {AgentEvent, str}


def test_a_close_at_any_moment_is_no_end_of_the_answer_in_asyncio(local_data_plane):
    payload = raw(*[f'data: "{n}"\n\n' for n in range(3)])
    tracing = sys.gettrace()
    seen = []

    async def main():
        streams = []
        code = AsyncAgentStream._next.__code__
        async with AsyncAgentCoreClient(**local_data_plane.client_options()) as client:
            for trace in closed_at_each_line(code, lambda: streams[-1].close()):
                streams.append(await client.stream(payload))
                sys.settrace(trace)
                try:
                    seen.append(await streams[-1].__anext__())
                except ClosedError:
                    seen.append("closed")
                finally:
                    sys.settrace(tracing)

    asyncio.run(main())
    assert {type(one) for one in seen} == {AgentEvent, str}


@pytest.mark.parametrize("is_async", [False, True])
def test_an_end_that_a_signal_kept_from_being_told_is_told_again(
    local_data_plane, monkeypatch, is_async
):
    class Alarm(Exception):
        pass

    def alarm(*_):
        monkeypatch.undo()
        raise Alarm

    options = local_data_plane.client_options()
    local_data_plane.add_fault(reset_after_bytes=100)
    ask = {"mode": "stream", "tokens": 100}
    seen = []

    def read():
        stream = AgentCoreClient(**options).stream(ask)
        for _ in range(3):
            try:
                for _ in stream:
                    pass
                seen.append("end")
            except (Alarm, StreamInterruptedError) as error:
                seen.append(type(error).__name__)

    async def read_async():
        stream = await AsyncAgentCoreClient(**options).stream(ask)
        for _ in range(3):
            try:
                async for _ in stream:
                    pass
                seen.append("end")
            except (Alarm, StreamInterruptedError) as error:
                seen.append(type(error).__name__)

    # As by a signal's handler while the exception is made.
    monkeypatch.setattr("agentcore_client._errors.Attempt", alarm)
    asyncio.run(read_async()) if is_async else read()
    assert seen == ["Alarm", "StreamInterruptedError", "end"]


def test_a_stream_is_asked_for_once(local_data_plane):
    async def main():
        async with AsyncAgentCoreClient(**local_data_plane.client_options()) as client:
            request = client.stream({"mode": "stream", "tokens": 3})
            await request
            with pytest.raises(RuntimeError, match="opened already"):
                await request
            with pytest.raises(RuntimeError, match="opened already"):
                async with request:
                    pass

    asyncio.run(main())
    assert local_data_plane.count_posts() == 1


def test_repr_of_events(client):
    first, second = client.stream(raw('event: e\ndata: "ü"\n\n', "data: " + "x" * 100 + "\n\n"))
    assert repr(first) == "AgentEvent(event='e', data='\"ü\"')"
    assert repr(second) == f"AgentEvent(event=None, data='{'x' * 60}…')"
    (chunk,) = client.stream(raw("abc", content_type="application/octet-stream"))
    assert repr(chunk) == "AgentEvent(event=None, data=<3 bytes>)"


# -- streams ----------------------------------------------------------------------------------


def test_a_stream_until_its_end(client):
    with client.stream({"mode": "stream", "tokens": 3}) as stream:
        assert (stream.status, stream.end, stream.closed) == (200, None, False)
        assert stream.content_type.startswith(SSE)
        assert stream.request_id == stream.headers["x-amzn-requestid"]
        assert type(stream.session_id) is SessionId
        assert repr(stream) == f"AgentStream(session_id='{stream.session_id}', end=None)"
        assert next(stream).text == "token0 "
        assert [event.text for event in stream] == ["token1 ", "token2 "]
        assert (stream.end, stream.closed, stream.events_seen) == ("complete", True, 3)
        # After its end it stays ended.
        assert list(stream) == [] and next(stream, None) is None
    assert stream.end == "complete"


def test_a_stream_that_is_left(client, local_data_plane):
    with client.stream({"mode": "stream", "tokens": 1000, "delay_ms": 20}) as stream:
        next(stream)
    assert (stream.end, stream.closed) == ("closed", True)
    left = local_data_plane.wait_for(lambda entry: entry["kind"] == "disconnect")
    assert left["phase"] == "body"
    for read in (next, list, lambda s: list(s.text_deltas()), lambda s: list(s.iter_bytes())):
        with pytest.raises(ClosedError):
            read(stream)
    stream.close()


def test_break_and_on(client):
    with client.stream({"mode": "stream", "tokens": 5}) as stream:
        for event in stream:
            assert event.text == "token0 "
            break
        for text in stream.text_deltas():
            assert text == "token1 "
            break
        assert [event.text for event in stream] == ["token2 ", "token3 ", "token4 "]


def test_stop_on_close(client, local_data_plane):
    sessions = local_data_plane.sessions
    running = {"mode": "stream", "tokens": 1000, "delay_ms": 20}
    with client.stream(running) as stream:
        next(stream)
    assert stream.session_id in {s["session_id"] for s in sessions()}
    with client.stream(running, stop_on_close=True) as stream:
        next(stream)
    assert stream.session_id not in {s["session_id"] for s in sessions()}
    # One that came to its end is left running: the conversation may go on.
    with client.stream({"prompt": "Hi"}, stop_on_close=True) as stream:
        list(stream)
    assert stream.session_id in {s["session_id"] for s in sessions()}


def test_a_failing_stop_on_close_is_quiet(client, local_data_plane):
    with client.stream({"mode": "silent"}, stop_on_close=True):
        local_data_plane.add_fault(status=403, code="AccessDeniedException")
    assert local_data_plane.faults() == []


def test_async_streams(local_data_plane):
    async def main():
        async with AsyncAgentCoreClient(**local_data_plane.client_options()) as client:
            request = client.stream({"mode": "stream", "tokens": 3})
            await asyncio.sleep(0)
            assert local_data_plane.count_posts() == 0
            stream = await request
            assert (await stream.__anext__()).text == "token0 "
            assert [text async for text in stream.text_deltas()] == ["token1 ", "token2 "]
            assert stream.end == "complete"
            assert [event async for event in stream] == []
            assert repr(stream).startswith("AsyncAgentStream(session_id=")

            async with client.stream({"mode": "silent"}) as stream:
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(stream.__anext__(), 0.05)
                assert stream.end is None
            assert stream.end == "closed"
            with pytest.raises(ClosedError):
                await stream.__anext__()

            silent = {"mode": "stream", "tokens": 1000, "delay_ms": 20}
            async with client.stream(silent, stop_on_close=True) as stream:
                await stream.__anext__()
            running = {s["session_id"] for s in local_data_plane.sessions()}
            assert stream.session_id not in running

    asyncio.run(main())


def test_contextlib_closing(client):
    with contextlib.closing(client.stream({"prompt": "Hi"})) as stream:
        assert next(stream).text
