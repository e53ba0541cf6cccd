"""The cases that every language has to pass, played through the Python package: by the sync
client and by asyncio. A case that passes has to fail under each changed expectation, since a
runner that cannot fail is worthless.
"""

import pytest
from conformance_format import FormatError, expected_failures, load, plane_of, read
from conformance_judge import changes, judge
from conformance_run import play

CASES = load()
MODES = ("sync", "asyncio")
WORDS = {
    name: f"<{name}>"
    for name in (
        "base_url",
        "runtime_arn",
        "runtime_label",
        "address",
        "closed_url",
        "session",
        "other_session",
    )
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("mode", MODES)
def test_case(mode, name):
    known = expected_failures(f"python-{mode}").get(name)
    try:
        case, seen = play(CASES[name], mode)
        wrong = judge(case, seen)
    except (Exception, pytest.fail.Exception) as error:
        if known is None:
            raise
        wrong = [repr(error)]
    if known is not None:
        assert wrong, f"passes, though it was known to fail: {known}"
        pytest.xfail(known)
    assert not wrong, "\n".join(wrong)
    unnoticed = [place for place, changed in changes(case) if not judge(changed, seen)]
    assert not unnoticed, f"changed, and nobody noticed: {unnoticed}"


@pytest.mark.parametrize("mode", MODES)
def test_what_is_known_to_fail_is_a_case(mode):
    assert expected_failures(f"python-{mode}").keys() <= CASES.keys()


@pytest.mark.parametrize("name", CASES)
def test_format(name):
    plane_of(CASES[name])
    assert read(CASES[name], WORDS)["id"] in name


@pytest.mark.parametrize(
    ("case", "word"),
    [
        ({}, "id is missing"),
        ({"id": "x", "clientt": {}}, "clientt"),
        ({"id": "x", "plane": {"auht": "none"}}, "auht"),
        ({"id": "x", "client": {"retries": 1}}, "retries"),
        ({"id": "x", "client": {"timeouts": {"idle": 1}}}, "idle"),
        ({"id": "x", "client": {"timeouts": {"idle_ms": True}}}, "idle_ms"),
        ({"id": "x", "calls": [{"verb": "shout", "expect": {}}]}, "shout"),
        ({"id": "x", "calls": [{"verb": "invoke"}]}, "expect is missing"),
        ({"id": "x", "calls": [{"verb": "invoke", "expect": {}}]}, "needs payload"),
        ({"id": "x", "calls": [{"verb": "stop_session", "expect": {}}]}, "needs session_id"),
        ({"id": "x", "calls": [{"verb": "invoke", "expect": {}, "user": "x"}]}, "user"),
        ({"id": "x", "client": {"region": "${nowhere}"}}, "nowhere"),
    ],
)
def test_what_is_not_known_is_refused(case, word):
    with pytest.raises(FormatError, match=word):
        read(case, WORDS)


def test_long_strings_and_placeholders():
    case = {
        "id": "x",
        "client": {"region": {"repeat": "ab", "times": 2}, "qualifier": "${session}"},
    }
    client = read(case, WORDS)["client"]
    assert client == {"region": "abab", "qualifier": "<session>"}
    assert CASES is not None and case["client"]["qualifier"] == "${session}", "the source stays"


ANSWERED = {
    "client_error": None,
    "journal": [
        {"kind": "request", "target": "/_local/faults", "connection": 1, "headers": []},
        {
            "kind": "request",
            "method": "POST",
            "target": "/runtimes/x/invocations",
            "connection": 2,
            "headers": [["Accept", "a"]],
            "body_bytes": 2,
            "body_text": "{}",
        },
        {"kind": "auth", "claim": "sigv4", "accepted": True},
    ],
    "calls": [
        {
            "answer": {
                "status": 200,
                "session_id": "s",
                "headers": {"x": "y"},
                "end": "complete",
                "events": [{"event": None, "id": None, "data": "1", "text": None, "json": 1}],
            },
            "error": None,
            "given": "s",
            "elapsed_ms": 5,
        }
    ],
}
EXPECTED = {
    "id": "x",
    "calls": [
        {
            "verb": "stream",
            "expect": {
                "answer": {
                    "status": 200,
                    "session": "given",
                    "headers": {"X": "y", "z": None},
                    "events": [{"data": "1", "json": 1}],
                    "end": "complete",
                },
                "within_ms": 100,
            },
        }
    ],
    "journal": {
        "posts": 1,
        "connections": 1,
        "auth": ["sigv4"],
        "requests": [{"method": "POST", "json": {}, "headers": {"accept": {"contains": "a"}}}],
    },
}


def test_the_judge_agrees_and_notices_every_change():
    assert judge(EXPECTED, ANSWERED) == []
    places = []
    for place, changed in changes(EXPECTED):
        assert judge(changed, ANSWERED), place
        places.append(place)
    assert len(places) > 15


def test_the_judge_wants_errors_to_be_expected():
    error = dict.fromkeys(("status", "service_code", "limit", "field", "retry_after_ms"))
    error |= {"kind": "Timeout", "delivery": "unknown", "limit": "idle", "agent_payload": None}
    error |= {"events_seen": 0, "session_id": "s", "message": "idle limit", "attempts": 1}
    call = {"answer": None, "error": error, "given": "s", "elapsed_ms": 1}
    seen = {"client_error": None, "calls": [call], "journal": []}

    def wrong(expect):
        return judge({"calls": [{"expect": expect}], "journal": {"posts": 0}}, seen)

    expected = {"kind": "Timeout", "delivery": "unknown", "limit": "idle", "says": ["idle"]}
    assert wrong({"error": expected}) == []
    assert wrong({}) and wrong({"answer": {}}) and wrong({"refused": {"field": "x"}})
    assert wrong({"error": {**expected, "limit": "total"}})
    assert wrong({"error": {"kind": "Timeout", "delivery": "unknown"}}), "the limit is left out"
    assert wrong({"error": {**expected, "hides": ["idle"]}})
    assert wrong({"error": {**expected, "unknown": 1}})
    call["given"] = "another"
    assert wrong({"error": expected}), "the error names another session"
