//! One call against a transport that plays the service, without a socket.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};

use super::*;
use crate::{Auth, Client, Credentials, Environment, SendLimits};

const ARN: &str = "arn:aws:bedrock-agentcore:us-east-1:123456789012:runtime/my_agent-AbCdEf1234";

fn client(transport: impl HttpService) -> Client {
    Client::builder(ARN)
        .auth(Auth::sigv4(Credentials::new("AK", "SK", None, None, "test")))
        .environment(Environment::empty())
        .transport(transport)
        .build()
        .unwrap()
}

type Answered = Result<Response<Body>, SendError>;

/// Gives prepared answers and counts what it was sent.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Answered>>,
    sent: Arc<AtomicUsize>,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Script")
    }
}

impl HttpService for Script {
    fn send(&self, _: Request<Bytes>, _: SendLimits) -> BoxFuture<'static, Answered> {
        self.sent.fetch_add(1, Ordering::SeqCst);
        let answer = self.answers.lock().unwrap().pop_front();
        std::future::ready(answer.unwrap_or_else(|| Ok(Response::new(Body::full("{}"))))).boxed()
    }
}

#[tokio::test]
async fn nothing_is_sent_once_the_call_must_have_ended() {
    let script = Script::default();
    let sent = Arc::clone(&script.sent);
    let late = Timeouts::default().deadline(Instant::now());
    let error = client(script).invoke("x").timeouts(late).send().await.unwrap_err();
    assert_eq!((error.limit(), error.delivery()), (Some(Limit::Total), Delivery::NotSent));
    assert_eq!(sent.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_deadline_that_passes_is_not_called_by_the_longer_total() {
    let script = Script::default();
    let timeout = SendError::Timeout { limit: Limit::Total, sent: true };
    script.answers.lock().unwrap().push_back(Err(timeout));
    let limits = Timeouts::default()
        .total(Duration::from_secs(10))
        .deadline(Instant::now() + Duration::from_millis(2_900));
    let error = client(script).invoke("x").timeouts(limits).send().await.unwrap_err();
    assert!(error.message().starts_with("total limit of 2"), "{error}");
}

const SIDE_BY_SIDE: usize = 8;

/// A service whose clock is 50 minutes ahead, and which hears the first calls all at once.
#[derive(Debug)]
struct Ahead {
    together: Arc<tokio::sync::Barrier>,
    sent: Arc<AtomicUsize>,
}

impl Ahead {
    fn now() -> u64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + 3_000
    }

    /// Year, month and day, by the civil calendar.
    fn civil(seconds: u64) -> (u64, usize, u64) {
        let z = seconds / 86_400 + 719_468;
        let (era, doe) = (z / 146_097, z % 146_097);
        let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + u64::from(month <= 2);
        (year, usize::try_from(month).unwrap(), doy - (153 * mp + 2) / 5 + 1)
    }

    fn answer(signed: &str) -> Response<Body> {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let number = |from: usize| signed[from..from + 2].parse::<u64>().unwrap();
        let of_day = number(9) * 3_600 + number(11) * 60 + number(13);
        let now = Self::now();
        let apart = (now % 86_400).abs_diff(of_day);
        if apart.min(86_400 - apart) < 300 {
            return Response::new(Body::full("{}"));
        }
        let ((year, month, day), s) = (Self::civil(now), now % 86_400);
        let date = format!(
            "Mon, {day:02} {} {year} {:02}:{:02}:{:02} GMT",
            MONTHS[month - 1],
            s / 3_600,
            s / 60 % 60,
            s % 60
        );
        Response::builder()
            .status(403)
            .header("x-amzn-errortype", "InvalidSignatureException")
            .header("date", date)
            .body(Body::empty())
            .unwrap()
    }
}

impl HttpService for Ahead {
    fn send(&self, request: Request<Bytes>, _: SendLimits) -> BoxFuture<'static, Answered> {
        let first = self.sent.fetch_add(1, Ordering::SeqCst) < SIDE_BY_SIDE;
        let together = Arc::clone(&self.together);
        async move {
            if first {
                together.wait().await;
            }
            Ok(Self::answer(request.headers()["x-amz-date"].to_str().unwrap()))
        }
        .boxed()
    }
}

#[tokio::test]
async fn calls_side_by_side_each_correct_their_clock() {
    let sent = Arc::new(AtomicUsize::new(0));
    let together = Arc::new(tokio::sync::Barrier::new(SIDE_BY_SIDE));
    let client = client(Ahead { together, sent: Arc::clone(&sent) });
    let calls = (0..SIDE_BY_SIDE).map(|_| client.invoke("x").send());
    let answers = futures::future::join_all(calls).await;
    let failed: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert!(failed.is_empty(), "{} of {SIDE_BY_SIDE}: {}", failed.len(), failed[0]);
    assert_eq!(sent.load(Ordering::SeqCst), 2 * SIDE_BY_SIDE);
    // The correction stays, and is not made twice.
    client.invoke("x").send().await.unwrap();
    assert_eq!(sent.load(Ordering::SeqCst), 2 * SIDE_BY_SIDE + 1);
}

#[test]
fn what_callers_move_between_threads_may_be_moved() {
    fn send<T: Send>(_: &T) {}
    fn check<T: Send + Sync + 'static>() {}
    check::<Client>();
    check::<crate::ClientBuilder>();
    check::<crate::Invoke>();
    check::<crate::InvokeResponse>();
    check::<crate::AgentStream>();
    check::<crate::Error>();
    let client = client(Script::default());
    send(&client.invoke("x").send());
    send(&client.invoke("x").stream());
    send(&client.stop_session(SessionId::generate()).send());
}

#[derive(Debug)]
#[allow(dead_code, reason = "what a user's own provider may hold and show")]
struct Chatty {
    token: &'static str,
}

impl crate::ProvideToken for Chatty {
    fn provide_token(
        &self,
    ) -> BoxFuture<'_, Result<String, Box<dyn std::error::Error + Send + Sync>>> {
        std::future::ready(Ok(self.token.to_owned())).boxed()
    }
}

#[test]
fn neither_a_providers_own_debug_nor_a_query_shows_a_secret() {
    let auth = Auth::bearer_provider(Chatty { token: "t0k3n" });
    let builder = Client::builder(ARN)
        .environment(Environment::empty())
        .invocation_url("https://agent.example/?key=t0k3n")
        .auth(auth.clone());
    let client = builder.clone().build().unwrap();
    for shown in [
        format!("{auth:?}"),
        format!("{builder:?}"),
        format!("{client:?}"),
        format!("{:?}", client.with_options()),
    ] {
        assert!(!shown.contains("t0k3n"), "{shown}");
    }
}

#[tokio::test]
async fn stop_on_close_also_follows_the_limits_at_which_this_side_hangs_up() {
    let hangs_up = [
        (Timeouts::default().total(Duration::from_millis(50)), 1 << 20),
        (Timeouts::default(), 4),
        (Timeouts::default().deadline(Instant::now() + Duration::from_millis(300)), 1 << 20),
    ];
    for (timeouts, limit) in hangs_up {
        let script = Script::default();
        let sent = Arc::clone(&script.sent);
        let chunk = Bytes::from_static(b"data: a\n\n");
        let endless = futures::stream::iter([Ok(chunk)]).chain(futures::stream::pending()).boxed();
        let answer = Response::builder()
            .header("content-type", "text/event-stream")
            .body(Body::from_stream(endless))
            .unwrap();
        script.answers.lock().unwrap().push_back(Ok(answer));
        let limits = Limits::default().answer(limit);
        let client = client(script).with_options().limits(limits).timeouts(timeouts).build();
        let call = client.unwrap().invoke("x").stop_on_close(true);
        let mut stream = call.stream().await.unwrap();
        while let Ok(event) = stream.try_next().await {
            assert!(event.is_some());
        }
        drop(stream);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(sent.load(Ordering::SeqCst), 2, "the invocation and its stop");
    }
}

/// Keeps what was to be sent.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<Request<Bytes>>>>);

impl HttpService for Kept {
    fn send(&self, request: Request<Bytes>, _: SendLimits) -> BoxFuture<'static, Answered> {
        self.0.lock().unwrap().push(request);
        std::future::ready(Ok(Response::new(Body::full("{}")))).boxed()
    }
}

#[tokio::test]
async fn a_function_url_is_signed_for_lambda_in_its_own_region() {
    let scope = async |url: &str, arn: Option<&str>, region: Option<&str>| {
        let kept = Kept::default();
        let environment = arn.map(|arn| ("AGENT_RUNTIME_ARN", arn));
        let keys = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
        let mut builder = Client::builder_from_env()
            .invocation_url(url)
            .auth(Auth::sigv4(keys))
            .environment(Environment::from_pairs(environment))
            .transport(kept.clone());
        if let Some(region) = region {
            builder = builder.region(region);
        }
        builder.build()?.invoke("x").send().await?;
        let sent = kept.0.lock().unwrap().pop().unwrap();
        let signed = sent.headers()["authorization"].to_str().unwrap().to_owned();
        assert_eq!(sent.uri(), url);
        Ok::<_, Error>(signed.split('/').skip(2).take(2).collect::<Vec<_>>().join("/"))
    };
    let url = "https://abc.lambda-url.eu-west-1.on.aws/";
    let arn = "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/a";
    assert_eq!(scope(url, None, None).await.unwrap(), "eu-west-1/lambda");
    assert_eq!(scope(url, Some(arn), None).await.unwrap(), "eu-west-1/lambda");
    let other = "https://abc.lambda-url.eu-west-1.on.aws.example.com/";
    assert_eq!(scope(other, None, Some("eu-west-1")).await.unwrap(), "eu-west-1/bedrock-agentcore");
    assert_eq!(scope(other, None, None).await.unwrap_err().field(), Some("region"));
}
