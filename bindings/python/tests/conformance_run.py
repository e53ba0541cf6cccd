"""Plays a case: a data plane of its own, a real client, the calls in turn. What is seen is
written down in the words of the files and judged elsewhere.

The package is imported when a case is played, so that the format can be tested without it.
"""

import asyncio
import faulthandler
import os
import socket
import time
import uuid
from contextlib import contextmanager
from urllib.parse import quote, urlsplit

from conformance_format import plane_of, read
from conformance_judge import of_kind, stopped
from conformance_make import (
    call_arguments,
    client_arguments,
    flags,
    given_session,
    overrides,
    payload_of,
    session_of,
)

# No case takes this long; a call that hangs is a failure like any other.
PATIENCE = 60
# How long something is awaited that shows a moment later.
SOON = 10

OUTSIDE = ("AWS_", "AGENT_RUNTIME_", "AGENTCORE_")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def play(case, mode):
    """The case with its placeholders filled in, and what was seen. `mode`: sync or asyncio."""
    from agentcore_client.testing import LocalDataPlane

    plane = plane_of(case)
    options = {"bearer": plane.get("auth") == "bearer", "args": flags(plane)}
    with LocalDataPlane(**options) as running:
        filled = read(case, words(running))
        for fault in filled.get("faults", []):
            running.add_fault(**fault)
        seen = {"client_error": None, "calls": [], "journal": []}
        with environment(filled.get("client", {}).get("environment", {})):
            if mode == "sync":
                # A call that hangs holds this thread; only the whole process can be ended then.
                faulthandler.dump_traceback_later(PATIENCE, exit=True)
                try:
                    play_sync(running, filled, seen)
                finally:
                    faulthandler.cancel_dump_traceback_later()
            else:
                asyncio.run(asyncio.wait_for(play_async(running, filled, seen), PATIENCE))
        seen["journal"] = journal(running, filled.get("journal", {}))
    return filled, seen


def words(plane):
    """What placeholders stand for."""
    with socket.socket() as unused:
        # Bound and let go of: nobody listens there.
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    return {
        "base_url": plane.base_url,
        "runtime_arn": plane.runtime_arn,
        "runtime_label": quote(plane.runtime_arn, safe=""),
        "address": urlsplit(plane.base_url).netloc,
        "closed_url": f"http://127.0.0.1:{port}",
        "session": str(uuid.uuid4()),
        "other_session": str(uuid.uuid4()),
    }


@contextmanager
def environment(variables):
    """Only these variables of those that a client reads."""
    before = dict(os.environ)
    for name in before:
        own = name.startswith(OUTSIDE) and name != "AGENTCORE_LOCAL_BIN"
        if own or name.upper() in PROXIES:
            del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


# -- what was seen ---------------------------------------------------------------------------


def head_of(answer):
    return {
        "status": answer.status,
        "content_type": answer.content_type,
        "request_id": answer.request_id,
        "session_id": str(answer.session_id),
        "session_endpoint_url": answer.session_endpoint_url,
        "headers": dict(answer.headers),
    }


def whole(answer):
    return {
        **head_of(answer),
        "text": answer.text,
        "json": json_of(answer),
        "body": decoded(answer.body),
        "body_bytes": len(answer.body),
        "end": answer.end,
    }


def event_of(event):
    return {
        "event": event.event,
        "id": event.id,
        "data": event.data if isinstance(event.data, str) else None,
        "text": event.text,
        "json": json_of(event),
    }


def json_of(answer):
    from agentcore_client import AgentCoreError

    try:
        return answer.json()
    except (ValueError, AgentCoreError):
        return "no JSON"


def decoded(body):
    try:
        return bytes(body).decode()
    except UnicodeDecodeError:
        return None


def joined(events):
    texts = [event["text"] for event in events if event["text"] is not None]
    return "".join(texts) if texts else None


CLASSES = {
    "InvalidInput": ("InvalidInputError", ValueError),
    "Credentials": ("CredentialsError", Exception),
    "Connect": ("ConnectError", ConnectionError),
    "Timeout": ("RequestTimeoutError", TimeoutError),
    "Service": ("ServiceError", Exception),
    "Agent": ("AgentError", Exception),
    "StreamInterrupted": ("StreamInterruptedError", Exception),
    "TooLarge": ("TooLargeError", Exception),
    "Protocol": ("ProtocolError", Exception),
    "Closed": ("ClosedError", Exception),
    "Internal": ("InternalError", Exception),
}


def failure(error):
    """An error in the words of the files; its class has to go with its kind."""
    import agentcore_client

    name, builtin = CLASSES[error.kind]
    assert isinstance(error, getattr(agentcore_client, name)), (type(error), error.kind)
    assert isinstance(error, builtin), (type(error), error.kind)
    if error.kind in ("Service", "Agent") and error.service_code is not None:
        own = getattr(agentcore_client, error.service_code, None)
        if error.service_code == "RuntimeClientError":
            own = agentcore_client.RuntimeClientError
        assert own is None or isinstance(error, own), (type(error), error.service_code)
    after = error.retry_after
    return {
        "kind": error.kind,
        "delivery": error.delivery,
        "status": error.status,
        "service_code": error.service_code,
        "request_id": error.request_id,
        "session_id": None if error.session_id is None else str(error.session_id),
        "limit": error.limit,
        "field": error.field,
        "retry_after_ms": None if after is None else round(after * 1000),
        "attempts": len(error.attempts),
        "events_seen": error.events_seen,
        "bytes_seen": error.bytes_seen,
        "agent_payload": error.agent_payload,
        "message": str(error),
    }


def journal(plane, expected):
    """The journal, once it holds what is awaited: that a client left shows a moment later."""
    until = time.monotonic() + SOON
    while True:
        entries = plane.journal()
        left = len(of_kind(entries, "disconnect")) >= len(expected.get("disconnects", []))
        if left and stopped(entries) >= expected.get("stopped", 0):
            return entries
        if time.monotonic() > until:
            return entries
        time.sleep(0.01)


@contextmanager
def raises_closed():
    """Whoever reads what he has closed is told so: a loop that ends means a proper end."""
    from agentcore_client import ClosedError

    try:
        yield
    except ClosedError:
        return
    raise AssertionError("a stream that was closed can be read")


# -- sync ------------------------------------------------------------------------------------


def play_sync(plane, case, seen):
    from agentcore_client import AgentCoreClient, AgentCoreError

    try:
        client = AgentCoreClient(**client_arguments(plane, case.get("client", {}), "sync"))
    except AgentCoreError as error:
        seen["client_error"] = failure(error)
        return
    with client:
        for call in case.get("calls", []):
            given = given_session(call, seen["calls"])
            one = {"answer": None, "error": None, "given": given}
            started = time.monotonic()
            try:
                call_sync(client, call, one)
            except AgentCoreError as error:
                one["error"] = failure(error)
            one["elapsed_ms"] = round((time.monotonic() - started) * 1000)
            seen["calls"].append(one)


def call_sync(client, call, one):
    if "with" in call:
        client = client.with_options(**overrides(call["with"]))
    session, arguments = session_of(call, one["given"]), call_arguments(call)
    if call["verb"] == "stop_session":
        client.stop_session(session, **arguments)
        one["answer"] = {}
        return
    payload = payload_of(call)
    if call["verb"] == "invoke":
        one["answer"] = whole(client.invoke(payload, session_id=session, **arguments))
        return
    with client.stream(payload, session_id=session, **arguments) as stream:
        answer = one["answer"] = head_of(stream)
        assert stream.end is None and not stream.closed, "a stream begins without an end"
        try:
            read_sync(stream, call, answer)
        finally:
            answer["events_seen"], answer["end"] = stream.events_seen, stream.end


def read_sync(stream, call, answer):
    if call.get("read") == "text":
        answer["deltas"] = []
        for delta in stream.text_deltas():
            answer["deltas"].append(delta)
        return
    if call.get("read") == "bytes":
        body = b""
        try:
            for chunk in stream.iter_bytes():
                body += bytes(chunk)
        finally:
            answer["body"], answer["body_bytes"] = decoded(body), len(body)
        return
    events = answer["events"] = []
    try:
        while True:
            if call.get("close_after") == len(events):
                stream.close()
                with raises_closed():
                    next(stream)
                return
            time.sleep(call.get("pause_ms", 0) / 1000)
            event = next(stream, None)
            if event is None:
                break
            events.append(event_of(event))
    finally:
        answer["text"] = joined(events)
        if stream.end != "closed":
            assert next(stream, None) is None, "after its end a stream stays ended"


# -- asyncio ---------------------------------------------------------------------------------


async def play_async(plane, case, seen):
    from agentcore_client import AgentCoreError, AsyncAgentCoreClient

    try:
        client = AsyncAgentCoreClient(**client_arguments(plane, case.get("client", {}), "asyncio"))
    except AgentCoreError as error:
        seen["client_error"] = failure(error)
        return
    async with client:
        for call in case.get("calls", []):
            given = given_session(call, seen["calls"])
            one = {"answer": None, "error": None, "given": given}
            started = time.monotonic()
            try:
                await call_async(client, call, one)
            except AgentCoreError as error:
                one["error"] = failure(error)
            one["elapsed_ms"] = round((time.monotonic() - started) * 1000)
            seen["calls"].append(one)
        if case.get("journal", {}).get("stopped"):
            # What goes on in the background needs a loop that runs.
            until = time.monotonic() + SOON
            wanted = case["journal"]["stopped"]
            while stopped(plane.journal()) < wanted and time.monotonic() < until:
                await asyncio.sleep(0.01)


async def call_async(client, call, one):
    if "with" in call:
        client = client.with_options(**overrides(call["with"]))
    session, arguments = session_of(call, one["given"]), call_arguments(call)
    if call["verb"] == "stop_session":
        await client.stop_session(session, **arguments)
        one["answer"] = {}
        return
    payload = payload_of(call)
    if call["verb"] == "invoke":
        one["answer"] = whole(await client.invoke(payload, session_id=session, **arguments))
        return
    async with client.stream(payload, session_id=session, **arguments) as stream:
        answer = one["answer"] = head_of(stream)
        assert stream.end is None and not stream.closed, "a stream begins without an end"
        try:
            await read_async(stream, call, answer)
        finally:
            answer["events_seen"], answer["end"] = stream.events_seen, stream.end


async def read_async(stream, call, answer):
    if call.get("read") == "text":
        answer["deltas"] = []
        async for delta in stream.text_deltas():
            answer["deltas"].append(delta)
        return
    if call.get("read") == "bytes":
        body = b""
        try:
            async for chunk in stream.iter_bytes():
                body += bytes(chunk)
        finally:
            answer["body"], answer["body_bytes"] = decoded(body), len(body)
        return
    events = answer["events"] = []
    try:
        while True:
            if call.get("close_after") == len(events):
                stream.close()
                with raises_closed():
                    await anext(stream)
                return
            await asyncio.sleep(call.get("pause_ms", 0) / 1000)
            event = await anext(stream, None)
            if event is None:
                break
            events.append(event_of(event))
    finally:
        answer["text"] = joined(events)
        if stream.end != "closed":
            assert await anext(stream, None) is None, "after its end a stream stays ended"
