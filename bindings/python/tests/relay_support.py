"""A relay behind the local gateway, and clients of it: what the relay's tests share."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import websockets
from agentcore_client.testing import LocalDataPlane

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[2] / "examples/lambda-websocket"
# Nothing here takes so long.
SOON = 60.0


@contextmanager
def gateway(
    *flags: str, folder: Path = HERE / "relay", **variables: object
) -> Iterator[LocalDataPlane]:
    """A gateway in front of the function in that folder, which has these variables."""
    arguments = [
        *("--handler", f'"{sys.executable}" "{EXAMPLE}/local/bootstrap.py"'),
        *("--handler-env", f"LAMBDA_TASK_ROOT={folder}"),
        *("--handler-env", f"PYTHONPATH={HERE.parent}"),
        *("--handler-env", "PYTHONDONTWRITEBYTECODE=1"),
        # Both may try; the function decides.
        *("--allow-origin", "http://localhost", "--allow-origin", "https://evil.example"),
        *flags,
        *(f"--handler-env={name}={value}" for name, value in variables.items()),
    ]
    with LocalDataPlane(args=arguments) as plane:
        yield plane


class Socket:
    """A client of the frame protocol."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket

    async def send(self, **message: object) -> None:
        await self.socket.send(json.dumps(message))

    async def frame(self) -> dict[str, Any]:
        return json.loads(await asyncio.wait_for(self.socket.recv(), SOON))

    async def ask(self, **message: object) -> list[dict[str, Any]]:
        """All frames of the answer, but heartbeats."""
        await self.send(**message)
        return await self.rest()

    async def rest(self) -> list[dict[str, Any]]:
        frames = []
        while True:
            frame = await self.frame()
            if frame["type"] != "heartbeat":
                frames.append(frame)
            if frame["type"] in ("end", "error", "continue"):
                return frames


def connect(
    plane: LocalDataPlane, origin: str | None = "http://localhost", stage: str = "local"
) -> Any:
    url = f"{plane.base_url.replace('http', 'ws')}/{stage}"
    return websockets.connect(url, origin=origin, open_timeout=SOON, proxy=None, max_size=None)


def text(frames: list[dict[str, Any]]) -> str:
    return "".join(frame.get("text", "") for frame in frames)


def tokens(count: int) -> str:
    """What `stream` says."""
    return "".join(f"token{number} " for number in range(count))


async def journaled(plane: LocalDataPlane, since: int, **members: object) -> dict[str, Any]:
    """The first entry after that one which has these members, when it is there."""

    def fits(entry: dict[str, Any]) -> bool:
        return entry["seq"] > since and members.items() <= entry.items()

    return await asyncio.to_thread(plane.wait_for, fits, SOON)


def last(plane: LocalDataPlane) -> int:
    return max((entry["seq"] for entry in plane.journal()), default=0)


def stream(tokens: int, delay_ms: int = 5) -> dict[str, object]:
    return {"mode": "stream", "tokens": tokens, "delay_ms": delay_ms}
