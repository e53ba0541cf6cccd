//! A whole answer, behind the public `InvokeResponse`.

use agentcore_client::InvokeResponse;
use napi::bindgen_prelude::{Env, Result, Uint8ArraySlice};
use napi_derive::napi;

/// A whole answer.
#[napi]
pub struct Response {
    inner: InvokeResponse,
}

impl Response {
    pub(crate) fn new(inner: InvokeResponse) -> Self {
        Self { inner }
    }
}

#[napi]
impl Response {
    #[napi(getter)]
    pub fn session_id(&self) -> &str {
        self.inner.session_id().as_str()
    }

    #[napi(getter)]
    pub fn status(&self) -> u32 {
        self.inner.status().into()
    }

    /// Names and values in turn.
    #[napi]
    pub fn headers(&self) -> Vec<&str> {
        let headers = self.inner.headers().iter();
        headers
            .filter_map(|(name, value)| Some([name.as_str(), value.to_str().ok()?]))
            .flatten()
            .collect()
    }

    /// A copy: memory of JavaScript's own can be transferred, memory of ours could not.
    #[napi]
    pub fn body<'env>(&self, env: &'env Env) -> Result<Uint8ArraySlice<'env>> {
        Uint8ArraySlice::copy_from(env, self.inner.body())
    }

    #[napi(getter)]
    pub fn body_length(&self) -> f64 {
        crate::errors::count(self.inner.body().len() as u64)
    }

    /// The body for `JSON.parse`; `null` if it is no text.
    #[napi]
    pub fn body_text(&self) -> Option<&str> {
        std::str::from_utf8(self.inner.body()).ok()
    }

    #[napi(getter)]
    pub fn text(&self) -> Option<&str> {
        self.inner.text()
    }

    #[napi(getter)]
    pub fn end(&self) -> &'static str {
        self.inner.end().as_str()
    }
}
