//! Answers that say why there is nothing.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why a request gets nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    reason: String,
}

impl Refusal {
    /// A thing that is not there.
    pub(super) fn unknown(what: &str) -> Self {
        Self { status: StatusCode::NOT_FOUND, reason: format!("no such {what}") }
    }

    /// A request that is not understood.
    pub(super) fn malformed(what: &str, wanted: &str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, reason: format!("{what}: expected {wanted}") }
    }

    /// A request with a value that is none of those that are known.
    pub(super) fn unreadable(what: &str, error: &crate::Error) -> Self {
        Self { status: StatusCode::BAD_REQUEST, reason: format!("{what}: {error}") }
    }

    /// A request that would change something.
    pub(super) fn method() -> Self {
        let reason = "this server answers GET and HEAD only".to_owned();
        Self { status: StatusCode::METHOD_NOT_ALLOWED, reason }
    }

    /// A request that names another host.
    pub(super) fn misdirected() -> Self {
        let reason = "this server answers to its own loopback address only".to_owned();
        Self { status: StatusCode::MISDIRECTED_REQUEST, reason }
    }

    /// A request of a page elsewhere.
    pub(super) fn foreign() -> Self {
        let reason = "this server answers to its own page only".to_owned();
        Self { status: StatusCode::FORBIDDEN, reason }
    }

    /// Something that is there but cannot be shown: a damaged slide, features of another one.
    pub(super) fn cannot(reason: String) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, reason }
    }

    pub(super) fn closing() -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, reason: "the server is closing".to_owned() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.reason }))).into_response()
    }
}
