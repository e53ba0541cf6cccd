//! What the function calls back over HTTP: `@connections` of the gateway and Lambda's Invoke. Each
//! is signed for its own service.

use super::function::Run;
use super::socket::{MAX_MESSAGE, gone};
use super::{Route, Running, event, page};
use crate::answer::Answer;
use crate::clock;
use crate::error::ServiceError;
use crate::headers::Headers;
use crate::service::{Call, Stop};
use bytes::Bytes;
use serde_json::{Value, json};

/// The largest payload of Lambda's Invoke, synchronous and asynchronous.
const MAX_PAYLOAD: usize = 6 * 1024 * 1024;
const MAX_EVENT: usize = 1024 * 1024;

/// Answers one request for the gateway.
pub(crate) async fn serve(
    call: &Call<'_>,
    running: &Running,
    route: &Route,
    answer: &mut Answer<'_>,
) -> Result<(), Stop> {
    match route {
        Route::Connection { stage, id } => connection(call, running, stage, id, answer).await,
        Route::Function(name) => invoke(call, running, name, answer).await,
        Route::Page(path) => {
            let folder = running.config.page.as_deref();
            let (kind, file) = folder.and_then(|f| page::read(f, path)).ok_or_else(|| {
                ServiceError::new(404, "NotFoundException", "The page has no such file")
            })?;
            let headers = Headers::from_iter([
                ("content-type", kind),
                ("content-length", &file.len().to_string()),
                ("cache-control", "no-store"),
                ("x-content-type-options", "nosniff"),
            ]);
            Ok(answer.whole(call.head(200, headers, None, None), file.into()).await?)
        }
        Route::WrongMethod => Err(ServiceError::new(
            405,
            "MethodNotAllowedException",
            "This path does not serve this method",
        )
        .into()),
    }
}

async fn connection(
    call: &Call<'_>,
    running: &Running,
    stage: &str,
    id: &str,
    answer: &mut Answer<'_>,
) -> Result<(), Stop> {
    call.admit_signature("execute-api")?;
    if stage != running.config.stage {
        return Err(ServiceError::new(403, "ForbiddenException", "Forbidden").into());
    }
    if !event::is_id(id) {
        let message = format!("Invalid connectionId: {id}");
        return Err(ServiceError::new(400, "BadRequestException", message).into());
    }
    call.strike(answer).await?;
    let socket = running.sockets.find(id).ok_or_else(gone)?;
    match call.request.method.as_str() {
        "POST" => {
            let body = &call.request.body;
            if body.len() > MAX_MESSAGE {
                let message = format!("A message has at most {MAX_MESSAGE} bytes");
                return Err(ServiceError::new(413, "PayloadTooLargeException", message).into());
            }
            if std::str::from_utf8(body).is_err() {
                let message = "A message is UTF-8 text";
                return Err(ServiceError::new(400, "BadRequestException", message).into());
            }
            socket.post(body.clone())?;
            empty(call, 200, answer).await
        }
        "DELETE" => {
            socket.close();
            empty(call, 204, answer).await
        }
        _ => {
            let mut identity = json!({ "sourceIp": socket.origin.source_ip });
            if let Some(agent) = &socket.origin.user_agent {
                identity["userAgent"] = json!(agent);
            }
            let body = json!({
                "connectedAt": clock::iso_date(socket.origin.connected_at_ms),
                "lastActiveAt": clock::iso_date(socket.last_active_ms()),
                "identity": identity,
            });
            Ok(call.json(answer, 200, &body, None).await?)
        }
    }
}

async fn empty(call: &Call<'_>, status: u16, answer: &mut Answer<'_>) -> Result<(), Stop> {
    let mut headers = Headers::new();
    if status != 204 {
        headers.push("content-length", "0");
    }
    Ok(answer.whole(call.head(status, headers, None, None), Bytes::new()).await?)
}

/// Whether the name, partial ARN or ARN is the function's, its qualifier aside.
fn names(arn: &str, name: &str) -> bool {
    let ours: Vec<&str> = arn.split(':').collect();
    let [.., account, _, own] = ours[..] else { return false };
    let named =
        |text: &str| text == own || text == arn || text == format!("{account}:function:{own}");
    named(name)
        || name.rsplit_once(':').is_some_and(|(front, qualifier)| {
            named(front) && matches!(qualifier, "$LATEST" | "live")
        })
}

async fn invoke(
    call: &Call<'_>,
    running: &Running,
    name: &str,
    answer: &mut Answer<'_>,
) -> Result<(), Stop> {
    call.admit_signature("lambda")?;
    if !names(&running.function_arn, name) {
        let message = format!("Function not found: {name}");
        return Err(ServiceError::new(404, "ResourceNotFoundException", message).into());
    }
    call.strike(answer).await?;
    let body = &call.request.body;
    let kind = call.request.headers.get("x-amz-invocation-type").unwrap_or("RequestResponse");
    let limit = if kind == "Event" { MAX_EVENT } else { MAX_PAYLOAD };
    if body.len() > limit {
        let message = format!("{} byte payload is too large (limit {limit} bytes)", body.len());
        return Err(ServiceError::new(413, "RequestTooLargeException", message).into());
    }
    let payload = if body.is_empty() { Bytes::from_static(b"{}") } else { body.clone() };
    if serde_json::from_slice::<Value>(&payload).is_err() {
        let message = "Could not parse request body into json";
        return Err(ServiceError::new(400, "InvalidRequestContentException", message).into());
    }
    match kind {
        "Event" => {
            running.function.queue(call.shared, &call.request_id, payload);
            empty(call, 202, answer).await
        }
        "DryRun" => empty(call, 204, answer).await,
        "RequestResponse" => {
            let run = Run {
                request_id: call.request_id.clone(),
                ..Run::new("request_response", 0, payload)
            };
            let outcome = running.function.start(call.shared, run);
            let outcome = tokio::select! {
                () = answer.wire.left() => return Err(answer.left().into()),
                outcome = outcome => outcome.map_err(|_| {
                    ServiceError::new(500, "ServiceException", "The data plane has ended")
                })?,
            };
            let mut headers = Headers::from_iter([
                ("content-type", "application/json".to_owned()),
                ("content-length", outcome.payload.len().to_string()),
                ("x-amz-executed-version", "$LATEST".to_owned()),
            ]);
            if !outcome.is_ok() {
                headers.push("x-amz-function-error", "Unhandled");
            }
            Ok(answer.whole(call.head(200, headers, None, None), outcome.payload).await?)
        }
        _ => {
            let message = format!("Unknown invocation type: {kind}");
            Err(ServiceError::new(400, "InvalidParameterValueException", message).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_function_has_several_names() {
        let arn = "arn:aws:lambda:us-west-2:123456789012:function:relay";
        for name in ["relay", arn, "123456789012:function:relay", "relay:$LATEST"] {
            assert!(names(arn, name), "{name}");
        }
        assert!(names(arn, &format!("{arn}:live")));
        for name in ["other", "relay:", "arn:aws:lambda:us-west-2:999999999999:function:relay"] {
            assert!(!names(arn, name), "{name}");
        }
    }
}
