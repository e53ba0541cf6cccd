"""Time and size limits, and payloads: what a caller gives, as the core takes it."""

from __future__ import annotations

from ._errors import refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta
    from json import JSONEncoder
    from typing import Any, Final

    from .types import Payload

# The default of the options for which `None` means something.
_UNSET: Final[Any] = object()


class Timeouts:
    """Time limits, in seconds (`int` or `float`) or as a `timedelta`.

    A limit that is not given is the client's, or the default.

    Args:
        connect: Name look-up, TCP, proxy and TLS of one attempt. Default 5.
        auth: Credential or token look-up of one attempt. Default 10.
        first_byte: From the request to the head of its answer. Default 930, just above the
            service's own 15 minutes, so that the service's answer wins.
        idle: Silence while the answer arrives; counts only while a read waits. Default 900. `None`
            for no limit.
        total: The whole call: attempts, pauses and the answer. Default `None`, no limit.
        deadline: The same as a point in time: seconds since 1970, as `time.time()` gives, or an
            aware `datetime`. E.g. shortly before a Lambda's own time is up.
    """

    __slots__ = ("_given",)

    _given: dict[str, float | None]

    def __init__(
        self,
        *,
        connect: float | timedelta = _UNSET,
        auth: float | timedelta = _UNSET,
        first_byte: float | timedelta = _UNSET,
        idle: float | timedelta | None = _UNSET,
        total: float | timedelta | None = _UNSET,
        deadline: float | datetime | None = _UNSET,
    ) -> None:
        limits = {
            "connect": connect,
            "auth": auth,
            "first_byte": first_byte,
            "idle": idle,
            "total": total,
        }
        self._given = {
            name: _seconds(f"timeouts.{name}", limit)
            for name, limit in limits.items()
            if limit is not _UNSET
        }
        for name in ("connect", "auth", "first_byte"):
            if self._given.get(name, 0.0) is None:
                raise TypeError(f"timeouts.{name} must be seconds or a timedelta, not None")
        if deadline is not _UNSET:
            self._given["deadline"] = _point_in_time("timeouts.deadline", deadline)

    def __repr__(self) -> str:
        return f"Timeouts({', '.join(f'{name}={value}' for name, value in self._given.items())})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Timeouts) and self._given == other._given

    __hash__ = None  # type: ignore[assignment]


class Limits:
    """Size limits, in bytes. Past them a call ends with an error that names the limit.

    Args:
        event: One event of a stream. Default 16 MiB.
        answer: A whole answer. Default 100,000,000, which is the service's own limit.
        payload: A payload. Default 100,000,000, which is the service's own limit.
    """

    __slots__ = ("_given",)

    _given: dict[str, int]

    def __init__(self, *, event: int = _UNSET, answer: int = _UNSET, payload: int = _UNSET) -> None:
        limits = {"event": event, "answer": answer, "payload": payload}
        self._given = {name: limit for name, limit in limits.items() if limit is not _UNSET}
        for name, limit in self._given.items():
            if not isinstance(limit, int) or isinstance(limit, bool):
                kind = type(limit).__name__
                raise TypeError(f"limits.{name} must be a number of bytes, not {kind}")

    def __repr__(self) -> str:
        return f"Limits({', '.join(f'{name}={value}' for name, value in self._given.items())})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Limits) and self._given == other._given

    __hash__ = None  # type: ignore[assignment]


def _seconds(name: str, limit: object) -> float | None:
    if limit is None:
        return None
    if isinstance(limit, (int, float)) and not isinstance(limit, bool):
        return _float(name, limit)
    # A timedelta, without importing datetime for its sake.
    total_seconds = getattr(limit, "total_seconds", None)
    if total_seconds is None:
        kind = type(limit).__name__
        raise TypeError(f"{name} must be seconds or a timedelta, not {kind}")
    return float(total_seconds())


def _float(name: str, number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        raise refused(name, "an integer past all floats", "must be a number of seconds") from None


def _point_in_time(name: str, at: object) -> float | None:
    if at is None:
        return None
    if isinstance(at, (int, float)) and not isinstance(at, bool):
        return _float(name, at)
    timestamp = getattr(at, "timestamp", None)
    if timestamp is None:
        kind = type(at).__name__
        raise TypeError(f"{name} must be seconds since 1970 or an aware datetime, not {kind}")
    if getattr(at, "tzinfo", None) is None:
        raise refused(name, "a datetime without a time zone", "must be aware")
    return float(timestamp())


def _given(
    name: str, value: Timeouts | Limits, cls: type[Timeouts] | type[Limits]
) -> Mapping[str, float | None]:
    if not isinstance(value, cls):
        raise TypeError(f"{name} must be {cls.__name__}, not {type(value).__name__}")
    return value._given


def native_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, with limits as plain dicts."""
    given = {name: value for name, value in options.items() if value is not None}
    if "timeouts" in given:
        given["timeouts"] = _given("timeouts", given["timeouts"], Timeouts)
    if "limits" in given:
        given["limits"] = _given("limits", given["limits"], Limits)
    return given


def _json_encoder() -> JSONEncoder:
    """Made once: what `json.dumps` makes anew at each call with other than its own defaults."""
    global _encoder
    if _encoder is None:
        from json import JSONEncoder

        _encoder = JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _encoder


_encoder: JSONEncoder | None = None


def encode_payload(payload: Payload) -> bytes | str:
    """A payload as the core takes it: bytes as they are, a `str` that becomes a JSON string."""
    if isinstance(payload, (bytes, str)):
        return payload
    if isinstance(payload, (bytearray, memoryview)):
        return bytes(payload)
    try:
        return _json_encoder().encode(payload).encode()
    except TypeError as error:
        raise TypeError(f"payload can't be written as JSON: {error}") from None
    except RecursionError:
        raise refused("payload", "nested too deeply", "must be JSON") from None
    except UnicodeEncodeError:
        raise refused("payload", "text with a lone surrogate", "must be valid Unicode") from None
    except ValueError as error:
        raise refused("payload", str(error), "must be JSON, which has no such value") from None
