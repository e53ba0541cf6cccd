"""Web servers as people run them, and a browser's side of a connection."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

from support import HANG, PACKAGE, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


GUNICORN = [sys.executable, "-m", "gunicorn", "--log-level", "error", "--graceful-timeout", "1"]


def listen():
    return socket.create_server(("127.0.0.1", 0), backlog=512)


@contextlib.contextmanager
def uvicorn(app) -> Iterator[int]:
    """The port of an ASGI app."""
    from uvicorn import Config, Server

    server = Server(Config(app, log_level="error", lifespan="on", timeout_graceful_shutdown=2))
    with listen() as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_until(lambda: server.started or not thread.is_alive())
            assert server.started
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(HANG)
            assert not thread.is_alive()


@contextlib.contextmanager
def werkzeug(app) -> Iterator[int]:
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *_):
            pass

    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(HANG)


@contextlib.contextmanager
def waitress(app) -> Iterator[int]:
    from waitress import create_server, wasyncore

    server = create_server(app, host="127.0.0.1", port=0, threads=16, channel_request_lookahead=5)

    def run():
        # It has no other end than being closed under its own loop.
        with contextlib.suppress(OSError):
            server.run()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield server.effective_port
    finally:
        server.close()
        server.task_dispatcher.shutdown(timeout=5)
        thread.join(HANG)
        # It leaves what browsers have not closed to the garbage collector.
        wasyncore.close_all(server._map, ignore_all=True)


@contextlib.contextmanager
def gunicorn(module: str, folder: str, environment, *arguments: str) -> Iterator[int]:
    """The port of a WSGI app in worker processes."""
    with listen() as listener:
        port = listener.getsockname()[1]
        process = subprocess.Popen(
            [*GUNICORN, "--bind", f"fd://{listener.fileno()}", *arguments, module],
            cwd=folder,
            env={**environment, "PYTHONPATH": str(PACKAGE)},
            pass_fds=[listener.fileno()],
        )
        try:
            yield port
        finally:
            process.terminate()
            process.wait(HANG)


class Browser:
    """One request, and its answer as it arrives. Reads chunked bodies, and nothing ahead."""

    def __init__(self, port: int, body: object, path: str = "/ask", method: str = "POST") -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=HANG)
        self.socket.sendall(
            f"{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
            f"content-length: {len(data)}\r\n\r\n".encode()
        )
        with contextlib.suppress(OSError):
            # One that is refused early.
            self.socket.sendall(data)
        self.file = self.socket.makefile("rb")
        self.raw = b""

    def head(self) -> tuple[int, dict[str, str]]:
        status = int(self.file.readline().split()[1])
        self.headers = {}
        while (line := self.file.readline().strip()) != b"":
            name, _, value = line.decode().partition(":")
            self.headers[name.lower()] = value.strip()
        return status, self.headers

    def chunk(self) -> bytes:
        """The next chunk of the body; empty at its end."""
        size = int(self.file.readline(), 16)
        data = self.file.read(size)
        assert self.file.readline() == b"\r\n"
        return data

    def events(self) -> Iterator[str]:
        """The rest of the body, by blocks."""
        rest = b""
        while chunk := self.chunk():
            *blocks, rest = (rest + chunk).split(b"\n\n")
            for block in blocks:
                yield block.decode()
        assert rest == b""

    def body(self) -> bytes:
        if "chunked" in self.headers.get("transfer-encoding", ""):
            return b"".join(iter(self.chunk, b""))
        # Where it is told, as browsers do: a server may wait for the rest of what it has refused.
        length = self.headers.get("content-length")
        return self.file.read() if length is None else self.file.read(int(length))

    def leave(self, reset: bool = False) -> None:
        """Closes the tab, or kills the browser."""
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.file.close()
        self.socket.close()

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_) -> None:
        self.leave()


def answer(port: int, body: object, **more) -> tuple[int, dict[str, str], bytes]:
    with Browser(port, body, **more) as browser:
        status, headers = browser.head()
        return status, headers, browser.body()


def texts(blocks) -> list[str]:
    return [json.loads(block[6:]) for block in blocks if block.startswith("data: ")]


def soon(what, limit: float = HANG):
    deadline = time.monotonic() + limit
    while not (found := what()):
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.01)
    return found
