//! What each address answers. Every part of a path is looked up or parsed as digits; none becomes part of a file name.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, RANGE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use cf_report::{Figure, PredictionRow, bin_ends, patient_in_cohort, predicted_survival};
use serde_json::{Value, json};

use super::app::App;
use super::assets;
use super::deep_zoom::{DeepZoom, TILE};
use super::refusal::Refusal;
use super::slide_state::{Drawing, colour_bar, whole_text};
use crate::colour_map::ColourMap;
use crate::scaling::{farthest, range};
use crate::score_text::{RangeText, ends_text, score_text};

/// Patches on a sheet, and the most that may be asked for.
const SHEET: usize = 12;
const LARGEST_SHEET: usize = 200;

/// Sent with everything: the page runs its own scripts and styles only, and talks to this server only.
const HEADERS: [(&str, &str); 5] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
];

type Shared = State<Arc<App>>;

pub(super) fn router(app: Arc<App>) -> Router {
    let of_this_start = Router::new()
        .route("/api/slides/{slide}", get(slide))
        .route("/api/slides/{slide}/layers", get(layers))
        .route("/api/slides/{slide}/layers/{layer}/top", get(top))
        .route("/slides/{slide}/tiles/{level}/{tile}", get(tile))
        .route("/slides/{slide}/layers/{layer}/tiles/{level}/{tile}", get(heat_tile))
        .route("/slides/{slide}/layers/{layer}/patches/{patch}", get(patch))
        .route("/slides/{slide}/figures/{figure}", get(figure))
        .route("/colours/{name}", get(colours));
    Router::new()
        .route("/", get(|| async { assets::page() }))
        .route("/assets/{name}", get(|Path(name): Path<String>| async move { assets::asset(&name) }))
        .route("/api/study", get(study))
        .nest(&app.root, of_this_start)
        .fallback(|| async { Refusal::unknown("page; one of an earlier start must be loaded again") })
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guard))
        .with_state(app)
}

/// Refuses requests that are not for this server, as a page elsewhere could send them, and ranges that are none.
async fn guard(State(app): Shared, request: Request, next: Next) -> Response {
    let mut response = match check(&app, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    // What is refused before it gets to a function here, such as bytes that are no UTF-8, is answered in the same form.
    let is_text = |kind: &HeaderValue| kind.to_str().is_ok_and(|kind| kind.starts_with("text/plain"));
    if response.status() == StatusCode::BAD_REQUEST
        && response.headers().get(CONTENT_TYPE).is_some_and(is_text)
    {
        response = Refusal::malformed("the address", "text in UTF-8").into_response();
    }
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let allowed = response.headers_mut().remove(ALLOW);
        response = Refusal::method().into_response();
        response.headers_mut().extend(allowed.map(|methods| (ALLOW, methods)));
    }
    for (name, value) in HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("none"));
    // The next start at this address may serve another run.
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn check(app: &App, headers: &HeaderMap) -> Result<(), Refusal> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    if !host.is_some_and(|host| app.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))) {
        return Err(Refusal::misdirected());
    }
    if is_foreign(headers) {
        return Err(Refusal::foreign());
    }
    match headers.get(RANGE) {
        Some(range) if !range.to_str().is_ok_and(is_range) => {
            Err(Refusal::malformed("the header Range", "bytes=FIRST-LAST"))
        }
        // Everything is small: a range that is one may be answered with the whole.
        _ => Ok(()),
    }
}

/// Whether a page elsewhere asks, where the browser says so. A link there may still lead here.
fn is_foreign(headers: &HeaderMap) -> bool {
    let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_own = matches!(said("sec-fetch-site"), None | Some("same-origin" | "none"));
    !is_own && said("sec-fetch-mode") != Some("navigate")
}

fn is_range(text: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && text.len() < 20;
    let one = |part: &str| {
        part.trim().split_once('-').is_some_and(|(first, last)| {
            let ordered = match (first.parse::<u64>(), last.parse::<u64>()) {
                (Ok(first), Ok(last)) => first <= last,
                _ => true,
            };
            digits(first) && digits(last) && !(first.is_empty() && last.is_empty()) && ordered
        })
    };
    text.strip_prefix("bytes=").is_some_and(|ranges| ranges.split(',').all(one))
}

/// Digits, and nothing else.
fn number<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, Refusal> {
    let wrong = || Refusal::malformed(what, "a whole number from 0");
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    // A number that is too large is one of a thing that is not there.
    text.parse().map_err(|_| Refusal::unknown(what))
}

/// `COLUMN_ROW.EXTENSION`.
fn tile_place(level: &str, tile: &str, extension: &str) -> Result<[u32; 3], Refusal> {
    let wrong = || Refusal::malformed("the tile", "COLUMN_ROW and the extension");
    let (column, row) =
        tile.strip_suffix(extension).and_then(|place| place.split_once('_')).ok_or_else(wrong)?;
    Ok([number(level, "level")?, number(column, "tile")?, number(row, "tile")?])
}

async fn study(State(app): Shared) -> Json<Value> {
    let slides: Vec<Value> =
        by_place(&app).into_iter().map(|(place, row)| summary(&app, row, place)).collect();
    Json(json!({ "title": app.study.title, "root": app.root, "slides": slides }))
}

/// A rank in a fold, and how many slides the fold has.
type Place = (usize, usize);

/// The study's slides, the highest of each fold first: by rank in the fold as a share of its slides, ties by fold.
fn by_place(app: &App) -> Vec<(Place, &PredictionRow)> {
    let place = |row| (place_in_fold(app, row), row);
    let mut order: Vec<_> = app.study.predictions.iter().map(place).collect();
    order.sort_by(|&((rank, n_slides), row), &((other_rank, other_n_slides), other)| {
        (rank * other_n_slides)
            .cmp(&(other_rank * n_slides))
            .then_with(|| (row.fold, &row.slide_id).cmp(&(other.fold, &other.slide_id)))
    });
    order
}

/// By falling risk; slides of equal risk share a rank. Risks of models of other folds are on other scales.
fn place_in_fold(app: &App, row: &PredictionRow) -> Place {
    let fold = || app.study.predictions.iter().filter(|other| other.fold == row.fold);
    (fold().filter(|other| other.risk > row.risk).count() + 1, fold().count())
}

fn summary(app: &App, row: &PredictionRow, (rank_in_fold, slides_in_fold): Place) -> Value {
    json!({
        "id": row.slide_id,
        "patient": row.patient_id,
        "fold": row.fold,
        "risk": row.risk,
        "rank_in_fold": rank_in_fold,
        "slides_in_fold": slides_in_fold,
        "months": row.outcome.time(),
        "status": if row.outcome.is_event() { "event" } else { "censored" },
        "survival": row.survival,
        "survival_past": bin_ends(row.survival.len(), app.time_bins(row)),
        "has_file": app.study.slide_files.contains_key(&row.slide_id),
    })
}

async fn slide(State(app): Shared, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    let (id, row) = app.slide(&id)?;
    let mut answer = summary(&app, row, place_in_fold(&app, row));
    if app.study.slide_files.contains_key(&*id) {
        let slide = app.open(id).await?;
        answer["picture"] = picture(slide.frame.size, slide.frame.mpp);
    }
    Ok(Json(answer))
}

fn picture([width, height]: [u32; 2], mpp: Option<f64>) -> Value {
    let last_level = DeepZoom::of([width, height]).last_level();
    json!({ "width": width, "height": height, "mpp": mpp, "tile": TILE, "last_level": last_level })
}

async fn layers(State(app): Shared, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    let (id, _) = app.slide(&id)?;
    let heat = app.heat(id).await?;
    let layers = heat.heat.layers.iter().map(|layer| {
        let [low, high] = range(layer.per_token());
        let text = RangeText::of(layer);
        json!({
            "title": layer.title(),
            "module": layer.module(),
            "magnification": layer.magnification().label(),
            "patches": layer.scores().len(),
            "side": layer.boxes().side,
            "low": low,
            "high": high,
            "range": text.range,
            "remark": text.remark,
            "farthest": score_text(farthest(layer.per_token())),
            "ends": ends_text([low, high]),
            "meaning": layer.meaning(),
            "explanation": layer.explanation(),
        })
    });
    let layers: Vec<Value> = layers.collect();
    Ok(Json(json!({ "layers": layers, "picture": picture(heat.frame.size, heat.frame.mpp) })))
}

async fn top(
    State(app): Shared,
    Path((id, layer)): Path<(String, String)>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Value>, Refusal> {
    let (id, _) = app.slide(&id)?;
    let index: usize = number(&layer, "layer")?;
    let mut k = SHEET;
    for (name, value) in &query {
        match name.as_str() {
            "k" => k = number(value, "k")?,
            _ => return Err(Refusal::malformed("the query", "k")),
        }
    }
    if k > LARGEST_SHEET {
        return Err(Refusal::malformed("k", "at most 200"));
    }
    let heat = app.heat(id).await?;
    let layer = heat.heat.layers.get(index).ok_or_else(|| Refusal::unknown("layer"))?;
    let patches: Vec<Value> = layer
        .highest(k)
        .into_iter()
        .filter_map(|patch_idx| {
            let [x, y] = *layer.boxes().corners.get(patch_idx)?;
            let score = layer.per_token().get(patch_idx)?;
            Some(json!({ "patch": patch_idx, "x": x, "y": y, "side": layer.boxes().side, "score": score }))
        })
        .collect();
    Ok(Json(json!({ "patches": patches })))
}

/// Bytes that do not change while the server runs; the next start has other addresses.
fn kept(kind: &'static str, bytes: &[u8]) -> Response {
    let headers = [(CONTENT_TYPE, kind), (CACHE_CONTROL, "private, max-age=3600")];
    (headers, bytes.to_vec()).into_response()
}

async fn tile(
    State(app): Shared,
    Path((id, level, tile)): Path<(String, String, String)>,
) -> Result<Response, Refusal> {
    let (id, _) = app.slide(&id)?;
    let at = tile_place(&level, &tile, ".jpg")?;
    Ok(kept("image/jpeg", &app.tile(id, at).await?))
}

async fn heat_tile(
    State(app): Shared,
    Path((id, layer, level, tile)): Path<(String, String, String, String)>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Response, Refusal> {
    let (id, _) = app.slide(&id)?;
    let at = tile_place(&level, &tile, ".png")?;
    let bytes = app.heat_tile(id, number(&layer, "layer")?, at, drawing(&query)?).await?;
    Ok(kept("image/png", &bytes))
}

fn drawing(query: &HashMap<String, String>) -> Result<Drawing, Refusal> {
    let mut drawing = Drawing::default();
    for (name, value) in query {
        let unreadable = |error| Refusal::unreadable(name, &error);
        match name.as_str() {
            "colours" => drawing.colours = value.parse().map_err(unreadable)?,
            "scaling" => drawing.scaling = value.parse().map_err(unreadable)?,
            "from" => {
                let from: u32 = number(value, "from")?;
                drawing.from =
                    u8::try_from(from).map_err(|_| Refusal::malformed(name, "a shade from 0 to 255"))?;
            }
            _ => return Err(Refusal::malformed("the query", "colours, scaling or from")),
        }
    }
    Ok(drawing)
}

async fn patch(
    State(app): Shared,
    Path((id, layer, patch)): Path<(String, String, String)>,
) -> Result<Response, Refusal> {
    let (id, _) = app.slide(&id)?;
    let wrong = || Refusal::malformed("the patch", "NUMBER.jpg");
    let patch = number(patch.strip_suffix(".jpg").ok_or_else(wrong)?, "patch")?;
    Ok(kept("image/jpeg", &app.patch(id, number(&layer, "layer")?, patch).await?))
}

async fn colours(Path(name): Path<String>) -> Result<Response, Refusal> {
    let wrong = || Refusal::malformed("the colours", "NAME.png");
    let name = name.strip_suffix(".png").ok_or_else(wrong)?;
    let map: ColourMap = name.parse().map_err(|_| Refusal::unknown("colour map"))?;
    Ok(kept("image/png", &colour_bar(map).map_err(Refusal::cannot)?))
}

async fn figure(State(app): Shared, Path((id, name)): Path<(String, String)>) -> Result<Response, Refusal> {
    let (_, row) = app.slide(&id)?;
    let cannot = |error: cf_report::Error| Refusal::cannot(whole_text(&error));
    let Figure { svg, .. } = match name.as_str() {
        "survival.svg" if row.survival.is_empty() => return Err(Refusal::unknown("figure")),
        "survival.svg" => {
            predicted_survival("Predicted survival", &row.survival, app.time_bins(row)).map_err(cannot)?
        }
        "kaplan-meier.svg" => patient_in_cohort(&app.study.predictions, &app.study.risk_cut, &row.patient_id)
            .map_err(cannot)?
            .ok_or_else(|| Refusal::unknown("patient"))?,
        _ => return Err(Refusal::unknown("figure")),
    };
    Ok(kept("image/svg+xml", svg.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ranges_are_ranges() {
        for good in ["bytes=0-1", "bytes=5-", "bytes=-5", "bytes=0-0, 4-9"] {
            assert!(is_range(good), "{good}");
        }
        for bad in ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=9-1", "octets=0-1", "bytes=0-1,"] {
            assert!(!is_range(bad), "{bad}");
        }
        assert!(!is_range(&format!("bytes=0-{}", "9".repeat(40))));
    }

    #[test]
    fn places_of_tiles_are_digits() {
        assert_eq!(tile_place("9", "3_07.jpg", ".jpg"), Ok([9, 3, 7]));
        for (level, tile) in [
            ("", "1_1.jpg"),
            ("+1", "1_1.jpg"),
            ("1", "1.jpg"),
            ("1", "1_1.png"),
            ("1", "_1.jpg"),
            ("1", "1_-1.jpg"),
            ("1", "../1_1.jpg"),
            ("1", "99999999999_1.jpg"),
        ] {
            assert!(tile_place(level, tile, ".jpg").is_err(), "{level} {tile}");
        }
    }
}
