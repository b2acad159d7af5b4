//! The files of the page, part of the program.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::refusal::Refusal;

const PAGE: &str = include_str!("../../web/index.html");
const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, kind and content.
const ASSETS: [(&str, &str, &str); 3] = [
    ("viewer.css", "text/css; charset=utf-8", include_str!("../../web/viewer.css")),
    ("viewer.js", SCRIPT, include_str!("../../web/viewer.js")),
    ("openseadragon.min.js", SCRIPT, include_str!("../../web/openseadragon/openseadragon.min.js")),
];

pub(super) fn page() -> Response {
    answer(HTML, PAGE)
}

pub(super) fn asset(name: &str) -> Result<Response, Refusal> {
    let found = ASSETS.iter().find(|(known, ..)| *known == name);
    found.map(|(_, kind, content)| answer(kind, content)).ok_or_else(|| Refusal::unknown("file"))
}

fn answer(kind: &'static str, content: &'static str) -> Response {
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], content).into_response()
}
