"""The rules about dependencies and layers that a compiler does not check. Works offline.

    check.py            checks this repository, exit 1 with one line per broken rule

What is allowed stands in the tables below; a change there is a decision, so say why in the
commit. The rules read `cargo metadata`, `cargo tree` and the sources; `test_check.py` shows
that each of them fails on a bad input.
"""

import fnmatch
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# -- the tables ----------------------------------------------------------------------------

LICENCES = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
}

# Nowhere in the tree. `*` stands for the rest of a name.
BANNED = {
    "aws-lc-*": "ring is the one TLS and crypto provider (aws-lc costs 35 ms at start)",
    "openssl": "ring is the one TLS and crypto provider",
    "openssl-sys": "ring is the one TLS and crypto provider",
    "native-tls": "ring is the one TLS and crypto provider",
    "tokio-native-tls": "ring is the one TLS and crypto provider",
    "hyper-tls": "ring is the one TLS and crypto provider",
    "reqwest": "the transport is our own, on hyper",
    "async-std": "unmaintained",
    "atty": "unmaintained",
}
# Not asked for by a crate of ours; what a dependency brings along is its own affair.
NOT_DIRECT = {
    "lazy_static": "std has LazyLock",
    "once_cell": "std has OnceLock and LazyLock",
    "chrono": "std::time is enough here",
}

# Two versions of these in one binary would mean two pools, two TLS stacks or two trait worlds.
ONE_VERSION = [
    "aws-credential-types",
    "aws-sigv4",
    "aws-smithy-eventstream",
    "bytes",
    "http",
    "http-body",
    "http-body-util",
    "hyper",
    "hyper-util",
    "ring",
    "rustls",
    "rustls-native-certs",
    "rustls-webpki",
    "serde",
    "serde_json",
    "tokio",
    "tokio-rustls",
    "tracing",
]

# (what, cargo tree arguments, crates that must not be in it)
SLIM = [
    (
        "agentcore-client without aws-chain",
        ["-p", "agentcore-client", "--no-default-features", "-e", "normal"],
        {"aws-config", "aws-sdk-sso", "aws-sdk-sts", "aws-smithy-http-client"},
    ),
    (
        "the quickstart",
        ["-p", "agentcore-examples", "--no-default-features", "-e", "normal,dev"],
        {"aws-config", "aws-sdk-sso", "aws-sdk-sts", "aws-smithy-http-client"},
    ),
    (
        "agentcore-local, an independent judge of signatures,",
        ["-p", "agentcore-local", "-e", "normal"],
        {"aws-sigv4"},
    ),
    (
        "agentcore-local, on its own also in its tests,",
        ["-p", "agentcore-local", "-e", "all"],
        {"agentcore-client", "agentcore-ffi"},
    ),
]

# The house: a module of the core may use only what stands above it in this list. Modules on
# one line are one room and may use each other.
CORE = ROOT / "crates/agentcore-client/src"
LAYERS = [
    "error",
    "protocol::shape",
    "protocol::region",
    "protocol::arn",
    "protocol::policy",
    "protocol::session",
    "protocol::endpoint",
    "protocol::headers",
    "protocol::request",
    "protocol::sigv4",
    "protocol::service_error",
    "protocol::agent_error",
    "protocol::sse",
    "protocol::text",
    "protocol::event_stream",
    "protocol::shell",
    "config",
    "transport",
    "auth",
    "retry",
    "operations",
    "client",
    # Applications of the client; nothing in the core needs them.
    "relay",
]
# `protocol/mod.rs` and `lib.rs` list and re-export; they stand where their room stands.
LISTS = {"": len(LAYERS), "protocol": LAYERS.index("protocol::shell") + 0.5}

# The protocol is pure: bytes in, bytes out.
IMPURE = [
    (r"\btokio\b", "tokio"),
    (r"\bhyper(_util)?\b", "hyper"),
    (r"\bstd::(fs|env|process|thread)\b", "std::fs, env, process or thread"),
    (r"\b(TcpStream|TcpListener|UdpSocket|ToSocketAddrs)\b", "sockets"),
    (r"\b(SystemTime|Instant|Utc)::now\b", "a clock"),
]

# -- dependencies --------------------------------------------------------------------------


def licence_ok(expression):
    """SPDX: an OR needs one side, an AND both. `/` is the old way to write OR."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))

    def term():
        token = tokens.pop(0)
        if token == "(":
            value = either()
            tokens.pop(0)
            return value
        if tokens and tokens[0] == "WITH":
            tokens.pop(0)
            token = f"{token} WITH {tokens.pop(0)}"
        return token in LICENCES

    def both():
        value = term()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            value = term() and value
        return value

    def either():
        value = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            value = both() or value
        return value

    return either()


def check_packages(metadata):
    """Licences, bans, duplicates and sources of everything that can be built, all features on."""
    packages = {p["id"]: p for p in metadata["packages"]}
    used = [packages[node["id"]] for node in metadata["resolve"]["nodes"]]
    members = set(metadata["workspace_members"])
    for p in used:
        if p["id"] in members:
            for d in p["dependencies"]:
                if d["name"] in NOT_DIRECT:
                    yield f"{p['name']} depends on {d['name']}: {NOT_DIRECT[d['name']]}"
            continue
        label = f"{p['name']} {p['version']}"
        for pattern, why in BANNED.items():
            if fnmatch.fnmatchcase(p["name"], pattern):
                yield f"{label} is banned: {why}"
        if not p["license"]:
            yield f"{label} declares no licence"
        elif not licence_ok(p["license"]):
            yield f"{label}: licence {p['license']!r} is not on the list"
        if not (p["source"] or "").startswith("registry+"):
            yield f"{label} comes from {p['source'] or 'a path'}, not from the registry"
    for name in ONE_VERSION:
        versions = sorted(p["version"] for p in used if p["name"] == name)
        if len(versions) > 1:
            yield f"{name} is there in {len(versions)} versions: {', '.join(versions)}"


def check_targets(metadata):
    """Programs and examples of one name overwrite each other: a test might start the other one."""
    owners = {}
    for package in metadata["packages"]:
        if package["id"] in metadata["workspace_members"]:
            for target in package["targets"]:
                for kind in {"bin", "example"}.intersection(target["kind"]):
                    owners.setdefault((kind, target["name"]), []).append(package["name"])
    for (kind, name), packages in owners.items():
        if len(packages) > 1:
            yield f"{' and '.join(packages)} both have a {kind} `{name}`: one overwrites the other"


def check_lock(name, text):
    for source in sorted(set(re.findall(r'^source = "(.*)"', text, re.M))):
        if not re.fullmatch(r"registry\+\S+-index", source):
            yield f"{name}: source {source} is not the registry's index"


def check_tree(what, names, unwanted):
    for name in sorted(unwanted & set(names)):
        yield f"{what} pulls in {name}"


# What its macros write is unsafe code, which the workspace forbids beyond allowing it. Such a crate
# denies it, so that its own lines have none, and repeats the rest.
OWN_LINTS = {"bindings/node/Cargo.toml"}


def check_manifest(name, text):
    if name in OWN_LINTS:
        if not re.search(r'^\[lints\.rust\]\n(.+\n)*unsafe_code = "deny"$', text, re.M):
            yield f"{name} does not deny unsafe code"
        return
    if not re.search(r"^\[lints\]\s*\nworkspace = true", text, re.M):
        yield f"{name} does not take the workspace's lints"


# -- layers --------------------------------------------------------------------------------


def code_only(source):
    """The source without comments, literals and `#[cfg(test)]` items."""
    pattern = re.compile(
        r"""//[^\n]*|/\*.*?\*/"""
        r"""|b?r(?P<h>\#*)".*?"(?P=h)"""
        r"""|b?"(?:\\.|[^"\\])*\""""
        r"""|b?'(?:\\.[^']*|[^'\\])'""",
        re.S,
    )
    code = pattern.sub(lambda m: " " if m[0].startswith("/") else '""', source)
    while found := re.search(r"#\[cfg\((?:test|all\(test\b)[^\]]*\]", code):
        end, depth = found.end(), 0
        while end < len(code):
            depth += {"{": 1, "}": -1}.get(code[end], 0)
            end += 1
            if depth == 0 and code[end - 1] in ";}":
                break
        code = code[: found.start()] + code[end:]
    return code


def use_tree(text):
    """`a::{b, c::d as e}` -> [a::b, a::c::d], up to the end of the tree."""
    tokens = re.findall(r"::|[{},*]|\w+", re.sub(r"\bas\s+\w+", "", text))

    def tree(prefix):
        paths = []
        while tokens and tokens[0] not in "},":
            token = tokens.pop(0)
            if token == "{":
                while tokens and tokens[0] != "}":
                    paths += tree(prefix)
                    if tokens and tokens[0] == ",":
                        tokens.pop(0)
                if tokens:
                    tokens.pop(0)
                return paths
            if token not in ("::", "*"):
                prefix = [*prefix, token]
        return [prefix]

    return tree([])


def paths_in(code):
    """Every `crate::…`, `super::…` and `self::…` path, with the inline modules around it."""
    for found in re.finditer(r"\b(crate|super|self)\s*::\s*", code):
        inline, depth = [], 0
        for item in re.finditer(r"\bmod\s+(\w+)\s*\{|[{}]", code[: found.start()]):
            if item[0] == "}":
                depth -= 1
                while inline and inline[-1][1] >= depth:
                    inline.pop()
            else:
                if item[1]:
                    inline.append((item[1], depth))
                depth += 1
        inner = [name for name, at in inline if at < depth]
        before = code[max(0, found.start() - 200) : found.start()]
        if re.search(r"\buse\s+$", before):
            end = code.index(";", found.start())
            yield inner, use_tree(code[found.start() : end])
        else:
            plain = re.match(r"\w+(\s*::\s*\w+)*", code[found.start() :])[0]
            yield inner, [re.split(r"\s*::\s*", plain)]


def exports(code):
    """name -> path, for `pub use` and `pub(crate) use` in a file that lists modules."""
    table = {}
    for found in re.finditer(r"\bpub(?:\([^)]*\))?\s+use\s+([^;]+);", code):
        for path in use_tree(found[1]):
            path = [p for p in path if p not in ("crate", "self")]
            table[path[-1]] = path
    return table


def layer(path):
    """The position of the module that a path leads to, or None."""
    for length in (2, 1):
        name = "::".join(path[:length])
        if name in LAYERS:
            return LAYERS.index(name)
    return None


def check_layers(files):
    """`files`: path below src/ -> source."""
    codes = {
        name: code_only(text)
        for name, text in files.items()
        if Path(name).name != "tests.rs" and "tests" not in Path(name).parts
    }
    root = exports(codes.get("lib.rs", ""))
    protocol = exports(codes.get("protocol/mod.rs", ""))
    macros = {
        found[1]: name
        for name, code in codes.items()
        for found in re.finditer(r"macro_rules!\s*(\w+)", code)
    }
    for name, code in sorted(codes.items()):
        module = [p for p in Path(name).with_suffix("").parts if p not in ("mod", "lib")]
        here = LISTS.get("::".join(module), layer(module))
        if here is None:
            yield f"{name} has no place in LAYERS of tests/policy/check.py"
            continue
        if module[:1] == ["protocol"]:
            for pattern, what in IMPURE:
                if re.search(pattern, code):
                    yield f"{name}: the protocol is pure, but this uses {what}"
        broken = set()
        for inner, paths in paths_in(code):
            for path in paths:
                base = [*module, *inner]
                while path and path[0] in ("super", "self", "crate"):
                    head, path = path[0], path[1:]
                    base = [] if head == "crate" else base[:-1] if head == "super" else base
                target = [*base, *path]
                if target[:1] and target[0] in macros:
                    target = [*Path(macros[target[0]]).with_suffix("").parts]
                if len(target) == 1 or layer(target) is None:
                    target = root.get(target[0], target) if target else target
                if target[:1] == ["protocol"] and layer(target) is None:
                    target = ["protocol", *protocol.get(target[1], ["mod"])] if target[1:] else []
                there = layer(target)
                if there is None:
                    continue  # an item of a listing file itself, or a bare `super::*`
                if there > here:
                    broken.add(f"{name} uses {LAYERS[there]}, which stands below it")
        yield from sorted(broken)


# -- all of it -----------------------------------------------------------------------------


def cargo(*arguments):
    return subprocess.run(
        ["cargo", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def check_all():
    locked = ("--locked", "--offline")
    metadata = json.loads(cargo("metadata", "--format-version=1", "--all-features", *locked))
    yield from check_packages(metadata)
    yield from check_targets(metadata)
    for lock in [ROOT / "Cargo.lock", *ROOT.glob("crates/*/fuzz/Cargo.lock")]:
        yield from check_lock(str(lock.relative_to(ROOT)), lock.read_text())
    for what, arguments, unwanted in SLIM:
        names = cargo("tree", *arguments, "--prefix=none", "--format={lib}\t{p}", *locked)
        crates = [line.split("\t")[1].split()[0] for line in names.splitlines() if "\t" in line]
        yield from check_tree(what, crates, unwanted)
    members = set(metadata["workspace_members"])
    for package in metadata["packages"]:
        if package["id"] in members:
            manifest = Path(package["manifest_path"])
            yield from check_manifest(str(manifest.relative_to(ROOT)), manifest.read_text())
    yield from check_layers(
        {str(f.relative_to(CORE)): f.read_text() for f in sorted(CORE.rglob("*.rs"))}
    )


def main():
    try:
        broken = list(check_all())
    except subprocess.CalledProcessError as error:
        sys.exit(f"policy: `{' '.join(error.cmd)}` failed, see above")
    for line in broken:
        print(f"policy: {line}", file=sys.stderr)
    if broken:
        sys.exit(f"policy: {len(broken)} rules broken; the rules are in tests/policy/check.py")
    print("policy: dependencies and layers are as they should be")


if __name__ == "__main__":
    main()
