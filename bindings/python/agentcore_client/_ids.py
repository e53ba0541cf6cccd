"""Session ids and runtime ARNs: strings whose rule has been checked."""

from __future__ import annotations

from . import _native
from ._errors import refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .types import PolicyAction


class SessionId(str):
    """A runtime session id: a `str` that the service accepts.

    `SessionId(text)` takes 33 to 100 letters, digits, `-` and `_`, the first a letter or digit, and
    raises `InvalidInputError` for anything else. Plain strings are checked the same way where a
    session id is wanted.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> SessionId:
        return cls._checked(text, "new")

    @classmethod
    def generate(cls) -> SessionId:
        """A new random id (a UUID, 36 characters)."""
        return cls._trusted(_native.generate_session_id())

    @classmethod
    def derive(cls, secret: bytes | str, *parts: str) -> SessionId:
        """The id of a conversation, always the same for the same secret and parts.

        The service does not check who owns a session, so an id must not be guessable: it is an
        HMAC-SHA256 of the parts (64 characters), the same in every language.

        Args:
            secret: At least 16 bytes that only your backend knows; a `str` counts as UTF-8.
            *parts: E.g. tenant, user and conversation. `("ab", "c")` and `("a", "bc")` differ.
        """
        if isinstance(secret, str):
            key = secret.encode(errors="surrogatepass")
            if key.decode(errors="replace") != secret:
                # Not by Python's own error, which holds the secret.
                shape, rule = "text with a lone surrogate", "must be valid Unicode"
                raise refused("secret", shape, rule)
        elif isinstance(secret, (bytes, bytearray, memoryview)):
            key = bytes(secret)
        else:
            # bytes(32) would be 32 zeros.
            raise TypeError(f"secret must be bytes or a str, not {type(secret).__name__}")
        return cls._trusted(_native.derive_session_id(key, _texts("parts", parts)))

    @classmethod
    def derive_guessable(cls, *parts: str) -> SessionId:
        """The id of these parts, which whoever knows the parts can guess."""
        return cls._trusted(_native.derive_guessable_session_id(_texts("parts", parts)))

    @classmethod
    def existing(cls, text: str) -> SessionId:
        """An id that is in use already: 33 to 256 visible ASCII characters."""
        return cls._checked(text, "existing")

    @classmethod
    def local(cls, text: str) -> SessionId:
        """An id for a local agent: 1 to 256 visible ASCII characters."""
        return cls._checked(text, "local")

    @classmethod
    def _checked(cls, text: str, rule: str) -> SessionId:
        if not isinstance(text, str):
            raise TypeError(f"session_id must be a str, not {type(text).__name__}")
        _native.check_session_id(text, rule)
        return cls._trusted(text)

    @classmethod
    def _trusted(cls, text: str) -> SessionId:
        return str.__new__(cls, text)

    def __repr__(self) -> str:
        return f"SessionId({str.__repr__(self)})"

    def __reduce__(self) -> tuple[object, ...]:
        return SessionId._trusted, (str(self),)


class RuntimeArn(str):
    """The ARN of an agent runtime or of its endpoint, taken apart.

    `arn:{partition}:bedrock-agentcore:{region}:{account}:runtime/{id}`, optionally with
    `/runtime-endpoint/{name}`. Raises `InvalidInputError` for anything else.

    Attributes:
        aws_partition: E.g. `"aws"`. (`partition` is a method of every `str`.)
        region: E.g. `"us-west-2"`.
        account_id: Twelve digits.
        agent_id: The runtime's id.
        qualifier: The endpoint's name, for an endpoint ARN.
    """

    aws_partition: str
    region: str
    account_id: str
    agent_id: str
    qualifier: str | None

    def __new__(cls, arn: str) -> RuntimeArn:
        if not isinstance(arn, str):
            raise TypeError(f"runtime_arn must be a str, not {type(arn).__name__}")
        parts = _native.parse_runtime_arn(arn)
        self = str.__new__(cls, arn)
        self.aws_partition, self.region, self.account_id, self.agent_id, self.qualifier = parts
        return self

    @classmethod
    def from_agent_id(cls, agent_id: str, account_id: str, region: str) -> RuntimeArn:
        """The ARN of an agent id in an account and a region."""
        return cls(_native.runtime_arn_of_agent(agent_id, account_id, region))

    def invoke_policy(self, *actions: PolicyAction) -> dict[str, Any]:
        """The IAM policy document that allows these actions on this runtime, and nothing else.

        The service checks an action on the runtime and on its endpoint, so both are named: the
        endpoint of this ARN, or `DEFAULT`, which calls without a qualifier go to. The statement
        alone, as infrastructure code takes it, is `policy["Statement"][0]`. For a runtime with a
        JWT authorizer identity policies mean nothing.

        Args:
            *actions: E.g. `"StopRuntimeSession"`, with the service's prefix or without;
                `"InvokeAgentRuntime"` if none is given.
        """
        import json

        policy: dict[str, Any] = json.loads(_native.invoke_policy(self, _texts("actions", actions)))
        return policy

    def __repr__(self) -> str:
        return f"RuntimeArn({str.__repr__(self)})"

    def __reduce__(self) -> tuple[object, ...]:
        return RuntimeArn, (str(self),)


def _texts(name: str, parts: tuple[str, ...]) -> list[str]:
    for part in parts:
        if not isinstance(part, str):
            raise TypeError(f"{name} must be str, not {type(part).__name__}")
    return list(parts)
