//! Weights by name: what is asked of Hugging Face, and what is said without a network or a token.
//!
//! The file's answers come from a server on this machine, in the protocol that `hf-hub` speaks.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use wsi_slides::render::{RenderOptions, render};

/// Runs `wsi-extract run --encoder resnet50` without `--weights`.
fn run(dir: &Path, endpoint: &str, token: Option<&str>) -> Output {
    let slide = dir.join("slide-1.svs");
    render(&slide, &RenderOptions { n_cells: 1, ..RenderOptions::default() }).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_wsi-extract"));
    command.arg("run").arg(slide).arg("--out").arg(dir.join("bags"));
    command.args(["--encoder", "resnet50"]).env("HF_HOME", dir.join("hf")).env("HF_ENDPOINT", endpoint);
    command.env_remove("HF_TOKEN");
    if let Some(token) = token {
        command.env("HF_TOKEN", token);
    }
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Answers every request by `answer`, from its path and its headers in lower case.
fn serve(answer: impl Fn(&str, &str) -> Vec<u8> + Send + 'static) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let (path, headers) = read_request(&stream);
            seen.lock().unwrap().push(format!("{path}\n{headers}"));
            // A client that has gone is no concern of the server.
            let _ = stream.write_all(&answer(&path, &headers));
        }
    });
    (endpoint, requests)
}

fn read_request(stream: &TcpStream) -> (String, String) {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap().unwrap();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let headers: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    (path, headers.join("\n").to_lowercase())
}

#[test]
fn a_file_is_asked_for_by_name_with_the_token_and_kept() {
    const BODY: &[u8] = b"this is no file of weights";
    let dir = tempfile::tempdir().unwrap();
    let (endpoint, requests) = serve(|_, headers| {
        let range = headers.lines().find_map(|line| line.strip_prefix("range: bytes="));
        let (from, to) = range.and_then(|range| range.split_once('-')).unwrap_or(("0", ""));
        let from: usize = from.parse().unwrap_or(0);
        let to = to.parse().unwrap_or(BODY.len() - 1).min(BODY.len() - 1);
        let part = &BODY[from..=to];
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{to}/{}\r\nContent-Length: {}\r\n\
             ETag: \"abc\"\r\nX-Repo-Commit: 0123\r\nAccept-Ranges: bytes\r\nConnection: close\r\n\r\n",
            BODY.len(),
            part.len()
        );
        [head.as_bytes(), part].concat()
    });
    let output = run(dir.path(), &endpoint, Some("hf_secret"));
    // What was fetched is judged as any file of weights is.
    assert_eq!(output.status.code(), Some(3));
    let message = said(&output);
    assert!(message.contains("model.safetensors") && !message.contains("hf_secret"), "{message}");
    let seen = requests.lock().unwrap().clone();
    assert!(!seen.is_empty());
    for request in &seen {
        assert!(request.starts_with("/timm/resnet50.tv_in1k/resolve/main/model.safetensors\n"), "{request}");
        assert!(request.contains("authorization: bearer hf_secret"), "{request}");
    }
    let kept = dir.path().join("hf/hub/models--timm--resnet50.tv_in1k/snapshots/0123/model.safetensors");
    assert_eq!(std::fs::read(kept).unwrap(), BODY);
    run(dir.path(), &endpoint, Some("hf_secret"));
    assert_eq!(requests.lock().unwrap().len(), seen.len(), "the second time it is taken from the cache");
}

#[test]
fn without_token_or_network_the_error_says_what_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let (closed, _) =
        serve(|_, _| b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec());
    // Nothing listens on the discard port.
    for (endpoint, reason) in [(closed.as_str(), "401"), ("http://127.0.0.1:9", "refused")] {
        let output = run(dir.path(), endpoint, None);
        assert_eq!(output.status.code(), Some(3));
        let message = said(&output);
        for wanted in
            ["resnet50 needs model.safetensors of timm/resnet50.tv_in1k", "HF_TOKEN", "--weights FILE"]
        {
            assert!(message.contains(wanted), "{message}");
        }
        assert!(message.to_lowercase().contains(reason), "{message}");
        assert!(!dir.path().join("bags").exists());
    }
}
