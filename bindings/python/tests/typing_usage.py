"""The public API as a type checker sees it: mypy and pyright, both strict, read this file as
pyproject.toml tells them. Nobody runs it.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentcore_client import (
    AccessDeniedException,
    AgentCoreClient,
    AgentCoreError,
    AgentError,
    AgentEvent,
    AgentStream,
    AsyncAgentCoreClient,
    AsyncAgentStream,
    Attempt,
    ClosedError,
    ConflictException,
    ConnectError,
    Credentials,
    CredentialsError,
    InternalError,
    InternalServerException,
    InvalidInputError,
    InvokeResponse,
    Limits,
    ProtocolError,
    RequestTimeoutError,
    ResourceNotFoundException,
    RetryableConflictException,
    RuntimeArn,
    RuntimeClientError,
    ServiceError,
    ServiceQuotaExceededException,
    SessionId,
    StreamInterruptedError,
    ThrottlingException,
    Timeouts,
    TooLargeError,
    UnauthorizedException,
    ValidationException,
    __version__,
)
from agentcore_client.apigateway import Message, Refused, WebSocketRelay
from agentcore_client.starlette import EventStreamResponse, read_json
from agentcore_client.testing import JournalEntry, LocalDataPlane, LocalDataPlaneError
from agentcore_client.types import (
    CredentialsLike,
    CredentialsSource,
    InvokeOptions,
    Payload,
    Retry,
    StopOptions,
    StreamEnd,
    StreamOptions,
    TextFormat,
    TokenSource,
)
from agentcore_client.web import EventStream, public_error, text_field
from starlette.requests import Request

if TYPE_CHECKING:
    if sys.version_info >= (3, 11):
        from typing import assert_type
    else:
        from typing_extensions import assert_type

assert_type(__version__, str)


# -- clients ----------------------------------------------------------------------------------


class Frozen:
    """Of botocore's shape."""

    access_key = "a"
    secret_key = "b"
    token: str | None = None


async def token_later() -> str:
    return "a.b.c"


async def keys_later() -> Credentials:
    return Credentials("a", "b")


def clients() -> None:
    AgentCoreClient()
    client = AgentCoreClient(
        "arn",
        agent_id="a",
        account_id="123456789012",
        qualifier="prod",
        region="us-west-2",
        credentials=Credentials(
            "a", "b", "c", expires=datetime.datetime.now(datetime.timezone.utc)
        ),
        endpoint_url="https://a.example",
        allow_http_hosts=["agent"],
        timeouts=Timeouts(
            connect=5,
            auth=datetime.timedelta(seconds=5),
            first_byte=1.5,
            idle=None,
            total=None,
            deadline=datetime.datetime.now(datetime.timezone.utc),
        ),
        retry="never",
        limits=Limits(event=1, answer=2, payload=3),
        text_format="ag_ui",
        use_fips=True,
        use_dualstack=False,
        ca_bundle=Path("ca.pem"),
        proxy="",
        user_agent="my-service/1.2",
        propagate_baggage=True,
    )
    AgentCoreClient(invocation_url="https://a.example", bearer_token="a.b.c")
    AgentCoreClient(local_url="http://127.0.0.1:8080", ca_bundle="ca.pem")
    AgentCoreClient("arn", credentials=Frozen())
    AgentCoreClient("arn", credentials=lambda: Frozen())
    AgentCoreClient("arn", bearer_token=lambda: "a.b.c")
    AgentCoreClient(RuntimeArn("arn"))
    AsyncAgentCoreClient("arn", credentials=keys_later)
    AsyncAgentCoreClient("arn", credentials=Frozen())
    AsyncAgentCoreClient("arn", bearer_token=token_later)
    AsyncAgentCoreClient("arn", bearer_token=lambda: "a.b.c")

    assert_type(client.runtime_arn, RuntimeArn | None)
    assert_type(client.qualifier, str | None)
    assert_type(client.closed, bool)
    assert_type(client.with_options(qualifier="prod"), AgentCoreClient)
    assert_type(AsyncAgentCoreClient().with_options(retry="default"), AsyncAgentCoreClient)
    with client as entered:
        assert_type(entered, AgentCoreClient)
    client.close()


class Mine(AgentCoreClient):
    """Whoever derives keeps the type."""


def derived(client: Mine) -> None:
    assert_type(client.with_options(), Mine)
    with client as entered:
        assert_type(entered, Mine)


# -- calls ------------------------------------------------------------------------------------


def calls(client: AgentCoreClient, session: SessionId) -> None:
    payloads: list[Payload] = [
        {"prompt": "Hi"},
        [1, 2.5, None],
        ("a",),
        "Hi",
        b"{}",
        bytearray(),
        memoryview(b""),
        1,
        1.5,
        True,
        None,
    ]
    for payload in payloads:
        client.invoke(payload)
    answer = client.invoke(
        {"prompt": "Hi"},
        session_id=session,
        user_id="u",
        headers={"a": "b"},
        content_type="application/json",
        accept="*/*",
        traceparent="t",
        tracestate="t",
        baggage="b",
        x_amzn_trace_id="x",
        mcp_session_id="m",
        mcp_protocol_version="m",
        mcp_method="m",
        mcp_name="m",
        timeouts=Timeouts(total=5),
        retry="idempotent",
        text_format="auto",
    )
    assert_type(answer, InvokeResponse)
    client.invoke("Hi", session_id="a plain str", user_id=None)
    options: InvokeOptions = {"user_id": "u", "retry": "never"}
    client.invoke("Hi", **options)
    more: StreamOptions = {"user_id": "u", "stop_on_close": True}
    assert_type(client.stream("Hi", session_id=None, **more), AgentStream)
    stop: StopOptions = {"timeouts": Timeouts()}
    client.stop_session("a plain str", **stop)
    client.stop_session(session, retry="never")


def wrong_calls(client: AgentCoreClient) -> None:
    # Each of these has to be an error, or its `ignore` would be one.
    client.invoke({}, sessionid="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.invoke({}, stop_on_close=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.invoke({}, retry="always")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.invoke({}, timeouts=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.invoke({1, 2})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.stop_session(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Timeouts(connect="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def answers(answer: InvokeResponse) -> None:
    assert_type(answer.session_id, SessionId)
    assert_type(answer.status, int)
    assert_type(answer.headers, Mapping[str, str])
    assert_type(answer.content_type, str | None)
    assert_type(answer.request_id, str | None)
    assert_type(answer.session_endpoint_url, str | None)
    assert_type(answer.body, bytes)
    assert_type(answer.text, str | None)
    assert_type(answer.json(), Any)


def streams(client: AgentCoreClient) -> None:
    with client.stream("Hi") as stream:
        assert_type(stream, AgentStream)
        for event in stream:
            assert_type(event, AgentEvent)
            assert_type(event.event, str | None)
            assert_type(event.id, str | None)
            assert_type(event.data, str | bytes)
            assert_type(event.text, str | None)
            assert_type(event.json(), Any)
        assert_type(next(stream), AgentEvent)
        assert_type(stream.text_deltas(), Iterator[str])
        assert_type(stream.iter_bytes(), Iterator[bytes])
        assert_type(stream.session_id, SessionId)
        assert_type(stream.status, int)
        assert_type(stream.headers, Mapping[str, str])
        assert_type(stream.content_type, str | None)
        assert_type(stream.request_id, str | None)
        assert_type(stream.session_endpoint_url, str | None)
        assert_type(stream.end, StreamEnd | None)
        assert_type(stream.closed, bool)
        assert_type(stream.events_seen, int)
        stream.close()


async def later() -> None:
    async with AsyncAgentCoreClient() as client:
        assert_type(client, AsyncAgentCoreClient)
        assert_type(await client.invoke("Hi", session_id="s", user_id="u"), InvokeResponse)
        async with client.stream("Hi", stop_on_close=True) as stream:
            assert_type(stream, AsyncAgentStream)
            async for event in stream:
                assert_type(event, AgentEvent)
            assert_type(await anext(stream), AgentEvent)
            assert_type(stream.text_deltas(), AsyncIterator[str])
            assert_type(stream.iter_bytes(), AsyncIterator[bytes])
            assert_type(stream.end, StreamEnd | None)
            await stream.aclose()
            stream.close()
        assert_type(await client.stream("Hi"), AsyncAgentStream)
        await client.stop_session("s", timeouts=Timeouts())
        await client.aclose()
        client.close()


# -- values -----------------------------------------------------------------------------------


def values() -> None:
    assert_type(SessionId("text"), SessionId)
    assert_type(SessionId.generate(), SessionId)
    assert_type(SessionId.derive(b"secret", "a", "b"), SessionId)
    assert_type(SessionId.derive("secret", "a"), SessionId)
    assert_type(SessionId.derive_guessable("a"), SessionId)
    assert_type(SessionId.existing("text"), SessionId)
    assert_type(SessionId.local("text"), SessionId)
    text: str = SessionId.generate()
    arn = RuntimeArn(text)
    assert_type(arn.aws_partition, str)
    assert_type(arn.region, str)
    assert_type(arn.account_id, str)
    assert_type(arn.agent_id, str)
    assert_type(arn.qualifier, str | None)
    assert_type(arn.partition(":"), tuple[str, str, str])
    assert_type(RuntimeArn.from_agent_id("a", "123456789012", "us-west-2"), RuntimeArn)
    assert_type(arn.invoke_policy("InvokeAgentRuntime", "GetAgentCard"), dict[str, Any])
    arn.invoke_policy("InvokeAgent")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    keys = Credentials("a", "b", expires=1.5)
    assert_type(keys.access_key, str)
    assert_type(keys.token, str | None)
    assert_type(keys.expires, float | None)
    like: CredentialsLike = keys
    sources: list[CredentialsSource] = [like, lambda: like, keys_later]
    tokens: list[TokenSource] = ["t", lambda: "t", token_later]
    retry: Retry = "default"
    text_format: TextFormat = "converse"
    print(sources, tokens, retry, text_format)


def errors(error: AgentCoreError) -> None:
    assert_type(error.kind, str)
    assert_type(error.delivery, str)
    assert_type(error.status, int | None)
    assert_type(error.service_code, str | None)
    assert_type(error.request_id, str | None)
    assert_type(error.session_id, str | None)
    assert_type(error.retry_after, float | None)
    assert_type(error.attempts, tuple[Attempt, ...])
    assert_type(error.field, str | None)
    assert_type(error.limit, str | None)
    assert_type(error.events_seen, int)
    assert_type(error.bytes_seen, int)
    assert_type(error.agent_payload, str | None)
    for attempt in error.attempts:
        assert_type(attempt.kind, str)
        assert_type(attempt.delivery, str)
        assert_type(attempt.status, int | None)
        assert_type(attempt.service_code, str | None)
        assert_type(attempt.pause, float | None)
    classes: list[type[AgentCoreError]] = [
        AgentError,
        ClosedError,
        ConnectError,
        CredentialsError,
        InternalError,
        InvalidInputError,
        ProtocolError,
        RequestTimeoutError,
        StreamInterruptedError,
        TooLargeError,
    ]
    of_the_service: list[type[ServiceError]] = [
        AccessDeniedException,
        ConflictException,
        InternalServerException,
        ResourceNotFoundException,
        ServiceQuotaExceededException,
        ThrottlingException,
        UnauthorizedException,
        ValidationException,
    ]
    conflict: type[ConflictException] = RetryableConflictException
    agent: type[AgentError] = RuntimeClientError
    builtin: tuple[type[ValueError], type[ConnectionError], type[TimeoutError]] = (
        InvalidInputError,
        ConnectError,
        RequestTimeoutError,
    )
    print(classes, of_the_service, conflict, agent, builtin)


# -- web --------------------------------------------------------------------------------------


async def answer_a_browser(client: AsyncAgentCoreClient, request: Request) -> EventStreamResponse:
    question = await read_json(request, max_bytes=1000)
    opened = await client.stream({"prompt": text_field(question, "prompt")})
    EventStreamResponse(opened, text_only=True, headers={"a": "b"})
    return EventStreamResponse(client.stream(question), heartbeat=15)


def answer_a_browser_in_wsgi(client: AgentCoreClient, error: AgentCoreError) -> Iterator[bytes]:
    assert_type(public_error(error).headers, dict[str, str])
    with EventStream(client.stream(None), heartbeat=1.5) as events:
        yield from events


def payload_of(body: object, message: Message) -> dict[str, object]:
    if message.principal is None:
        raise Refused("no")
    return {"body": body}


def relay(client: AgentCoreClient, event: dict[str, object]) -> None:
    WebSocketRelay(client)
    ours = WebSocketRelay(
        client,
        secret=b"0123456789abcdef",
        allowed_origins=["https://chat.example.com"],
        principal=lambda event: str(event["a"]),
        payload=payload_of,
        claim=lambda nonce: nonce != "",
        heartbeat=datetime.timedelta(seconds=1),
        second_stage="never",
    )
    assert_type(ours.handle(event, None), dict[str, Any])


# -- testing ----------------------------------------------------------------------------------


def test_with_the_fixture(local_data_plane: LocalDataPlane) -> None:
    local_data_plane.add_fault(status=429, code="ThrottlingException", repeat=2)
    client = AgentCoreClient(**local_data_plane.client_options())
    assert_type(client, AgentCoreClient)
    assert_type(local_data_plane.count_posts(), int)
    entry = local_data_plane.wait_for(lambda entry: entry["kind"] == "request")
    assert_type(entry, JournalEntry)
    assert_type(local_data_plane.journal(), list[JournalEntry])
    assert_type(local_data_plane.mint_token(sub="a"), str)
    with LocalDataPlane(bearer=True) as plane:
        assert_type(plane, LocalDataPlane)
        assert_type(plane.bearer_token, str)
    raise LocalDataPlaneError
