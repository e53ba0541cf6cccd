//! Messages to one socket through `@connections`: what a status means, what is
//! sent again and how long one waits for a slow client.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};

use super::aws::{Aws, Call, back_off};
use super::event::Connection;
use crate::protocol::arn::percent_encode;
use crate::protocol::endpoint::ServiceEndpoint;

const SERVICE: &str = "execute-api";

/// A client that takes nothing for so long counts as gone.
const PATIENCE: Duration = Duration::from_secs(60);
/// What may be a passing failure is tried again so often.
const TRIES: u32 = 4;

/// Where sockets are reached.
#[derive(Clone, Debug)]
pub(super) enum Gateway {
    /// The API's own host, in a region.
    Aws { dns_suffix: &'static str },
    /// A custom domain, to which nothing but `/@connections/{id}` is added.
    Url(ServiceEndpoint),
    /// A host where a stage comes first, as it does on the API's own.
    Host(ServiceEndpoint),
}

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Posted {
    Yes,
    /// The client is gone.
    Gone,
    /// The gateway takes only shorter ones.
    TooLong,
    /// It could not be posted, and the next one will fare no better.
    Failed(String),
}

/// Posts to the sockets of one API.
pub(super) struct Poster {
    pub(super) aws: Arc<Aws>,
    pub(super) region: String,
    pub(super) gateway: Gateway,
}

impl Poster {
    fn target(&self, connection: &Connection) -> (ServiceEndpoint, String) {
        let Connection { api_id, stage, id } = connection;
        let id = percent_encode(id);
        match &self.gateway {
            Gateway::Aws { dns_suffix } => {
                let host = format!("{api_id}.{SERVICE}.{}.{dns_suffix}", self.region);
                (ServiceEndpoint::aws(host), format!("/{stage}/@connections/{id}"))
            }
            Gateway::Url(endpoint) => (endpoint.clone(), format!("/@connections/{id}")),
            Gateway::Host(endpoint) => (endpoint.clone(), format!("/{stage}/@connections/{id}")),
        }
    }

    /// Posts one message, again where that can help.
    ///
    /// After a broken connection nobody knows whether it arrived. It is sent again, since a client
    /// can tell by its number that it has seen it, but not what it has missed.
    pub(super) async fn post(
        &self,
        connection: &Connection,
        body: Bytes,
        end: Option<Instant>,
    ) -> Posted {
        self.send(connection, Method::POST, body, end).await
    }

    /// Asks whether the client is still there, without a word to it.
    pub(super) async fn look(&self, connection: &Connection, end: Option<Instant>) -> Posted {
        match self.send(connection, Method::GET, Bytes::new(), end).await {
            // Looking needs a permission of its own, which is no reason not to go on.
            Posted::Failed(_) => Posted::Yes,
            seen => seen,
        }
    }

    async fn send(
        &self,
        connection: &Connection,
        method: Method,
        body: Bytes,
        end: Option<Instant>,
    ) -> Posted {
        let (endpoint, path) = self.target(connection);
        let call = Call {
            service: SERVICE,
            region: &self.region,
            endpoint: &endpoint,
            method,
            path: &path,
            headers: &[],
            body,
        };
        let (started, mut pauses, mut failures) = (tokio::time::Instant::now(), 0, 0);
        loop {
            let why = match self.aws.call(&call, end).await {
                Ok((status, _)) if status.is_success() => return Posted::Yes,
                Ok((StatusCode::GONE, _)) => return Posted::Gone,
                Ok((StatusCode::PAYLOAD_TOO_LARGE, _)) => return Posted::TooLong,
                // Too many of them, or the client's buffer is full.
                Ok((StatusCode::TOO_MANY_REQUESTS, _))
                    if started.elapsed() < PATIENCE && !is_past(end) =>
                {
                    None
                }
                Ok((status, code)) => {
                    let code = code.unwrap_or_default();
                    let advice = match status.as_u16() {
                        403 => {
                            "; allow execute-api:ManageConnections on arn:{partition}:execute-api:{region}:{account}:{api}/{stage}/POST/@connections/*"
                        }
                        404 => "; check the endpoint: a custom domain may stand for the stage",
                        _ => "",
                    };
                    let why = format!("@connections answered {status} {code}{advice}");
                    if !status.is_server_error() {
                        return Posted::Failed(why);
                    }
                    Some(why)
                }
                Err(unanswered) => {
                    let why = format!("@connections did not answer: {}", unanswered.why);
                    if !unanswered.may_pass {
                        return Posted::Failed(why);
                    }
                    Some(why)
                }
            };
            failures += u32::from(why.is_some());
            if let Some(why) = why
                && (failures >= TRIES || is_past(end))
            {
                return Posted::Failed(why);
            }
            back_off(pauses).await;
            pauses += 1;
        }
    }
}

fn is_past(end: Option<Instant>) -> bool {
    end.is_some_and(|end| Instant::now() >= end)
}
