"""The caller's trace goes along: OpenTelemetry's current span, unless the caller names one."""

import asyncio
import os
import subprocess
import sys
import textwrap

import pytest
from agentcore_client import AgentCoreClient, AsyncAgentCoreClient
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

TRACER = TracerProvider().get_tracer("tests")
GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NAMES = {"traceparent", "tracestate", "baggage", "x-amzn-trace-id"}


def sent(plane):
    """The trace headers of the last invocation."""
    requests = [entry for entry in plane.journal() if entry["kind"] == "request"]
    return {name: value for name, value in requests[-1]["headers"] if name in NAMES}


def traceparent(span):
    of = span.get_span_context()
    return f"00-{of.trace_id:032x}-{of.span_id:016x}-{of.trace_flags:02x}"


@pytest.fixture
def carried():
    """Baggage that the program has set."""
    token = context.attach(baggage.set_baggage("tenant", "acme & Söhne"))
    yield "tenant=acme+%26+S%C3%B6hne"
    context.detach(token)


def test_the_current_span(client, local_data_plane):
    with TRACER.start_as_current_span("outer") as outer:
        client.invoke({"prompt": "Hi"})
        assert sent(local_data_plane) == {"traceparent": traceparent(outer)}
        with TRACER.start_as_current_span("inner") as inner:
            list(client.stream({"prompt": "Hi"}))
            assert sent(local_data_plane) == {"traceparent": traceparent(inner)}
        client.invoke({"prompt": "Hi"})
        assert sent(local_data_plane) == {"traceparent": traceparent(outer)}


def test_the_current_span_of_a_task(local_data_plane):
    async def ask(client, name):
        with TRACER.start_as_current_span(name) as span:
            await asyncio.sleep(0)
            answer = await client.invoke({"mode": "headers"})
            return traceparent(span), dict(answer.json()["headers"])["traceparent"]

    async def main():
        async with AsyncAgentCoreClient(**local_data_plane.client_options()) as client:
            return await asyncio.gather(*(ask(client, f"span {n}") for n in range(5)))

    pairs = asyncio.run(main())
    assert all(expected == came for expected, came in pairs)
    assert len({expected for expected, _ in pairs}) == 5


def test_nothing_without_a_span(client, local_data_plane, carried):
    client.invoke({"prompt": "Hi"})
    assert sent(local_data_plane) == {}


def test_a_trace_that_is_given_wins(client, local_data_plane):
    with TRACER.start_as_current_span("mine"):
        client.invoke({"prompt": "Hi"}, traceparent=GIVEN)
        assert sent(local_data_plane) == {"traceparent": GIVEN}
        client.invoke({"prompt": "Hi"}, traceparent=GIVEN, tracestate="a=b", baggage="c=d")
        assert sent(local_data_plane) == {
            "traceparent": GIVEN,
            "tracestate": "a=b",
            "baggage": "c=d",
        }
        xray = "Root=1-67891233-abcdef012345678912345678;Sampled=1"
        client.invoke({"prompt": "Hi"}, x_amzn_trace_id=xray)
        assert sent(local_data_plane) == {"x-amzn-trace-id": xray}


def test_baggage_only_where_it_was_asked_for(client, local_data_plane, carried):
    options = local_data_plane.client_options()
    with TRACER.start_as_current_span("mine") as span:
        client.invoke({"prompt": "Hi"})
        assert sent(local_data_plane) == {"traceparent": traceparent(span)}
        with AgentCoreClient(**options, propagate_baggage=True) as shares:
            for sibling in (shares, shares.with_options(retry="never")):
                sibling.invoke({"prompt": "Hi"})
                expected = {"traceparent": traceparent(span), "baggage": carried}
                assert sent(local_data_plane) == expected
            shares.invoke({"prompt": "Hi"}, baggage="a=b")
            assert sent(local_data_plane) == {"traceparent": traceparent(span), "baggage": "a=b"}
            shares.invoke({"prompt": "Hi"}, traceparent=GIVEN)
            assert sent(local_data_plane) == {"traceparent": GIVEN, "baggage": carried}


def test_baggage_of_a_call_keeps_the_span(client, local_data_plane):
    with TRACER.start_as_current_span("mine") as span:
        client.invoke({"prompt": "Hi"}, baggage="a=b")
        assert sent(local_data_plane) == {"traceparent": traceparent(span), "baggage": "a=b"}


@pytest.mark.parametrize(("length", "goes_along"), [(100, True), (256, False)])
def test_a_trace_state_that_is_too_long_is_left_out(client, local_data_plane, length, goes_along):
    state = TraceState([("a", "x" * length), ("b", "y" * length), ("c", "z" * length)])
    of = SpanContext(5, 7, is_remote=False, trace_flags=TraceFlags(1), trace_state=state)
    with trace.use_span(NonRecordingSpan(of)):
        client.invoke({"prompt": "Hi"})
    came = sent(local_data_plane)
    assert came["traceparent"].startswith("00-")
    assert ("tracestate" in came) == goes_along


def test_the_trace_of_a_lambda_is_not_taken_over(client, local_data_plane, monkeypatch):
    # With Sampled=0 in it the runtime would write no spans.
    name = "_X_AMZN_TRACE_ID"
    monkeypatch.setenv(name, "Root=1-67891233-abcdef012345678912345678;Sampled=0")
    client.invoke({"prompt": "Hi"})
    assert sent(local_data_plane) == {}
    with TRACER.start_as_current_span("mine") as span:
        client.invoke({"prompt": "Hi"})
        assert sent(local_data_plane) == {"traceparent": traceparent(span)}


def test_stops_have_no_trace(client, local_data_plane):
    session = client.invoke({"prompt": "Hi"}).session_id
    with TRACER.start_as_current_span("mine"):
        client.stop_session(session)
    assert sent(local_data_plane) == {}


def test_without_opentelemetry(local_data_plane):
    program = """
        import sys
        sys.modules["opentelemetry"] = None
        from agentcore_client import AgentCoreClient, Credentials
        arn, url, *keys = sys.argv[1:]
        with AgentCoreClient(arn, endpoint_url=url, credentials=Credentials(*keys)) as client:
            assert client.invoke({"prompt": "Hi"}).text
        assert not [name for name in sys.modules if name.startswith("opentelemetry.")]
    """
    plane = local_data_plane
    arguments = [plane.runtime_arn, plane.base_url, plane.access_key, plane.secret_key]
    command = [sys.executable, "-c", textwrap.dedent(program), *arguments]
    subprocess.run(command, check=True, timeout=60, env=os.environ)
    assert sent(plane) == {}
