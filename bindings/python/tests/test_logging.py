"""The log: silent by default, and under `agentcore_client` where it was asked for."""

import asyncio
import logging
import os
import subprocess
import sys
import textwrap
from contextvars import ContextVar

import pytest
from agentcore_client import AsyncAgentCoreClient

THROTTLED = {"status": 429, "code": "ThrottlingException", "headers": {"retry-after": "0"}}

PROGRAM = """
    import sys
    {before}
    from agentcore_client import AgentCoreClient, Credentials
    arn, url, *keys = sys.argv[1:]
    with AgentCoreClient(arn, endpoint_url=url, credentials=Credentials(*keys)) as client:
        client.invoke({{"prompt": "Hi"}})
        with client.stream({{"mode": "silent"}}, stop_on_close=True):
            pass
    {after}
"""


def run(plane, before="", after=""):
    """What a program prints that is tried again once, and whose stop fails."""
    plane.add_fault(**THROTTLED)
    plane.add_fault(path_contains="stop", status=403, code="AccessDeniedException")
    program = textwrap.dedent(PROGRAM.format(before=before, after=after))
    arguments = [plane.runtime_arn, plane.base_url, plane.access_key, plane.secret_key]
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert plane.faults() == []
    assert plane.count_posts() == 3
    return done.stdout, done.stderr


def test_silent_by_default(local_data_plane):
    assert run(local_data_plane, after="assert 'logging' not in sys.modules") == ("", "")


def test_silent_where_logging_is_only_imported(local_data_plane):
    # Without a handler, Python would print warnings to stderr.
    assert run(local_data_plane, before="import logging") == ("", "")


def test_asked_for(local_data_plane):
    before = "import logging; logging.basicConfig(level='DEBUG')"
    stdout, stderr = run(local_data_plane, before=before)
    assert stdout == ""
    lines = stderr.splitlines()
    assert all(":agentcore_client:" in line for line in lines), stderr
    assert any("WARNING" in line and "could not stop the session" in line for line in lines)
    assert any("429" in line or "Throttling" in line for line in lines), stderr
    assert local_data_plane.secret_key not in stderr


@pytest.fixture
def records(caplog):
    caplog.set_level(1, logger="agentcore_client")
    return lambda: caplog.records


def test_a_retry_is_told(client, local_data_plane, records):
    local_data_plane.add_fault(**THROTTLED)
    client.invoke({"prompt": "Hi"})
    assert {record.name for record in records()} == {"agentcore_client"}
    assert any("ThrottlingException" in record.getMessage() for record in records())


def test_so_it_is_with_asyncio(local_data_plane, records):
    local_data_plane.add_fault(**THROTTLED)

    async def main():
        async with AsyncAgentCoreClient(**local_data_plane.client_options()) as client:
            await client.invoke({"prompt": "Hi"})

    asyncio.run(main())
    assert any("ThrottlingException" in record.getMessage() for record in records())


def test_what_a_stream_has_to_tell_is_told_in_its_readers_context(local_data_plane, monkeypatch):
    """Not in that of whoever was the first to use the loop."""
    told = []
    reader: ContextVar[str] = ContextVar("reader", default="nobody")

    class Here(logging.Handler):
        def emit(self, record):
            told.append((reader.get(), record.getMessage()))

    logger = logging.getLogger("agentcore_client")
    handler = Here()
    logger.addHandler(handler)
    monkeypatch.setattr(logger, "level", logging.DEBUG)
    logger.manager._clear_cache()

    async def main():
        async with AsyncAgentCoreClient(**local_data_plane.client_options()) as client:

            async def read(who, *chunks):
                reader.set(who)
                raw = {"mode": "raw", "content_type": "text/event-stream", "delay_ms": 50}
                async with client.stream({**raw, "chunks": chunks}) as stream:
                    assert [event.text async for event in stream] == ["a"]

            await asyncio.create_task(read("first", "data: a\n\n"))
            await asyncio.create_task(read("second", "data: a\n\n", "data: b"))

    try:
        asyncio.run(main())
    finally:
        logger.removeHandler(handler)
    assert any("within an event" in line for _, line in told), told
    assert "nobody" not in {who for who, _ in told}
    assert [who for who, line in told if "within an event" in line] == ["second"]


def test_a_local_agent_is_warned_of_once(monkeypatch):
    monkeypatch.setenv("AGENTCORE_LOCAL_URL", "http://127.0.0.1:8080")
    program = """
        import logging
        logging.basicConfig()
        from agentcore_client import AgentCoreClient
        for _ in range(3):
            AgentCoreClient("arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/a-0123456789")
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ)
    (line,) = done.stderr.splitlines()
    assert line.startswith("WARNING:agentcore_client:AGENTCORE_LOCAL_URL is set")


def test_no_secrets(client, local_data_plane, records):
    client.invoke({"prompt": "hunter2"})
    list(client.stream({"prompt": "hunter2"}))
    said = " ".join(record.getMessage() for record in records())
    for secret in ("hunter2", local_data_plane.secret_key):
        assert secret not in said


def test_a_handler_that_fails_does_not_fail_the_call(client, local_data_plane, monkeypatch):
    class Fails(logging.Handler):
        def emit(self, record):
            raise RuntimeError("the handler failed")

    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda info: seen.append(info.exc_value))
    logger = logging.getLogger("agentcore_client")
    handler = Fails()
    logger.addHandler(handler)
    try:
        local_data_plane.add_fault(**THROTTLED)
        logger.setLevel(1)
        assert client.invoke({"prompt": "Hi"}).text
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    assert [str(error) for error in seen] == ["the handler failed"] * len(seen) and seen
