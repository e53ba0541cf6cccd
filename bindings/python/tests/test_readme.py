"""The Python of both READMEs runs, block after block, against the local data plane. A block that
does not says why, in a comment before it: `<!-- not run: reason -->`.
"""

import inspect
import logging
import re
from pathlib import Path

import agentcore_client
import pytest
from agentcore_client.testing import LocalDataPlane

ROOT = Path(__file__).resolve().parents[3]
READMES = [ROOT / "README.md", ROOT / "bindings/python/README.md"]
ARN = "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/my_agent-abc123"
BLOCK = re.compile(r"(?:<!-- not run: ([^>]+) -->\n)?^```python\n(.*?)^```$", re.M | re.S)


def blocks(readme):
    text = readme.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        yield text[: found.start(2)].count("\n"), *found.groups()


@pytest.fixture
def documented(monkeypatch):
    """A data plane that serves the ARN which the READMEs use."""
    with LocalDataPlane(args=["--arn", ARN]) as plane:
        monkeypatch.setenv("AGENT_RUNTIME_ARN", plane.runtime_arn)
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_AGENTCORE", plane.base_url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", plane.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", plane.secret_key)
        yield plane


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_the_code_runs(readme, documented, capsys):
    logger = logging.getLogger("agentcore_client")
    namespace = {"__name__": "readme"}
    ran = 0
    try:
        for line, reason, code in blocks(readme):
            # Also what is not run must be Python.
            program = compile("\n" * line + code, str(readme), "exec")
            if reason is not None:
                continue
            before = set(namespace)
            exec(program, namespace)
            for name in sorted(set(namespace) - before):
                if name.startswith("test_"):
                    test = namespace[name]
                    assert list(inspect.signature(test).parameters) == ["local_data_plane"]
                    documented.clear_journal()
                    test(documented)
            ran += 1
    finally:
        logger.setLevel(logging.NOTSET)
        if "client" in namespace:
            namespace["client"].close()
    assert ran >= 2
    assert "You said: Hi." in capsys.readouterr().out


def test_all_exceptions_are_listed():
    text = READMES[1].read_text(encoding="utf-8")
    for name, cls in vars(agentcore_client).items():
        if isinstance(cls, type) and issubclass(cls, agentcore_client.AgentCoreError):
            assert f"`{name}`" in text, name


def test_links_go_to_files_that_exist():
    for readme in READMES:
        text = readme.read_text(encoding="utf-8")
        home = "https://github.com/agentcore-client/agentcore-client"
        for path in re.findall(rf"\({home}/(?:blob|tree)/main/([^)#]+)", text):
            assert (ROOT / path).exists(), path
        headings = {
            re.sub(r"[^a-z -]", "", line.lstrip("# ").lower()).replace(" ", "-")
            for line in READMES[0].read_text(encoding="utf-8").splitlines()
            if line.startswith("#")
        }
        for anchor in re.findall(rf"\({home}#([^)]+)\)", text):
            assert anchor in headings, anchor
