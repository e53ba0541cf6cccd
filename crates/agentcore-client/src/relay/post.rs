//! Messages to one socket through `@connections`: one at a time, what a status
//! means, what is sent again and how long one waits for a slow client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};

use super::aws::{Address, Aws, Call, back_off, is_past};
use super::event::Connection;
use super::frames::Again;
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
    /// It may have arrived, and must not arrive twice.
    Unknown(String),
    /// It could not be posted, and the next one will fare no better.
    Failed(String),
}

/// One socket, for as long as somebody has something to say to it.
pub(super) struct Socket {
    /// Or why there is none.
    address: Result<Address, String>,
    /// Whoever posts holds it: answers to one socket take turns, in order.
    turn: tokio::sync::Mutex<()>,
}

/// Posts to the sockets of one API.
pub(super) struct Poster {
    aws: Arc<Aws>,
    region: String,
    gateway: Gateway,
    sockets: Mutex<HashMap<Connection, Weak<Socket>>>,
}

impl Poster {
    pub(super) fn new(aws: Arc<Aws>, region: String, gateway: Gateway) -> Self {
        Self { aws, region, gateway, sockets: Mutex::default() }
    }

    /// The socket, which all who speak to it at the same time share.
    pub(super) fn socket(&self, connection: &Connection) -> Arc<Socket> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(socket) = sockets.get(connection).and_then(Weak::upgrade) {
            return socket;
        }
        sockets.retain(|_, socket| socket.strong_count() > 0);
        let address = self.address(connection).map_err(|error| error.to_string());
        let socket = Arc::new(Socket { address, turn: tokio::sync::Mutex::default() });
        sockets.insert(connection.clone(), Arc::downgrade(&socket));
        socket
    }

    fn address(&self, connection: &Connection) -> crate::error::Result<Address> {
        let Connection { api_id, stage, id } = connection;
        let id = percent_encode(id);
        match &self.gateway {
            Gateway::Aws { dns_suffix } => {
                let host = format!("{api_id}.{SERVICE}.{}.{dns_suffix}", self.region);
                let endpoint = ServiceEndpoint::aws(host);
                Address::new(&endpoint, &format!("/{stage}/@connections/{id}"))
            }
            Gateway::Url(endpoint) => Address::new(endpoint, &format!("/@connections/{id}")),
            Gateway::Host(endpoint) => {
                Address::new(endpoint, &format!("/{stage}/@connections/{id}"))
            }
        }
    }

    /// Posts one message when it is its turn, again where that can help.
    pub(super) async fn post(
        &self,
        socket: &Socket,
        body: Bytes,
        again: Again,
        end: Option<Instant>,
    ) -> Posted {
        self.send(socket, Method::POST, body, again, end).await
    }

    /// Asks whether the client is still there, without a word to it.
    pub(super) async fn look(&self, socket: &Socket, end: Option<Instant>) -> Posted {
        match self.send(socket, Method::GET, Bytes::new(), Again::Yes, end).await {
            // Looking needs a permission of its own, which is no reason not to go on.
            Posted::Failed(_) => Posted::Yes,
            seen => seen,
        }
    }

    async fn send(
        &self,
        socket: &Socket,
        method: Method,
        body: Bytes,
        again: Again,
        end: Option<Instant>,
    ) -> Posted {
        let address = match &socket.address {
            Ok(address) => address,
            Err(why) => return Posted::Failed(why.clone()),
        };
        let region = &self.region;
        let call = Call { service: SERVICE, region, address, method, headers: &[], body };
        let _turn = match (socket.turn.try_lock(), end) {
            (Ok(turn), _) => turn,
            // Boxed: most posts never wait here, and what stays is kept for each of them.
            (Err(_), None) => Box::pin(socket.turn.lock()).await,
            (Err(_), Some(end)) => {
                let turn = Box::pin(tokio::time::timeout_at(end.into(), socket.turn.lock()));
                match turn.await {
                    Ok(turn) => turn,
                    Err(_) => return Posted::Failed("the socket was not free in time".to_owned()),
                }
            }
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
                    if again == Again::No {
                        return Posted::Unknown(why);
                    }
                    Some(why)
                }
                Err(unanswered) => {
                    let why = format!("@connections did not answer: {}", unanswered.why);
                    if unanswered.sent && again == Again::No {
                        return Posted::Unknown(why);
                    }
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
            back_off(pauses, end).await;
            pauses += 1;
        }
    }
}
