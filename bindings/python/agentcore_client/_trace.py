"""The current trace, from OpenTelemetry, if the program uses that."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The longest values that the service takes.
_LONGEST = {"traceparent": 128, "tracestate": 512, "baggage": 8192}


def add_current_trace(options: dict[str, Any], propagate_baggage: bool) -> None:
    """Adds the current span's context, unless the caller named a trace.

    Baggage often holds user data, so it is only sent where that was asked for.
    """
    # Where nobody has imported it, there is no current span.
    if "opentelemetry.trace" not in sys.modules:
        return
    carrier: dict[str, str] = {}
    if not any(name in options for name in ("traceparent", "tracestate", "x_amzn_trace_id")):
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        TraceContextTextMapPropagator().inject(carrier)
    if propagate_baggage and "baggage" not in options:
        from opentelemetry.baggage.propagation import W3CBaggagePropagator

        W3CBaggagePropagator().inject(carrier)
    for name, value in carrier.items():
        # What is too long to be sent is left out: a call must not fail for what nobody gave it.
        if 0 < len(value) <= _LONGEST.get(name, 0):
            options[name] = value
