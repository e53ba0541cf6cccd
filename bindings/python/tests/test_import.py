"""What an import costs: nothing that a sync program has no use for."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import agentcore_client

PACKAGE = Path(agentcore_client.__file__).parents[1]
# asyncio alone takes several times as long as the package itself.
HEAVY = {"asyncio", "typing", "dataclasses", "json", "datetime", "logging", "inspect", "socket"}
HEAVY |= {"concurrent.futures", "email", "enum", "http.client", "re", "ssl", "urllib.request"}


def run(program, *flags):
    """Isolated and without site: an editable install may import all sorts of things."""
    program = f"import sys; sys.path.insert(0, {str(PACKAGE)!r})\n{textwrap.dedent(program)}"
    command = [sys.executable, "-I", "-S", *flags, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ)
    assert done.returncode == 0, done.stderr
    return done


def imported(program):
    """Its modules, as `-X importtime` tells them."""
    lines = run(program, "-X", "importtime").stderr.splitlines()
    return {line.rsplit("|", 1)[1].strip() for line in lines if line.startswith("import time:")}


def test_the_import():
    modules = imported("import agentcore_client")
    assert {"agentcore_client", "agentcore_client._native"} <= modules
    assert not modules & HEAVY
    assert not any(name.startswith("agentcore_client._async") for name in modules)
    assert not any(name.startswith("agentcore_client.testing") for name in modules)


def test_a_client():
    program = """
        from agentcore_client import AgentCoreClient, Credentials, Limits, SessionId, Timeouts
        client = AgentCoreClient(
            "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/my_agent-0123456789",
            credentials=Credentials("a", "b"),
            timeouts=Timeouts(idle=5),
            limits=Limits(event=5),
        )
        SessionId.derive("correct horse battery staple", "acme")
        client.with_options(qualifier="prod")
        client.close()
    """
    assert not imported(program) & HEAVY


def test_what_is_there_without_asyncio():
    program = """
        import agentcore_client
        names = dir(agentcore_client)
        assert "AsyncAgentCoreClient" in names and names == sorted(agentcore_client.__all__)
        assert "asyncio" not in sys.modules
        for name in agentcore_client.__all__:
            getattr(agentcore_client, name)
        assert "asyncio" in sys.modules
        from agentcore_client import AsyncAgentCoreClient, AsyncAgentStream
        assert AsyncAgentCoreClient is agentcore_client.AsyncAgentCoreClient
        from agentcore_client import *
        try:
            agentcore_client.nothing
        except AttributeError as error:
            assert "nothing" in str(error)
        else:
            raise SystemExit("an attribute that is not there")
    """
    run(program)


def test_names_say_where_they_come_from():
    for name in agentcore_client.__all__:
        if name != "__version__":
            assert getattr(agentcore_client, name).__name__ == name
    assert agentcore_client.__version__.count(".") >= 2


def test_the_types_can_be_imported():
    run("from agentcore_client.types import Payload, InvokeOptions; assert Payload")


def test_a_second_interpreter_is_refused():
    done = run(
        """
        try: import _interpreters as interpreters
        except ImportError: import _xxsubinterpreters as interpreters
        import agentcore_client
        # Again in the same one is no harm.
        del sys.modules["agentcore_client._native"]
        import agentcore_client._native
        code = (
            "import sys; sys.path[:] = %r\\n"
            "try: import agentcore_client\\n"
            "except ImportError as error: print(error, flush=True)"
        )
        execute = getattr(interpreters, "exec", None) or interpreters.run_string
        execute(interpreters.create(), code % sys.path)
        print(agentcore_client.SessionId.generate()[8])
        """
    )
    refused, still = done.stdout.splitlines()
    assert "interpreter" in refused
    assert still == "-"
