"""The current trace, from OpenTelemetry, if the program uses that."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TRACE_OPTIONS = ("traceparent", "tracestate", "baggage", "x_amzn_trace_id")


def add_current_trace(options: dict[str, Any], propagate_baggage: bool) -> None:
    """Adds the current span's context, unless the caller named a trace.

    Baggage often holds user data, so it is only sent where that was asked for.
    """
    # Where nobody has imported it, there is no current span.
    if "opentelemetry.trace" not in sys.modules:
        return
    if any(options.get(name) is not None for name in _TRACE_OPTIONS):
        return
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    if propagate_baggage:
        from opentelemetry.baggage.propagation import W3CBaggagePropagator

        W3CBaggagePropagator().inject(carrier)
    for name, value in carrier.items():
        if name in _TRACE_OPTIONS and value:
            options[name] = value
