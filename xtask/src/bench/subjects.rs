//! The benchmarks by name: what runs on either side, how ours is built, and what their tables say.

/// What runs here, what runs there, and how the first is built.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bench {
    pub(super) name: &'static str,
    /// Of its table, but for the processor.
    pub(super) title: &'static str,
    /// What was measured.
    pub(super) note: &'static str,
    /// What the times are.
    pub(super) times: &'static str,
    pub(super) script: &'static str,
    /// The script serves several benchmarks, and takes the name of one.
    pub(super) script_takes_name: bool,
    pub(super) requirements: &'static str,
    pub(super) build: &'static [&'static str],
    /// Below the folder of release binaries.
    pub(super) binary: &'static str,
    /// The script's name for it.
    pub(super) flag: &'static str,
    /// Folder of the Python packages, below the target folder.
    pub(super) python: &'static str,
}

/// The one that has cases for a GPU.
pub(super) const ON_GPU: &str = "model";

/// Everything that needs tensors.
const MODELS: Bench = Bench {
    name: "",
    title: "",
    note: "",
    times: "Medians, as many threads as cores on both sides, one process per case.",
    script: "fixtures/generate/bench.py",
    script_takes_name: true,
    requirements: "fixtures/generate/requirements.txt",
    build: &["build", "--release", "-p", "cf-bench"],
    binary: "cf-bench",
    flag: "--cf-bench",
    python: "bench-python",
};

/// `survival-metrics` alone, which builds in seconds and so does its peers' Python.
const METRICS: Bench = Bench {
    times: "Medians of calls, one thread on both sides, one process per case.",
    script: "fixtures/generate/bench_metrics.py",
    script_takes_name: false,
    requirements: "fixtures/generate/requirements-metrics.txt",
    build: &["build", "--release", "-p", "survival-metrics", "--example", "timed"],
    binary: "examples/timed",
    flag: "--binary",
    python: "bench-metrics-python",
    ..MODELS
};

/// Slides: the peer has its own Python, without what trains models.
const EXTRACT: Bench = Bench {
    script: "fixtures/generate/bench_extract.py",
    script_takes_name: false,
    requirements: "fixtures/generate/requirements-extract.txt",
    python: "bench-extract-python",
    ..MODELS
};

const BENCHES: [Bench; 6] = [
    Bench {
        name: "model",
        title: "CrossFusion at full width: cf-train and PyTorch",
        note: "Embedding 512, backbone 2048; a bag of 13,496/3,449/895 patches (mean) or a tenth of it; training is forward, backward \
           and optimiser step. Attention dropout 0, except `published`: 0.2, as released. The peer is the faster of PyTorch eager and \
           `torch.compile`, which compiles for this one size of bag before the clock starts.",
        ..MODELS
    },
    Bench {
        name: "baselines",
        title: "The compared methods: a training step on the mean bag",
        note: "Backbone 2048, the bag of 13,496/3,449/895 patches; forward, backward and optimiser step of each method as it is by default. \
           The peer is the method's PyTorch oracle with graphs, windows and distances in PyTorch's fast forms \
           (`fixtures/generate/baselines/timed.py`) and without dropout. Neighbours, parents and CSMIL's clusters follow from the bag \
           and are there before the clock starts on both sides; SCMIL's clusters are made anew in every pass on both. `neighbours`: \
           finding the eight nearest of 137,990 patches by place, and of 13,496 by 2048 features, exactly.",
        ..MODELS
    },
    Bench {
        name: "kernels",
        title: "Kernels: forward and backward, against PyTorch and plain Candle",
        note: "Sizes of a training step on the mean bag: 3,481 tokens of 512 channels, 4 heads, 3,449 queries over 13,496 keys. `plain` is the \
           kernel's reference on Candle's operations, which tests compare it with. The peer is PyTorch eager, reads convolutions in the \
           layout that suits it better, and has bf16 by autocast; its memory includes PyTorch itself. `adam`: one step of 24.5 million parameters.",
        ..MODELS
    },
    Bench {
        name: "bags",
        title: "Reading a bag of the mean size",
        note: "All three magnifications, width 2048; what is read is checked to be finite here and returned as f32. `clam` is uncompressed \
           HDF5 in chunks of 32 rows. h5py and torch.load check nothing, and return f16 as it is. `warm`: bag after bag in one \
           process, as in training, where memory is used again here; `cold`: the first read of a process, the files evicted \
           from the page cache.",
        ..MODELS
    },
    Bench {
        name: "metrics",
        title: "Survival statistics: survival-metrics, scikit-survival and lifelines",
        note: "Simulated outcomes in months with two decimals, half of them censored; both sides read the same arrays and must give the same \
           number to 1e-9. `bootstrap-1000/1000`: 1,000 resamples of 1,000 subjects.",
        ..METRICS
    },
    Bench {
        name: "extract",
        title: "From slides to features: wsi-features and the Python stack",
        note: "Drawn slides (JPEG tiles, levels of 1, 4 and 16); 8 cells of tissue, `large` 32; patches of 5x, 10x and 20x. `read`: read and resized \
           to 256 pixels, bicubic. `resnet50`: then encoded by ResNet50 (2048 features), the same random weights on both sides, loaded before the \
           clock starts. Our side finds tissue and lays the lattice in its time; the peer is given the coordinates, reads the same \
           levels, on a pool of threads or on one, whichever is quicker, with torch in channels-last.",
        ..EXTRACT
    },
];

/// The benchmark of a name.
pub(super) fn of_name(name: &str) -> Option<&'static Bench> {
    BENCHES.iter().find(|bench| bench.name == name)
}

/// Their names, for messages.
pub(super) fn names() -> String {
    let names: Vec<_> = BENCHES.iter().map(|bench| bench.name).collect();
    let (last, others) = names.split_last().map_or(("", &[][..]), |(last, others)| (*last, others));
    format!("{} or {last}", others.join(", "))
}
