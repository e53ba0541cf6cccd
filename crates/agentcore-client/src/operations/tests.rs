//! One call against a transport that plays the service, without a socket.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use futures::FutureExt as _;
use futures::future::BoxFuture;

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
