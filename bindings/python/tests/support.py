"""What several of these tests need: scripts in processes of their own, and waits that end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import agentcore_client
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from agentcore_client.testing import LocalDataPlane

PACKAGE = Path(agentcore_client.__file__).parents[1]

# Nothing here takes so long. Whatever does, hangs.
HANG = 30.0

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and processes")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

PREAMBLE = """\
import gc, json, os, signal, sys, threading, time
from agentcore_client import *
import agentcore_client

def options(**more):
    given = json.loads(os.environ["AGENTCORE_TEST_CLIENT"])
    return {**given, "credentials": Credentials(*given.pop("credentials")), **more}

def make(**more):
    return AgentCoreClient(**options(**more))

def make_async(**more):
    return agentcore_client.AsyncAgentCoreClient(**options(**more))

def say(*what):
    # In one write, so that what several processes say is not mixed.
    os.write(1, (" ".join(map(str, what)) + "\\n").encode())
"""


class Script:
    """A script that runs in a process group of its own, and never longer than `HANG`."""

    def __init__(
        self, plane: LocalDataPlane, code: str, environment: Mapping[str, str] | None = None
    ) -> None:
        given = plane.client_options()
        keys = [plane.access_key, plane.secret_key, plane.session_token]
        told = json.dumps({**given, "credentials": keys})
        path = os.pathsep.join(filter(None, [str(PACKAGE), os.environ.get("PYTHONPATH")]))
        self.process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-c", PREAMBLE + code],
            env={
                **os.environ,
                "PYTHONPATH": path,
                "AGENTCORE_TEST_CLIENT": told,
                **(environment or {}),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pid = self.process.pid

    def line(self) -> str:
        """The next line that it says. The script is killed if it says nothing for too long."""
        import threading

        assert self.process.stdout is not None
        timer = threading.Timer(HANG, self.kill)
        timer.start()
        try:
            # No more than the line: what a buffer holds is lost for `end`.
            fd, said = self.process.stdout.fileno(), b""
            while not said.endswith(b"\n") and (byte := os.read(fd, 1)):
                said += byte
            line = said.decode()
        finally:
            timer.cancel()
        assert line, f"it said nothing more, but: {self.end(None).stderr}"
        return line.strip()

    def tell(self, line: str = "") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        # The group: a script's own children must not outlive the test.
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def end(self, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Waits for its end, and that of its children that still have its output open."""
        try:
            out, err = self.process.communicate(timeout=HANG)
        except subprocess.TimeoutExpired:
            # faulthandler tells where it hangs.
            os.killpg(self.pid, signal.SIGABRT)
            time.sleep(0.5)
            self.kill()
            out, err = self.process.communicate()
            pytest.fail(f"hangs; said so far:\n{out}\n{err}")
        self.kill()
        done = subprocess.CompletedProcess(self.process.args, self.process.returncode, out, err)
        if status is not None:
            assert done.returncode == status, f"{done.returncode}, not {status}:\n{out}\n{err}"
        return done


def run(
    plane: LocalDataPlane,
    code: str,
    *,
    status: int = 0,
    environment: Mapping[str, str] | None = None,
) -> str:
    """What a script says that ends with this status and has nothing to complain about."""
    done = Script(plane, code, environment).end(status)
    if status == 0:
        assert done.stderr == "", done.stderr
    return done.stdout


def wait_until(what: Callable[[], object], limit: float = HANG) -> None:
    deadline = time.monotonic() + limit
    while not what():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.005)


def of_kind(plane: LocalDataPlane, *kinds: str) -> list[dict[str, Any]]:
    """The journal's entries of these kinds."""
    return [entry for entry in plane.journal() if entry["kind"] in kinds]


def connections(entries: Iterable[Mapping[str, Any]]) -> set[int]:
    return {entry["connection"] for entry in entries}


def disconnects(plane: LocalDataPlane, count: int = 1, limit: float = HANG) -> None:
    """Waits until so many callers left in the middle of a call."""
    wait_until(lambda: len(of_kind(plane, "disconnect")) >= count, limit)
