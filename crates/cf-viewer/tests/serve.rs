//! The web viewer over its socket: what it shows, what it refuses, and many who ask at once.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that panics has failed")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use cf_report::{Outcome, PredictionRow};
use cf_viewer::serve::{HeatSource, SlideHeat, Study, serve};
use cf_viewer::{ColourMap, HeatLayer, Meaning, PatchBoxes};
use proptest::prelude::*;
use wsi_bags::{Magnification, SlideInfo};
use wsi_slides::render::{RenderOptions, SlideTruth, render};

/// A row of patches along the top of the slide, the third with the highest score. Slide `other` states another size, and
/// `corrected` another resolution than the file.
struct Row {
    side: u32,
    size: [u64; 2],
    n_made: Arc<AtomicUsize>,
}

impl HeatSource for Row {
    fn heat(&self, prediction: &PredictionRow) -> Result<SlideHeat, String> {
        self.n_made.fetch_add(1, Ordering::Relaxed);
        if prediction.slide_id == "broken" {
            return Err("slide broken, x20: the features are truncated".to_owned());
        }
        let n = self.size[0].div_ceil(u64::from(self.side)) as i64;
        let corners = (0..n).map(|at| [at * i64::from(self.side), 0]).collect();
        let boxes = PatchBoxes { magnification: Magnification::X20, side: self.side, corners };
        let scores = (0..n).map(|at| if at == 2 { 1.0 } else { at as f32 * 1e-3 }).collect();
        let boxes = Arc::new(boxes);
        let layer =
            HeatLayer::new("fine CAB", Arc::clone(&boxes), scores).map_err(|error| error.to_string())?;
        let falls = (0..n).map(|at| -1e-4 * (at + 1) as f32).collect();
        let effects = HeatLayer::new("occlusion", boxes, falls).map_err(|error| error.to_string())?;
        let effects = effects.with_meaning(Meaning::Effect);
        let width = self.size[0] + u64::from(prediction.slide_id == "other");
        let mpp = if prediction.slide_id == "corrected" { 0.25 } else { 0.5 };
        let info = SlideInfo { width: Some(width), height: Some(self.size[1]), mpp: Some(mpp) };
        Ok(SlideHeat { info, layers: vec![layer, effects] })
    }
}

/// A server that is stopped when it is dropped.
struct Running {
    address: SocketAddr,
    /// Path below which its study lies.
    root: String,
    truth: SlideTruth,
    n_made: Arc<AtomicUsize>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

impl Running {
    /// What lies at a path below the root.
    fn get(&self, path: &str) -> Answer {
        get(self.address, &format!("{}{path}", self.root))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.thread.take().unwrap().join().unwrap();
    }
}

fn start() -> Running {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("slide 1.svs");
    let truth = render(&path, &RenderOptions { n_cells: 2, ..RenderOptions::default() }).unwrap();
    std::fs::write(dir.path().join("secret.txt"), "secret").unwrap();
    std::fs::write(dir.path().join("no-slide.svs"), "II*\0nothing").unwrap();
    let n_made = Arc::new(AtomicUsize::new(0));
    let row = |at: u8, slide: &str| PredictionRow {
        case_id: format!("patient {at}"),
        slide_id: slide.to_owned(),
        patient_id: format!("patient {at}"),
        fold: usize::from(at % 2),
        outcome: Outcome::event(f64::from(at) + 1.0).unwrap(),
        // Two slides of a fold share one, and the other fold's model has lower ones.
        risk: -f64::from(if slide == "no slide" { at - 2 } else { at }) - 100.0 * f64::from(at % 2),
        survival: vec![0.9, 0.7, 0.4, 0.2],
    };
    let names = ["slide 1", "other", "broken", "no file", "no slide", "corrected"];
    let damaged = dir.path().join("no-slide.svs");
    let files = [("slide 1", &*path), ("other", &*path), ("corrected", &*path), ("no slide", &*damaged)];
    let study = Study {
        title: "CrossFusion on <rendered>".to_owned(),
        predictions: (0..).zip(names).map(|(at, name)| row(at, name)).collect(),
        risk_cut: cf_report::RiskCut::PooledMedian,
        time_bins: [(0, vec![0.0, 12.0, 24.0, 36.0, 61.5])].into(),
        slide_files: files.map(|(name, path): (&str, &Path)| (name.to_owned(), path.to_owned())).into(),
        heat: Box::new(Row {
            side: truth.cell_side / 4,
            size: [truth.width, truth.height].map(u64::from),
            n_made: Arc::clone(&n_made),
        }),
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (send, receive) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let ready = move |address| send.send(address).unwrap();
        serve(study, 0, ready, async { stopped.await.unwrap_or(()) }).unwrap();
    });
    let address = receive.recv_timeout(Duration::from_secs(20)).unwrap();
    let root = get(address, "/api/study").json()["root"].as_str().unwrap().to_owned();
    Running { address, root, truth, n_made, stop: Some(stop), thread: Some(thread), _dir: dir }
}

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }

    fn picture(&self) -> image::DynamicImage {
        image::load_from_memory(&self.body).unwrap()
    }
}

fn read_answer(reader: &mut impl BufRead) -> std::io::Result<Answer> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| std::io::Error::other(format!("no status line: {line:?}")))?;
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Answer { status, headers, body })
}

/// One request, whose head after the method is sent as it is.
fn send(address: SocketAddr, method: &str, path: &str, headers: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    read_answer(&mut BufReader::new(stream)).unwrap()
}

fn get(address: SocketAddr, path: &str) -> Answer {
    send(address, "GET", path, "")
}

#[test]
fn a_slide_its_patient_and_its_map_are_shown() {
    let server = start();
    let page = get(server.address, "/");
    assert_eq!(page.status, 200);
    let policy = &page.headers["content-security-policy"];
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    for name in ["viewer.js", "viewer.css", "openseadragon.min.js"] {
        assert_eq!(get(server.address, &format!("/assets/{name}")).status, 200, "{name}");
    }
    let study = get(server.address, "/api/study").json();
    assert_eq!(study["slides"].as_array().unwrap().len(), 6);
    assert_eq!(study["slides"][0]["id"], "slide 1", "the highest risk of the first fold");

    let slide = server.get("/api/slides/slide%201").json();
    let picture = &slide["picture"];
    assert_eq!(picture["width"], server.truth.width);
    assert_eq!((slide["rank_in_fold"].clone(), slide["status"].clone()), (1.into(), "event".into()));
    let last = picture["last_level"].as_u64().unwrap();
    let tile = server.get(&format!("/slides/slide%201/tiles/{last}/0_0.jpg"));
    assert_eq!(tile.headers["content-type"], "image/jpeg");
    assert_eq!(tile.picture().width(), 256);
    // The level that shows the whole slide in one tile.
    let whole = (0..=last)
        .rev()
        .find(|level| server.truth.width.max(server.truth.height).div_ceil(1 << (last - level)) <= 256);
    let whole = whole.unwrap();
    let small = server.get(&format!("/slides/slide%201/tiles/{whole}/0_0.jpg")).picture();
    let span = 1 << (last - whole);
    assert_eq!(small.width(), server.truth.width.div_ceil(span));

    let layers = server.get("/api/slides/slide%201/layers").json();
    assert_eq!(layers["layers"][0]["title"], "fine CAB, 20x");
    let side = layers["layers"][0]["side"].as_u64().unwrap() as u32;
    let map = server.get(&format!("/slides/slide%201/layers/0/tiles/{whole}/0_0.png"));
    let map = map.picture().to_rgba8();
    assert_eq!(map.dimensions(), (small.width(), small.height()), "the map lies on the slide");
    let clear = |x: u32, y: u32| map.get_pixel(x / span, y / span)[3] == 0;
    assert!(!clear(side * 2 + side / 2, side / 2) && clear(side * 2, side * 2));
    let hot = server.get(&format!("/slides/slide%201/layers/0/tiles/{whole}/0_0.png?from=255&colours=jet"));
    let hot = hot.picture().to_rgba8();
    let drawn: Vec<(u32, u32)> =
        hot.enumerate_pixels().filter(|(.., pixel)| pixel[3] > 0).map(|(x, y, _)| (x, y)).collect();
    let third = |x: &u32| (side * 2 / span..=side * 3 / span).contains(x);
    assert!(!drawn.is_empty() && drawn.iter().all(|(x, y)| third(x) && *y <= side / span), "{drawn:?}");

    let top = server.get("/api/slides/slide%201/layers/0/top?k=2").json();
    assert_eq!(top["patches"].as_array().unwrap().len(), 2);
    assert_eq!((&top["patches"][0]["patch"], &top["patches"][0]["x"]), (&2.into(), &(2 * side).into()));
    assert_eq!(server.get("/slides/slide%201/layers/0/patches/2.jpg").picture().width(), 160);
    let figure = server.get("/slides/slide%201/figures/kaplan-meier.svg");
    assert!(String::from_utf8(figure.body).unwrap().contains("Marked patient"));
    // Of the other fold nobody knows what its time bins are.
    for (slide, past) in [("slide%201", "12.0, 24.0, 36.0 and 61.5 months"), ("other", "time bins 1 to 4")] {
        assert_eq!(server.get(&format!("/api/slides/{slide}")).json()["survival_past"], past);
        let figure = server.get(&format!("/slides/{slide}/figures/survival.svg"));
        assert_eq!(figure.headers["content-type"], "image/svg+xml");
        let svg = String::from_utf8(figure.body).unwrap();
        assert!(svg.contains(&format!("Probability of surviving past {past}: 0.90,")), "{svg}");
    }
    assert_eq!(server.n_made.load(Ordering::Relaxed), 1, "the model ran once");
}

#[test]
fn what_cannot_be_shown_says_why_and_the_rest_goes_on() {
    let server = start();
    for (slide, reason) in [
        ("broken", "the features are truncated"),
        ("other", "it is another file"),
        ("no%20slide", "no-slide.svs"),
    ] {
        let answer = server.get(&format!("/api/slides/{slide}/layers"));
        assert_eq!(answer.status, 422, "{slide}");
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(reason), "{slide}: {error}");
    }
    // Without a slide file the map is drawn on the extent that the features state.
    let slide = server.get("/api/slides/no%20file").json();
    assert!(slide["picture"].is_null() && slide["has_file"] == false);
    let layers = server.get("/api/slides/no%20file/layers").json();
    assert_eq!(layers["picture"]["width"], server.truth.width);
    assert_eq!(server.get("/slides/no%20file/layers/0/tiles/0/0_0.png").status, 200);
    assert_eq!(server.get("/slides/no%20file/tiles/0/0_0.jpg").status, 404);
    assert_eq!(server.get("/slides/slide%201/tiles/0/0_0.jpg").status, 200);
}

#[test]
fn a_resolution_that_was_corrected_in_extraction_is_the_one_shown() {
    let server = start();
    let slide = server.get("/api/slides/corrected").json();
    assert_eq!(slide["picture"]["mpp"], 0.5, "what the file states");
    let layers = server.get("/api/slides/corrected/layers");
    assert_eq!(layers.status, 200, "{}", String::from_utf8_lossy(&layers.body));
    let picture = &layers.json()["picture"];
    assert_eq!(picture["mpp"], 0.25);
    assert_eq!(
        (&picture["width"], &picture["height"]),
        (&slide["picture"]["width"], &slide["picture"]["height"])
    );
    assert_eq!(server.get("/slides/corrected/layers/0/tiles/0/0_0.png").status, 200);
}

#[test]
fn slides_are_listed_by_rank_in_their_fold_and_those_of_equal_risk_share_one() {
    let server = start();
    let listed = get(server.address, "/api/study").json();
    let number = |slide: &serde_json::Value, key: &str| slide[key].as_u64().unwrap();
    let places: Vec<(&str, u64, u64)> = listed["slides"]
        .as_array()
        .unwrap()
        .iter()
        .map(|slide| (slide["id"].as_str().unwrap(), number(slide, "fold"), number(slide, "rank_in_fold")))
        .collect();
    // "other" has a lower risk than "no slide", but on a scale of its own, where it is the highest.
    let wanted = [
        ("slide 1", 0, 1),
        ("other", 1, 1),
        ("broken", 0, 2),
        ("no slide", 0, 2),
        ("no file", 1, 2),
        ("corrected", 1, 3),
    ];
    assert_eq!(places, wanted);
    for (id, _, rank) in wanted.into_iter().filter(|(id, ..)| *id != "no slide") {
        let page = server.get(&format!("/api/slides/{}", id.replace(' ', "%20"))).json();
        assert_eq!((number(&page, "rank_in_fold"), number(&page, "slides_in_fold")), (rank, 3), "{id}");
    }
}

#[test]
fn effects_by_value_are_drawn_about_zero_and_the_bar_has_the_colours_of_the_map() {
    let server = start();
    let layers = server.get("/api/slides/slide%201/layers").json();
    let (attention, effects) = (&layers["layers"][0], &layers["layers"][1]);
    assert_eq!((&attention["meaning"], &effects["meaning"]), (&"attention".into(), &"effect".into()));
    assert!(effects["range"].as_str().unwrap().starts_with('\u{2212}'), "{effects}");
    let bar = |name: &str| {
        let bar = server.get(&format!("/colours/{name}.png")).picture().to_rgb8();
        assert_eq!(bar.dimensions(), (256, 1));
        bar.pixels().map(|pixel| pixel.0).collect::<Vec<[u8; 3]>>()
    };
    let coolwarm = bar("coolwarm");
    assert_eq!(coolwarm, ColourMap::Coolwarm.table());
    assert_eq!(bar("viridis"), ColourMap::Viridis.table());
    assert_eq!(server.get("/colours/pink.png").status, 404);
    // Whatever colours are asked for: all are negative, so that none is of the upper half.
    let level = layers["picture"]["last_level"].as_u64().unwrap();
    let tile =
        server.get(&format!("/slides/slide%201/layers/1/tiles/{level}/0_0.png?scaling=raw&colours=viridis"));
    let drawn: Vec<[u8; 3]> = tile
        .picture()
        .to_rgba8()
        .pixels()
        .filter(|pixel| pixel.0[3] > 0)
        .map(|pixel| [pixel.0[0], pixel.0[1], pixel.0[2]])
        .collect();
    assert!(!drawn.is_empty() && drawn.iter().all(|colour| coolwarm[..128].contains(colour)));
    // The patch farthest from 0, at the right edge, is left where those nearer are hidden.
    let last_column = (server.truth.width - 1) / 256;
    for (column, is_drawn) in [(0, false), (last_column, true)] {
        let path = format!("/slides/slide%201/layers/1/tiles/{level}/{column}_0.png?scaling=raw&from=200");
        let tile = server.get(&path).picture().to_rgba8();
        assert_eq!(tile.pixels().any(|pixel| pixel.0[3] > 0), is_drawn, "column {column}");
    }
}

/// Bytes that leave a client waiting for more, or the server for the client to read its answers.
#[test]
fn no_client_keeps_it_from_ending() {
    let half = b"GET / HTTP/1.1\r\nHost: 127".to_vec();
    let unread = |address| {
        format!("GET /assets/openseadragon.min.js HTTP/1.1\r\nhost: {address}\r\n\r\n")
            .repeat(100)
            .into_bytes()
    };
    let idle = |address| format!("GET / HTTP/1.1\r\nhost: {address}\r\n\r\n").into_bytes();
    let server = start();
    let stuck: Vec<TcpStream> = [half, unread(server.address), idle(server.address), Vec::new()]
        .into_iter()
        .map(|bytes| {
            let mut stream = TcpStream::connect(server.address).unwrap();
            stream.write_all(&bytes).unwrap();
            stream
        })
        .collect();
    // They are all taken up, in the order in which they came.
    assert_eq!(get(server.address, "/").status, 200);
    let started = Instant::now();
    drop(server);
    let seconds = started.elapsed().as_secs_f64();
    assert!(seconds < 10.0, "{seconds} s");
    drop(stuck);
}

/// The end of a half-sent head comes after 30 seconds: `cargo test -p cf-viewer --test serve -- --ignored half`.
#[test]
#[ignore = "half a minute of waiting"]
fn half_a_head_is_not_waited_for() {
    let server = start();
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: 127").unwrap();
    let started = Instant::now();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let seconds = started.elapsed().as_secs_f64();
    assert!((25.0..40.0).contains(&seconds), "{seconds} s");
}

#[test]
fn what_a_browser_keeps_is_not_shown_for_another_start() {
    let [first, second] = [start(), start()];
    assert_ne!(first.root, second.root);
    for path in [
        "/slides/slide%201/tiles/0/0_0.jpg",
        "/slides/slide%201/layers/0/tiles/0/0_0.png",
        "/slides/slide%201/layers/0/patches/2.jpg",
        "/slides/slide%201/figures/survival.svg",
        "/slides/slide%201/figures/kaplan-meier.svg",
    ] {
        let kept = first.get(path);
        assert_eq!((kept.status, &*kept.headers["cache-control"]), (200, "private, max-age=3600"), "{path}");
        for root in ["", &first.root] {
            let refused = get(second.address, &format!("{root}{path}"));
            assert_eq!(
                (refused.status, &*refused.headers["cache-control"]),
                (404, "no-store"),
                "{root}{path}"
            );
        }
    }
    let layers = get(second.address, &format!("{}/api/slides/slide%201/layers", first.root));
    assert_eq!(layers.status, 404);
    assert!(layers.json()["error"].as_str().unwrap().contains("must be loaded again"));
    assert_eq!(second.n_made.load(Ordering::Relaxed), 0);
    for answer in [get(first.address, "/api/study"), first.get("/api/slides/slide%201/layers")] {
        assert_eq!((answer.status, &*answer.headers["cache-control"]), (200, "no-store"));
    }
}

#[test]
fn a_page_elsewhere_makes_no_model_run() {
    let server = start();
    let layers = format!("{}/api/slides/slide%201/layers", server.root);
    let status = |path: &str, headers: &str| send(server.address, "GET", path, headers).status;
    for site in ["cross-site", "same-site"] {
        let headers = format!("sec-fetch-site: {site}\r\nsec-fetch-mode: no-cors\r\n");
        assert_eq!(status(&layers, &headers), 403, "{site}");
    }
    // An old browser does not say where the request comes from, but its pages elsewhere do not know the root.
    assert_eq!(status("/api/slides/slide%201/layers", ""), 404);
    assert_eq!(server.n_made.load(Ordering::Relaxed), 0);
    let link = "sec-fetch-site: cross-site\r\nsec-fetch-mode: navigate\r\n";
    assert_eq!(status("/", link), 200, "a link in a mail leads to the page");
    for site in ["same-origin", "none"] {
        let headers = format!("sec-fetch-site: {site}\r\nsec-fetch-mode: cors\r\n");
        assert_eq!(status(&layers, &headers), 200, "{site}");
    }
}

#[test]
fn requests_that_are_none_are_refused() {
    let server = start();
    let status = |method: &str, path: &str, headers: &str| send(server.address, method, path, headers).status;
    for path in [
        "/../secret.txt",
        "/assets/../secret.txt",
        "/assets/..%2fsecret.txt",
        "/slides/..%2f..%2fetc%2fpasswd/tiles/0/0_0.jpg",
        "/slides/%2e%2e/tiles/0/0_0.jpg",
        "/slides/secret/tiles/0/0_0.jpg",
        "/slides/slide%201/tiles/99/0_0.jpg",
        "/slides/slide%201/tiles/4294967295/4294967295_4294967295.jpg",
        "/slides/slide%201/tiles/18446744073709551616/0_0.jpg",
        "/slides/slide%201/tiles/0/1_0.jpg",
        "/slides/slide%201/layers/7/tiles/0/0_0.png",
        "/slides/slide%201/layers/0/patches/99999999999999999999999.jpg",
        "/nothing",
    ] {
        assert_eq!(status("GET", path, ""), 404, "{path}");
        assert_eq!(status("GET", &format!("{}{path}", server.root), ""), 404, "{path} below the root");
    }
    for path in [
        "/slides/slide%201/tiles/-1/0_0.jpg",
        "/slides/slide%201/tiles/0/0_0.png",
        "/slides/slide%201/tiles/0/%00",
        "/slides/slide%201/layers/x/tiles/0/0_0.png",
        "/slides/slide%201/layers/0/tiles/0/0_0.png?from=300",
        "/slides/slide%201/layers/0/tiles/0/0_0.png?colours=puce",
        "/slides/slide%201/layers/0/tiles/0/0_0.png?size=9",
        "/api/slides/slide%201/layers/0/top?k=100000",
        "/slides/%ff/tiles/0/0_0.jpg",
    ] {
        let answer = send(server.address, "GET", &format!("{}{path}", server.root), "");
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.json()["error"].is_string(), "{path}");
    }
    let colours = format!("{}/slides/slide%201/layers/0/tiles/0/0_0.png?colours=puce", server.root);
    let reason = send(server.address, "GET", &colours, "").json()["error"].clone();
    assert_eq!(reason, "colours: unknown colour map `puce`, expected one of viridis, inferno, coolwarm, jet");
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        let refused = send(server.address, method, "/api/study", "");
        assert_eq!((refused.status, &*refused.headers["allow"]), (405, "GET,HEAD"), "{method}");
        assert_eq!(refused.json()["error"], "this server answers GET and HEAD only", "{method}");
    }
    assert_eq!(status("GET", "/", "range: bytes=9-1\r\n"), 400);
    assert_eq!(status("GET", "/", "range: lines=1-2\r\n"), 400);
    assert_eq!(status("GET", "/", "range: bytes=0-10\r\n"), 200);
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n").unwrap();
    assert_eq!(
        read_answer(&mut BufReader::new(stream)).unwrap().status,
        421,
        "another name may be a rebound one"
    );
    let mut stream = TcpStream::connect(server.address).unwrap();
    let head =
        format!("GET / HTTP/1.1\r\nhost: LocalHost:{}\r\nconnection: close\r\n\r\n", server.address.port());
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(read_answer(&mut BufReader::new(stream)).unwrap().status, 200, "names of hosts ignore case");
    let long = "a".repeat(1 << 20);
    let mut stream = TcpStream::connect(server.address).unwrap();
    let _ = stream.write_all(format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes());
    let mut answer = String::new();
    let _ = BufReader::new(stream).take(64).read_to_string(&mut answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert_eq!(get(server.address, "/").status, 200, "it still serves");
}

#[test]
fn no_path_escapes_or_brings_it_down() {
    let server = start();
    let piece = prop_oneof![
        "[ -~]{0,12}",
        Just("..".to_owned()),
        Just("%2e%2e%2f".to_owned()),
        Just("%00".to_owned()),
        Just("slides".to_owned()),
        Just("api".to_owned()),
        Just("slide%201".to_owned()),
        Just("tiles".to_owned()),
        Just("layers".to_owned()),
        Just("secret.txt".to_owned()),
        "[0-9]{1,22}",
        "[0-9]{1,3}_[0-9]{1,3}\\.(jpg|png)",
        "\\?[a-z]{1,8}=[ -~]{0,8}",
    ];
    let paths = prop::collection::vec(piece, 0..7);
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { cases: 1500, ..Default::default() });
    let address = server.address;
    runner
        .run(&(any::<bool>(), paths), |(is_below, pieces)| {
            let path: String =
                pieces.iter().map(|piece| format!("/{}", piece.replace([' ', '\r', '\n'], ""))).collect();
            let path = if is_below { format!("{}{path}", server.root) } else { path };
            let path = if path.is_empty() { "/".to_owned() } else { path };
            let answer = send(address, "GET", &path, "");
            prop_assert!(answer.status < 500, "{path}: {}", answer.status);
            prop_assert!(!answer.body.windows(6).any(|part| part == b"secret"), "{path} escaped");
            Ok(())
        })
        .unwrap();
    assert_eq!(get(address, "/api/study").status, 200);
}

/// `n_clients` connections that ask for tiles without a pause. Returns how many answers there were.
fn load(server: &Running, n_clients: usize, duration: Duration) -> usize {
    let last = server.get("/api/slides/slide%201").json()["picture"]["last_level"].as_u64().unwrap();
    assert_eq!(server.get("/api/slides/slide%201/layers").status, 200);
    let (done, n_answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for client in 0..n_clients {
            let (done, n_answers, address, root) = (&done, &n_answers, server.address, &server.root);
            let ask = move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut at = client as u64;
                while !done.load(Ordering::Relaxed) {
                    at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let (level, column, row) = (last - at % 4, (at >> 32) % 4, (at >> 40) % 4);
                    let path = match at >> 63 {
                        0 => format!("tiles/{level}/{column}_{row}.jpg"),
                        _ => format!("layers/0/tiles/{level}/{column}_{row}.png?from={}", (at >> 16) % 256),
                    };
                    let head =
                        format!("GET {root}/slides/slide%201/{path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
                    stream.write_all(head.as_bytes()).unwrap();
                    let answer = read_answer(&mut reader).unwrap();
                    assert!(answer.status == 200 || answer.status == 404, "{path}: {}", answer.status);
                    n_answers.fetch_add(1, Ordering::Relaxed);
                }
            };
            // A thousand stacks of the usual size would be what is measured.
            std::thread::Builder::new().stack_size(256 << 10).spawn_scoped(scope, ask).unwrap();
        }
        std::thread::sleep(duration);
        done.store(true, Ordering::Relaxed);
    });
    n_answers.into_inner()
}

#[test]
fn many_at_once_all_get_their_tiles() {
    let server = start();
    let n_answers = load(&server, 100, Duration::from_secs(2));
    assert!(n_answers > 100, "{n_answers}");
}

/// Resident memory of this process in MiB, which is server and clients.
fn resident_mib() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096 / (1 << 20)
}

/// Recorded in `docs/heatmaps.md`: `cargo test --release -p cf-viewer --test serve -- --ignored --nocapture`.
#[test]
#[ignore = "30 seconds of full load"]
fn a_thousand_at_once_for_thirty_seconds() {
    let server = start();
    let before = resident_mib();
    let started = Instant::now();
    let n_answers = load(&server, 1000, Duration::from_secs(30));
    let (seconds, after) = (started.elapsed().as_secs_f64(), resident_mib());
    println!("{n_answers} answers in {seconds:.1} s, none an error; memory {before} to {after} MiB");
    assert!(after - before < 400, "{before} to {after} MiB");
    assert_eq!(get(server.address, "/").status, 200);
}
