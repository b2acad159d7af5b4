//! The program as a user meets it: output, files, exit codes.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::AtomicBool;

use cf_model::kernels::device::DeviceName;
use cf_train::apply::{ApplyOptions, NewSlides, apply};
use cf_train::simulate::{CohortKind, SimulateOptions, simulate};
use cf_train::{RunConfig, RunOptions, cross_validate};
use serde_json::Value;
use wsi_bags::{Bag, BagStore, Magnification, PatchSet, Provenance, SlideInfo, native, pt, safetensors};
use wsi_slides::render::{RenderOptions, render};

/// A checkpoint of one epoch, and one of the slides that it was trained on.
struct Trained {
    checkpoint: PathBuf,
    features: PathBuf,
    backbone: String,
    slide: String,
}

fn trained(dir: &Path, backbone_dim: usize) -> Trained {
    trained_folds(dir, backbone_dim, vec![0])
}

fn trained_folds(dir: &Path, backbone_dim: usize, folds: Vec<usize>) -> Trained {
    let (cohort, run) = (dir.join("cohort"), dir.join("run"));
    let options = SimulateOptions {
        n_patients: 25,
        backbone_dim,
        ..SimulateOptions::new(cohort.clone(), CohortKind::Additive)
    };
    simulate(&options, &mut |_, _| {}).unwrap();
    let settings = [("training.max_epochs", "1"), ("model.embed_dim", "32"), ("model.num_heads", "2")];
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let config = RunConfig::read(&cohort.join("config.toml"), &settings).unwrap();
    let device_name = DeviceName::Cpu;
    let device = device_name.open().unwrap();
    let how = RunOptions { folds, resume: false, device_name, device };
    cross_validate(&config, &run, &how, &AtomicBool::new(false), &mut |_| {}).unwrap();
    let text = std::fs::read_to_string(cohort.join("config.toml")).unwrap();
    let quoted = |key: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(key)).unwrap();
        line.split('"').nth(1).unwrap().to_owned()
    };
    let (features, backbone) = (cohort.join(quoted("dir")), quoted("backbone"));
    let slide = BagStore::open(&features, None, &backbone).unwrap().slide_ids()[0].clone();
    Trained { checkpoint: run.join("fold_0/best.safetensors"), features, backbone, slide }
}

impl Trained {
    fn bag(&self) -> Bag {
        let store = BagStore::open(&self.features, None, &self.backbone).unwrap();
        store.read(&self.slide, &Magnification::ALL).unwrap()
    }

    fn render(&self, features: &Path, out: &Path, more: &[&str]) -> Output {
        self.command(features, out, more).output().unwrap()
    }

    fn command(&self, features: &Path, out: &Path, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cf-heatmap"));
        command
            .args(["render", "--model", "crossfusion", "--backbone", &self.backbone, "--slide", &self.slide])
            .arg("--checkpoint")
            .arg(&self.checkpoint)
            .arg("--features")
            .arg(features)
            .arg("--out")
            .arg(out)
            .args(more);
        command
    }

    /// Writes the slide's bag into a directory of its own, changed.
    fn changed(
        &self,
        dir: PathBuf,
        info: SlideInfo,
        magnifications: &[Magnification],
        shift: i64,
    ) -> PathBuf {
        std::fs::create_dir(&dir).unwrap();
        let bag = self.bag();
        let sets = magnifications.iter().map(|magnification| {
            let set = bag.at(*magnification).unwrap();
            let coords = set.coords().unwrap().iter().map(|corner| corner.map(|at| at + shift)).collect();
            let moved = PatchSet::new(set.features().clone()).with_coords(coords).unwrap();
            (*magnification, moved.with_geometry(set.geometry()).unwrap())
        });
        let bag = Bag::new(self.slide.as_str(), sets).unwrap();
        native::write(&dir.join(format!("{}.h5", self.slide)), &bag, &self.backbone, &info).unwrap();
        dir
    }

    /// Writes a bag of one patch of the slide for each magnification, at the corner, into a directory of its own.
    fn with_one_patch(&self, dir: PathBuf, info: SlideInfo) -> PathBuf {
        std::fs::create_dir(&dir).unwrap();
        let bag = self.bag();
        let sets = bag.sets().map(|(magnification, set)| {
            let row = set.features().row(0).unwrap().to_vec();
            let n_columns = row.len();
            let patch = PatchSet::new(wsi_bags::FeatureMatrix::new(row, 1, n_columns).unwrap());
            (magnification, patch.with_coords(vec![[0, 0]]).unwrap().with_geometry(set.geometry()).unwrap())
        });
        let one = Bag::new(self.slide.as_str(), sets).unwrap();
        native::write(&dir.join(format!("{}.h5", self.slide)), &one, &self.backbone, &info).unwrap();
        dir
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_slide_is_drawn_and_what_does_not_fit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let trained = trained(dir.path(), 16);
    let features = trained.features.clone();

    let done = trained.render(&features, &at("maps"), &["--json"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    let files: Vec<&str> =
        report["files"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    for wanted in
        ["scores.csv", "scores.h5", "figure.png", "x5-coarse-cab.png", "x20-fine-cab.tiff", "x10.geojson"]
    {
        assert!(files.contains(&wanted), "{wanted} in {files:?}");
    }
    let directory = at("maps").join(&trained.slide);
    assert!(files.iter().all(|name| directory.join(name).exists()) && directory.join("render.json").exists());
    assert_eq!(report["left_out"][0]["reason"], "no slide file was given");
    assert_eq!(report["survival"].as_array().unwrap().len(), 4);

    let table = trained.render(&features, &at("maps"), &["--occlusion", "4", "--colours", "inferno"]);
    assert!(table.status.success(), "{}", text(&table.stderr));
    assert!(text(&table.stdout).contains("x5-occlusion.png"), "{}", text(&table.stdout));
    assert!(directory.join("x5-occlusion.png").exists());
    assert!(trained.render(&features, &at("maps"), &[]).status.success());
    assert!(!directory.join("x5-occlusion.png").exists(), "of a map that was not asked for again");

    let one = trained.with_one_patch(at("one-patch"), SlideInfo::default());
    let drawn = trained.render(&one, &at("of-one"), &["--occlusion", "4"]);
    assert!(drawn.status.success(), "{}", text(&drawn.stderr));
    let said = text(&drawn.stdout);
    assert!(said.contains("x5-coarse-cab.png") && !said.contains("occlusion.png"), "{said}");
    assert_eq!(said.matches("its patches lie in one part").count(), 3, "{said}");

    let refused = |features: &Path, more: &[&str], code: i32, words: &str| {
        let output = trained.render(features, &at("refused"), more);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{error}");
        // A warning, such as of rows in another order, may come first.
        let is_error = error.lines().any(|line| line.starts_with("error: "));
        assert!(is_error && error.contains(words), "{words} in {error}");
        assert!(!at("refused").exists(), "nothing is written");
    };

    let plain = at("plain");
    let bag = trained.bag();
    for (magnification, set) in bag.sets() {
        let folder = plain.join(&trained.backbone).join(magnification.label()).join("pt_files");
        std::fs::create_dir_all(&folder).unwrap();
        pt::write_features(&folder.join(format!("{}.pt", trained.slide)), set.features()).unwrap();
    }
    refused(&plain, &[], 3, "`.pt` files have no room for coordinates");
    // STAMP's, whose coordinates are left out where nobody tells the resolution of the slides.
    let stamp = at("stamp");
    for (magnification, set) in bag.sets() {
        let folder = stamp.join(&trained.backbone).join(magnification.label());
        std::fs::create_dir_all(&folder).unwrap();
        let provenance = Provenance { tool: Some("stamp".to_owned()), ..Provenance::default() };
        let set = PatchSet::new(set.features().clone()).with_provenance(provenance);
        let file = folder.join(format!("{}.safetensors", trained.slide));
        safetensors::write(&file, &set, &trained.backbone, &SlideInfo::default()).unwrap();
    }
    refused(&stamp, &[], 3, "hint: STAMP's coordinates are in micrometres; `wsi-bags convert --slide-mpp X");
    let occlusion = trained.render(&plain, &at("refused"), &["--occlusion", "4"]);
    let error = text(&occlusion.stderr);
    assert!(
        error.contains("which every 5x patch is a part of its own") && !error.contains("model that"),
        "{error}"
    );

    let all = Magnification::ALL;
    let without = trained.changed(at("two-scales"), SlideInfo::default(), &all[..2], 0);
    refused(&without, &[], 3, "no x20 patches");

    let slide = at("slide.svs");
    let truth = render(&slide, &RenderOptions { n_cells: 1, ..RenderOptions::default() }).unwrap();
    let file = ["--slide-file", slide.to_str().unwrap()];
    let [width, height] = [truth.width, truth.height].map(u64::from);
    let far = trained.changed(at("far"), SlideInfo::default(), &all, 1 << 20);
    refused(&far, &file, 3, "outside the slide of");
    let info = SlideInfo { width: Some(1 << 22), height: Some(1 << 22), mpp: Some(0.5) };
    let other = trained.changed(at("other"), info, &all, 0);
    refused(&other, &file, 3, "it is another file");
    let info = SlideInfo { width: Some(width), height: Some(height), mpp: Some(0.25) };
    let inside = trained.with_one_patch(at("resolution"), info);
    refused(&inside, &file, 3, "--mpp X states the resolution");
    refused(&features, &["--alpha", "1.5"], 2, "the opacity is 1.5");
    refused(&features, &["--slide-file", "no-such-slide.svs"], 3, "no-such-slide.svs");

    let wider = {
        let dir = at("wider");
        std::fs::create_dir(&dir).unwrap();
        self::trained(&dir, 24)
    };
    let mixed = Trained { checkpoint: wider.checkpoint, ..trained };
    let output = mixed.render(&features, &at("refused"), &[]);
    assert_eq!(output.status.code(), Some(3));
    let error = text(&output.stderr);
    assert!(error.contains("reads features of 24 columns"), "{error}");
}

#[test]
fn a_run_is_served_with_what_there_is_of_it_and_what_is_not_there_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let trained = trained(dir.path(), 16);
    let slides = at("slides");
    std::fs::create_dir(&slides).unwrap();
    std::fs::write(slides.join("another.svs"), "").unwrap();
    let serve = |features: Option<&Path>, slides: Option<&Path>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cf-heatmap"));
        command.args(["serve", "--port", "0", "--run"]).arg(at("run"));
        command.args(features.iter().flat_map(|features| [Path::new("--features"), features]));
        command.args(slides.iter().flat_map(|slides| [Path::new("--slides"), slides]));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };

    let served = |features: Option<&Path>| -> Vec<String> {
        let mut served = serve(features, Some(&slides));
        let said =
            BufReader::new(served.stdout.take().unwrap()).lines().take(2).map(Result::unwrap).collect();
        served.kill().unwrap();
        served.wait().unwrap();
        said
    };
    let said = served(Some(&trained.features));
    assert!(said[0].starts_with("http://127.0.0.1:"), "{said:?}");
    assert_eq!(served(None)[1], said[1], "the bags of the run");
    let predicted = std::fs::read_to_string(at("run/fold_0/predictions.csv")).unwrap().lines().count() - 1;
    let counts = format!("Of {predicted} slides, {predicted} have features and 0 a slide file. Ctrl-C ends.");
    assert_eq!(said[1], counts);

    let refused = |features: &Path, slides: Option<&Path>, words: &[&str]| {
        let mut begun = serve(Some(features), slides);
        // A server that starts prints its address; one that is refused ends.
        let said = BufReader::new(begun.stdout.take().unwrap()).lines().next();
        assert!(said.is_none(), "{said:?}");
        let ended = begun.wait_with_output().unwrap();
        let error = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(3), "{error}");
        assert!(words.iter().all(|word| error.contains(word)), "{words:?} in {error}");
    };
    let nowhere = at("nowhere");
    let path = nowhere.to_str().unwrap();
    refused(&nowhere, None, &[path]);
    refused(&trained.features, Some(&nowhere), &[path, "No such file"]);
    std::fs::remove_file(at("run/summary.json")).unwrap();
    refused(&trained.features, None, &["found no summary.json", "`cf-train cv --resume`"]);
}

#[test]
fn no_survival_is_shown_of_a_run_whose_loss_says_nothing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let trained = trained(dir.path(), 16);
    let config = std::fs::read_to_string(at("run/config.toml")).unwrap();
    let cox = config.replace("loss = \"nll\"", "loss = \"cox\"");
    assert_ne!(cox, config);

    let predicted = std::fs::read_to_string(at("run/fold_0/predictions.csv")).unwrap();
    let slide = predicted.lines().nth(1).unwrap().split(',').nth(1).unwrap().to_owned();
    let rendered = |out: &str| -> Value {
        let output = trained.render(&trained.features, &at(out), &["--json"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let served = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cf-heatmap"));
        command.args(["serve", "--port", "0", "--run"]).arg(at("run")).stdout(Stdio::piped());
        let mut server = command.spawn().unwrap();
        let address = BufReader::new(server.stdout.take().unwrap()).lines().next().unwrap().unwrap();
        let host = address.trim_start_matches("http://").trim_end_matches('/');
        let study = get(host, "/api/study");
        let root = study.split("\"root\":\"").nth(1).unwrap().split('"').next().unwrap();
        let of_slide = get(host, &format!("{root}/api/slides/{slide}"));
        let figure = get(host, &format!("{root}/slides/{slide}/figures/survival.svg"));
        server.kill().unwrap();
        server.wait().unwrap();
        (of_slide, figure)
    };
    let with = rendered("with");
    assert_eq!(with["survival"].as_array().unwrap().len(), 4);
    let (of_slide, figure) = served();
    assert!(
        of_slide.contains("\"survival\":[0.") && figure.starts_with("HTTP/1.1 200"),
        "{of_slide} {figure}"
    );

    std::fs::write(at("run/config.toml"), cox).unwrap();
    let without = rendered("without");
    assert_eq!((&without["survival"], &without["risk"]), (&serde_json::json!([]), &with["risk"]));
    let left_out = without["left_out"].to_string();
    assert!(left_out.contains("predicted survival") && left_out.contains("training.loss"), "{left_out}");
    let (of_slide, figure) = served();
    assert!(of_slide.contains("\"survival\":[]") && !of_slide.contains("\"survival\":[0."), "{of_slide}");
    assert!(figure.starts_with("HTTP/1.1 404"), "{figure}");
}

/// What a server answers.
fn get(host: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    text(&answer)
}

/// Linux has a file that is always full.
#[cfg(target_os = "linux")]
#[test]
fn a_full_stdout_is_temporary() {
    let dir = tempfile::tempdir().unwrap();
    let trained = trained(dir.path(), 16);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let rendered =
        trained.command(&trained.features, &dir.path().join("maps"), &[]).stdout(full).output().unwrap();
    assert_eq!(rendered.status.code(), Some(75), "{}", text(&rendered.stderr));
}

#[test]
fn a_log_for_programs_is_json_line_by_line() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    let render = [
        "render",
        "--checkpoint",
        nowhere,
        "--model",
        "crossfusion",
        "--backbone",
        "uni",
        "--slide",
        "slide",
    ];
    let render = [&render[..], &["--features", nowhere, "--out", nowhere]].concat();
    let serve = ["serve", "--run", nowhere, "--features", nowhere];
    for command in [&render[..], &serve] {
        let output = Command::new(env!("CARGO_BIN_EXE_cf-heatmap"))
            .args(command)
            .args(["--quiet", "--log-format", "json"])
            .env_remove("RUST_LOG")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
        let lines: Vec<Value> =
            text(&output.stderr).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let last = lines.last().unwrap();
        assert_eq!((&last["level"], &last["fields"]["exit_code"]), (&"ERROR".into(), &3.into()));
        assert!(last["fields"]["message"].as_str().unwrap().contains(nowhere), "{last}");
        let plain = Command::new(env!("CARGO_BIN_EXE_cf-heatmap")).args(command).output().unwrap();
        assert!(text(&plain.stderr).starts_with("error: "), "text unless asked otherwise");
    }
}

/// The files of a rendered slide, but for `render.json`, which says when and of what.
fn rendered(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let files =
        files.map(|file| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap()));
    files.filter(|(name, _)| name != "render.json").collect()
}

#[test]
fn a_run_gives_the_model_that_held_the_slide_out_and_its_bags() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let mut trained = trained_folds(dir.path(), 16, vec![0, 1]);
    let folds: Value = serde_json::from_slice(&std::fs::read(at("run/folds.json")).unwrap()).unwrap();
    let part = |fold: usize, part: &str| -> Vec<String> {
        let ids = folds["folds"][fold][part].as_array().unwrap();
        ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect()
    };
    trained.slide = part(1, "validation")[0].clone();
    assert!(part(0, "train").contains(&trained.slide), "this shows nothing");
    trained.checkpoint = at("run/fold_1/best.safetensors");
    let by_run = |slide: &str, out: &str, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cf-heatmap"));
        command.args(["render", "--slide", slide, "--run"]).arg(at("run")).arg("--out").arg(at(out));
        command.args(more).output().unwrap()
    };
    let said = |output: &Output| {
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let refused = |output: &Output, code: i32, words: &[&str]| {
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(words.iter().all(|word| error.contains(word)), "{words:?} in {error}");
    };

    // Everything by hand, and by the run: one and the same, to the last byte of every picture.
    let by_hand = trained.render(&trained.features, &at("hand"), &["--json"]);
    let by_hand: Value = serde_json::from_str(&said(&by_hand)).unwrap();
    let of_run = said(&by_run(&format!("{}.svs", trained.slide), "run-maps", &[]));
    assert!(of_run.contains("model of fold 1: this slide was held out\n"), "{of_run}");
    let hand = rendered(&at("hand").join(&trained.slide));
    assert!(
        hand.contains_key("scores.csv") && hand.contains_key("scores.h5") && hand.contains_key("figure.png")
    );
    assert!(hand == rendered(&at("run-maps").join(&trained.slide)), "other files");
    assert_eq!((&by_hand["fold"], &by_hand["part"]), (&1.into(), &"held-out".into()));

    // Another fold, which was trained on the slide.
    let other: Value =
        serde_json::from_str(&said(&by_run(&trained.slide, "other", &["--fold", "0", "--json"]))).unwrap();
    assert_eq!((&other["fold"], &other["part"]), (&0.into(), &"training".into()));
    assert!(other["risk"] != by_hand["risk"]);
    let told = said(&by_run(&trained.slide, "other", &["--fold", "0"]));
    assert!(told.contains("model of fold 0: this slide was trained on\n"), "{told}");

    let seen = |fold: usize| part(fold, "train");
    let in_both = seen(0).into_iter().find(|slide| seen(1).contains(slide)).unwrap();
    let words = [
        "held out by no fold of the run: trained on in fold 0, 1",
        "3 folds of the splits",
        "--fold N",
        "(finished: 0, 1)",
    ];
    refused(&by_run(&in_both, "none", &[]), 3, &words);
    refused(
        &by_run("slide-of-nobody", "none", &[]),
        3,
        &["is in no fold of the run", "the nearest name is", "--fold N"],
    );
    refused(
        &by_run(&trained.slide, "none", &["--fold", "4"]),
        3,
        &["fold 4 was asked for, finished are 0, 1"],
    );
    refused(
        &by_run(&trained.slide, "none", &["--backbone", "uni"]),
        2,
        &["--backbone", "cannot be used with", "--run"],
    );
    let bare =
        |arguments: &[&str]| Command::new(env!("CARGO_BIN_EXE_cf-heatmap")).args(arguments).output().unwrap();
    let out = ["render", "--slide", "a", "--out", "maps"];
    refused(&bare(&out), 2, &["--checkpoint", "--model", "--features", "--backbone"]);
    refused(&bare(&[&out[..], &["--fold", "0"]].concat()), 2, &["--run"]);
    assert!(!at("none").exists());

    // Bags that were moved are told of, and found where they are.
    std::fs::rename(&trained.features, at("moved")).unwrap();
    refused(&by_run(&trained.slide, "none", &[]), 3, &[trained.features.to_str().unwrap(), "--features"]);
    said(&by_run(&trained.slide, "moved-maps", &["--features", at("moved").to_str().unwrap()]));
    assert!(hand == rendered(&at("moved-maps").join(&trained.slide)), "other files");
}

/// The scores of every patch by name of the map, from `scores.csv`.
fn scores(directory: &Path) -> BTreeMap<(String, String, String), f64> {
    let text = std::fs::read_to_string(directory.join("scores.csv")).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let at = |name: &str| names.iter().position(|found| *found == name).unwrap();
    let [module, magnification, patch, score] = ["module", "magnification", "patch", "score"].map(at);
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let key = (cells[module].to_owned(), cells[magnification].to_owned(), cells[patch].to_owned());
        (key, cells[score].parse().unwrap())
    };
    lines.map(row).collect()
}

#[test]
fn a_slide_that_took_no_part_in_a_run_is_drawn_by_all_of_its_models_as_apply_scores_it() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let trained = trained_folds(dir.path(), 16, vec![0, 1]);
    // A slide of another cohort, under a name that the run does not know.
    let new = trained.changed(at("new"), SlideInfo::default(), &Magnification::ALL, 0);
    let bag = |slide: &str| new.join(format!("{slide}.h5"));
    std::fs::rename(bag(&trained.slide), bag("new-1")).unwrap();
    let by_run = |slide: &str, out: &str, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cf-heatmap"));
        command.args(["render", "--json", "--occlusion", "4", "--slide", slide, "--run"]).arg(at("run"));
        command.arg("--features").arg(&new).arg("--out").arg(at(out)).args(more).output().unwrap()
    };
    let said = |output: &Output| -> Value {
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let together = said(&by_run("new-1", "together", &[]));
    let single =
        [0, 1].map(|fold| said(&by_run("new-1", &format!("fold-{fold}"), &["--fold", &fold.to_string()])));
    assert_eq!((&together["folds"], &together["fold"]), (&serde_json::json!([0, 1]), &Value::Null));

    // The risk and its survival are those of `cf-train apply`.
    let slides = NewSlides { features: new.clone(), ..NewSlides::default() };
    let device_name = DeviceName::Cpu;
    let record = |name: &str| -> Value {
        serde_json::from_slice(&std::fs::read(at("together/new-1").join(name)).unwrap()).unwrap()
    };
    let prediction = &record("render.json")["prediction"];
    let edges: Vec<f64> = serde_json::from_value(prediction["time_bin_edges_months"].clone()).unwrap();
    let options = ApplyOptions {
        folds: Vec::new(),
        months: edges[1..].to_vec(),
        memory_budget: None,
        device_name,
        device: device_name.open().unwrap(),
    };
    apply(&slides, (&at("run"), &at("applied")), &options, &AtomicBool::new(false), &mut |_| {}).unwrap();
    let table = std::fs::read_to_string(at("applied/predictions.csv")).unwrap();
    let row: Vec<&str> = table.lines().nth(1).unwrap().split(',').collect();
    let cell = |name: &str| -> f64 {
        let column = table.lines().next().unwrap().split(',').position(|found| found == name).unwrap();
        row[column].parse().unwrap()
    };
    let risk = together["risk"].as_f64().unwrap();
    assert!((risk - cell("risk")).abs() < 1e-6, "{risk} and {table}");
    for (value, months) in together["survival"].as_array().unwrap().iter().zip(&edges[1..]) {
        let wanted = cell(&format!("survival_{months}_months"));
        assert!((value.as_f64().unwrap() - wanted).abs() < 1e-6, "{value} and {wanted} at {months}");
    }

    // Every score, effects included, is the mean of what each model gives alone.
    let [first, second] = [0, 1].map(|fold| scores(&at(&format!("fold-{fold}")).join("new-1")));
    let mean = scores(&at("together").join("new-1"));
    assert!(mean.keys().any(|(module, ..)| module == "occlusion") && mean.len() == first.len());
    for (key, found) in &mean {
        let wanted = f64::midpoint(first[key], second[key]);
        assert!((found - wanted).abs() <= 1e-6 * wanted.abs() + 1e-9, "{key:?}: {found}, {wanted}");
        assert!(first.iter().any(|(key, score)| second[key] != *score), "this shows nothing");
    }
    assert!(single[0]["risk"] != single[1]["risk"]);
    let words = Command::new(env!("CARGO_BIN_EXE_cf-heatmap"))
        .args(["render", "--slide", "new-1", "--run"])
        .arg(at("run"))
        .arg("--features")
        .arg(&new)
        .arg("--out")
        .arg(at("words"))
        .output()
        .unwrap();
    let wanted =
        "mean over the models of folds 0, 1: this slide is in no fold of the run (--fold N takes one)";
    assert!(text(&words.stdout).contains(wanted), "{}", text(&words.stdout));
    // Another slide of a patient of the run is told as such, as `cf-train apply` tells it.
    let patient = trained.slide.split("-01Z").next().unwrap();
    let other = format!("{patient}-01Z-00-DX9");
    std::fs::copy(bag("new-1"), bag(&other)).unwrap();
    assert_eq!(
        (&together["patient_in_run"], &said(&by_run(&other, "other", &[]))["patient_in_run"]),
        (&false.into(), &true.into())
    );
    // A name that no bag has is not drawn by anything.
    let unknown = by_run("new-2", "none", &[]);
    assert_eq!(unknown.status.code(), Some(3));
    assert!(
        text(&unknown.stderr).contains("slide new-2 is in no fold of the run"),
        "{}",
        text(&unknown.stderr)
    );
}
