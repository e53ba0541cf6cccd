"""Session ids and runtime ARNs."""

import copy
import json
import multiprocessing
import pickle
import typing
import uuid
from pathlib import Path

import pytest
from agentcore_client import InvalidInputError, RuntimeArn, SessionId

GOLDEN = Path(__file__).resolve().parents[3] / "tests/vectors"
VECTORS = json.loads((GOLDEN / "session_ids.json").read_text())["vectors"]
POLICIES = json.loads((GOLDEN / "policies.json").read_text())
SECRET = b"correct horse battery staple"
ARN = "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/my_agent-0123456789"


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_golden_vectors(vector):
    secret, parts = bytes.fromhex(vector["secret_hex"]), vector["parts"]
    assert SessionId.derive(secret, *parts) == vector["derive"]
    assert SessionId.derive_guessable(*parts) == vector["derive_guessable"]


def test_there_are_vectors():
    assert len(VECTORS) > 5


def test_a_secret_is_not_shown_by_its_refusal():
    with pytest.raises(InvalidInputError, match="secret: text with a lone surrogate") as caught:
        SessionId.derive("s3cret\ud800" * 4, "acme")
    assert caught.value.__context__ is None
    assert SessionId.derive("s3crét 𝄞 \ufffd" * 4, "a") == SessionId.derive(
        ("s3crét 𝄞 \ufffd" * 4).encode(), "a"
    )


def test_derived_ids():
    conversation = SessionId.derive(SECRET, "acme", "user-42")
    assert type(conversation) is SessionId and len(conversation) == 64
    assert conversation == SessionId.derive(SECRET.decode(), "acme", "user-42")
    assert conversation == SessionId.derive(bytearray(SECRET), "acme", "user-42")
    others = {
        SessionId.derive(SECRET, "acme", "user-43"),
        SessionId.derive(SECRET, "acmeuser", "-42"),
        SessionId.derive(SECRET, "acme", "user-42", ""),
        SessionId.derive(SECRET + b"!", "acme", "user-42"),
        SessionId.derive_guessable("acme", "user-42"),
    }
    assert conversation not in others and len(others) == 5


def test_generated_ids():
    ids = {SessionId.generate() for _ in range(100)}
    assert len(ids) == 100
    for each in ids:
        assert type(each) is SessionId and str(uuid.UUID(each)) == each
        assert uuid.UUID(each).version == 4


def test_a_session_id_is_a_str():
    text = "conversation-0123456789-0123456789"
    session = SessionId(text)
    assert isinstance(session, str)
    assert session == text and hash(session) == hash(text) and {session: 1}[text] == 1
    assert str(session) == text and type(str(session)) is str
    assert f"{session}" == text and session + "" == text
    assert json.dumps({"id": session}) == f'{{"id": "{text}"}}'
    assert repr(session) == f"SessionId({text!r})"
    assert SessionId(session) == session


@pytest.mark.parametrize(
    "make",
    [
        lambda: SessionId.generate(),
        lambda: SessionId.existing("." * 200),
        lambda: SessionId.local("short"),
        lambda: RuntimeArn(ARN + "/runtime-endpoint/prod"),
    ],
)
def test_pickled_and_copied(make):
    value = make()
    copies = [pickle.loads(pickle.dumps(value, p)) for p in range(pickle.HIGHEST_PROTOCOL + 1)]
    copies += [copy.copy(value), copy.deepcopy(value)]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        copies += pool.map(copy.copy, [value])
    for each in copies:
        assert type(each) is type(value) and each == value
        assert getattr(each, "qualifier", None) == getattr(value, "qualifier", None)


BAD = {
    "empty": "",
    "short": "x" * 32,
    "long": "x" * 101,
    "starts with a hyphen": "-" + "x" * 40,
    "a space": "x" * 20 + " " + "x" * 20,
    "a line break": "x" * 40 + "\n",
    "an umlaut": "ü" * 40,
    "a full stop": "." * 40,
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_bad_ids(client, local_data_plane, text):
    for call in (
        lambda: SessionId(text),
        lambda: client.invoke({}, session_id=text),
        lambda: client.stream({}, session_id=text),
        lambda: client.stop_session(text),
    ):
        with pytest.raises(InvalidInputError) as info:
            call()
        assert info.value.field == "session_id" and info.value.delivery == "not_sent"
        assert text == "" or text not in str(info.value)
    assert local_data_plane.count_posts() == 0


@pytest.mark.parametrize("text", ["x" * 33, "x" * 100, "0" * 50, "a-b_" * 10])
def test_good_ids(client, text):
    assert SessionId(text) == text
    assert client.invoke({}, session_id=text).session_id == text


def test_ids_in_use_already(client):
    odd = "tenant:42/user/7." * 4
    with pytest.raises(InvalidInputError):
        SessionId(odd)
    session = SessionId.existing(odd)
    assert client.invoke({}, session_id=session).session_id == odd
    for bad in ("x" * 32, "x" * 257, "ü" * 40, " x" * 20):
        with pytest.raises(InvalidInputError):
            SessionId.existing(bad)


def test_ids_of_local_agents(client):
    assert SessionId.local("1") == "1"
    for bad in ("", "x" * 257, "a\n"):
        with pytest.raises(InvalidInputError):
            SessionId.local(bad)
    # The service would refuse it, so it is not sent.
    with pytest.raises(InvalidInputError, match="33 to 256"):
        client.invoke({}, session_id=SessionId.local("short"))


def test_wrong_types(client):
    for call in (
        lambda: SessionId(5),
        lambda: SessionId.existing(None),
        lambda: SessionId.local(b"x" * 40),
        lambda: client.invoke({}, session_id=5),
        lambda: client.stream({}, session_id=b"x" * 40),
        lambda: client.stop_session(None),
        lambda: client.stop_session(uuid.uuid4()),
    ):
        with pytest.raises(TypeError, match="session_id must be a str"):
            call()
    for call in (
        lambda: SessionId.derive(SECRET, "acme", 42),
        lambda: SessionId.derive_guessable(None),
    ):
        with pytest.raises(TypeError, match="parts must be str"):
            call()


def test_a_secret_must_be_one():
    with pytest.raises(InvalidInputError) as info:
        SessionId.derive(b"x" * 15, "acme")
    assert "16" in str(info.value) and "xxx" not in str(info.value)
    with pytest.raises(InvalidInputError):
        SessionId.derive(SECRET)
    # `bytes(32)` is 32 zeros, which anyone can guess.
    for secret in (32, None, [1] * 32):
        with pytest.raises(TypeError, match="secret must be"):
            SessionId.derive(secret, "acme")


def test_lone_surrogates():
    for call in (
        lambda: SessionId("\ud800" * 40),
        lambda: SessionId.derive(SECRET, "\ud800"),
        lambda: SessionId.derive("\ud800" * 16, "acme"),
        lambda: SessionId.derive_guessable("\ud800"),
        lambda: RuntimeArn("\ud800"),
    ):
        with pytest.raises(ValueError):
            call()


# -- ARNs -------------------------------------------------------------------------------------


def test_runtime_arn():
    arn = RuntimeArn(ARN)
    assert isinstance(arn, str) and arn == ARN and repr(arn) == f"RuntimeArn({ARN!r})"
    assert (arn.aws_partition, arn.region) == ("aws", "us-west-2")
    assert (arn.account_id, arn.agent_id) == ("123456789012", "my_agent-0123456789")
    assert arn.qualifier is None
    assert RuntimeArn.from_agent_id(arn.agent_id, arn.account_id, arn.region) == arn


def test_a_runtime_arn_is_a_str():
    arn = RuntimeArn(ARN)
    for name in dir(str):
        if not name.startswith("__"):
            assert callable(getattr(arn, name)), name
    assert arn.partition(":")[0] == "arn"
    assert json.dumps(arn) == json.dumps(ARN)


def test_endpoint_arn():
    arn = RuntimeArn(
        "arn:aws-us-gov:bedrock-agentcore:us-gov-west-1:123456789012:runtime/a-0123456789/runtime-endpoint/prod"
    )
    assert (arn.aws_partition, arn.region, arn.qualifier) == ("aws-us-gov", "us-gov-west-1", "prod")
    assert arn.agent_id == "a-0123456789"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "my_agent-0123456789",
        ARN + " ",
        " " + ARN,
        ARN.replace("us-west-2", ""),
        ARN.replace("123456789012", "12345678901"),
        ARN.replace("bedrock-agentcore", "bedrock"),
        ARN.replace(":runtime/", ":memory/"),
        ARN + "/runtime-endpoint/",
        ARN + "\n",
    ],
)
def test_bad_arns(text):
    with pytest.raises(InvalidInputError) as info:
        RuntimeArn(text)
    assert info.value.field == "runtime_arn"


def test_arns_of_wrong_types():
    for given in (None, 5, ARN.encode()):
        with pytest.raises(TypeError, match="runtime_arn must be a str"):
            RuntimeArn(given)


@pytest.mark.parametrize("case", POLICIES["policies"], ids=lambda case: case["id"])
def test_policies(case):
    assert RuntimeArn(case["arn"]).invoke_policy(*case["actions"]) == case["policy"]


@pytest.mark.parametrize("case", POLICIES["refused"], ids=lambda case: case["id"])
def test_refused_actions(case):
    with pytest.raises(InvalidInputError) as caught:
        RuntimeArn(ARN).invoke_policy(*case["actions"])
    assert caught.value.field == "actions"
    with pytest.raises(TypeError, match="actions must be str, not int"):
        RuntimeArn(ARN).invoke_policy(7)


def test_the_types_name_every_action():
    from agentcore_client.types import PolicyAction

    named = [f"bedrock-agentcore:{name}" for name in typing.get_args(PolicyAction)]
    assert named == POLICIES["actions"]
