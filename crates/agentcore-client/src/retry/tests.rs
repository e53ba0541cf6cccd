use super::*;

const PLANE: Rules = Rules {
    policy: RetryPolicy { mode: Mode::Safe },
    idempotent_verb: false,
    data_plane: true,
    token_provider: false,
};
const OTHER: Rules = Rules { data_plane: false, ..PLANE };
const STOP: Rules = Rules { idempotent_verb: true, ..PLANE };
const NEVER: Rules = Rules { policy: RetryPolicy { mode: Mode::Never }, ..PLANE };
const IDEMPOTENT: Rules = Rules { policy: RetryPolicy { mode: Mode::Idempotent }, ..PLANE };

fn status(status: u16, code: &str) -> Error {
    let (kind, delivery) = match status {
        424 => (ErrorKind::Agent, Delivery::Accepted),
        500.. => (ErrorKind::Service, Delivery::Unknown),
        _ => (ErrorKind::Service, Delivery::Rejected),
    };
    Error::new(kind, delivery, "x").with_status(status).with_service_code(Some(code.into()))
}

fn refused() -> Error {
    Error::new(ErrorKind::Connect, Delivery::NotSent, "x")
}

fn reset() -> Error {
    Error::new(ErrorKind::StreamInterrupted, Delivery::Unknown, "x")
}

fn timeout(limit: Limit) -> Error {
    let delivery = if limit == Limit::Connect { Delivery::NotSent } else { Delivery::Unknown };
    Error::timeout(limit, Duration::from_secs(1), delivery)
}

/// Attempts until the loop gives up on an error that stays the same, with `random` as the jitter.
fn attempts(rules: Rules, skewed: bool, error: impl Fn() -> Error) -> (usize, Vec<Duration>) {
    let now = Instant::now();
    let mut calls = AttemptLoop::new(rules, Arc::default(), now, None);
    calls.random = || 0.5;
    let (mut sent, mut pauses, mut clock) = (0, Vec::new(), now);
    loop {
        match calls.next() {
            Step::NeedAuth => calls.authorised(),
            Step::Send => {
                sent += 1;
                calls.failed(error(), clock, skewed);
            }
            Step::NeedSleep(pause) => {
                pauses.push(pause);
                clock += pause;
                calls.slept();
            }
            Step::Log(line) => assert_eq!(line.attempt, sent),
            Step::Done(result) => {
                let error = result.unwrap_err();
                assert_eq!(error.attempts().len(), sent);
                assert_eq!(error.attempts().last().unwrap().pause, None);
                return (sent, pauses);
            }
        }
    }
}

#[test]
fn the_table() {
    let count = |rules, error: fn() -> Error| attempts(rules, false, error).0;
    type Row = (fn() -> Error, [usize; 5]);
    let rows: [Row; 13] = [
        //                                            plane other stop never idempotent
        (refused, [4, 4, 4, 1, 4]),
        (|| timeout(Limit::Connect), [4, 4, 4, 1, 4]),
        (|| status(429, "ThrottlingException"), [4, 1, 4, 1, 4]),
        (|| status(429, ""), [4, 1, 4, 1, 4]),
        (|| status(409, "RetryableConflictException"), [6, 1, 6, 1, 6]),
        (|| status(409, "ConflictException"), [1, 1, 1, 1, 1]),
        (|| status(424, "RuntimeClientError"), [1, 1, 1, 1, 1]),
        (|| status(500, "InternalServerException"), [1, 1, 4, 1, 4]),
        (|| status(503, ""), [1, 1, 4, 1, 4]),
        (reset, [1, 1, 4, 1, 4]),
        (|| timeout(Limit::FirstByte), [1, 1, 1, 1, 1]),
        (|| timeout(Limit::Total), [1, 1, 1, 1, 1]),
        (|| status(401, "UnauthorizedException"), [1, 1, 1, 1, 1]),
    ];
    for (row, (error, expected)) in rows.into_iter().enumerate() {
        let seen = [PLANE, OTHER, STOP, NEVER, IDEMPOTENT].map(|rules| count(rules, error));
        assert_eq!(seen, expected, "row {row}: {}", error());
    }
}

#[test]
fn a_token_is_renewed_once_and_a_clock_corrected_once() {
    let provider = Rules { token_provider: true, ..OTHER };
    assert_eq!(attempts(provider, false, || status(401, "")).0, 2);
    assert_eq!(attempts(PLANE, true, || status(403, "")).0, 2);
    assert_eq!(attempts(OTHER, true, || status(403, "")).0, 1);
    assert_eq!(attempts(PLANE, false, || status(403, "")).0, 1);
}

#[test]
fn pauses_fit_their_cause() {
    let ms = |pauses: Vec<Duration>| pauses.iter().map(|p| p.as_millis()).collect::<Vec<_>>();
    let conflict = attempts(PLANE, false, || status(409, "RetryableConflictException")).1;
    assert_eq!(ms(conflict), [750, 1_250, 2_250, 4_250, 4_250]);
    assert_eq!(ms(attempts(PLANE, false, refused).1), [150, 250, 450]);
    assert_eq!(ms(attempts(PLANE, false, || status(429, "")).1), [500, 1_000, 2_000]);
}

#[test]
fn the_service_may_ask_for_a_longer_pause_but_not_for_ever() {
    let asks = |seconds| {
        attempts(PLANE, false, move || {
            status(429, "").with_retry_after(Some(Duration::from_secs(seconds)))
        })
    };
    assert_eq!(asks(9).1, [Duration::from_secs(9); 3]);
    assert_eq!(asks(20).0, 2, "30 s in all");
    assert_eq!(asks(31).0, 1);
}

#[test]
fn no_pause_goes_past_the_end_of_the_call() {
    let now = Instant::now();
    let end = now + Duration::from_millis(100);
    let mut calls = AttemptLoop::new(PLANE, Arc::default(), now, Some(end));
    calls.authorised();
    calls.failed(refused(), now, false);
    assert!(matches!(calls.next(), Step::Done(result) if result.is_err()));
}

#[test]
fn an_empty_budget_ends_the_retries_and_successes_refill_it() {
    let budget = Arc::new(Budget(AtomicU32::new(RETRY_COST)));
    let now = Instant::now();
    let retries = |budget: &Arc<Budget>| {
        let mut calls = AttemptLoop::new(PLANE, Arc::clone(budget), now, None);
        calls.failed(refused(), now, false);
        matches!(calls.next(), Step::Log(_))
    };
    assert!(retries(&budget));
    assert!(!retries(&budget));
    for _ in 0..RETRY_COST {
        AttemptLoop::new(PLANE, Arc::clone(&budget), now, None).answered();
    }
    assert!(retries(&budget));
    assert_eq!(Budget::default().0.load(Ordering::Relaxed), BUDGET);
    Budget::default().refill();
}

#[test]
fn randomness_stays_in_its_range() {
    assert!((0..1_000).map(|_| random()).all(|r| (0.0..1.0).contains(&r)));
}

#[test]
fn a_call_of_which_one_attempt_may_have_run_may_have_run() {
    let now = Instant::now();
    let mut calls = AttemptLoop::new(IDEMPOTENT, Arc::default(), now, None);
    calls.failed(reset(), now, false);
    calls.failed(refused(), now, false);
    calls.failed(status(404, "ResourceNotFoundException"), now, false);
    let Step::Done(result) = calls.next() else { panic!("not over") };
    assert_eq!(result.unwrap_err().delivery(), Delivery::Unknown);
}

#[test]
fn a_limit_counts_as_not_sent_only_where_nothing_was_sent() {
    let sent = || Error::timeout(Limit::Connect, Duration::from_secs(1), Delivery::Unknown);
    assert_eq!(attempts(PLANE, false, sent).0, 1);
    assert_eq!(attempts(PLANE, false, || timeout(Limit::Connect)).0, 4);
}
