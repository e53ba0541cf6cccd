"""Compares what a case expects with what was seen. It does no IO, so that the expectations can
be changed one by one and judged again: each change has to be noticed.
"""

import copy
import json

ANSWER = {
    "status",
    "content_type",
    "session_endpoint_url",
    "text",
    "json",
    "body",
    "body_bytes",
    "deltas",
    "events_seen",
    "end",
}
# What an expected error does not mention, an error must not have.
OPTIONAL = {
    "status": None,
    "service_code": None,
    "limit": None,
    "field": None,
    "retry_after_ms": None,
    "agent_payload": None,
    "events_seen": 0,
}


def same(expected, seen):
    """Equal as JSON, where 1, 1.0 and true are three values."""
    return json.dumps(expected, sort_keys=True) == json.dumps(seen, sort_keys=True)


def judge(case, seen):
    """Everything that is not as expected; nothing where the case passes.

    `seen` has `client_error`, `calls` (each with `answer`, `error`, `given`, `elapsed_ms`) and
    `journal`, the entries of the data plane's journal.
    """
    wrong = _Wrong()
    refused, error = case.get("client_refused"), seen["client_error"]
    if refused is not None and error is not None:
        wrong.refused("client_refused", refused, error)
    elif refused is not None:
        wrong.note("client_refused", "the client was made")
    elif error is not None:
        wrong.note("client", f"it was refused: {error}")
    if error is None:
        for n, call in enumerate(case.get("calls", [])):
            if n < len(seen["calls"]):
                wrong.call(f"calls[{n}]", call["expect"], seen["calls"][: n + 1])
            else:
                wrong.note(f"calls[{n}]", "it was not made")
    if "journal" in case:
        wrong.journal(case["journal"], seen["journal"])
    elif refused is not None:
        wrong.journal({"posts": 0}, seen["journal"])
    else:
        wrong.note("journal", "a case with calls has to say what was sent")
    return wrong.notes


class _Wrong:
    def __init__(self):
        self.notes = []

    def note(self, place, what):
        text = str(what)
        self.notes.append(f"{place}: {text if len(text) < 2000 else text[:2000] + '…'}")

    def equal(self, place, expected, seen):
        if not same(expected, seen):
            self.note(place, f"expected {expected!r}, saw {seen!r}")

    def is_object(self, place, value):
        if not isinstance(value, dict):
            self.note(place, f"not an object: {value!r}")
        return isinstance(value, dict)

    def call(self, place, expected, calls):
        """The last of `calls` is the one that is judged."""
        if not self.is_object(place, expected):
            return
        *before, seen = calls
        answer, error = seen["answer"], seen["error"]
        for name, value in expected.items():
            at = f"{place}.{name}"
            if name == "answer" and answer is not None:
                self.answer(at, value, answer, seen, before)
                if error is None and "end" in answer and "end" not in value:
                    self.equal(f"{at}.end", "complete", answer["end"])
            elif name == "error" and error is not None:
                self.error(at, value, error, seen)
            elif name == "refused" and error is not None:
                self.refused(at, value, error)
            elif name in ("answer", "error", "refused"):
                self.note(at, f"there was none; error: {error}")
            elif name == "within_ms":
                if not isinstance(value, int) or seen["elapsed_ms"] >= value:
                    self.note(at, f"it took {seen['elapsed_ms']} ms")
            else:
                self.note(at, "an unknown member")
        if "error" in expected and "refused" in expected:
            self.note(place, "error and refused exclude each other")
        if error is not None and "error" not in expected and "refused" not in expected:
            self.note(place, f"failed: {error}")
        if answer is not None and "answer" not in expected:
            self.note(place, f"answered: {answer}")

    def answer(self, place, expected, seen, call, before):
        if not self.is_object(place, expected):
            return
        for name, value in expected.items():
            at = f"{place}.{name}"
            if name == "session":
                self.session(at, value, seen.get("session_id"), call, before)
            elif name == "headers":
                self.headers(at, value, seen.get("headers", {}))
            elif name == "events":
                self.events(at, value, seen.get("events"))
            elif name == "request_id":
                self.equal(at, value, seen.get("request_id") is not None)
            elif name in ANSWER:
                self.equal(at, value, seen.get(name))
            else:
                self.note(at, "an unknown member")

    def session(self, place, expected, seen, call, before):
        earlier = [(one["answer"] or {}).get("session_id") for one in before]
        if expected == "given":
            fits = call["given"] is not None and seen == call["given"]
        elif expected == "new":
            fits = call["given"] is None and len(seen or "") == 36 and seen not in earlier
        else:
            fits = expected == "same" and bool(earlier) and seen == earlier[-1]
        if not fits:
            self.note(place, f"expected {expected!r}, saw {seen!r}")

    def events(self, place, expected, seen):
        """Events are compared whole: a name, an id or a text that nobody expected is wrong."""
        if not isinstance(expected, list) or not isinstance(seen, list):
            self.note(place, f"expected {expected!r}, saw {seen!r}")
            return
        if len(expected) != len(seen):
            self.note(place, f"expected {len(expected)} of them, saw {seen!r}")
        for n, (one, event) in enumerate(zip(expected, seen, strict=False)):
            at = f"{place}[{n}]"
            if not self.is_object(at, one):
                continue
            for name in ("event", "id", "text"):
                self.equal(f"{at}.{name}", one.get(name), event[name])
            for name in one.keys() - {"event", "id", "text"}:
                if name in ("data", "json"):
                    self.equal(f"{at}.{name}", one[name], event[name])
                else:
                    self.note(f"{at}.{name}", "an unknown member")
            if not one.keys() & {"data", "json"}:
                self.note(at, "needs data or json")

    def headers(self, place, expected, seen):
        """A string: the value; None: no such header; {"contains": …}: part of the value."""
        if not self.is_object(place, expected):
            return
        for name, value in expected.items():
            found = seen.get(name.lower())
            if isinstance(value, dict):
                part = value.get("contains")
                fits = len(value) == 1 and isinstance(part, str) and part in (found or "")
                if not fits:
                    self.note(f"{place}.{name}", f"expected {value!r}, saw {found!r}")
            else:
                self.equal(f"{place}.{name}", value, found)

    def error(self, place, expected, seen, call):
        if not self.is_object(place, expected):
            return
        for name in ("kind", "delivery"):
            self.equal(f"{place}.{name}", expected.get(name), seen[name])
        for name, default in OPTIONAL.items():
            self.equal(f"{place}.{name}", expected.get(name, default), seen[name])
        if call["given"] is not None:
            # Every error tells where to go on.
            self.equal(f"{place}.session_id", call["given"], seen["session_id"])
        for name, value in expected.items():
            at = f"{place}.{name}"
            if name in ("kind", "delivery") or name in OPTIONAL:
                continue
            if name in ("attempts", "bytes_seen"):
                self.equal(at, value, seen[name])
            elif name == "request_id":
                self.equal(at, value, seen["request_id"] is not None)
            elif name in ("says", "hides"):
                self.words(at, name, value, seen["message"])
            else:
                self.note(at, "an unknown member")

    def refused(self, place, expected, seen):
        """A refused argument: the field and the shape of what was given, then the rule."""
        if not self.is_object(place, expected):
            return
        self.equal(f"{place}.kind", "InvalidInput", seen["kind"])
        self.equal(f"{place}.delivery", "not_sent", seen["delivery"])
        self.equal(f"{place}.attempts", 0, seen["attempts"])
        self.equal(f"{place}.field", expected.get("field"), seen["field"])
        message = seen["message"]
        if not message.startswith(f"{seen['field']}: ") or "; " not in message:
            self.note(place, f"not `field: shape; rule`: {message}")
        for name, value in expected.items():
            if name in ("says", "hides"):
                self.words(f"{place}.{name}", name, value, message)
            elif name != "field":
                self.note(f"{place}.{name}", "an unknown member")

    def words(self, place, name, words, message):
        if not isinstance(words, list):
            self.note(place, "not a list")
            return
        for word in words:
            if (isinstance(word, str) and word in message) != (name == "says"):
                self.note(place, f"{word!r} in: {message}")

    def journal(self, expected, entries):
        if not self.is_object("journal", expected):
            return
        sent = requests_of(entries)
        self.equal("journal.posts", expected.get("posts"), _count(sent, "/invocations"))
        self.equal("journal.stops", expected.get("stops", 0), _count(sent, "/stopruntimesession"))
        for name, value in expected.items():
            at = f"journal.{name}"
            if name == "requests":
                self.requests(at, value, sent)
            elif name == "connections":
                self.equal(at, value, len({entry["connection"] for entry in sent}))
            elif name == "auth":
                self.equal(at, value, [_auth(entry) for entry in of_kind(entries, "auth")])
            elif name == "disconnects":
                self.equal(at, value, [e["phase"] for e in of_kind(entries, "disconnect")])
            elif name == "stopped":
                self.equal(at, value, stopped(entries))
            elif name not in ("posts", "stops"):
                self.note(at, "an unknown member")

    def requests(self, place, expected, seen):
        if not isinstance(expected, list):
            self.note(place, "not a list")
            return
        if len(expected) != len(seen):
            self.note(place, f"expected {len(expected)} of them, saw {len(seen)}")
        for n, (one, request) in enumerate(zip(expected, seen, strict=False)):
            at = f"{place}[{n}]"
            if not self.is_object(at, one):
                continue
            for name, value in one.items():
                if name in ("method", "target", "body_bytes"):
                    self.equal(f"{at}.{name}", value, request[name])
                elif name == "body":
                    self.equal(f"{at}.body", value, request.get("body_text"))
                elif name == "json":
                    self.equal(f"{at}.json", value, _json(request.get("body_text")))
                elif name == "headers":
                    self.headers(f"{at}.headers", value, _headers(request["headers"]))
                else:
                    self.note(f"{at}.{name}", "an unknown member")


def of_kind(entries, kind):
    """The journal's entries of one kind."""
    return [entry for entry in entries if entry["kind"] == kind]


def requests_of(entries):
    """The requests of operations; the runner's own ones to the control plane are left out."""
    every = of_kind(entries, "request")
    return [entry for entry in every if not entry["target"].startswith("/_local/")]


def stopped(entries):
    """How many sessions were stopped."""
    return sum(entry["state"] == "stopped" for entry in of_kind(entries, "session"))


def _count(requests, path):
    return sum(entry["target"].split("?")[0].endswith(path) for entry in requests)


def _auth(entry):
    code = entry.get("code")
    return entry["claim"] if code is None else f"{entry['claim']}: {code}"


def _json(text):
    try:
        return json.loads(text or "")
    except ValueError:
        return None


def _headers(pairs):
    """Names in lower case; values of a name that came twice joined: they equal nothing then."""
    found = {}
    for name, value in pairs:
        name = name.lower()
        found[name] = f"{found[name]}\n{value}" if name in found else value
    return found


# -- every expectation, changed --------------------------------------------------------------

STRICT = {"kind", "delivery", *OPTIONAL}


def changes(case):
    """The case with one expectation changed, and the place of the change; all of them."""
    for part in ("client_refused", "journal"):
        if part in case:
            for place, changed in _changed(case[part]):
                yield f"{part}{place}", {**case, part: changed}
    for n, call in enumerate(case.get("calls", [])):
        for place, changed in _changed(call["expect"]):
            calls = list(case["calls"])
            calls[n] = {**call, "expect": changed}
            yield f"calls[{n}]{place}", {**case, "calls": calls}


def _changed(value):
    if isinstance(value, dict):
        strict = "kind" in value or "field" in value
        for name, member in value.items():
            if name == "within_ms":
                yield f".{name}", {**value, name: 0}
            elif name == "session" and isinstance(member, str):
                yield f".{name}", {**value, name: "given" if member == "new" else "new"}
            elif name == "hides":
                # Every message contains nothing at all.
                yield f".{name}", {**value, name: [""]}
            else:
                for place, changed in _changed(member):
                    yield f".{name}{place}", {**value, name: changed}
                if strict and name in STRICT and member not in (None, 0):
                    rest = copy.copy(value)
                    del rest[name]
                    yield f".{name} left out", rest
    elif isinstance(value, list):
        for n, item in enumerate(value):
            for place, changed in _changed(item):
                yield f"[{n}]{place}", [*value[:n], changed, *value[n + 1 :]]
        yield " longer", [*value, "one more than there is"]
    elif isinstance(value, str):
        yield "", f"{value} changed"
    elif isinstance(value, bool):
        yield "", not value
    elif value is None:
        yield "", "not null"
    else:
        yield "", value + 1
