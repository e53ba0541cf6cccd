//! The cases that every language has to pass, played here by the core itself.
//! One test plays them; another changes every expectation and demands that the
//! change is noticed, since a runner that cannot fail is worthless.

mod case;
mod judge;
mod make;
mod mutate;
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use futures::StreamExt as _;

use case::{Case, Source};
use judge::{Seen, judge};

/// No case takes this long; a call that hangs is a failure like any other.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most of a case's time is waiting for a limit to pass.
const AT_ONCE: usize = 16;

struct Played {
    id: String,
    outcome: Result<(Case, Seen), String>,
}

/// Played once for all tests of this file. `CONFORMANCE=errors/` plays those cases alone.
static PLAYED: LazyLock<Vec<Played>> = LazyLock::new(|| {
    let only = std::env::var("CONFORMANCE").unwrap_or_default();
    let sources: Vec<Source> =
        case::load().into_iter().filter(|source| source.id.starts_with(&only)).collect();
    // A thread of its own, since a test may stand within a run-time.
    let play = || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(
            futures::stream::iter(sources).map(play).buffer_unordered(AT_ONCE).collect::<Vec<_>>(),
        )
    };
    let mut played = std::thread::spawn(play).join().unwrap();
    played.sort_by(|a, b| a.id.cmp(&b.id));
    played
});

async fn play(source: Source) -> Played {
    let id = source.id.clone();
    let case = tokio::spawn(async move { tokio::time::timeout(PATIENCE, run::run(&source)).await });
    let outcome = match case.await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(format!("not done after {PATIENCE:?}")),
        Err(panic) => Err(panic.to_string()),
    };
    Played { id, outcome }
}

/// What is wrong with a case; nothing where it passes.
fn failures(played: &Played) -> Vec<String> {
    match &played.outcome {
        Ok((case, seen)) => judge(&case.expected(), seen),
        Err(error) => vec![error.clone()],
    }
}

/// `id: reason`, one a line.
fn expected_failures() -> BTreeMap<String, String> {
    let path = case::folder().join("expected-failures/rust.txt");
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (id, reason) = line.split_once(": ").unwrap_or((line, ""));
            assert!(!reason.trim().is_empty(), "{id} is expected to fail without a reason");
            (id.to_owned(), reason.to_owned())
        })
        .collect()
}

#[test]
fn every_case_passes_or_is_known_to_fail() {
    let mut expected = expected_failures();
    let mut report = Vec::new();
    for played in PLAYED.iter() {
        let wrong = failures(played);
        match (expected.remove(&played.id), wrong.is_empty()) {
            (None, false) => report.push(format!("{}\n    {}", played.id, wrong.join("\n    "))),
            (Some(reason), true) => {
                report.push(format!("{} passes, though it was known to fail: {reason}", played.id));
            }
            _ => {}
        }
    }
    if std::env::var_os("CONFORMANCE").is_none() {
        report.extend(expected.keys().map(|id| format!("{id} is expected to fail and is no case")));
    }
    assert!(report.is_empty(), "{} of {}:\n{}", report.len(), PLAYED.len(), report.join("\n"));
}

#[test]
fn ids_are_plain_and_unique() {
    let mut seen = BTreeSet::new();
    for played in PLAYED.iter() {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_/".contains(c);
        assert!(played.id.chars().all(plain), "{}", played.id);
        assert!(seen.insert(&played.id), "{} is there twice", played.id);
    }
}

#[test]
fn every_changed_expectation_is_noticed() {
    let mut changes = 0;
    let mut unnoticed = Vec::new();
    for played in PLAYED.iter() {
        let Ok((case, seen)) = &played.outcome else { continue };
        let expected = case.expected();
        if !judge(&expected, seen).is_empty() {
            continue;
        }
        for (place, changed) in mutate::changes(&expected) {
            changes += 1;
            if judge(&changed, seen).is_empty() {
                unnoticed.push(format!("{}: {place}", played.id));
            }
        }
    }
    assert!(unnoticed.is_empty(), "nobody noticed:\n{}", unnoticed.join("\n"));
    assert!(changes > PLAYED.len(), "{changes} changes of {} cases", PLAYED.len());
}

#[test]
fn what_is_not_known_is_refused() {
    let refused = |text: &str| {
        let value = serde_json::from_str(text).unwrap();
        let source = Source { id: "x/x".into(), value };
        let words = case::Words::new();
        case::plane(&source).and_then(|_| case::read(&source, &words)).err().unwrap_or_default()
    };
    assert_eq!(refused(r#"{"id": "x"}"#), "");
    for (text, word) in [
        (r#"{"id": "x", "clientt": {}}"#, "clientt"),
        (r#"{"id": "x", "plane": {"auht": "none"}}"#, "auht"),
        (r#"{"id": "x", "client": {"retries": 1}}"#, "retries"),
        (r#"{"id": "x", "client": {"timeouts": {"idle": 1}}}"#, "idle"),
        (r#"{"id": "x", "faults": [{"stattus": 1}]}"#, "stattus"),
        (r#"{"id": "x", "calls": [{"verb": "shout", "expect": {}}]}"#, "shout"),
        (r#"{"id": "x", "calls": [{"verb": "invoke", "expect": {}, "user": "x"}]}"#, "user"),
        (r#"{"id": "x", "client": {"region": "${nowhere}"}}"#, "nowhere"),
    ] {
        assert!(refused(text).contains(word), "{text}: {}", refused(text));
    }
}
