"""The data plane, the client and the arguments that a case asks for.

The package is imported when a case is played, so that the format can be tested without it.
"""

import asyncio
import base64
import time

from conformance_format import CALL_ARGUMENTS, CLIENT_ARGUMENTS

# Far beyond the limits in the cases, and short enough for a thread that nobody can end.
TOO_SLOW = 2


def flags(plane):
    """The data plane's options as flags of its binary."""
    args = ["--no-auth"] if plane.get("auth") == "none" else []
    if plane.get("container_paths"):
        args.append("--container-paths")
    for member, flag in (
        ("runtime_arn", "--arn"),
        ("base_path", "--base-path"),
        ("clock_offset_s", "--clock-offset-s"),
        ("provisioning_ms", "--provisioning-ms"),
    ):
        if member in plane:
            args += [flag, str(plane[member])]
    for member, flag in (("qualifiers", "--qualifier"), ("allow_headers", "--allow-header")):
        for value in plane.get(member, []):
            args += [flag, value]
    if "session_token" in plane:
        # They belong together on the command line.
        args += ["--access-key", "AKIDCONFORMANCE", "--secret-key", "conformance-secret"]
        args += ["--session-token", plane["session_token"]]
    return args


def seconds(limits):
    """The case's milliseconds as the package's `Timeouts`."""
    from agentcore_client import Timeouts

    given = {}
    for member, value in limits.items():
        if member == "deadline_in_ms":
            given["deadline"] = time.time() + value / 1000
        else:
            given[member.removesuffix("_ms")] = None if value is None else value / 1000
    return Timeouts(**given)


def overrides(options):
    """What a client and its siblings both take."""
    from agentcore_client import Limits

    given = {n: options[n] for n in ("qualifier", "retry", "text_format") if n in options}
    if "timeouts" in options:
        given["timeouts"] = seconds(options["timeouts"])
    if "limits" in options:
        given["limits"] = Limits(**options["limits"])
    return given


def client_arguments(plane, options, mode):
    given = {name: options[name] for name in CLIENT_ARGUMENTS if name in options}
    given |= overrides(options) | authorisation(plane, options, mode)
    arn = options.get("runtime_arn", plane.runtime_arn)
    if arn is not None:
        given["runtime_arn"] = arn
    elsewhere = "invocation_url" in options or "local_url" in options
    url = options.get("endpoint_url", None if elsewhere else plane.base_url)
    if url is not None:
        given["endpoint_url"] = url
    return given


def authorisation(plane, options, mode):
    from agentcore_client import Credentials

    def fails():
        raise RuntimeError("the vault is sealed")

    def is_slow():
        time.sleep(TOO_SLOW)
        return "late"

    async def is_slow_async():
        await asyncio.sleep(TOO_SLOW)
        return "late"

    tokens = []

    def renews():
        tokens.append("stale" if not tokens else plane.mint_token())
        return tokens[-1]

    async def renews_async():
        return renews()

    async def fails_async():
        fails()

    async_mode = mode == "asyncio"
    auth = options.get("auth", "plane")
    unknown = Credentials("AKIDUNKNOWN", "secret")
    if auth == "plane":
        own = plane.client_options()
        return {name: own[name] for name in ("credentials", "bearer_token") if name in own}
    if auth == "wrong_secret":
        return {"credentials": Credentials(plane.access_key, "another", plane.session_token)}
    if auth == "unknown_keys":
        return {"credentials": unknown}
    if auth == "literal_token":
        return {"bearer_token": options["token"]}
    if auth == "minted_token":
        return {"bearer_token": plane.mint_token(**options["claims"])}
    if auth == "keys_and_token":
        return {"credentials": unknown, "bearer_token": "t"}
    if auth == "renewing_token":
        return {"bearer_token": renews_async if async_mode else renews}
    if auth == "failing_tokens":
        return {"bearer_token": fails_async if async_mode else fails}
    if auth == "slow_tokens":
        return {"bearer_token": is_slow_async if async_mode else is_slow}
    if auth == "failing_keys":
        return {"credentials": fails}
    assert auth == "environment"
    return {}


def call_arguments(call):
    """What `invoke` and `stream` are given beside payload and session."""
    given = {name: call[name] for name in CALL_ARGUMENTS if name in call}
    if "timeouts" in call:
        given["timeouts"] = seconds(call["timeouts"])
    if call.get("stop_on_close"):
        given["stop_on_close"] = True
    return given


def payload_of(call):
    ((form, value),) = call["payload"].items()
    if form == "base64":
        return base64.b64decode(value)
    return bytes(value) if form == "zeros" else value


def session_of(call, given):
    from agentcore_client import SessionId

    if given is None:
        return None
    makers = {"existing": SessionId.existing, "local": SessionId.local}
    make = makers.get(call.get("session_kind"))
    return given if make is None else make(given)


def given_session(call, before):
    named = call.get("session_id")
    if isinstance(named, dict):
        return before[named["of_call"]]["answer"]["session_id"]
    return named
