//! A whole answer that is too large for the mail, behind the public `InvokeResponse`. To JavaScript it
//! is an opaque value that these functions take: an object of a class would cost it several times as
//! much.

use agentcore_client::internals::text;
use agentcore_client::{Bytes, InvokeResponse, TextFormat};
use napi::bindgen_prelude::{Env, External, Result, Uint8ArraySlice};
use napi_derive::napi;

/// A whole answer, for JavaScript to hold.
pub(crate) fn hold(response: InvokeResponse) -> External<InvokeResponse> {
    // So much memory goes when the value is collected.
    let size = response.body().len();
    External::new_with_size_hint(response, size)
}

#[napi]
pub fn response_session_id(response: &External<InvokeResponse>) -> &str {
    response.session_id().as_str()
}

#[napi]
pub fn response_status(response: &External<InvokeResponse>) -> u32 {
    response.status().into()
}

/// Names and values in turn.
#[napi]
pub fn response_headers(response: &External<InvokeResponse>) -> Vec<&str> {
    let headers = response.headers().iter();
    headers
        .filter_map(|(name, value)| Some([name.as_str(), value.to_str().ok()?]))
        .flatten()
        .collect()
}

/// A copy: memory of JavaScript's own can be transferred, memory of ours could not.
#[napi]
pub fn response_body<'env>(
    env: &'env Env,
    response: &External<InvokeResponse>,
) -> Result<Uint8ArraySlice<'env>> {
    Uint8ArraySlice::copy_from(env, response.body())
}

#[napi]
pub fn response_body_length(response: &External<InvokeResponse>) -> f64 {
    crate::errors::count(response.body().len() as u64)
}

/// The body for `JSON.parse`; `null` if it is no text.
#[napi]
pub fn response_body_text(response: &External<InvokeResponse>) -> Option<&str> {
    text_of(response.body())
}

#[napi]
pub fn response_text(response: &External<InvokeResponse>) -> Option<&str> {
    response.text()
}

/// Bytes for `JSON.parse`; `null` if they are no text.
#[napi]
pub fn text_of(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// What the agent said in a body of JSON.
#[napi]
pub fn text_in_json(body: &[u8], format: Option<String>) -> Option<String> {
    let format = format.as_deref().and_then(TextFormat::from_name).unwrap_or_default();
    let text = text::whole_text("application/json", &Bytes::copy_from_slice(body), format)?;
    Some(String::from(&*text))
}
