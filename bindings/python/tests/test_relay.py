"""The relay as a function behind the local gateway, over real sockets."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
import websockets
from relay_support import SOON, Socket, connect, gateway, journaled, last, stream, text, tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentcore_client.testing import LocalDataPlane


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalDataPlane]:
    with gateway("--integration-timeout-ms", "20000", "--concurrency", "8") as plane:
        yield plane


def test_a_hundred_sockets_get_every_token_once_and_in_order(shared: LocalDataPlane) -> None:
    expected = tokens(20)

    async def one() -> None:
        async with connect(shared) as socket:
            frames = await Socket(socket).ask(ask=stream(20), id="m")
            assert [frame["seq"] for frame in frames] == list(range(len(frames)))
            assert frames[0]["type"] == "start"
            assert frames[-1] == {**frames[-1], "type": "end", "state": "complete"}
            assert {frame["id"] for frame in frames} == {"m"}
            assert text(frames) == expected

    async def all_of_them() -> None:
        await asyncio.gather(*[one() for _ in range(100)])

    before = shared.count_posts()
    asyncio.run(all_of_them())
    assert shared.count_posts() - before == 100


def test_a_socket_that_is_killed_ends_its_own_invocation(shared: LocalDataPlane) -> None:
    async def talk() -> None:
        async with connect(shared) as a, connect(shared) as b, connect(shared) as killed:
            stay, goes = [Socket(a), Socket(b)], Socket(killed)
            since = last(shared)
            for socket in stay:
                await socket.send(ask=stream(60, 50))
            await goes.send(ask=stream(100_000, 50))
            for socket in (*stay, goes):
                while (await socket.frame())["type"] != "delta":
                    pass
            killed.transport.abort()
            left = await journaled(shared, since, kind="disconnect")
            assert left["phase"] == "body"
            for socket in stay:
                frames = await socket.rest()
                assert frames[-1]["state"] == "complete"
                assert tokens(60).endswith(text(frames))
            kinds = [entry["kind"] for entry in shared.journal(since)]
            assert kinds.count("disconnect") == 1

    asyncio.run(talk())


def test_a_silent_agent_is_left_when_its_client_is_gone(shared: LocalDataPlane) -> None:
    async def talk() -> None:
        async with connect(shared) as socket:
            since = last(shared)
            await Socket(socket).send(ask={"mode": "silent"})
            assert json.loads(await socket.recv())["type"] == "start"
            assert json.loads(await socket.recv())["type"] == "heartbeat"
            socket.transport.abort()
            assert (await journaled(shared, since, kind="disconnect"))["phase"] == "body"

    asyncio.run(talk())


def test_clients_of_plain_text_get_the_agent_s_words_and_name_their_sessions() -> None:
    async def talk(plane: LocalDataPlane) -> None:
        async def ask(prompt: str) -> list[str]:
            async with connect(plane) as socket:
                await socket.send(json.dumps({"prompt": prompt, "sessionId": "mine"}))
                messages = []
                while not messages or messages[-1] != "[DONE]":
                    messages.append(await asyncio.wait_for(socket.recv(), SOON))
                return messages

        assert "".join(await ask("my name is Ada")) == "You said: my name is Ada.[DONE]"
        assert "Ada" in "".join(await ask("who am I?"))
        sessions = {e.get("session_id") for e in plane.journal() if e["kind"] == "request"} - {None}
        [session] = sessions
        assert session != "mine" and 33 <= len(session) <= 100
        async with connect(plane) as socket:
            await socket.send(json.dumps({"ask": {"mode": "silent"}}))
            since = (await journaled(plane, 0, kind="session", state="active"))["seq"]
            # Nothing is said to it, and still it is noticed that nobody is there.
            socket.transport.abort()
            assert (await journaled(plane, since, kind="disconnect"))["phase"] == "body"

    with gateway(PLAIN=1) as plane:
        asyncio.run(talk(plane))


def test_a_large_answer_arrives_whole(shared: LocalDataPlane) -> None:
    async def talk() -> None:
        async with connect(shared) as socket:
            frames = await Socket(socket).ask(
                ask={"mode": "stream", "tokens": 25_000, "delay_ms": 0}
            )
            expected = tokens(25_000)
            assert len(expected) > 200 << 10
            assert text(frames) == expected

    asyncio.run(talk())


def test_an_answer_may_take_longer_than_the_gateway_waits() -> None:
    async def talk(plane: LocalDataPlane) -> None:
        async with connect(plane) as socket:
            frames = await Socket(socket).ask(ask=stream(30, 100))
            assert text(frames) == tokens(30)

    with gateway("--integration-timeout-ms", "1500") as plane:
        asyncio.run(talk(plane))
        kinds = [entry.get("trigger") for entry in plane.journal()]
        assert "event" in kinds


def test_nobody_gets_into_another_s_session(shared: LocalDataPlane) -> None:
    async def talk() -> None:
        async with connect(shared) as first, connect(shared) as second:
            mine, other = Socket(first), Socket(second)
            start, *_ = await mine.ask(prompt="my name is Ada", conversation="1")
            assert "Ada" in text(await mine.ask(prompt="who am I?", conversation="1"))
            assert "Ada" not in text(await other.ask(prompt="who am I?", conversation="1"))
            frames = await other.ask(prompt="and I?", resume=start["resume"])
            assert frames[0]["resumed"] is False
            assert "Ada" not in text(frames)
            frames = await mine.ask(prompt="and I?", resume=start["resume"])
            assert frames[0]["resumed"] is True
            assert "Ada" in text(frames)

    asyncio.run(talk())


def test_a_token_leads_back_after_a_reload_where_that_is_allowed() -> None:
    async def talk(plane: LocalDataPlane) -> None:
        async with connect(plane) as socket:
            start, *_ = await Socket(socket).ask(prompt="my name is Ada")
        async with connect(plane) as socket:
            frames = await Socket(socket).ask(prompt="who am I?", resume=start["resume"])
            assert frames[0]["resumed"] is True
            assert "Ada" in text(frames)

    with gateway(ANYONE_RESUMES=1) as plane:
        asyncio.run(talk(plane))


def test_what_is_wrong_is_said(shared: LocalDataPlane) -> None:
    async def talk() -> None:
        async with connect(shared) as socket:
            client = Socket(socket)
            before = shared.count_posts()

            async def code(message: str | bytes) -> tuple[str, str]:
                await socket.send(message)
                frame = await client.frame()
                assert frame["type"] == "error", frame
                return frame["code"], frame["message"]

            assert await code("no JSON") == ("invalid_message", "the message is not JSON")
            assert (await code("{}"))[0] == "internal"  # the hook's KeyError
            assert await code(json.dumps({"refuse": 1})) == ("refused", "not today")
            assert await code(json.dumps({"fail": 1})) == ("internal", "the relay failed")
            assert (await code(json.dumps({"prompt": "a", "sessionId": "x"})))[0] == (
                "invalid_message"
            )
            assert (await code(b"\xff"))[0] == "invalid_message"
            await client.send(type="ping")
            assert await client.frame() == {"type": "pong"}
            assert shared.count_posts() == before

    asyncio.run(talk())


def test_pages_of_other_origins_cannot_connect(shared: LocalDataPlane) -> None:
    async def talk() -> None:
        for origin in ("https://evil.example", None):
            with pytest.raises(websockets.InvalidStatus) as refused:
                async with connect(shared, origin):
                    pass
            assert refused.value.response.status_code == 403

    asyncio.run(talk())


def test_a_failing_agent_is_told_of_by_code(shared: LocalDataPlane) -> None:
    async def talk() -> None:
        async with connect(shared) as socket:
            frames = await Socket(socket).ask(ask={"mode": "error", "message": "hunter2"})
            assert frames[-1]["code"] == "agent_error"
            assert frames[-1]["delivery"] == "accepted"
            assert "hunter2" not in json.dumps(frames)

    asyncio.run(talk())


def test_two_answers_on_one_socket_are_whole_and_in_order_each(shared: LocalDataPlane) -> None:
    async def talk() -> None:
        async with connect(shared) as socket:
            both = Socket(socket)
            ids = ["one", "two"]
            for name in ids:
                await both.send(ask=stream(40, 20), id=name, conversation=name)
            frames = await both.rest() + await both.rest()
            for name in ids:
                mine = [frame for frame in frames if frame["id"] == name]
                assert [frame["seq"] for frame in mine] == list(range(len(mine)))
                assert text(mine) == tokens(40)

    asyncio.run(talk())


# -- what the gateway answers ----------------------------------------------------------------------


def test_a_throttled_post_comes_later_and_once(shared: LocalDataPlane) -> None:
    async def talk() -> None:
        async with connect(shared) as socket:
            client = Socket(socket)
            await client.send(ask=stream(40, 20))
            frames = [await client.frame()]
            fault = {"status": 429, "code": "LimitExceededException", "repeat": 4}
            shared.add_fault(path_contains="/@connections/", **fault)
            frames += await client.rest()
            assert shared.faults() == []
            assert [frame["seq"] for frame in frames] == list(range(len(frames)))
            assert text(frames) == tokens(40)

    asyncio.run(talk())


def test_a_post_that_is_too_large_is_split(shared: LocalDataPlane) -> None:
    async def talk() -> None:
        async with connect(shared) as socket:
            since = last(shared)
            # The start frame is taken; what comes next is too much three times.
            shared.add_fault(path_contains="/@connections/", delay_head_ms=1)
            fault = {"status": 413, "code": "PayloadTooLargeException", "repeat": 3}
            shared.add_fault(path_contains="/@connections/", **fault)
            frames = await Socket(socket).ask(ask={"mode": "big", "bytes": 300_000})
            assert shared.faults() == []
            # As JSON, in quotes.
            assert text(frames) == "x" * 299_998
            assert [frame["seq"] for frame in frames] == list(range(len(frames)))
            seen = [entry for entry in shared.journal(since) if entry["kind"] == "socket_posted"]
            assert max(entry["bytes"] for entry in seen) <= (128 << 10) / 8

    asyncio.run(talk())


def test_a_client_that_the_gateway_calls_gone_has_no_invocation(shared: LocalDataPlane) -> None:
    async def talk() -> None:
        async with connect(shared) as socket:
            client = Socket(socket)
            since = last(shared)
            await client.send(ask=stream(100_000, 20))
            while (await client.frame())["type"] != "delta":
                pass
            shared.add_fault(path_contains="/@connections/", status=410, code="GoneException")
            assert (await journaled(shared, since, kind="disconnect"))["phase"] == "body"
            run = await journaled(shared, since, kind="function_started", trigger="event")
            ended = {"kind": "function_ended", "request_id": run["request_id"]}
            assert (await journaled(shared, since, **ended))["outcome"] == "ok"

    asyncio.run(talk())


def test_a_custom_domain_stands_for_host_and_stage() -> None:
    async def talk(plane: LocalDataPlane) -> None:
        async with connect(plane, stage="chat") as socket:
            frames = await Socket(socket).ask(ask=stream(3))
            assert text(frames) == tokens(3)
        [connection_id] = [
            e["connection_id"] for e in plane.journal() if e["kind"] == "socket_opened"
        ]
        targets = {e["target"] for e in plane.journal() if e["kind"] == "request"}
        posts = {target for target in targets if "connections" in target}
        assert posts == {f"/chat/@connections/{connection_id.replace('=', '%3D')}"}

    # Its own variable for the endpoint leads nowhere.
    nowhere = {"AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI": "http://127.0.0.1:9"}
    with gateway("--stage", "chat", MAPPED_TO="/chat", **nowhere) as plane:
        asyncio.run(talk(plane))


def test_an_answer_that_outlasts_its_function_is_continued() -> None:
    async def talk(plane: LocalDataPlane) -> None:
        async with connect(plane) as socket:
            client = Socket(socket)
            frames = await client.ask(ask=stream(100_000, 50), id="m")
            assert frames[-1]["type"] == "continue"
            assert len(text(frames)) > 0 and tokens(1_000).startswith(text(frames))
            assert (await journaled(plane, 0, kind="disconnect"))["phase"] == "body"
            again = await client.ask(ask=stream(3), resume=frames[-1]["resume"])
            assert again[0]["resumed"] is True
            assert again[-1]["type"] == "end"
        entries = plane.journal()
        asked = [e for e in entries if e["kind"] == "request" and e.get("session_id")]
        assert len(asked) == 2
        assert asked[0]["session_id"] == asked[1]["session_id"]
        assert {e["outcome"] for e in entries if e["kind"] == "function_ended"} == {"ok"}

    with gateway("--function-timeout-ms", "8000", "--concurrency", "2") as plane:
        asyncio.run(talk(plane))
