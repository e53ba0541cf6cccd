"""The pytest fixture `local_data_plane`. One process serves the whole run, because starting one per
test would cost more than most tests; what a test sees of it is fresh. pytest imports this module in
every run of everyone who has the package, so all else is imported when a test asks for it.
"""

from __future__ import annotations

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentcore_client.testing._local import LocalDataPlane


@pytest.fixture(scope="session")
def _agentcore_local_process() -> Iterator[LocalDataPlane]:  # pyright: ignore[reportUnusedFunction]
    from agentcore_client.testing._local import LocalDataPlane

    with LocalDataPlane() as plane:
        yield plane


@pytest.fixture
def local_data_plane(_agentcore_local_process: LocalDataPlane) -> LocalDataPlane:
    """A running agentcore-local with its demo agent, an empty journal and no faults.

    The process is shared by all tests of the run, and so are the sessions of its agent: use a
    session id of your own in each test. A test may close it; the next one gets a new process.
    """
    plane = _agentcore_local_process
    plane.start()
    plane.clear_faults()
    plane.clear_journal()
    return plane
