"""Are these the wheels that we want to release? What they hold and need, and whether they work on
a machine where nothing is installed but Python.

    check.py DIST PROGRAM    the folder with both wheels; a program that must answer with them

Each rule is also shown a wheel that breaks it, and has to refuse it: a check that cannot fail is
none.
"""

import email
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

import glibc

MIB = 1024 * 1024
# Of the compressed wheel: what everyone downloads.
SIZE_LIMITS = {"agentcore_client": 3.5 * MIB, "agentcore_local": 1.5 * MIB}
EXTRA = "agentcore-local; extra == 'testing'"
CLIENT_FILES = [
    "agentcore_client/__init__.py",
    "agentcore_client/py.typed",
    "agentcore_client/testing/__init__.py",
    "agentcore_client/testing/_local.py",
    "agentcore_client/testing/pytest_plugin.py",
]


class Wheel:
    def __init__(self, path):
        self.path = path
        self.name = path.name.split("-")[0]
        self.size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            self.files = {n: archive.read(n) for n in archive.namelist() if not n.endswith("/")}

    def metadata(self):
        [text] = [v for n, v in self.files.items() if n.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(text)


# -- the rules: each gives one line for what is wrong ------------------------------------------


def too_big(wheel):
    limit = SIZE_LIMITS[wheel.name]
    if wheel.size > limit:
        yield f"it has {wheel.size / MIB:.2f} MiB, the limit is {limit / MIB:.1f} MiB"


def lacks_files(wheel):
    wanted = [r".*\.dist-info/licenses/LICENSE"]
    if wheel.name == "agentcore_client":
        wanted += [re.escape(name) for name in CLIENT_FILES]
        wanted += [r"agentcore_client/_native\.[\w.-]+", r".*\.dist-info/entry_points\.txt"]
    else:
        wanted += [r".*\.data/scripts/agentcore-local(\.exe)?"]
    for pattern in wanted:
        if not any(re.fullmatch(pattern, name) and len(body) > 0 for name, body in written(wheel)):
            yield f"there is no {pattern}"


def written(wheel):
    # py.typed is empty by design; everything else has to hold something.
    return [(n, body or b"-" * n.endswith("py.typed")) for n, body in wheel.files.items()]


def holds_strangers(wheel):
    ours = r"(agentcore_client|agentcore_(client|local)-[^/]+\.(dist-info|data))/.*"
    for name in wheel.files:
        if not re.fullmatch(ours, name) or re.search(r"__pycache__|\.pyc$|/tests?/", name):
            yield f"it holds {name}"


def needs_others(wheel):
    allowed = {EXTRA} if wheel.name == "agentcore_client" else set()
    for needed in wheel.metadata().get_all("Requires-Dist", []):
        if re.sub(r"\s*;", ";", needed.replace('"', "'")) not in allowed:
            yield f"it requires {needed}"


def needs_a_newer_glibc(wheel):
    if "manylinux" not in wheel.path.name:
        return
    found = False
    for name, body in wheel.files.items():
        if glibc.is_elf(body):
            found = True
            yield from (f"{name} needs {symbol}" for symbol in glibc.too_new(body))
    if not found:
        yield "it is for Linux and holds no ELF file"


RULES = [too_big, lacks_files, holds_strangers, needs_others, needs_a_newer_glibc]


# -- and that they can fail --------------------------------------------------------------------


def breakages(wheel):
    """(rule, a change to the files of a good wheel that must make the rule fail)"""
    [metadata] = [n for n in wheel.files if n.endswith(".dist-info/METADATA")]
    [licence] = [n for n in wheel.files if n.endswith("/licenses/LICENSE")]
    text = wheel.files[metadata]
    head = b"Requires-Dist: requests\n"
    yield too_big, {"agentcore_client/big": os.urandom(int(SIZE_LIMITS[wheel.name]))}
    yield lacks_files, {licence: None}
    yield lacks_files, {licence: b""}
    yield holds_strangers, {"conftest.py": b"-"}
    yield holds_strangers, {"agentcore_client/__pycache__/a.pyc": b"-"}
    yield needs_others, {metadata: head + text}
    yield needs_others, {metadata: head.replace(b"\n", b" ; extra == 'testing'\n") + text}
    if wheel.name == "agentcore_client":
        yield lacks_files, {"agentcore_client/py.typed": None}
        yield lacks_files, {"agentcore_client/testing/pytest_plugin.py": None}
    if "manylinux" in wheel.path.name:
        [(name, elf)] = [(n, v) for n, v in wheel.files.items() if glibc.is_elf(v)]
        yield needs_a_newer_glibc, {name: glibc.made_newer(elf)}
        yield needs_a_newer_glibc, {name: None}


def broken_copy(wheel, changes, folder):
    path = Path(folder) / wheel.path.name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in {**wheel.files, **changes}.items():
            if body is not None:
                archive.writestr(name, body)
    return Wheel(path)


def check_the_rules(wheel):
    tried = set()
    for rule, changes in breakages(wheel):
        tried.add(rule)
        with tempfile.TemporaryDirectory() as folder:
            if not list(rule(broken_copy(wheel, changes, folder))):
                yield f"the rule {rule.__name__} does not see {', '.join(changes)}"
    if "manylinux" in wheel.path.name and tried != set(RULES):
        yield f"not every rule was tried: {RULES}"


# -- the real thing ----------------------------------------------------------------------------


def run_where_nothing_is(dist, program):
    """A fresh venv with the wheels alone: no compiler, no proxy, no settings of this machine."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        home = place / "venv"
        venv.create(home, with_pip=True)
        scripts = home / ("Scripts" if os.name == "nt" else "bin")
        environment = {
            "PATH": str(scripts),
            "HOME": folder,
            "TMPDIR": folder,
            "PYTHONIOENCODING": "utf-8",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        if os.name == "nt":
            environment |= {n: os.environ[n] for n in ("SYSTEMROOT", "TEMP", "TMP")}

        def python(*arguments):
            return subprocess.run(
                [scripts / "python", *arguments],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                timeout=120,
            )

        install = ["--isolated", "--disable-pip-version-check", "install", "--no-index"]
        install += ["--find-links", str(dist), "agentcore-client[testing]"]
        shutil.copy(program, place / "program.py")
        for arguments in (["-m", "pip", *install], ["-m", "pip", "check"], ["-I", "program.py"]):
            run = python(*arguments)
            if run.returncode:
                yield f"`python {' '.join(arguments)}` failed:\n{run.stdout}"
                return
        print(run.stdout)
        if "You said: " not in run.stdout:
            yield f"{program} did not show the demo agent's answer"


def main():
    dist, program = (Path(a).resolve() for a in sys.argv[1:])
    wheels = [Wheel(path) for path in sorted(dist.glob("*.whl"))]
    broken = []
    if sorted(w.name for w in wheels) != sorted(SIZE_LIMITS):
        broken.append(f"{dist} does not hold one wheel of each: {[w.path.name for w in wheels]}")
    for wheel in wheels:
        print(f"wheel-test: {wheel.path.name}, {wheel.size / MIB:.2f} MiB")
        broken += [f"{wheel.path.name}: {line}" for rule in RULES for line in rule(wheel)]
        broken += [f"{wheel.path.name}: {line}" for line in check_the_rules(wheel)]
    broken += run_where_nothing_is(dist, program)
    for line in broken:
        print(f"wheel-test: {line}", file=sys.stderr)
    if broken:
        sys.exit(1)
    print("wheel-test: both wheels are as they should be")


if __name__ == "__main__":
    main()
