"""Every rule of check.py fails on a bad input, and lets a good one pass."""

import unittest

import check


def package(name, version="1.0.0", licence="MIT", source="registry+x", dependencies=()):
    return {
        "id": f"{name}@{version}",
        "name": name,
        "version": version,
        "license": licence,
        "source": source,
        "dependencies": [{"name": d} for d in dependencies],
    }


def packages(*list_of_packages, members=()):
    metadata = {
        "packages": list_of_packages,
        "resolve": {"nodes": [{"id": p["id"]} for p in list_of_packages]},
        "workspace_members": [f"{m}@1.0.0" for m in members],
    }
    return list(check.check_packages(metadata))


class Dependencies(unittest.TestCase):
    def test_good(self):
        self.assertEqual(packages(package("serde"), package("hyper")), [])

    def test_licences(self):
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        ]:
            self.assertEqual(packages(package("a", licence=good)), [], good)
        for bad in [
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "(MIT OR Apache-2.0) AND MPL-2.0",
            "MIT WITH surprise",
        ]:
            self.assertIn("licence", packages(package("a", licence=bad))[0], bad)
        self.assertIn("no licence", packages(package("a", licence=None))[0])

    def test_banned(self):
        for name in ["openssl-sys", "native-tls", "aws-lc-rs", "aws-lc-sys"]:
            self.assertIn("banned", packages(package(name))[0])
        self.assertEqual(packages(package("openssl-probe"), package("once_cell")), [])

    def test_not_direct(self):
        ours = package("ours", source=None, dependencies=["once_cell"])
        self.assertIn("once_cell", packages(ours, members=["ours"])[0])

    def test_two_versions(self):
        self.assertIn("2 versions", packages(package("hyper", "0.14.0"), package("hyper"))[0])
        self.assertEqual(packages(package("syn", "2.0.0"), package("syn")), [])

    def test_sources(self):
        self.assertIn("not from the registry", packages(package("a", source="git+https://x"))[0])
        self.assertIn("a path", packages(package("a", source=None))[0])
        good = 'source = "registry+https://example.org/some-index"\n'
        self.assertEqual(list(check.check_lock("Cargo.lock", good)), [])
        for bad in ["git+https://example.org/x?rev=1#1", "registry+https://example.org/mirror"]:
            self.assertEqual(len(list(check.check_lock("Cargo.lock", f'source = "{bad}"\n'))), 1)

    def test_targets(self):
        def found(one, other):
            targets = [[{"kind": [kind], "name": name}] for kind, name in (one, other)]
            names = ["a", "b"]
            both = [{**package(n), "targets": t} for n, t in zip(names, targets, strict=True)]
            members = [p["id"] for p in both]
            return list(check.check_targets({"packages": both, "workspace_members": members}))

        self.assertIn("a and b both", found(("bin", "x"), ("bin", "x"))[0])
        self.assertEqual(found(("bin", "x"), ("bin", "y")), [])
        self.assertEqual(found(("bin", "x"), ("example", "x")), [])
        self.assertEqual(found(("lib", "x"), ("lib", "x")), [])

    def test_tree(self):
        self.assertEqual(list(check.check_tree("x", ["hyper"], {"aws-config"})), [])
        self.assertEqual(len(list(check.check_tree("x", ["aws-config"], {"aws-config"}))), 1)

    def test_lints(self):
        self.assertEqual(list(check.check_manifest("x", "[lints]\nworkspace = true\n")), [])
        self.assertEqual(len(list(check.check_manifest("x", "[package]\n"))), 1)
        own = min(check.OWN_LINTS)
        denies = '[lints.rust]\nunused = "warn"\nunsafe_code = "deny"\n'
        self.assertEqual(list(check.check_manifest(own, denies)), [])
        self.assertEqual(len(list(check.check_manifest(own, "[lints.rust]\n"))), 1)


class Layers(unittest.TestCase):
    def broken(self, name, source, **others):
        files = {"lib.rs": "pub use client::Client;\npub use error::{Error, Result};\n"}
        files["protocol/mod.rs"] = "mod arn;\nmod sse;\npub(crate) use arn::RuntimeArn;\n"
        files["protocol/mod.rs"] += "pub(crate) use sse::Decoder;\n"
        return list(check.check_layers({**files, name: source, **others}))

    def test_up_is_allowed(self):
        for source in [
            "use crate::error::Error;",
            "use crate::protocol::{arn::RuntimeArn, session::SessionId};",
            "use crate::{Error, Result};",
            "use super::config::Timeouts;",
            "fn f() -> crate::auth::Auth { todo() }",
            "use super::*;",
        ]:
            self.assertEqual(self.broken("retry.rs", source), [], source)

    def test_down_is_refused(self):
        for source in [
            "use crate::client::Client;",
            "use crate::{error::Error, operations::invoke};",
            "use crate::{\n    error::Error,\n    operations::{self, invoke::Invoke},\n};",
            "use crate::Client;",
            "use super::client::Client as C;",
            "fn f() { crate::relay::apigateway::send() }",
            "mod inner { use super::super::client::Client; }",
        ]:
            self.assertEqual(len(self.broken("retry.rs", source)), 1, source)

    def test_inside_the_protocol(self):
        self.assertEqual(self.broken("protocol/sse.rs", "use super::arn::RuntimeArn;"), [])
        self.assertEqual(self.broken("protocol/sse.rs", "use super::RuntimeArn;"), [])
        self.assertEqual(self.broken("protocol/sse.rs", "use crate::protocol::RuntimeArn;"), [])
        for source in ["use super::sse::Decoder;", "use crate::protocol::Decoder;"]:
            self.assertEqual(len(self.broken("protocol/arn.rs", source)), 1, source)
        self.assertEqual(len(self.broken("protocol/arn.rs", "use crate::config::Limits;")), 1)

    def test_one_room(self):
        self.assertEqual(self.broken("transport/hyper.rs", "use super::body::Body;"), [])
        self.assertEqual(self.broken("operations/stop.rs", "use super::invoke::X;"), [])
        self.assertEqual(len(self.broken("transport/hyper.rs", "use crate::auth::Auth;")), 1)

    def test_protocol_is_pure(self):
        for source in [
            "use tokio::io::AsyncRead;",
            "use hyper::body::Body;",
            "let now = std::time::SystemTime::now();",
            "use std::fs;",
            "use std::net::TcpStream;",
        ]:
            self.assertIn("pure", self.broken("protocol/sse.rs", source)[0], source)
        self.assertEqual(self.broken("protocol/arn.rs", "use std::net::IpAddr;"), [])

    def test_what_is_not_code_does_not_count(self):
        for source in [
            "// use crate::client::Client;",
            "/* use crate::client::Client; */",
            'const S: &str = "crate::client::Client";',
            'const R: &str = r#"a " crate::client::Client"#;',
            "#[cfg(test)]\nmod tests {\n    use crate::client::Client;\n    fn f() { if x {} }\n}",
            "#[cfg(test)]\nmod tests;",
            "#[cfg(test)]\nuse crate::client::Client;",
        ]:
            self.assertEqual(self.broken("retry.rs", source), [], source)
        after = "#[cfg(test)]\nuse crate::error::Error;\nuse crate::client::Client;"
        self.assertEqual(len(self.broken("retry.rs", after)), 1)
        quotes = "fn f<'a>(c: char) -> &'a str { if c == '\"' { crate::client::x() } }"
        self.assertEqual(len(self.broken("retry.rs", quotes)), 1)

    def test_a_file_without_a_place(self):
        self.assertIn("no place", self.broken("helpers.rs", "")[0])


if __name__ == "__main__":
    unittest.main()
