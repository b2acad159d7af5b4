//! The doctor: it names each planted fault, and finds nothing in a sound study.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use cf_model::{CrossFusionConfig, ModelConfig, ParamStore};
use cf_train::checkpoint::{self, CheckpointInfo};
use cf_train::config::Precision;
use cf_train::doctor::Fault;
use cf_train::simulate::{CohortKind, SimulateOptions, simulate};
use serde_json::Value;
use support::{cf_train, path, succeed, test_data};
use wsi_bags::{
    Bag, BagStore, Converter, FeatureMatrix, Layout, Magnification, PatchGeometry, PatchSet, Provenance,
    SlideInfo, native, pt, safetensors, slide_stem,
};

const N_PATIENTS: usize = 40;
const DIM: usize = 6;

/// A simulated study in a directory of its own.
struct Study {
    dir: tempfile::TempDir,
}

impl Study {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = SimulateOptions {
            n_patients: N_PATIENTS,
            backbone_dim: DIM,
            scale: 0.004,
            ..SimulateOptions::new(dir.path().join("study"), CohortKind::Additive)
        };
        simulate(&options, &mut |_, _| {}).unwrap();
        let study = Self { dir };
        // A study that ends with the censored patients alive: 40 drawn ones are too few to tell a sign by.
        study.edit_rows(|index, cells| {
            if cells[3] == "1" {
                cells[2] = format!("{}", 120 + index);
            }
        });
        study
    }

    fn copy(&self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        copy_folder(&self.path(""), &dir.path().join("study"));
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("study").join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "{name} has no `{from}`");
        self.write(name, &text.replace(from, to));
    }

    /// Changes the cells of the rows of the clinical table.
    fn edit_rows(&self, change: impl Fn(usize, &mut Vec<String>)) {
        let text = self.read("clinical.csv");
        let mut lines = text.lines();
        let mut edited = format!("{}\n", lines.next().unwrap());
        for (index, line) in lines.enumerate() {
            let mut cells: Vec<String> = line.split(',').map(str::to_owned).collect();
            change(index, &mut cells);
            edited += &format!("{}\n", cells.join(","));
        }
        self.write("clinical.csv", &edited);
    }

    /// The bag names of the table, in its order.
    fn slides(&self) -> Vec<String> {
        let text = self.read("clinical.csv");
        let slide = |line: &str| slide_stem(line.split(',').nth(1).unwrap()).to_owned();
        text.lines().skip(1).map(slide).collect()
    }

    fn bag_path(&self, index: usize) -> PathBuf {
        self.path(&format!("bags/{}.h5", self.slides()[index]))
    }

    fn bag(&self, index: usize) -> Bag {
        native::read(&self.bag_path(index), "simulated", &Magnification::ALL).unwrap()
    }

    /// Writes a bag again with changed patch sets; `None` leaves a magnification out.
    fn rewrite_bag(&self, index: usize, change: impl Fn(Magnification, &PatchSet) -> Option<PatchSet>) {
        let bag = self.bag(index);
        let sets = bag.sets().filter_map(|(at, set)| Some((at, change(at, set)?)));
        let changed = Bag::new(bag.slide_id(), sets).unwrap();
        let file = self.bag_path(index);
        fs::remove_file(&file).unwrap();
        native::write(&file, &changed, "simulated", &SlideInfo::default()).unwrap();
    }

    /// Lays the bags out as another tool would, and points the configuration there.
    fn lay_out(&self, write: impl Fn(&Path, &str, Magnification, &PatchSet)) {
        for (index, slide) in self.slides().iter().enumerate() {
            for (at, set) in self.bag(index).sets() {
                write(&self.path("features"), slide, at, set);
            }
        }
        self.edit("config.toml", "dir = \"bags\"\nlayout = \"native\"", "dir = \"features\"");
    }

    fn lay_out_pt(&self) {
        self.lay_out(|root, slide, at, set| {
            let file = pt_file(root, slide, at);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            pt::write_features(&file, set.features()).unwrap();
        });
    }

    fn lay_out_safetensors(&self) {
        self.lay_out(|root, slide, at, set| {
            let file = root.join(format!("simulated/{at}/{slide}.safetensors"));
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            safetensors::write(&file, set, "simulated", &SlideInfo::default()).unwrap();
        });
    }

    fn lay_out_clam(&self) {
        let (bags, features) = (self.path("bags"), self.path("features"));
        let store = BagStore::open(&bags, Some(Layout::Native), "simulated").unwrap();
        let mut converter = Converter::new(&store, Layout::Clam, &features).unwrap();
        for slide in self.slides() {
            converter.convert(&slide).unwrap();
        }
        self.edit("config.toml", "dir = \"bags\"\nlayout = \"native\"", "dir = \"features\"");
    }

    /// Names another model, with its own settings.
    fn take_model(&self, name: &str) {
        let config = self.read("config.toml");
        let (before, after) = (config.find("[model]").unwrap(), config.find("[training]").unwrap());
        let model = format!("[model]\nname = \"{name}\"\n\n");
        self.write("config.toml", &[&config[..before], &model, &config[after..]].concat());
    }

    /// What `doctor --json` says, and its exit code.
    fn diagnosis(&self, more: &[&str]) -> (Value, i32) {
        let (config, out) = (self.path("config.toml"), self.path("run"));
        let mut arguments = vec!["doctor", "--config", path(&config), "--out", path(&out), "--json"];
        arguments.extend(more);
        let output = cf_train(&arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
        assert!(!out.exists(), "the doctor wrote a run directory");
        (json, output.status.code().unwrap())
    }
}

fn pt_file(root: &Path, slide: &str, at: Magnification) -> PathBuf {
    root.join(format!("simulated/{at}/pt_files/{slide}.pt"))
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target)
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn features(n: usize, dim: usize) -> FeatureMatrix {
    FeatureMatrix::new((0..n * dim).map(|i| (i as f32 * 0.37).sin()).collect(), n, dim).unwrap()
}

fn torch_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../wsi-bags/tests/data").join(name)
}

/// A fault to plant: its name, its severity, and texts of its place and of what was found.
struct Planted {
    fault: &'static str,
    severity: &'static str,
    place: &'static str,
    found: &'static str,
    plant: fn(&Study) -> Vec<&'static str>,
}

const fn planted(
    fault: &'static str,
    severity: &'static str,
    place: &'static str,
    found: &'static str,
    plant: fn(&Study) -> Vec<&'static str>,
) -> Planted {
    Planted { fault, severity, place, found, plant }
}

/// Each of these alone, in a sound study.
const PLANTED: &[Planted] = &[
    planted("config-unreadable", "error", "config.toml", "No such file", |study| {
        fs::remove_file(study.path("config.toml")).unwrap();
        vec![]
    }),
    // The error that keeps the doctor from looking is named beside it.
    planted("not-examined", "note", "config.toml", "too little of the configuration", |study| {
        study.edit("config.toml", "name = \"crossfusion\"", "name = crossfusion");
        vec![]
    }),
    planted("config-syntax", "error", "config.toml", "", |study| {
        study.edit("config.toml", "name = \"crossfusion\"", "name = crossfusion");
        vec![]
    }),
    planted("unknown-key", "error", "config.toml", "`training.max_epochs`", |study| {
        study.edit("config.toml", "max_epochs", "max_epoch");
        vec![]
    }),
    planted("missing-key", "error", "config.toml", "training.protocol is missing", |study| {
        study.edit("config.toml", "protocol = \"sound\"\n", "");
        vec![]
    }),
    planted("bad-value", "error", "config.toml", "training.learning_rate is -1", |_| {
        vec!["--set", "training.learning_rate=-1"]
    }),
    planted("bad-value", "error", "config.toml", "crossfusio", |_| vec!["--set", "model.name=crossfusio"]),
    planted("unusable-table", "error", "clinical.csv", "there is no such file", |study| {
        fs::remove_file(study.path("clinical.csv")).unwrap();
        vec![]
    }),
    planted("unusable-table", "error", "clinical.csv", "2 cells", |study| {
        study.edit_rows(|index, cells| {
            if index == 3 {
                cells.truncate(2)
            }
        });
        vec![]
    }),
    planted("missing-column", "error", "clinical.csv", "`survival_months`", |study| {
        study.edit("clinical.csv", "survival_months", "months_alive");
        vec![]
    }),
    planted("sign-not-stated", "error", "clinical.csv", "censorship", |study| {
        study.edit("config.toml", "preset = \"mcat\"", "");
        vec![]
    }),
    planted("empty-id", "error", "line 5", "empty", |study| {
        study.edit_rows(|index, cells| {
            if index == 3 {
                cells[1].clear()
            }
        });
        vec![]
    }),
    planted("bad-time", "error", "line 5, column `survival_months`", "`-1`", |study| {
        study.edit_rows(|index, cells| {
            if index == 3 {
                cells[2] = "-1".to_owned()
            }
        });
        vec![]
    }),
    planted("bad-time", "error", "line 6, column `survival_months`", "`NaN`", |study| {
        study.edit_rows(|index, cells| {
            if index == 4 {
                cells[2] = "NaN".to_owned()
            }
        });
        vec![]
    }),
    planted("bad-status", "error", "line 5, column `censorship`", "`alive`", |study| {
        study.edit_rows(|index, cells| {
            if index == 3 {
                cells[3] = "alive".to_owned()
            }
        });
        vec![]
    }),
    planted("duplicate-slide", "error", "clinical.csv", "line 2 and in line 5", |study| {
        let slide = study.slides()[0].clone();
        study.edit_rows(|index, cells| {
            if index == 3 {
                cells[1].clone_from(&slide)
            }
        });
        vec![]
    }),
    planted("duplicate-patient", "error", "clinical.csv", "line 2 and in line 5", |study| {
        let text = study.read("clinical.csv");
        let first = text.lines().nth(1).unwrap().split(',').next().unwrap().to_owned();
        study.edit_rows(|index, cells| {
            if index == 3 {
                cells[0].clone_from(&first)
            }
        });
        // A table of patients: bags are called after them.
        study.edit("config.toml", "preset = \"mcat\"", "preset = \"stamp\"");
        vec![
            "--set",
            "cohort.columns.case_id=case_id",
            "--set",
            "cohort.columns.time=survival_months",
            "--set",
            "cohort.columns.time_unit=months",
            "--set",
            "cohort.columns.censorship=censorship",
        ]
    }),
    planted("duplicate-slide", "error", "slides.csv", "line 2 and in line 42", |study| {
        let table = study.read("clinical.csv");
        let row = |line: &str| {
            let cells: Vec<&str> = line.split(',').collect();
            format!("{},{}\n", cells[0], cells[1])
        };
        let mut slides = "PATIENT,FILENAME\n".to_owned();
        slides.extend(table.lines().skip(1).map(row));
        slides += &row(table.lines().nth(1).unwrap());
        study.write("slides.csv", &slides);
        vec!["--set", "cohort.slides=slides.csv"]
    }),
    planted("implausible-times", "warning", "clinical.csv", "years", |study| {
        study.edit_rows(|_, cells| {
            let months: f64 = cells[2].parse().unwrap();
            cells[2] = format!("{:.0}", 30.4375 * months);
        });
        vec![]
    }),
    planted("implausible-times", "warning", "clinical.csv", "of 40 patients is read as ", |study| {
        study.edit_rows(|_, cells| {
            let months: f64 = cells[2].parse().unwrap();
            cells[2] = format!("{:.4}", months / 100.0);
        });
        vec![]
    }),
    planted("unread-patients", "error", "clinical.csv", "P1 for ", |study| {
        study.edit("clinical.csv", "censorship", "censorship,patient_id");
        study.edit_rows(|index, cells| {
            cells.push(if index < 9 { "P1".to_owned() } else { format!("Q{index}") })
        });
        vec![]
    }),
    planted("same-features", "error", "bags", "2 slides have the same features", |study| {
        fs::copy(study.bag_path(0), study.bag_path(1)).unwrap();
        vec![]
    }),
    planted("mixed-samples", "warning", "bags", "1 of normal tissue: TCGA-A6-2684-11A-01-TS1", |study| {
        let names = ["TCGA-A6-2683-01Z-00-DX1", "TCGA-A6-2684-11A-01-TS1", "TCGA-A6-2685-01Z-00-DX1"];
        let paths = [0, 1, 2].map(|index| study.bag_path(index));
        study.edit_rows(|index, cells| {
            if let Some(name) = names.get(index) {
                cells[1] = (*name).to_owned();
            }
        });
        for (path, name) in paths.iter().zip(names) {
            fs::rename(path, path.with_file_name(format!("{name}.h5"))).unwrap();
        }
        vec![]
    }),
    planted("two-outcomes", "error", "clinical.csv", "has two outcomes", |study| {
        let text = study.read("clinical.csv");
        let first = text.lines().nth(1).unwrap().split(',').next().unwrap().to_owned();
        study.edit_rows(|index, cells| {
            if index == 3 {
                cells[0].clone_from(&first)
            }
        });
        vec![]
    }),
    planted("no-event", "error", "clinical.csv", "all 40 slides are censored", |study| {
        study.edit_rows(|_, cells| cells[3] = "1".to_owned());
        vec![]
    }),
    planted("inverted-status", "error", "clinical.csv", "looks inverted", |study| {
        invert(&study.path("clinical.csv"));
        vec![]
    }),
    planted("inverted-status", "error", "clinical.csv", "its name says the opposite", |_| {
        vec!["--set", "cohort.columns.event=censorship"]
    }),
    planted("rows-left-out", "note", "clinical.csv", "without a time or a status", |study| {
        study.edit_rows(|index, cells| {
            if index == 3 {
                cells[2].clear()
            }
        });
        vec!["--set", "cohort.missing_outcome=skip"]
    }),
    planted("unusable-splits", "error", "splits", "there is no such directory or file", |study| {
        fs::remove_dir_all(study.path("splits")).unwrap();
        vec![]
    }),
    planted("unusable-splits", "error", "splits", "no splits_0.csv", |study| {
        fs::remove_dir_all(study.path("splits")).unwrap();
        fs::create_dir(study.path("splits")).unwrap();
        vec![]
    }),
    planted("no-bags", "error", "x10", "is the folder of one magnification", |study| {
        study.lay_out_clam();
        study.edit("config.toml", "dir = \"features\"", "dir = \"features/x10\"");
        vec![]
    }),
    planted("patient-in-both-parts", "error", "splits_1.csv", "stands in `train`", |study| {
        let text = study.read("splits/splits_1.csv");
        let cells: Vec<&str> = text.lines().nth(1).unwrap().split(',').collect();
        study.edit("splits/splits_1.csv", &format!(",{}\n", cells[2]), &format!(",{}\n", cells[1]));
        vec![]
    }),
    planted("patient-in-both-parts", "error", "fold 1", "TCGA-AA-0001", |study| {
        // Two cases of one patient, by their barcodes.
        let (first, second) = (validated(study, 1)[0].clone(), validated(study, 2)[0].clone());
        let table = study.read("clinical.csv");
        let row = |case: &str| table.lines().find(|line| line.starts_with(case)).unwrap().to_owned();
        let outcome = |row: &str| row.splitn(3, ',').nth(2).unwrap().to_owned();
        let (one, other) = (row(&first), row(&second));
        study.edit("clinical.csv", &other, &other.replace(&outcome(&other), &outcome(&one)));
        for (case, barcode) in [(&first, "TCGA-AA-0001-01"), (&second, "TCGA-AA-0001-02")] {
            study.edit("clinical.csv", &format!("\n{case},"), &format!("\n{barcode},"));
            for fold in 0..5 {
                let file = format!("splits/splits_{fold}.csv");
                study.edit(&file, &format!(",{case}"), &format!(",{barcode}"));
            }
        }
        vec![]
    }),
    planted("duplicate-id", "error", "splits_1.csv", "stands in `train`", |study| {
        let text = study.read("splits/splits_1.csv");
        let trained: Vec<&str> = text.lines().skip(1).map(|line| line.split(',').nth(1).unwrap()).collect();
        study.edit("splits/splits_1.csv", &format!(",{},", trained[1]), &format!(",{},", trained[0]));
        vec![]
    }),
    planted("never-validated", "note", "splits", "validated by no fold", |study| {
        let left_out = validated(study, 2)[0].clone();
        study.edit("splits/splits_2.csv", &format!(",{left_out}\n"), ",\n");
        vec![]
    }),
    planted("validated-twice", "warning", "splits", "1 patients validated by several folds: SIM-", |study| {
        let case = validated(study, 0)[0].clone();
        study.edit("splits/splits_1.csv", &format!(",{case},"), ",,");
        study.edit("splits/splits_1.csv", ",train,val\n", &format!(",train,val\n99,,{case}\n"));
        vec![]
    }),
    planted(
        "same-validation",
        "error",
        "splits_1.csv",
        "validates the same patients as fold 0 (splits_0.csv)",
        |study| {
            fs::copy(study.path("splits/splits_0.csv"), study.path("splits/splits_1.csv")).unwrap();
            vec![]
        },
    ),
    planted(
        "same-validation",
        "error",
        "splits_1.csv",
        "validates the same patients as fold 0 (splits_0.csv)",
        |study| {
            // One patient more than fold 0, whose slides have no bags.
            let more = validated(study, 1)[0].clone();
            for bag in study.slides().iter().filter(|slide| slide.starts_with(&more)) {
                fs::remove_file(study.path(&format!("bags/{bag}.h5"))).unwrap();
            }
            let first = study.read("splits/splits_0.csv");
            let text = first.replace(&format!(",{more},"), ",,") + &format!("99,,{more}\n");
            study.write("splits/splits_1.csv", &text);
            vec![]
        },
    ),
    planted(
        "shared-sites",
        "note",
        "splits",
        "100 % of validated patients are of sites that are trained on",
        |study| {
            // Barcodes of one site.
            study.edit_rows(|_, cells| cells[0] = cells[0].replace("SIM-", "TCGA-AA-"));
            for fold in 0..5 {
                study.edit(&format!("splits/splits_{fold}.csv"), ",SIM-", ",TCGA-AA-");
            }
            vec![]
        },
    ),
    planted("time-bins", "error", "fold 0", "event times are not distinct", |study| {
        study.edit_rows(|_, cells| {
            if cells[3] == "0" {
                cells[2] = "10".to_owned();
            }
        });
        vec![]
    }),
    planted("fold-without-event", "warning", "splits_0.csv", "validation patients has an event", |study| {
        let validated = validated(study, 0);
        study.edit_rows(|_, cells| {
            if validated.contains(&cells[0]) {
                cells[3] = "1".to_owned();
            }
        });
        vec![]
    }),
    planted(
        "fold-without-event",
        "warning",
        "splits_0.csv",
        "validation slides that have a bag has an event",
        |study| {
            let validated = validated(study, 0);
            let text = study.read("clinical.csv");
            let rows = text.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
            let (mut censored, mut n_events) = (0, 0);
            for (index, cells) in
                rows.enumerate().filter(|(_, cells)| validated.contains(&cells[0].to_owned()))
            {
                if cells[3] == "1" {
                    censored += 1;
                } else {
                    n_events += 1;
                    fs::remove_file(study.bag_path(index)).unwrap();
                }
            }
            assert!(censored > 0 && n_events > 0, "this shows nothing");
            vec![]
        },
    ),
    planted("bad-value", "error", "fold 0", "not one optimiser step is made", |_| {
        vec!["--set", "training.protocol=paper", "--set", "training.accumulation=100000"]
    }),
    planted("bad-value", "error", "config.toml", "training.accumulation is 1, expected at least 2", |_| {
        vec!["--set", "training.loss=cox", "--set", "training.accumulation=1"]
    }),
    planted("empty-fold", "error", "splits_0.csv", "0 training", |study| {
        let text = study.read("splits/splits_0.csv");
        let renamed: String = text
            .lines()
            .map(|line| match line.split_once(',') {
                Some((index, rest)) if !index.is_empty() => format!("{index},x{}\n", rest.replace(',', ",x")),
                _ => format!("{line}\n"),
            })
            .collect();
        study.write("splits/splits_0.csv", &renamed);
        vec![]
    }),
    planted("ids-not-joined", "error", "bags", "40 of 40 slides of the table have no bag", |study| {
        study.edit_rows(|_, cells| cells[1] = format!("other-{}", cells[1]));
        vec![]
    }),
    planted("ids-not-joined", "warning", "splits", "of the splits without a row", |study| {
        let first = validated(study, 2)[0].clone();
        study.edit("splits/splits_2.csv", &first, "stranger");
        vec![]
    }),
    planted("no-bags", "error", "bags", "", |study| {
        fs::remove_dir_all(study.path("bags")).unwrap();
        vec![]
    }),
    planted("two-layouts", "error", "bags", "more than one layout", |study| {
        let file = pt_file(&study.path("bags"), "a", Magnification::X5);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        pt::write_features(&file, &features(3, DIM)).unwrap();
        study.edit("config.toml", "layout = \"native\"", "");
        vec![]
    }),
    planted("two-encoders", "error", "features", "more than one folder", |study| {
        study.lay_out_safetensors();
        let slide = study.slides().remove(0);
        let whole = study.path(&format!("features/simulated/{slide}.safetensors"));
        fs::copy(study.path(&format!("features/simulated/x5/{slide}.safetensors")), whole).unwrap();
        vec![]
    }),
    planted("missing-encoder", "error", ".h5", "no features of encoder `uni`", |_| {
        vec!["--set", "features.backbone=uni"]
    }),
    planted("missing-magnification", "warning", ".h5", "lacks x10", |study| {
        study.rewrite_bag(3, |at, set| (at != Magnification::X10).then(|| set.clone()));
        vec![]
    }),
    planted("missing-magnification", "warning", "x20", "lacks x20", |study| {
        study.lay_out_pt();
        fs::remove_file(pt_file(&study.path("features"), &study.slides()[3], Magnification::X20)).unwrap();
        vec![]
    }),
    planted(
        "missing-patch-fact",
        "error",
        "features",
        "patchgcn needs coordinates of the x20 patches, which 40 of 40 bags lack: ",
        |study| {
            study.lay_out_pt();
            study.take_model("patchgcn");
            vec![]
        },
    ),
    planted("empty-file", "error", ".h5", "", |study| {
        fs::write(study.bag_path(3), b"").unwrap();
        vec![]
    }),
    planted("truncated-file", "error", ".h5", "", |study| {
        cut_in_half(&study.bag_path(3));
        vec![]
    }),
    planted("unreadable-file", "error", ".h5", "open the file", |study| {
        dangle(&study.bag_path(3));
        vec![]
    }),
    planted("unreadable-file", "error", "x10/pt_files", "open the file", |study| {
        study.lay_out_pt();
        dangle(&pt_file(&study.path("features"), &study.slides()[3], Magnification::X10));
        vec![]
    }),
    planted("truncated-file", "error", "x10/pt_files", "", |study| {
        study.lay_out_pt();
        cut_in_half(&pt_file(&study.path("features"), &study.slides()[3], Magnification::X10));
        vec![]
    }),
    planted("wrong-file-kind", "error", ".pt", "list", |study| swap_in(study, "wrong_list.pt")),
    planted("wrong-file-kind", "error", ".pt", "dict", |study| swap_in(study, "wrong_dict.pt")),
    planted("wrong-file-kind", "error", ".pt", "NumPy", |study| swap_in(study, "wrong_numpy.pt")),
    planted("zero-patches", "error", ".pt", "no patches", |study| swap_in(study, "wrong_no_rows.pt")),
    planted("nan-features", "error", ".pt", "NaN or infinite", |study| swap_in(study, "wrong_nan.pt")),
    planted("nan-features", "error", ".pt", "NaN or infinite", |study| swap_in(study, "wrong_inf.pt")),
    planted("feature-width", "error", ".h5", "9 columns, most slides have 6", |study| {
        study.rewrite_bag(3, |_, set| {
            Some(PatchSet::new(features(set.n_patches(), 9)).with_coords(set.coords()?.to_vec()).unwrap())
        });
        vec![]
    }),
    planted("feature-width", "error", "slide", "7 columns, expected 6", |study| {
        study.lay_out_pt();
        let file = pt_file(&study.path("features"), &study.slides()[3], Magnification::X20);
        pt::write_features(&file, &features(32, DIM + 1)).unwrap();
        vec![]
    }),
    planted("coords-rows", "error", ".safetensors", "coords has 1 rows", |study| {
        study.lay_out_safetensors();
        let (n, values, corner) = (8_usize, [0.5_f32; 8 * DIM], [0_i64; 2]);
        let values: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        let corner: Vec<u8> = corner.iter().flat_map(|x| x.to_le_bytes()).collect();
        let view = |dtype, shape, bytes| ::safetensors::tensor::TensorView::new(dtype, shape, bytes).unwrap();
        let tensors = [
            ("features", view(::safetensors::Dtype::F32, vec![n, DIM], &values)),
            ("coords", view(::safetensors::Dtype::I64, vec![1, 2], &corner)),
        ];
        let bytes = ::safetensors::serialize(tensors, None).unwrap();
        fs::write(study.path(&format!("features/simulated/x10/{}.safetensors", study.slides()[3])), bytes)
            .unwrap();
        vec![]
    }),
    planted("coords-off-slide", "error", ".safetensors", "1 pixels wide at level 0", |study| {
        study.lay_out_safetensors();
        let slide = SlideInfo { width: Some(1), height: Some(1), mpp: None };
        let file = study.path(&format!("features/simulated/x10/{}.safetensors", study.slides()[3]));
        safetensors::write(&file, study.bag(3).at(Magnification::X10).unwrap(), "simulated", &slide).unwrap();
        vec![]
    }),
    planted("files-disagree", "error", "slide", "number of patches", |study| {
        study.lay_out_clam();
        let file = study.path(&format!("features/x10/pt_files/{}.pt", study.slides()[3]));
        pt::write_features(&file, &features(3, DIM)).unwrap();
        vec![]
    }),
    planted("row-order-mixed", "warning", "bags", "most slides have rows in order `row-major`", |study| {
        study.rewrite_bag(3, |_, set| {
            let mut coords = set.coords()?.to_vec();
            coords.reverse();
            Some(PatchSet::new(set.features().clone()).with_coords(coords).unwrap())
        });
        vec![]
    }),
    planted("features-mixed", "warning", "bags", "and 1 by others, such as weights of SHA-256 bb", |study| {
        for slide in 1..4 {
            study.rewrite_bag(slide, |_, set| {
                let weights = if slide == 3 { "bb" } else { "aa" }.repeat(32);
                let provenance = Provenance { weights_sha256: Some(weights), ..Provenance::default() };
                let coords = set.coords()?.to_vec();
                let made = PatchSet::new(set.features().clone()).with_coords(coords).unwrap();
                Some(made.with_provenance(provenance))
            });
        }
        vec![]
    }),
    planted("scale-proportion", "warning", ".h5", "at x20", |study| {
        study.rewrite_bag(3, |at, set| {
            let n = if at == Magnification::X20 { 1 } else { set.n_patches() };
            let coords = set.coords()?[..n].to_vec();
            Some(PatchSet::new(features(n, DIM)).with_coords(coords).unwrap())
        });
        vec![]
    }),
    planted("initial-weights", "error", "absent.safetensors", "", |_| {
        vec!["--set", "training.initial_weights=absent.safetensors"]
    }),
    planted("mpp-clash", "warning", ".h5", "which is about 10.0x", |study| {
        study.rewrite_bag(3, |at, set| {
            let geometry = PatchGeometry { mpp: (at == Magnification::X20).then_some(1.0), ..set.geometry() };
            Some(set.clone().with_geometry(geometry).unwrap())
        });
        vec![]
    }),
    planted("cluster-time", "warning", "time limit", "would be cut off about", |_| {
        vec!["--time", "00:00:01", "--cpus", "1"]
    }),
    planted(
        "memory",
        "error",
        "slide",
        "1 MiB are available, which is less than the model takes with any bag",
        |_| vec!["--memory", "1 MiB"],
    ),
    planted("disk-space", "error", "study", "a run needs", |_| {
        vec!["--set", "model.embed_dim=10000", "--set", "model.num_layers=10000"]
    }),
];

fn swap_in(study: &Study, name: &str) -> Vec<&'static str> {
    study.lay_out_pt();
    fs::copy(torch_file(name), pt_file(&study.path("features"), &study.slides()[3], Magnification::X5))
        .unwrap();
    vec![]
}

/// Puts a link that leads nowhere in the place of a file.
fn dangle(file: &Path) {
    fs::remove_file(file).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("moved-away", file).unwrap();
}

fn cut_in_half(file: &Path) {
    let bytes = fs::read(file).unwrap();
    fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
}

/// The cases that a fold validates.
fn validated(study: &Study, fold: usize) -> Vec<String> {
    let text = study.read(&format!("splits/splits_{fold}.csv"));
    let cells = text.lines().skip(1).filter_map(|line| line.split(',').nth(2));
    cells.filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
}

/// Turns the column `censorship` of a table round.
fn invert(table: &Path) {
    let mut reader = csv::Reader::from_path(table).unwrap();
    let header = reader.headers().unwrap().clone();
    let column = header.iter().position(|name| name == "censorship").unwrap();
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.unwrap()).collect();
    let mut writer = csv::Writer::from_path(table).unwrap();
    writer.write_record(&header).unwrap();
    for row in rows {
        let turned = |cell: &str| if cell.parse::<f64>().unwrap() == 0.0 { "1" } else { "0" };
        writer
            .write_record(
                row.iter().enumerate().map(|(at, cell)| if at == column { turned(cell) } else { cell }),
            )
            .unwrap();
    }
    writer.flush().unwrap();
}

fn text<'a>(finding: &'a Value, key: &str) -> &'a str {
    finding[key].as_str().unwrap_or_else(|| panic!("no {key} in {finding}"))
}

fn count(diagnosis: &Value, severity: &str) -> usize {
    diagnosis["findings"].as_array().unwrap().iter().filter(|finding| finding["severity"] == severity).count()
}

/// All findings that are no notes, to be read where a test fails.
fn complaints(diagnosis: &Value) -> String {
    let findings = diagnosis["findings"].as_array().unwrap();
    let complaints = findings.iter().filter(|finding| finding["severity"] != "note");
    complaints.map(|finding| format!("{finding}\n")).collect()
}

#[test]
fn each_planted_fault_is_named_with_its_place() {
    let sound = Study::new();
    let mut names: Vec<&str> = PLANTED.iter().map(|planted| planted.fault).collect();
    names.sort_unstable();
    names.dedup();
    let mut every: Vec<&str> = Fault::ALL.iter().map(|fault| fault.name()).collect();
    every.sort_unstable();
    assert_eq!(names, every, "each fault that has a name is planted");
    let mut missed = String::new();
    for planted in PLANTED {
        let study = sound.copy();
        let more = (planted.plant)(&study);
        let (diagnosis, code) = study.diagnosis(&more);
        let is_named = diagnosis["findings"].as_array().unwrap().iter().any(|finding| {
            text(finding, "fault") == planted.fault
                && text(finding, "severity") == planted.severity
                && text(finding, "place").contains(planted.place)
                && text(finding, "found").contains(planted.found)
                && !text(finding, "wanted").is_empty()
                && !text(finding, "way_out").is_empty()
        });
        let complaints = complaints(&diagnosis);
        if !is_named {
            missed += &format!("{} {:?} is not in:\n{complaints}\n", planted.fault, planted.found);
        }
        assert_eq!(diagnosis["errors"], count(&diagnosis, "error"));
        assert_eq!(diagnosis["warnings"], count(&diagnosis, "warning"));
        let has_errors = diagnosis["errors"] != 0;
        let wanted = match planted.fault {
            "memory" => 4,
            _ if has_errors => 3,
            _ => 0,
        };
        assert_eq!(code, wanted, "{}:\n{complaints}", planted.fault);
        let wanted = planted.severity == "error" || planted.fault == "not-examined";
        assert_eq!(has_errors, wanted, "{}:\n{complaints}", planted.fault);
    }
    assert!(missed.is_empty(), "{missed}");
}

/// Where `val` chooses the epoch, what is wrong with it is as wrong as with the part that is reported.
#[test]
fn a_part_that_is_to_choose_the_epoch_is_examined() {
    let study = Study::new();
    let cases: Vec<String> = study
        .read("clinical.csv")
        .lines()
        .skip(1)
        .map(|line| line.split(',').next().unwrap().to_owned())
        .collect();
    let (mut censored, mut last) = (Vec::new(), Vec::new());
    for line in study.read("clinical.csv").lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        if cells[3] == "1" { censored.push(cells[0].to_owned()) } else { last.push(cells[0].to_owned()) }
    }
    let folds = |val: &[String], more: &str| {
        let mut text = "case_id\tfold_0\n".to_owned();
        let test = &last[..3];
        for case in &cases {
            let part = match case {
                case if val.contains(case) => "val",
                case if test.contains(case) => "test",
                _ => "train",
            };
            text += &format!("{case}\t{part}\n");
        }
        fs::write(study.path("k=all.tsv"), text + more).unwrap();
    };
    let splits = format!("cohort.splits={}", path(&study.path("k=all.tsv")));
    let set = ["--set", &splits, "--set", "training.inner_validation=val"];
    let val: Vec<String> = last[3..6].iter().chain(&censored[..3]).cloned().collect();
    folds(&val, "");
    let (diagnosis, code) = study.diagnosis(&set);
    assert_eq!((complaints(&diagnosis).as_str(), code), ("", 0));
    let never = diagnosis["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["fault"] == "never-validated");
    assert!(
        text(never.unwrap(), "found").starts_with("37 cases in folds and validated by no fold"),
        "{diagnosis}"
    );

    let complains = |texts: [&str; 2]| {
        let (diagnosis, code) = study.diagnosis(&set);
        let told = complaints(&diagnosis);
        assert!(code == 3 && texts.iter().all(|text| told.contains(text)), "{told}");
    };
    folds(&censored[..3], "");
    complains(["fold-without-event", "none of the 3 patients of val has an event to choose the epoch by"]);
    folds(
        &val,
        &format!("{}\ttrain\n", study.slides()[cases.iter().position(|case| *case == val[0]).unwrap()]),
    );
    complains(["patient-in-both-parts", "1 patients of val, which chooses the epoch, are in another"]);
    folds(&[], "");
    complains(["unusable-splits", "fold 0: found train and test, expected train, val and test"]);
    complains(["unusable-splits", "give every fold ids in train, val and test"]);
}

#[test]
fn a_sound_study_has_neither_errors_nor_warnings() {
    let sound = Study::new();
    let (other_forms, pt, clam) = (sound.copy(), sound.copy(), sound.copy());
    other_forms.lay_out_safetensors();
    pt.lay_out_pt();
    clam.lay_out_clam();
    for study in [&sound, &other_forms, &pt, &clam] {
        let (diagnosis, code) = study.diagnosis(&[]);
        assert_eq!((complaints(&diagnosis).as_str(), code), ("", 0));
        assert_eq!((&diagnosis["errors"], &diagnosis["warnings"]), (&Value::from(0), &Value::from(0)));
        let cohort = &diagnosis["cohort"];
        assert_eq!((&cohort["n_slides"], &cohort["n_patients"]), (&Value::from(40), &Value::from(40)));
        let share = cohort["n_events"].as_f64().unwrap() / 40.0;
        assert_eq!(cohort["event_share"].as_f64().unwrap(), share);
        assert!(diagnosis["memory"]["predicted_peak_bytes"].as_u64().unwrap() > 64 << 20);
        assert!(
            diagnosis["disk"]["free_bytes"].as_u64().unwrap()
                > diagnosis["disk"]["needed_bytes"].as_u64().unwrap()
        );
    }
}

#[test]
fn faults_of_every_step_are_reported_at_once_and_for_people() {
    let study = Study::new();
    study.edit("config.toml", "max_epochs", "max_epoch");
    study.edit_rows(|index, cells| match index {
        3 | 5 => cells[2] = "-1".to_owned(),
        8 => cells[3] = "alive".to_owned(),
        _ => {}
    });
    let text_of_fold = study.read("splits/splits_1.csv");
    let cells: Vec<&str> = text_of_fold.lines().nth(1).unwrap().split(',').collect();
    study.edit("splits/splits_1.csv", &format!(",{}\n", cells[2]), &format!(",{}\n", cells[1]));
    fs::write(study.bag_path(0), b"").unwrap();
    cut_in_half(&study.bag_path(1));
    let (diagnosis, code) = study.diagnosis(&[]);
    assert_eq!(code, 3);
    let n = |fault: &str| {
        let findings = diagnosis["findings"].as_array().unwrap();
        findings.iter().filter(|finding| finding["fault"] == fault).count()
    };
    let counts =
        ["unknown-key", "bad-time", "bad-status", "patient-in-both-parts", "empty-file", "truncated-file"]
            .map(n);
    assert_eq!(counts, [1, 2, 1, 1, 1, 1], "{}", complaints(&diagnosis));

    let config = study.path("config.toml");
    let output = cf_train(&["doctor", "--config", path(&config)]);
    let (shown, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    for wanted in
        ["patients", "with an event", "bad-time", "line 5, column `survival_months`", "way out", "memory"]
    {
        assert!(shown.contains(wanted), "`{wanted}` is not in:\n{shown}");
    }
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr.contains("the doctor found"), "{stderr}");
}

/// What the doctor finds of a kind.
fn findings_of<'a>(diagnosis: &'a Value, fault: &str) -> Vec<&'a Value> {
    let findings = diagnosis["findings"].as_array().unwrap();
    findings.iter().filter(|finding| finding["fault"] == fault).collect()
}

/// Bags of CLAM without a patch size: what says how to mend them is followed, and mends them.
#[test]
fn bags_whose_coordinates_tell_what_a_model_needs_are_told_to_be_converted() {
    let study = Study::new();
    study.lay_out(|root, slide, at, set| {
        let (files, file) = (root.join(format!("{at}/h5_files")), format!("{slide}.h5"));
        fs::create_dir_all(&files).unwrap();
        let alone =
            PatchSet::new(set.features().clone()).with_coords(set.coords().unwrap().to_vec()).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let native = scratch.path().join(&file);
        native::write(&native, &Bag::new(slide, [(at, alone)]).unwrap(), "simulated", &SlideInfo::default())
            .unwrap();
        let store = BagStore::open(scratch.path(), Some(Layout::Native), "simulated").unwrap();
        let out = scratch.path().join("clam");
        Converter::new(&store, Layout::Clam, &out).unwrap().convert(slide).unwrap();
        fs::rename(out.join(format!("{at}/h5_files/{file}")), files.join(file)).unwrap();
    });
    study.take_model("csmil");
    let features = study.path("hospital's features");
    fs::rename(study.path("features"), &features).unwrap();
    study.edit("config.toml", "dir = \"features\"", "dir = \"hospital's features\"");
    let (diagnosis, code) = study.diagnosis(&[]);
    // Two of the simulated slides have too few patches to tell the distance between them.
    let [told_apart, finding] = findings_of(&diagnosis, "missing-patch-fact")[..] else {
        panic!("{}", complaints(&diagnosis))
    };
    assert_eq!((code, &diagnosis["errors"]), (3, &Value::from(2)));
    assert!(text(told_apart, "found").contains("which 2 of 40 bags lack: "), "{told_apart}");
    assert!(text(told_apart, "way_out").starts_with("extract again"), "{told_apart}");
    assert!(text(finding, "found").contains("which 38 of 40 bags lack: "), "{finding}");
    let config = study.path("config.toml");
    let command = format!(
        r"`wsi-bags convert --features '{}' --layout clam --backbone simulated --to native --out BAGS`",
        path(&features).replace('\'', r"'\''")
    );
    assert!(text(finding, "way_out").contains(&command), "{finding}");
    let run = study.path("run");
    let told = cf_train(&["cv", "--config", path(&config), "--out", path(&run)]);
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(told.contains(&command) && !told.contains("again"), "{told}");
    fs::remove_dir_all(&run).unwrap_or_default();

    let store = BagStore::open(&features, None, "simulated").unwrap();
    let out = study.path("converted");
    let mut converter = Converter::new(&store, Layout::Native, &out).unwrap();
    for slide in store.slide_ids() {
        converter.convert(slide).unwrap();
    }
    let (converted, code) = study.diagnosis(&["--set", "features.dir=converted"]);
    let [left] = findings_of(&converted, "missing-patch-fact")[..] else {
        panic!("{}", complaints(&converted))
    };
    assert_eq!((text(left, "found"), code), (text(told_apart, "found"), 3), "the others are mended");

    // Of a quadtree, the sizes themselves are wanted, which coordinates alone do not state.
    study.take_model("zoommil");
    let (diagnosis, _) = study.diagnosis(&[]);
    let [finding] = findings_of(&diagnosis, "missing-patch-fact")[..] else {
        panic!("{}", complaints(&diagnosis))
    };
    assert!(text(finding, "way_out").starts_with("extract again"), "{finding}");
}

/// A patient of the clinical table whom the slide table has no row of.
#[test]
fn a_patient_without_a_slide_row_is_not_said_to_be_without_a_clinical_one() {
    let study = Study::new();
    let rows: Vec<Vec<String>> = study
        .read("clinical.csv")
        .lines()
        .skip(1)
        .map(|line| line.split(',').map(str::to_owned).collect())
        .collect();
    let lacking = &rows[5][0];
    let mut slides = "PATIENT,FILENAME\n".to_owned();
    slides.extend(rows.iter().filter(|row| row[0] != *lacking).map(|row| format!("{},{}\n", row[0], row[1])));
    study.write("slides.csv", &slides);
    let set = ["--set", "cohort.slides=slides.csv"];
    let (diagnosis, code) = study.diagnosis(&set);
    let complaints = complaints(&diagnosis);
    assert_eq!(
        (code, &diagnosis["warnings"], findings_of(&diagnosis, "rows-left-out").len()),
        (0, &Value::from(1), 0),
        "{complaints}"
    );
    let of_patient = findings_of(&diagnosis, "ids-not-joined");
    let finding = of_patient.iter().find(|finding| finding["severity"] == "warning").unwrap();
    assert_eq!(text(finding, "found"), format!("patient without a row in the slide table: {lacking}"));
    assert!(text(finding, "place").ends_with("slides.csv"), "{finding}");
    assert_eq!(text(finding, "wanted"), "a row in the slide table for every patient");
    assert!(!complaints.contains("in the clinical table"), "{complaints}");
    let config = study.path("config.toml");
    let plan = succeed(&[&["cv", "--dry-run", "--json", "--config", path(&config)], &set[..]].concat());
    assert!(plan.contains("patient without a row in the slide table"), "{plan}");
    assert!(!plan.contains("without a row in the clinical table"), "{plan}");
}

/// What a way out says helps where it is followed.
#[test]
fn the_ways_out_of_times_that_are_none_lead_out() {
    let sound = Study::new();
    let with_time = |time: &str| {
        let study = sound.copy();
        study.edit_rows(|index, cells| {
            if index == 3 {
                cells[2] = time.to_owned();
            }
        });
        study
    };
    let skip = ["--set", "cohort.missing_outcome=skip"];
    let way_out = |study: &Study, more: &[&str]| {
        let (diagnosis, _) = study.diagnosis(more);
        let [finding] = findings_of(&diagnosis, "bad-time")[..] else { panic!("{}", complaints(&diagnosis)) };
        (text(finding, "found").to_owned(), text(finding, "way_out").to_owned())
    };
    let emptied =
        "correct the cell; where no time was recorded, empty it and write missing_outcome = \"skip\"";
    for more in [&[][..], &skip] {
        assert!(way_out(&with_time("-1.0"), more).1.starts_with(emptied));
    }
    assert!(way_out(&with_time(""), &[]).1.contains("write missing_outcome = \"skip\" in [cohort]"));
    let (diagnosis, code) = with_time("").diagnosis(&skip);
    assert_eq!((findings_of(&diagnosis, "bad-time").len(), code), (0, 0), "{}", complaints(&diagnosis));
    for more in [&[][..], &skip] {
        let (found, way_out) = way_out(&with_time("\"0,27\""), more);
        assert!(
            found.contains("found `0,27`") && found.contains("this is a decimal comma; write 0.27"),
            "{found}"
        );
        assert!(way_out.contains("decimal points") && !way_out.contains("skip"), "{way_out}");
    }
    for (time, wanted) in [
        ("1,260", "write 1260 if the comma separates thousands, 1.260 if it is a decimal comma"),
        ("1,260,500", "without commas between thousands: write 1260500"),
    ] {
        let (found, way_out) = way_out(&with_time(&format!("\"{time}\"")), &[]);
        assert!(found.contains(&format!("found `{time}`")) && found.contains(wanted), "{found}");
        assert!(!found.contains("this is a decimal comma"), "{found}");
        assert!(way_out.contains("without separators of thousands"), "{way_out}");
    }

    let of = |more: &[&str], fault: &str| {
        let (diagnosis, _) = sound.diagnosis(more);
        text(findings_of(&diagnosis, fault)[0], "way_out").to_owned()
    };
    assert_eq!(of(&["--set", "cohort.clinical=nosuch.csv"], "unusable-table"), "correct cohort.clinical");
    assert_eq!(of(&["--set", "cohort.slides=nosuch.csv"], "unusable-table"), "correct cohort.slides");
    assert!(
        of(&["--set", "cohort.splits=nosuch"], "unusable-splits").starts_with("correct cohort.splits, or")
    );
}

/// A column written with decimal commas is told once to people and cell by cell to programs, and no other finding says that the table has
/// no rows; what is wrong beside it is told.
#[test]
fn a_whole_column_of_one_fault_is_told_once() {
    let study = Study::new();
    study.edit_rows(|_, cells| cells[2] = format!("\"{},5\"", cells[2].split('.').next().unwrap()));
    let (diagnosis, code) = study.diagnosis(&[]);
    let findings: Vec<&Value> = diagnosis["findings"].as_array().unwrap().iter().collect();
    let of_table: Vec<&&Value> =
        findings.iter().filter(|f| text(f, "place").contains("clinical.csv")).collect();
    assert_eq!((of_table.len(), code), (40, 3), "{}", complaints(&diagnosis));
    assert!(of_table.iter().all(|finding| text(finding, "fault") == "bad-time"));
    let config = study.path("config.toml");
    let told = String::from_utf8(cf_train(&["doctor", "--config", path(&config)]).stdout).unwrap();
    assert_eq!(told.matches("with a decimal point").count(), 3, "{told}");
    assert!(told.contains("and 37 more of these: lines 5, 6, "), "{told}");

    let study = Study::new();
    study.edit_rows(|index, cells| {
        if index == 3 {
            cells[2] = "-1".to_owned();
        }
    });
    let (diagnosis, _) = study.diagnosis(&["--set", "cohort.slides=nowhere.csv"]);
    assert!(complaints(&diagnosis).contains("bad-time"), "{}", complaints(&diagnosis));
    assert!(complaints(&diagnosis).contains("nowhere.csv"), "{}", complaints(&diagnosis));
}

/// Bags that are called as slide files are those of the table, in the time of a fold, too.
#[test]
fn a_fold_takes_as_long_whatever_its_bags_are_called() {
    let study = Study::new();
    let seconds = |study: &Study| study.diagnosis(&[]).0["time"]["predicted_seconds"].as_f64().unwrap();
    let wanted = seconds(&study);
    for index in 0..study.slides().len() {
        let path = study.bag_path(index);
        let stem = path.file_stem().unwrap().to_str().unwrap();
        fs::rename(&path, path.with_file_name(format!("{stem}.svs.h5"))).unwrap();
    }
    assert_eq!(seconds(&study), wanted);
    let config = study.path("config.toml");
    let plan =
        succeed(&["cv", "--dry-run", "--json", "--config", path(&config), "--out", path(&study.path("run"))]);
    let flow: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(flow["flow"][1]["dropped"], serde_json::json!([]), "{flow}");
}

#[test]
fn weights_to_start_from_are_held_against_model_and_bags() {
    let study = Study::new();
    let weights = |name: &str, embed_dim: usize, backbone_dim: usize, row_order: &str| {
        let settings = CrossFusionConfig { embed_dim, ..Default::default() };
        let model = ModelConfig::Crossfusion(settings);
        let store = ParamStore::seeded(7, DType::F32, &Device::Cpu);
        model.build(backbone_dim, store.builder()).unwrap();
        let info = CheckpointInfo {
            encoder: "simulated",
            time_bin_edges_months: &[],
            model: &model,
            backbone_dim,
            row_order,
            precision: Precision::F32,
            config_hash: 0,
            fold: 0,
            epoch: 1,
        };
        checkpoint::write(&study.path(name), &store, &info).unwrap();
    };
    weights("fit.safetensors", 32, DIM, "row-major");
    weights("wide.safetensors", 32, DIM + 2, "row-major");
    weights("deep.safetensors", 16, DIM, "row-major");
    weights("column.safetensors", 32, DIM, "file");
    for (name, complaints) in [
        ("fit.safetensors", vec![]),
        ("wide.safetensors", vec![("feature-width", "error", "features of 8 columns, the bags have 6")]),
        ("deep.safetensors", vec![("initial-weights", "error", "embed_dim 16, the configuration says 32")]),
        ("column.safetensors", vec![("row-order-mixed", "warning", "order `file`")]),
    ] {
        let set = format!("training.initial_weights={name}");
        let (diagnosis, code) = study.diagnosis(&["--set", &set]);
        let found: Vec<&Value> = diagnosis["findings"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|finding| finding["severity"] != "note")
            .collect();
        assert_eq!(found.len(), complaints.len(), "{name}: {found:?}");
        for (finding, (fault, severity, text_found)) in found.into_iter().zip(&complaints) {
            assert_eq!((text(finding, "fault"), text(finding, "severity")), (*fault, *severity));
            assert!(text(finding, "found").contains(text_found), "{finding}");
            assert!(text(finding, "place").contains(name), "{finding}");
        }
        let has_error = complaints.iter().any(|(_, severity, _)| *severity == "error");
        assert_eq!(code, if has_error { 3 } else { 0 }, "{name}");
    }
}

#[test]
fn a_configuration_in_the_current_directory_is_found() {
    let study = Study::new();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cf-train"));
    let output =
        command.args(["doctor", "--config", "config.toml"]).current_dir(study.path("")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn so_few_patients_that_chance_may_look_inverted_are_a_note() {
    let study = Study::new();
    // Events at every time but the first: five to six of the eight longest follow-ups end with one.
    study.edit_rows(|index, cells| {
        cells[2] = format!("{}", 10 + index);
        cells[3] = if index % 8 < 3 { "1" } else { "0" }.to_owned();
    });
    let (diagnosis, code) = study.diagnosis(&[]);
    let status = &diagnosis["cohort"]["status"];
    assert_eq!((&status["verdict"], &status["late_event_share"]), (&"looks-inverted".into(), &0.625.into()));
    assert_eq!((complaints(&diagnosis).as_str(), code), ("", 0));
    assert_eq!(diagnosis["findings"][0]["fault"], "inverted-status");
}

#[test]
fn a_stated_sign_turns_the_suspicion_into_a_warning() {
    let study = Study::new();
    invert(&study.path("clinical.csv"));
    let (diagnosis, code) = study.diagnosis(&["--set", "cohort.columns.censorship=censorship"]);
    assert_eq!(code, 0, "{}", complaints(&diagnosis));
    assert_eq!(diagnosis["findings"][0]["fault"], "inverted-status");
    assert_eq!(diagnosis["findings"][0]["severity"], "warning");
}

#[test]
fn a_fold_that_missing_bags_empty_is_told_of_with_the_bags() {
    let study = Study::new();
    let slides: Vec<(String, PathBuf)> =
        study.slides().into_iter().enumerate().map(|(index, slide)| (slide, study.bag_path(index))).collect();
    let validated = validated(&study, 1);
    for (slide, bag) in &slides {
        if validated.iter().any(|case| slide.starts_with(case.as_str())) {
            fs::remove_file(bag).unwrap();
        }
    }
    let (diagnosis, code) = study.diagnosis(&[]);
    assert_eq!(code, 3, "{}", complaints(&diagnosis));
    let findings = diagnosis["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["fault"] == "empty-fold").unwrap();
    assert!(text(finding, "place").contains("splits_1.csv"), "{finding}");
    assert!(
        text(finding, "wanted").contains("bags") && text(finding, "way_out").contains("bags"),
        "{finding}"
    );
}

#[test]
fn every_fault_is_explained_in_the_documentation() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/formats.md");
    let docs = fs::read_to_string(docs).unwrap();
    let section = docs.split("## What the doctor finds").nth(1).unwrap().split("\n## ").next().unwrap();
    for fault in Fault::ALL {
        assert!(section.contains(&format!("| `{}` |", fault.name())), "{} has no row", fault.name());
    }
    let table = section.split("| Fault |").nth(1).unwrap().split("\n\n").next().unwrap();
    assert_eq!(table.matches("\n| `").count(), Fault::ALL.len());
}

/// A real table with simulated bags: as it is, and with its status turned round.
fn real_table(cohort: &str) {
    let Some(data) = test_data() else { return };
    let tcga = data.join("tcga");
    let study = Study { dir: tempfile::tempdir().unwrap() };
    let (clinical, splits) = (tcga.join(format!("clinical/{cohort}.csv")), tcga.join("splits").join(cohort));
    succeed(&[
        "simulate",
        "--clinical",
        path(&clinical),
        "--splits",
        path(&splits),
        "--scale",
        "0.003",
        "--backbone-dim",
        "4",
        "--out",
        path(&study.path("")),
    ]);
    let inverted = |diagnosis: &Value| {
        let findings = diagnosis["findings"].as_array().unwrap().iter();
        findings
            .filter(|finding| finding["fault"] == "inverted-status")
            .map(|f| text(f, "severity").to_owned())
            .collect::<Vec<_>>()
    };
    let (diagnosis, code) = study.diagnosis(&[]);
    assert_eq!((inverted(&diagnosis), code), (vec![], 0), "{cohort}: {}", complaints(&diagnosis));
    invert(&study.path("clinical.csv"));
    let (diagnosis, code) = study.diagnosis(&[]);
    assert_eq!(
        (inverted(&diagnosis), code),
        (vec!["error".to_owned()], 3),
        "{cohort}: {}",
        complaints(&diagnosis)
    );
}

#[test]
fn the_sign_of_blca_is_told() {
    real_table("blca");
}

#[test]
fn the_sign_of_brca_is_told() {
    real_table("brca");
}

#[test]
fn the_sign_of_coad_is_told() {
    real_table("coad");
}

#[test]
fn the_sign_of_gbmlgg_is_told() {
    real_table("gbmlgg");
}

#[test]
fn the_sign_of_luad_is_told() {
    real_table("luad");
}

#[test]
fn the_sign_of_ucec_is_told() {
    real_table("ucec");
}

#[test]
fn bags_that_bear_the_names_of_slide_files_are_the_slides_of_the_table() {
    let study = Study::new();
    assert!(study.read("clinical.csv").contains(".svs"), "the table names the files of slides");
    for slide in study.slides() {
        let bags = study.path("bags");
        fs::rename(bags.join(format!("{slide}.h5")), bags.join(format!("{slide}.svs.h5"))).unwrap();
    }
    let (found, code) = study.diagnosis(&[]);
    let faults: Vec<&Value> = found["findings"].as_array().unwrap().iter().map(|f| &f["fault"]).collect();
    assert_eq!(code, 0, "{found}");
    assert!(!faults.contains(&&Value::from("ids-not-joined")), "{faults:?}");
}
