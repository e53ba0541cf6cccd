"""What a caller may give: limits, policies, payloads, headers, and what is refused by name."""

import asyncio
import datetime
import json
import math
import time

import pytest
from agentcore_client import (
    AgentCoreClient,
    AsyncAgentCoreClient,
    InvalidInputError,
    Limits,
    RequestTimeoutError,
    Timeouts,
)

NAMES = ("connect", "auth", "first_byte", "idle", "total")
ARN = "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/my_agent-0123456789"


def requests(plane):
    return [entry for entry in plane.journal() if entry["kind"] == "request"]


def sent(client, plane, payload, **options):
    """The body as it came, whatever the agent made of it."""
    plane.add_fault(status=400, code="ValidationException")
    with pytest.raises(Exception, match="ValidationException"):
        client.invoke(payload, **options)
    return requests(plane)[-1]


# -- time limits ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("limit", [5, 0.25, datetime.timedelta(minutes=2)])
def test_time_limits(client, name, limit):
    given = Timeouts(**{name: limit})
    assert client.with_options(timeouts=given).invoke({"prompt": "Hi"}, timeouts=given).text
    seconds = limit.total_seconds() if isinstance(limit, datetime.timedelta) else float(limit)
    assert given == Timeouts(**{name: seconds})
    assert repr(given) == f"Timeouts({name}={seconds})"


@pytest.mark.parametrize("name", [*NAMES, "deadline"])
@pytest.mark.parametrize("limit", ["5", b"5", True, [], {}, 5j])
def test_time_limits_of_wrong_types(name, limit):
    with pytest.raises(TypeError, match=rf"timeouts\.{name} must be .*, not "):
        Timeouts(**{name: limit})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "limit",
    [-1, 0, -0.5, math.nan, math.inf, 1e300, 10**400, datetime.timedelta(seconds=-1)],
    ids=str,
)
def test_time_limits_that_are_none(client, name, limit):
    for call in (
        lambda: AgentCoreClient(ARN, timeouts=Timeouts(**{name: limit})),
        lambda: client.with_options(timeouts=Timeouts(**{name: limit})),
        lambda: client.invoke({}, timeouts=Timeouts(**{name: limit})),
    ):
        with pytest.raises(InvalidInputError) as info:
            call()
        assert info.value.field == f"timeouts.{name}"


def test_limits_that_may_be_absent(client):
    client.invoke({"prompt": "Hi"}, timeouts=Timeouts(idle=None, total=None, deadline=None))
    for name in ("connect", "auth", "first_byte"):
        with pytest.raises(TypeError, match=rf"timeouts\.{name} must be .* not None"):
            Timeouts(**{name: None})


def test_a_calls_limits_lie_over_the_clients(client, local_data_plane):
    quick = client.with_options(timeouts=Timeouts(first_byte=0.1, total=30))
    local_data_plane.add_fault(delay_head_ms=300, repeat=2)
    assert quick.invoke({"prompt": "Hi"}, timeouts=Timeouts(first_byte=5)).text
    with pytest.raises(RequestTimeoutError) as info:
        quick.invoke({"prompt": "Hi"}, timeouts=Timeouts(idle=5))
    assert info.value.limit == "first_byte"


@pytest.mark.parametrize("client_class", [AgentCoreClient, AsyncAgentCoreClient])
def test_options_are_looked_at_when_the_client_is_made(client_class):
    with pytest.raises(TypeError, match="timeouts must be Timeouts, not int"):
        client_class(ARN, timeouts=5)
    with pytest.raises(TypeError, match="timeouts must be Timeouts, not dict"):
        client_class(ARN, timeouts={"connect": 5})
    with pytest.raises(TypeError, match="limits must be Limits, not dict"):
        client_class(ARN, limits={"event": 5})


@pytest.mark.parametrize("wrong", ["no", 1, None])
def test_stop_on_close_is_a_bool(client, local_data_plane, wrong):
    async def main():
        async with AsyncAgentCoreClient(**local_data_plane.client_options()) as client:
            await client.stream({"prompt": "Hi"}, stop_on_close=wrong)

    with pytest.raises(TypeError, match="stop_on_close must be a bool, not"):
        client.stream({"prompt": "Hi"}, stop_on_close=wrong)
    with pytest.raises(TypeError, match="stop_on_close must be a bool, not"):
        asyncio.run(main())
    assert local_data_plane.count_posts() == 0


def test_limits_compare():
    assert Timeouts(idle=5) == Timeouts(idle=5.0) != Timeouts(idle=6)
    assert Limits(event=5) == Limits(event=5) != Limits(answer=5)
    for unhashable in (Timeouts(), Limits()):
        with pytest.raises(TypeError, match="unhashable"):
            hash(unhashable)


# -- deadlines --------------------------------------------------------------------------------


def deadlines(seconds):
    now = time.time() + seconds
    return [
        now,
        datetime.datetime.fromtimestamp(now, datetime.timezone.utc),
        datetime.datetime.fromtimestamp(now, datetime.timezone(datetime.timedelta(hours=-7))),
    ]


def test_a_deadline_to_come(client):
    for deadline in deadlines(30):
        assert client.invoke({"prompt": "Hi"}, timeouts=Timeouts(deadline=deadline)).text


def test_a_deadline_that_comes(client, local_data_plane):
    for deadline in deadlines(0.3):
        local_data_plane.add_fault(never_answer=True)
        began = time.monotonic()
        with pytest.raises(RequestTimeoutError) as info:
            client.invoke({}, timeouts=Timeouts(deadline=deadline))
        assert info.value.limit == "total" and time.monotonic() - began < 3


def test_a_deadline_that_has_passed(client, local_data_plane):
    for deadline in [*deadlines(-5), 0, 1]:
        given = Timeouts(deadline=deadline)
        for call in (
            lambda given=given: client.invoke({}, timeouts=given),
            lambda given=given: client.stream({}, timeouts=given),
            lambda given=given: client.with_options(timeouts=given).invoke({}),
            lambda given=given: client.stop_session("x" * 40, timeouts=given),
        ):
            with pytest.raises(RequestTimeoutError) as info:
                call()
            assert (info.value.limit, info.value.delivery) == ("total", "not_sent")
    assert requests(local_data_plane) == []


def test_deadlines_that_are_none():
    with pytest.raises(InvalidInputError, match="aware") as info:
        Timeouts(deadline=datetime.datetime(2030, 1, 1))
    assert info.value.field == "timeouts.deadline"
    with pytest.raises(TypeError, match=r"timeouts\.deadline"):
        Timeouts(deadline=datetime.date(2030, 1, 1))
    for never in (-1, math.nan, math.inf, 10**400):
        with pytest.raises(InvalidInputError) as info:
            AgentCoreClient(ARN, timeouts=Timeouts(deadline=never))
        assert info.value.field == "timeouts.deadline"


# -- size limits, policies, formats -----------------------------------------------------------


@pytest.mark.parametrize("name", ["event", "answer", "payload"])
def test_size_limits(name):
    AgentCoreClient(ARN, limits=Limits(**{name: 1}))
    for wrong in ("5", 1.5, True, None, []):
        with pytest.raises(TypeError, match=rf"limits\.{name} must be a number of bytes, not "):
            Limits(**{name: wrong})
    for none in (0, -1, 10**40):
        with pytest.raises(InvalidInputError) as info:
            AgentCoreClient(ARN, limits=Limits(**{name: none}))
        assert info.value.field == f"limits.{name}"


def test_the_limit_of_a_payload(client, local_data_plane):
    small = client.with_options(limits=Limits(payload=10))
    small.invoke("x" * 8)
    with pytest.raises(InvalidInputError, match=r"limits\.payload") as info:
        small.invoke("x" * 9)
    assert info.value.field == "payload" and local_data_plane.count_posts() == 1


def test_policies_and_formats(client):
    for retry in ("never", "default", "idempotent"):
        assert client.with_options(retry=retry).invoke({"prompt": "Hi"}, retry=retry).text
    for name, known in (("retry", "idempotent"), ("text_format", "ag_ui")):
        for call in (client.with_options, lambda **o: client.invoke({}, **o)):
            with pytest.raises(InvalidInputError, match=known) as info:
                call(**{name: "always"})
            assert info.value.field == name
            with pytest.raises(TypeError, match=f"{name} must be a str"):
                call(**{name: 3})


def test_retries(client, local_data_plane):
    local_data_plane.add_fault(status=503)
    assert client.invoke({"prompt": "Hi"}, retry="idempotent").text
    assert local_data_plane.count_posts() == 2
    throttled = {"status": 429, "code": "ThrottlingException", "headers": {"retry-after": "0"}}
    local_data_plane.add_fault(**throttled)
    assert client.invoke({"prompt": "Hi"}).text
    assert local_data_plane.count_posts() == 4
    local_data_plane.add_fault(**throttled)
    with pytest.raises(Exception, match="ThrottlingException"):
        client.invoke({"prompt": "Hi"}, retry="never")
    assert local_data_plane.count_posts() == 5


def test_text_formats(client):
    events = {
        "mode": "raw",
        "content_type": "text/event-stream",
        "chunks": ['data: {"text": "Hi"}\n\n', 'data: {"data": "lo"}\n\n'],
    }
    assert client.invoke(events, text_format="text_object").text == "Hi"
    assert client.invoke(events, text_format="none").text is None
    with client.stream(events, text_format="raw") as stream:
        assert list(stream.text_deltas()) == ['{"text": "Hi"}', '{"data": "lo"}']


# -- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize("client_class", [AgentCoreClient, AsyncAgentCoreClient])
def test_unknown_arguments_of_clients(client_class):
    with pytest.raises(TypeError, match="retries"):
        client_class(ARN, retries=3)
    with pytest.raises(TypeError, match="arn"):
        client_class(arn=ARN)
    with pytest.raises(TypeError, match="region"):
        client_class(ARN).with_options(region="us-west-2")


def test_unknown_arguments_of_calls(client, local_data_plane):
    for call in (client.invoke, client.stream):
        with pytest.raises(TypeError, match="sessionId"):
            call({}, sessionId="x")
        with pytest.raises(TypeError, match="timeout"):
            call({}, timeout=5)
        with pytest.raises(TypeError):
            call({}, "a positional session")
    with pytest.raises(TypeError, match="stop_on_close"):
        client.invoke({}, stop_on_close=True)
    with pytest.raises(TypeError, match="user_id"):
        client.stop_session("x" * 40, user_id="u")
    assert requests(local_data_plane) == []


def test_an_unknown_argument_that_is_none(client):
    with pytest.raises(TypeError, match="sesion_id"):
        client.invoke({}, sesion_id=None)


@pytest.mark.parametrize(
    "name",
    [
        "runtime_arn",
        "agent_id",
        "qualifier",
        "region",
        "endpoint_url",
        "invocation_url",
        "local_url",
        "allow_http_hosts",
        "use_fips",
        "use_dualstack",
        "ca_bundle",
        "proxy",
        "user_agent",
        "propagate_baggage",
        "credentials",
        "bearer_token",
    ],
)
def test_arguments_of_wrong_types(name):
    arguments = {"runtime_arn": ARN, name: 3.5}
    with pytest.raises(TypeError, match=f"{name} must be .*, not float"):
        AgentCoreClient(**arguments)


@pytest.mark.parametrize(
    "name",
    [
        "user_id",
        "content_type",
        "accept",
        "traceparent",
        "tracestate",
        "baggage",
        "x_amzn_trace_id",
        "mcp_session_id",
        "mcp_protocol_version",
        "mcp_method",
        "mcp_name",
    ],
)
def test_options_of_calls(client, local_data_plane, name):
    with pytest.raises(TypeError, match=f"{name} must be a str, not int"):
        client.invoke({}, **{name: 5})
    for bad in ("", "a\nb", "x" * 9000):
        with pytest.raises(InvalidInputError) as info:
            client.invoke({}, **{name: bad})
        assert info.value.field == name and info.value.delivery == "not_sent"
    assert requests(local_data_plane) == []
    client.invoke({"prompt": "Hi"}, **{name: None})


def test_places_that_exclude_each_other(tmp_path):
    for arguments in (
        {"credentials": object(), "bearer_token": "t"},
        {"agent_id": "a"},
        {"account_id": "123456789012"},
        {"region": "eu-west-1"},
        {"endpoint_url": "https://a.example", "invocation_url": "https://b.example"},
        {"endpoint_url": "http://a.example"},
    ):
        with pytest.raises(InvalidInputError) as info:
            AgentCoreClient(ARN, **arguments)
        assert info.value.delivery == "not_sent" and info.value.field


def test_agent_ids():
    client = AgentCoreClient(
        agent_id="my_agent-0123456789", account_id="123456789012", region="us-west-2"
    )
    assert client.runtime_arn == ARN and client.qualifier is None
    assert client.with_options(qualifier="prod").qualifier == "prod"
    assert AgentCoreClient(ARN + "/runtime-endpoint/prod").qualifier == "prod"


def test_a_ca_bundle_may_be_a_path(tmp_path):
    AgentCoreClient(ARN, ca_bundle=tmp_path / "ca.pem")
    AgentCoreClient(ARN, ca_bundle=str(tmp_path / "ca.pem"))
    with pytest.raises(TypeError, match="ca_bundle must be a str, not bytes"):
        AgentCoreClient(ARN, ca_bundle=b"ca.pem")


# -- payloads ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "body"),
    [
        ({"a": [1, 2.5, None, True]}, '{"a":[1,2.5,null,true]}'),
        ({"ключ": 'Grüße "🙂"\n'}, '{"ключ":"Grüße \\"🙂\\"\\n"}'),
        ({}, "{}"),
        ([], "[]"),
        ((1, 2), "[1,2]"),
        ({1: 2, None: 3}, '{"1":2,"null":3}'),
        (None, "null"),
        (False, "false"),
        (7, "7"),
        (0.1, "0.1"),
        ("Hi", '"Hi"'),
        ("", '""'),
        ('{"a": 1}', '"{\\"a\\": 1}"'),
        ("Grüße 🙂\n\x00\u2028", None),
        (b'{"a": 1}', '{"a": 1}'),
        (bytearray(b"[1]"), "[1]"),
        (memoryview(b"[1]"), "[1]"),
        (memoryview(b"[x1x]")[::2], "[1]"),
    ],
    ids=repr,
)
def test_payloads(client, local_data_plane, payload, body):
    came = sent(client, local_data_plane, payload)["body_text"]
    if body is None:
        assert json.loads(came) == payload
    else:
        assert came == body


def test_payloads_of_other_types(client, local_data_plane):
    entry = sent(client, local_data_plane, b"\x00\xff", content_type="application/octet-stream")
    assert entry["body_bytes"] == 2
    assert ["content-type", "application/octet-stream"] in entry["headers"]


def test_a_big_payload(client, local_data_plane):
    prompt = "ü" * 2_000_000
    assert sent(client, local_data_plane, {"prompt": prompt})["body_bytes"] == 4_000_013
    assert sent(client, local_data_plane, bytes(5_000_000))["body_bytes"] == 5_000_000


def nested():
    value = []
    for _ in range(100_000):
        value = [value]
    return value


def circular():
    value = {}
    value["self"] = value
    return value


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (lambda: {"a": math.nan}, InvalidInputError),
        (lambda: [math.inf], InvalidInputError),
        (lambda: -math.inf, InvalidInputError),
        (circular, InvalidInputError),
        (nested, InvalidInputError),
        (lambda: {"a": "\ud800"}, InvalidInputError),
        (lambda: "\ud800", InvalidInputError),
        (lambda: {1, 2}, TypeError),
        (lambda: {"a": {1}}, TypeError),
        (lambda: {"a": b"b"}, TypeError),
        (lambda: {(1, 2): 3}, TypeError),
        (lambda: object(), TypeError),
        (lambda: range(3), TypeError),
        (lambda: (x for x in "ab"), TypeError),
        (lambda: datetime.datetime(2030, 1, 1), TypeError),
    ],
)
def test_payloads_that_are_no_json(client, local_data_plane, payload, error):
    payload = payload()
    for call in (client.invoke, client.stream):
        with pytest.raises(error, match="payload") as info:
            call(payload)
        if error is InvalidInputError:
            assert (info.value.field, info.value.delivery) == ("payload", "not_sent")
    assert requests(local_data_plane) == []


# -- headers ----------------------------------------------------------------------------------


def test_headers(client, local_data_plane):
    custom = "X-Amzn-Bedrock-AgentCore-Runtime-Custom-Tenant"
    client.invoke({"prompt": "Hi"}, headers={custom: "acme", "x-mine": "a b"}, user_id="user-42")
    client.invoke({"prompt": "Hi"})
    first, second = (
        {name: value for name, value in r["headers"]} for r in requests(local_data_plane)
    )
    assert first[custom.lower()] == "acme" and first["x-mine"] == "a b"
    assert first["x-amzn-bedrock-agentcore-runtime-user-id"] == "user-42"
    # What one call was given does not come with the next.
    assert {"x-mine", custom.lower()}.isdisjoint(second)
    assert second["accept"] == "application/json, text/event-stream"
    assert second["accept-encoding"] == "identity"
    assert second["user-agent"].startswith("agentcore-client/")


def test_user_agent_and_accept(local_data_plane):
    options = local_data_plane.client_options()
    with AgentCoreClient(**options, user_agent="my-service/1.2") as client:
        client.invoke({"prompt": "Hi"}, accept="application/json")
    headers = dict(requests(local_data_plane)[0]["headers"])
    assert "my-service/1.2" in headers["user-agent"].split()
    assert headers["accept"] == "application/json"


def test_mcp_headers(client, local_data_plane):
    client.invoke(
        {"prompt": "Hi"},
        mcp_session_id="s",
        mcp_protocol_version="2025-06-18",
        mcp_method="tools/call",
        mcp_name="search",
    )
    headers = dict(requests(local_data_plane)[0]["headers"])
    assert headers["mcp-session-id"] == "s" and headers["mcp-protocol-version"] == "2025-06-18"
    assert headers["mcp-method"] == "tools/call" and headers["mcp-name"] == "search"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "x"},
        {"Host": "x"},
        {"content-length": "5"},
        {"transfer-encoding": "chunked"},
        {"x-amz-date": "x"},
        {"X-Amzn-Bedrock-AgentCore-Runtime-Session-Id": "y" * 40},
        {"accept": "x"},
        {"traceparent": "x"},
        {"": "x"},
        {"a b": "x"},
        {"x": "a\r\nb: c"},
        {"x": "ü"},
        {"x": " padded "},
        {"x": "\ud800"},
        {"x": "y" * 5000},
    ],
    ids=repr,
)
def test_headers_that_are_refused(client, local_data_plane, headers):
    with pytest.raises(InvalidInputError) as info:
        client.invoke({}, headers=headers)
    assert info.value.field == "headers" and info.value.delivery == "not_sent"
    assert requests(local_data_plane) == []


@pytest.mark.parametrize("headers", [5, [("a", "b")], {"a": 1}, {b"a": "b"}, {"a": None}, "a: b"])
def test_headers_of_wrong_types(client, headers):
    with pytest.raises(TypeError, match=r"headers(\[\"a\"\])? must be"):
        client.invoke({}, headers=headers)
