"""Runs the agentcore-local binary for as long as a test needs it, and speaks with its control
paths. Standard library only: it has to work before the client does, and next to any other client.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from os import PathLike
    from types import TracebackType

    from typing_extensions import Self

# One thing that the data plane saw: `seq`, `at_ms`, `connection`, `call`, `kind`, and the members
# of that kind, which the README of agentcore-local lists.
JournalEntry = dict[str, Any]

NAME = "agentcore-local"
FROM_ENVIRONMENT = "AGENTCORE_LOCAL_BIN"
ISSUER = "https://issuer.agentcore-local.example"

# It prints its start line within milliseconds; a virus scanner may have to look at it first.
START_SECONDS = 10.0
# A data plane that was told to go closes its connections and goes.
STOP_SECONDS = 2.0
CONTROL_SECONDS = 10.0


class LocalDataPlaneError(RuntimeError):
    """The local data plane is missing, does not start, or is gone."""


class LocalDataPlane:
    """A local data plane in a process of its own, from `start()` or `with` to `close()`.

    `agent` is the URL of your agent container; without it the built-in demo agent answers. With
    `bearer`, callers need a token in place of a signature. `args` are more flags of the program
    (`agentcore-local --help`). After `close()` it can be started again, on another port.

    The program is taken from `binary`, else from the environment variable AGENTCORE_LOCAL_BIN,
    else from beside the Python interpreter, where its wheel puts it, else from PATH. It ends with
    this process, also when that is killed: it watches its standard input.

    All methods block. In an async test, give `wait_for` a thread with `asyncio.to_thread` if what
    it waits for is done by your event loop.
    """

    def __init__(
        self,
        *,
        agent: str | None = None,
        bearer: bool = False,
        binary: str | PathLike[str] | None = None,
        args: Sequence[str] = (),
    ) -> None:
        self._flags = [
            *(["--agent", agent] if agent is not None else []),
            *(["--jwt-issuer", ISSUER] if bearer else []),
            *args,
        ]
        self._binary = binary
        self._running: _Running | None = None
        # Stays after close(): a test may want to call an address where nobody listens any more.
        self._start_line: dict[str, Any] = {}

    def start(self) -> Self:
        """Starts it; does nothing while it runs."""
        if self._running is not None and self._running.exit_code() is None:
            return self
        self.close()
        self._running = _Running([_find(self._binary), *self._flags])
        self._start_line = self._running.start_line
        return self

    def close(self) -> None:
        """Ends it and all its connections; may be called again."""
        running, self._running = self._running, None
        if running is not None:
            running.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._running is None:
            return "<LocalDataPlane, not running>"
        return f"<LocalDataPlane {self.base_url}>"

    # -- how to reach it -----------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        """What clients take as their endpoint URL."""
        return self._told("base_url")

    @property
    def runtime_arn(self) -> str:
        """The ARN of the runtime that it serves."""
        return self._told("runtime_arn")

    @property
    def region(self) -> str:
        """The region of that ARN."""
        return self._told("region")

    @property
    def access_key(self) -> str:
        """The access key that callers sign with."""
        return self._told("access_key")

    @property
    def secret_key(self) -> str:
        """Its secret."""
        return self._told("secret_key")

    @property
    def session_token(self) -> str | None:
        """The session token that belongs to the key, if one does."""
        self._told("access_key")
        token: str | None = self._start_line["session_token"]
        return token

    @property
    def bearer_token(self) -> str:
        """A token that is valid for an hour; needs `bearer=True`."""
        return self._told("bearer_token")

    @property
    def _takes_tokens(self) -> bool:
        return "bearer_token" in self._start_line

    def client_options(self) -> dict[str, Any]:
        """The arguments for our clients: `AgentCoreClient(**plane.client_options())`."""
        options = {"runtime_arn": self.runtime_arn, "endpoint_url": self.base_url}
        if self._takes_tokens:
            return {**options, "bearer_token": self.bearer_token}
        from agentcore_client import Credentials

        keys = Credentials(self.access_key, self.secret_key, self.session_token)
        return {**options, "credentials": keys}

    def boto3_options(self) -> dict[str, Any]:
        """The arguments for boto3: `boto3.client("bedrock-agentcore", **plane.boto3_options())`."""
        return {
            "endpoint_url": self.base_url,
            "region_name": self.region,
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
            "aws_session_token": self.session_token,
        }

    def mint_token(self, **claims: object) -> str:
        """A bearer token with these claims, e.g. `exp=1` for an expired one."""
        token: str = self._control("POST", "token", claims)["token"]
        return token

    # -- faults --------------------------------------------------------------------------------

    def add_fault(self, **members: object) -> None:
        """Queues a fault, e.g. `add_fault(status=429, code="ThrottlingException", repeat=2)`.

        Each call takes the first fault that matches it. The members are listed in the README of
        agentcore-local; an unknown one is a ValueError.
        """
        self._control("POST", "faults", members)

    def faults(self) -> list[dict[str, Any]]:
        """The faults that no call has taken yet."""
        faults: list[dict[str, Any]] = self._control("GET", "faults")["faults"]
        return faults

    def clear_faults(self) -> None:
        """Forgets the faults that wait."""
        self._control("DELETE", "faults")

    # -- what it saw ---------------------------------------------------------------------------

    def journal(self, since: int = 0) -> list[JournalEntry]:
        """What it saw, in order; with `since`, what came after the entry with that `seq`.

        Entries have gaps in `seq`: the questions of this object are left out.
        """
        return list(self._entries(since))

    def clear_journal(self) -> None:
        """Forgets what it saw until now."""
        self._control("DELETE", "journal")

    def count_posts(self) -> int:
        """How many invocations were seen; each attempt counts."""
        return sum(_is_invocation(entry) for entry in self._entries(0))

    def wait_for(
        self, predicate: Callable[[JournalEntry], object], timeout: float = 5.0
    ) -> JournalEntry:
        """The first journal entry that satisfies, also if it is there already.

        Raises TimeoutError, with what was seen instead, when there is none after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        pause = 0.002
        seen: list[str] = []
        cursor = _Cursor()
        while True:
            for entry in self._entries(cursor.last, cursor):
                if predicate(entry):
                    return entry
                seen.append(entry["kind"])
            left = deadline - time.monotonic()
            if left <= 0:
                what = ", ".join(seen[-20:]) or "nothing"
                raise TimeoutError(f"no such journal entry within {timeout} s; last seen: {what}")
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, 0.05)

    def sessions(self) -> list[dict[str, str]]:
        """The sessions that are provisioned: `runtime_arn` and `session_id` of each."""
        sessions: list[dict[str, str]] = self._control("GET", "sessions")["sessions"]
        return sessions

    def redeliver(self, request_id: str | None = None, after: float = 0) -> None:
        """Delivers an asynchronous event of the function behind the gateway once more.

        Args:
            request_id: Of the event, as the journal has it. Default: the latest event.
            after: When, in seconds from now.

        Raises:
            LocalDataPlaneError: If there is no such event.
        """
        body = {"request_id": request_id, "delay_ms": round(after * 1000)}
        self._control("POST", "redeliver", body)

    # -- inside --------------------------------------------------------------------------------

    def _told(self, member: str) -> str:
        if not self._start_line:
            raise LocalDataPlaneError("The local data plane was not started: use `with` or start()")
        value = self._start_line.get(member)
        if value is None:
            takes = "bearer tokens" if self._takes_tokens else "signatures (see bearer=True)"
            raise LocalDataPlaneError(f"There is no {member}: the local data plane takes {takes}")
        return str(value)

    def _control(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        if self._running is None:
            raise LocalDataPlaneError("The local data plane does not run: use `with` or start()")
        return self._running.control(method, path, body)

    def _entries(self, since: int, cursor: _Cursor | None = None) -> Iterator[JournalEntry]:
        """The entries that are about calls: each question for them is a request, too."""
        entries: list[JournalEntry] = self._control("GET", f"journal?since={since:d}")["entries"]
        own = self._running.own_connections if self._running is not None else set[int]()
        for entry in entries:
            if entry["kind"] == "request" and entry["target"].startswith("/_local/"):
                own.add(entry["connection"])
        if cursor is not None and entries:
            cursor.last = entries[-1]["seq"]
        return (entry for entry in entries if entry["connection"] not in own)


class _Cursor:
    last: int = 0


class _Running:
    """One process from its start to its end, and the connection to its control paths."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        # A file, not a pipe: nobody has to read along, and the text is there when it is needed.
        self._stderr = tempfile.TemporaryFile()
        self._lock = threading.Lock()
        self._reading = True
        self._closed = False
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                bufsize=0,
                # Ctrl-C is for the test run, which still wants to tidy up.
                start_new_session=os.name == "posix",
            )
        except OSError as error:
            self._stderr.close()
            raise LocalDataPlaneError(f"Cannot start {command[0]}: {error}") from error
        self._connection: http.client.HTTPConnection | None = None
        self.own_connections: set[int] = set()
        try:
            self.start_line: dict[str, Any] = self._read_start_line()
        except BaseException:
            self.close(wait=0.0)
            raise

    def exit_code(self) -> int | None:
        return self._process.poll()

    def _read_start_line(self) -> dict[str, Any]:
        stdout = self._process.stdout
        assert stdout is not None
        lines: list[bytes] = []

        def read() -> None:
            lines.append(stdout.readline())
            with self._lock:
                self._reading = False
                if self._closed:
                    stdout.close()

        # A thread, because a pipe cannot be read with a time limit on Windows.
        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        reader.join(START_SECONDS)
        program = self._command[0]
        if reader.is_alive():
            raise LocalDataPlaneError(
                f"{program} printed no start line within {START_SECONDS:g} s{self._complaint()}"
            )
        line = lines[0] if lines else b""
        if not line:
            try:
                code = self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                raise LocalDataPlaneError(
                    f"{program} closed its output without a start line{self._complaint()}"
                ) from None
            raise LocalDataPlaneError(
                f"{program} ended at once with exit code {code}{self._complaint()}"
            )
        try:
            told: dict[str, Any] = json.loads(line)
            _ = told["base_url"], told["control_token"]
        except (ValueError, TypeError, LookupError):
            raise LocalDataPlaneError(
                f"{program} is no {NAME}: its first line says something else{self._complaint()}"
            ) from None
        return told

    def _complaint(self) -> str:
        try:
            self._stderr.seek(0)
            text = self._stderr.read(16_384).decode(errors="replace").strip()
            # It shares this position with the process.
            self._stderr.seek(0, os.SEEK_END)
        except (OSError, ValueError):
            text = ""
        return f": {text}" if text else ""

    def control(self, method: str, path: str, body: object) -> dict[str, Any]:
        content = None if body is None else json.dumps(body)
        headers = {"x-local-token": self.start_line["control_token"]}
        with self._lock:
            # One connection for all, so that the journal isn't full of ours. http.client knows
            # nothing of the proxies in the environment, which is as it should be here.
            connection = self._connection
            if connection is None:
                base_url: str = self.start_line["base_url"]
                url = urlsplit(base_url)
                assert url.hostname is not None
                connection = http.client.HTTPConnection(
                    url.hostname, url.port, timeout=CONTROL_SECONDS
                )
                self._connection = connection
            try:
                connection.request(method, f"/_local/{path}", content, headers)
                answer = connection.getresponse()
                text = answer.read()
            except BaseException as error:
                # Half a conversation: the next question needs another connection.
                self._connection = None
                connection.close()
                if isinstance(error, (OSError, http.client.HTTPException)):
                    code = self.exit_code()
                    state = "still runs" if code is None else f"ended with exit code {code}"
                    raise LocalDataPlaneError(
                        f"The local data plane does not answer; it {state}{self._complaint()}"
                    ) from error
                raise
        told: dict[str, Any] = json.loads(text)
        if answer.status == 400:
            raise ValueError(told.get("message"))
        if answer.status != 200:
            raise LocalDataPlaneError(f"{method} {path}: {answer.status} {told.get('message')}")
        return told

    def close(self, wait: float = STOP_SECONDS) -> None:
        """Asks it to go, then insists. Whoever is killed in here leaves it without its input."""
        process = self._process
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.close()
        except OSError:
            pass  # It is gone already.
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with self._lock:
            self._closed = True
            # What a script started may hold the other end for long; then the reader closes ours.
            if not self._reading:
                process.stdout.close()
        self._stderr.close()


def _is_invocation(entry: JournalEntry) -> bool:
    if entry["kind"] != "request" or entry["method"] != "POST":
        return False
    target: str = entry["target"]
    path = target.split("?", 1)[0]
    # Lambda's Invoke ends like that, too.
    return path.endswith("/invocations") and not path.startswith("/2015-03-31/functions/")


def _find(given: str | PathLike[str] | None) -> str:
    """The program. What was named must be there; it is never replaced by another one."""
    if given is None:
        given = os.environ.get(FROM_ENVIRONMENT) or None
        origin = f"which {FROM_ENVIRONMENT} names"
    else:
        origin = "which was given as binary"
    if given is not None:
        path = os.path.abspath(given)
        if not os.path.isfile(path):
            raise LocalDataPlaneError(f"There is no {path}, {origin}")
        return path
    file = f"{NAME}.exe" if os.name == "nt" else NAME
    # The second differs from the first on Windows, and for Debian's own Python.
    folders = [os.path.dirname(sys.executable), sysconfig.get_path("scripts")]
    places = [os.path.join(folder, file) for folder in dict.fromkeys(folders) if folder]
    for place in places:
        if os.path.isfile(place):
            return place
    found = shutil.which(NAME)
    if found is not None:
        return found
    raise LocalDataPlaneError(
        f"The program {NAME} was not found. `pip install agentcore-client[testing]` installs it. "
        f"Looked at: {', '.join(places)}, PATH; {FROM_ENVIRONMENT} is not set"
    )
