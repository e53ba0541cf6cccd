"""Reads the cases that every language has to pass. Strictly: a member that is not known here
is refused, since what a runner skips in silence is not tested. The members are explained in
`tests/conformance/README.md`.
"""

import copy
import json
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[3] / "tests" / "conformance"


class FormatError(Exception):
    """A case is not written as the format wants it."""


# A type; a set of words; [of items]; a dict of members ("!": needed); a tuple of alternatives.
NUMBER, TEXT, ANY = int, str, object
TIMEOUTS = {
    "connect_ms": NUMBER,
    "auth_ms": NUMBER,
    "first_byte_ms": NUMBER,
    "idle_ms": (NUMBER, None),
    "total_ms": (NUMBER, None),
    "deadline_in_ms": NUMBER,
}
LIMITS = {"event": NUMBER, "answer": NUMBER, "payload": NUMBER}
RETRY = {"never", "default", "idempotent"}
OVERRIDES = {
    "qualifier": TEXT,
    "timeouts": TIMEOUTS,
    "retry": RETRY,
    "limits": LIMITS,
    "text_format": TEXT,
}
PLANE = {
    "auth": {"sigv4", "bearer", "none"},
    "runtime_arn": TEXT,
    "qualifiers": [TEXT],
    "session_token": TEXT,
    "allow_headers": [TEXT],
    "base_path": TEXT,
    "clock_offset_s": NUMBER,
    "provisioning_ms": NUMBER,
    "container_paths": bool,
}
AUTH = {
    "plane",
    "wrong_secret",
    "unknown_keys",
    "literal_token",
    "minted_token",
    "keys_and_token",
    "renewing_token",
    "failing_tokens",
    "slow_tokens",
    "failing_keys",
    "environment",
}
# Given to the client under these very names.
CLIENT_ARGUMENTS = {
    "agent_id": TEXT,
    "account_id": TEXT,
    "region": TEXT,
    "invocation_url": TEXT,
    "local_url": TEXT,
    "allow_http_hosts": [TEXT],
    "use_fips": bool,
    "use_dualstack": bool,
    "proxy": TEXT,
    "user_agent": TEXT,
}
CLIENT = {
    **CLIENT_ARGUMENTS,
    **OVERRIDES,
    "auth": AUTH,
    "token": TEXT,
    "claims": dict,
    "runtime_arn": (TEXT, None),
    "endpoint_url": (TEXT, None),
    "environment": dict,
}
# Given to a call under these very names.
CALL_ARGUMENTS = {
    "user_id": TEXT,
    "headers": dict,
    "content_type": TEXT,
    "accept": TEXT,
    "x_amzn_trace_id": TEXT,
    "traceparent": TEXT,
    "tracestate": TEXT,
    "baggage": TEXT,
    "mcp_session_id": TEXT,
    "mcp_protocol_version": TEXT,
    "mcp_method": TEXT,
    "mcp_name": TEXT,
    "text_format": TEXT,
    "retry": RETRY,
}
CALL = {
    **CALL_ARGUMENTS,
    "verb!": {"invoke", "stream", "stop_session"},
    "payload": ({"json!": ANY}, {"text!": TEXT}, {"base64!": TEXT}, {"zeros!": NUMBER}),
    "session_id": (TEXT, {"of_call!": NUMBER}),
    "session_kind": {"strict", "existing", "local"},
    "timeouts": TIMEOUTS,
    "stop_on_close": bool,
    "read": {"events", "text", "bytes"},
    "pause_ms": NUMBER,
    "close_after": NUMBER,
    "with": OVERRIDES,
    "expect!": dict,
}
CASE = {
    "id!": TEXT,
    "about": TEXT,
    "plane": PLANE,
    # The data plane itself refuses a member that it does not know.
    "faults": [dict],
    "client": CLIENT,
    "client_refused": dict,
    "calls": [CALL],
    "journal": dict,
}
FILE = {"about!": TEXT, "cases!": [dict]}


def check(value, schema, place):
    """Raises a FormatError unless `value` is as `schema` says."""
    if isinstance(schema, tuple):
        errors = []
        for alternative in schema:
            if alternative is None:
                if value is None:
                    return
                continue
            try:
                return check(value, alternative, place)
            except FormatError as error:
                errors.append(str(error))
        raise FormatError("; or ".join(errors))
    if isinstance(schema, dict):
        if not isinstance(value, dict):
            raise FormatError(f"{place}: not an object: {value!r}")
        members = {name.rstrip("!"): inner for name, inner in schema.items()}
        for name in schema:
            if name.endswith("!") and name[:-1] not in value:
                raise FormatError(f"{place}: {name[:-1]} is missing")
        for name, inner in value.items():
            if name not in members:
                raise FormatError(f"{place}: an unknown member: {name}")
            check(inner, members[name], f"{place}.{name}")
    elif isinstance(schema, list):
        if not isinstance(value, list):
            raise FormatError(f"{place}: not a list: {value!r}")
        for n, item in enumerate(value):
            check(item, schema[0], f"{place}[{n}]")
    elif isinstance(schema, set):
        if value not in schema:
            raise FormatError(f"{place}: an unknown word: {value!r}")
    elif not isinstance(value, schema) or (schema is NUMBER and isinstance(value, bool)):
        raise FormatError(f"{place}: not of type {schema.__name__}: {value!r}")


def load(folder=FOLDER):
    """Every case of every file, by id; placeholders are not filled in yet."""
    cases = {}
    for path in sorted(folder.glob("*.json")):
        if path.name == "names.json":
            continue
        content = json.loads(path.read_text(encoding="utf-8"))
        check(content, FILE, path.name)
        for case in content["cases"]:
            name = f"{path.stem}/{case.get('id')}"
            if name in cases:
                raise FormatError(f"{name} is there twice")
            cases[name] = case
    return cases


def plane_of(case):
    """What data plane the case wants. It is read first: what placeholders stand for is known
    only once that runs."""
    plane = case.get("plane", {})
    check(plane, PLANE, "plane")
    return plane


def read(case, words):
    """The case with its placeholders filled in, checked."""
    filled = fill(copy.deepcopy(case), words)
    check(filled, CASE, str(case.get("id")))
    for call in filled.get("calls", []):
        wanted = "session_id" if call["verb"] == "stop_session" else "payload"
        if wanted not in call:
            raise FormatError(f"{filled['id']}: a {call['verb']} needs {wanted}")
    return filled


def fill(value, words):
    """`${name}` within a string, and `{"repeat": "x", "times": 3}` in place of a long one."""
    if isinstance(value, str):
        for name, word in words.items():
            value = value.replace(f"${{{name}}}", word)
        if "${" in value:
            raise FormatError(f"an unknown placeholder in {value!r}")
        return value
    if isinstance(value, list):
        return [fill(item, words) for item in value]
    if isinstance(value, dict):
        if value.keys() == {"repeat", "times"} and isinstance(value["repeat"], str):
            return value["repeat"] * value["times"]
        return {name: fill(inner, words) for name, inner in value.items()}
    return value


def expected_failures(runner):
    """The cases that are known to fail, with the reason: `id: reason`, one a line."""
    known = {}
    path = FOLDER / "expected-failures" / f"{runner}.txt"
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, _, reason = line.partition(": ")
        if not reason.strip():
            raise FormatError(f"{name} is expected to fail without a reason")
        known[name] = reason.strip()
    return known
