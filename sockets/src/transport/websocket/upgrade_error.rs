//! Responses to requests that are not upgraded to WebSocket.

use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::connect_error::AcceptError;

/// The error response to a request that is not upgraded to WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UpgradeError {
    pub(crate) status: StatusCode,
    /// The reason. The body of the response and the server's log contain it.
    pub(crate) reason: &'static str,
    /// The expected method, if the request has another method.
    method: Option<&'static str>,
}

impl UpgradeError {
    pub(super) const NOT_GET: Self = Self::method("GET", "a WebSocket over HTTP/1.1 requires the method GET");
    pub(super) const NOT_CONNECT: Self = Self::method("CONNECT", "a WebSocket over HTTP/2 requires the method CONNECT");

    /// The error if the HTTP server does not hand over the connection of the request.
    #[cfg(feature = "axum")]
    pub(crate) const NOT_UPGRADABLE: Self =
        Self::new(StatusCode::UPGRADE_REQUIRED, "this connection cannot be upgraded to WebSocket");

    /// The error if the maximum number of pending handshakes is reached.
    #[cfg(feature = "axum")]
    pub(crate) const BUSY: Self =
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "too many pending handshakes; try again later");

    pub(super) const fn new(status: StatusCode, reason: &'static str) -> Self {
        Self { status, reason, method: None }
    }

    pub(super) const fn bad_request(reason: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }

    const fn method(method: &'static str, reason: &'static str) -> Self {
        Self { status: StatusCode::METHOD_NOT_ALLOWED, reason, method: Some(method) }
    }

    /// Returns the headers of the response.
    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if let Some(method) = self.method {
            headers.insert(header::ALLOW, HeaderValue::from_static(method));
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        headers
    }
}

impl From<UpgradeError> for AcceptError {
    fn from(UpgradeError { status, reason, .. }: UpgradeError) -> Self {
        Self::Handshake(format!("the WebSocket request was rejected with {status}: {reason}"))
    }
}
