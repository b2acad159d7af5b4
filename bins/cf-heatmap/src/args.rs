//! The command line.

use std::path::PathBuf;

use cf_model::ModelName;
use cf_model::kernels::device::DeviceName;
use cf_viewer::{ColourMap, RenderOptions, Scaling, Under};
use clap::{Args, Parser, Subcommand};
use wsi_bags::Layout;

/// Where a model looks: heatmaps on the slide, from stored features.
///
/// Exit codes: 0 done, 1 unexpected, 2 usage, 3 bad data (do not retry), 4 does not fit in the memory, 75 temporary, such as a
/// full disk (retry; nothing is left under a final name).
#[derive(Debug, Parser)]
#[command(name = "cf-heatmap", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Say nothing but errors on stderr.
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
    /// How warnings and errors are written to stderr.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) log_format: cf_cli::LogFormat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Draw the maps of one slide: pictures, patch sheets, polygons for QuPath, pyramids, and the raw scores.
    ///
    /// With --run, the model is that of the fold that held the slide out, and bags are read from where the run read them. A slide that is in
    /// no fold of the run, such as one of --features NEW that `cf-train apply` scored, is drawn by all of its models: every number is the mean
    /// over them. Without --run, --checkpoint, --model, --features and --backbone say all that.
    ///
    /// Writes DIR/SLIDE/ with figure.png (the slide beside its maps), scores.csv and scores.h5, for each map an overlay
    /// (x10-source-pt.png), the patches that score highest (.patches.png) and a pyramid in the frame of the slide (.tiff), for
    /// each magnification its patches for QuPath (x10.geojson), and last render.json, which lists what there is. Nothing is
    /// encoded anew. Without --slide-file, maps are drawn on an empty canvas.
    #[command(after_help = "Examples:\n  cf-heatmap render --run runs/blca --slide TCGA-2F-A9KO-01Z-00-DX1 \
        --slide-file slides/TCGA-2F-A9KO-01Z-00-DX1.svs --out heatmaps\n  \
        cf-heatmap render --run runs/blca --features features/new --slide S-1 --out heatmaps\n  \
        cf-heatmap render --checkpoint runs/blca/fold_0/best.safetensors --model crossfusion \\\n      --features features/blca --backbone uni2-h --slide TCGA-2F-A9KO-01Z-00-DX1 \\\n      \
        --slide-file slides/TCGA-2F-A9KO-01Z-00-DX1.svs --out heatmaps")]
    Render(Box<RenderArguments>),
    /// Show a run's slides, heatmaps and patients in the browser, on this machine only.
    ///
    /// Heatmaps are computed from stored features when a slide is opened, by the model of the fold that held it out. Nothing is
    /// written, and only this machine can reach the page; from a cluster, forward the port: ssh -L 8080:127.0.0.1:8080 HOST.
    #[command(
        after_help = "Example:\n  cf-heatmap serve --run runs/blca --features features/blca --slides slides/blca"
    )]
    Serve(ServeArguments),
}

#[derive(Debug, Args)]
pub(crate) struct RenderArguments {
    /// Run directory of `cf-train cv`: the model of the fold that held the slide out is taken, or the mean over all where none has the slide.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["checkpoint", "model", "model_config", "backbone"])]
    pub(crate) run: Option<PathBuf>,
    /// Take the model of this fold of the run, whether or not it held the slide out; what the slide was to it is said.
    #[arg(long, value_name = "N", requires = "run")]
    pub(crate) fold: Option<usize>,
    /// Weights: our safetensors, or a released PyTorch state dict.
    #[arg(long, value_name = "FILE.{safetensors,pt}", required_unless_present = "run")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// The model that the weights are of; `cf-train models` lists them.
    #[arg(long, value_name = "NAME", required_unless_present = "run")]
    pub(crate) model: Option<ModelName>,
    /// Settings (TOML) that a released checkpoint's shapes cannot tell, such as num_heads. The paper's by default.
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) model_config: Option<PathBuf>,
    /// Directory of bags; with --run, only where they were moved, or are of other slides.
    #[arg(long, value_name = "DIR", required_unless_present = "run")]
    pub(crate) features: Option<PathBuf>,
    /// Layout of the directory, such as native, clam or trident; detected when left out.
    #[arg(long, value_name = "NAME", requires = "features")]
    pub(crate) layout: Option<Layout>,
    /// Encoder whose features are read.
    #[arg(long, value_name = "NAME", required_unless_present = "run")]
    pub(crate) backbone: Option<String>,
    /// The slide, with or without its extension.
    #[arg(long, value_name = "ID")]
    pub(crate) slide: String,
    /// Its file, for its pixels. It must be the one that the features come from.
    #[arg(long, value_name = "FILE")]
    pub(crate) slide_file: Option<PathBuf>,
    /// Micrometres per pixel at level 0, where the slide states none or a wrong one.
    #[arg(long, value_name = "X")]
    pub(crate) mpp: Option<f64>,
    /// Directory to write into.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Also measure what the risk loses without each 5x cell, or each of at most N parts, with a pass for each: effect, to hold
    /// attention against.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=100_000))]
    pub(crate) occlusion: Option<u32>,
    /// Colours: viridis, inferno, coolwarm or jet.
    #[arg(long, value_name = "NAME", default_value = "viridis")]
    colours: ColourMap,
    /// How scores are spread over the colours: rank (share of patches that score lower) or raw (by value). Attention is drawn by
    /// rank and occlusion by value unless one is given; occlusion by value has 0 in the middle, and always the colours coolwarm.
    #[arg(long, value_name = "NAME")]
    scaling: Option<Scaling>,
    /// The slide below a map: grey, so that colours are those of the map, or colour.
    #[arg(long, value_name = "NAME", default_value = "grey")]
    under: Under,
    /// Opacity of a map over the slide, 0 to 1.
    #[arg(long, value_name = "A", default_value_t = RenderOptions::default().opacity)]
    alpha: f32,
    /// Longer side of the slide in overlays, in pixels.
    #[arg(long, value_name = "PX", default_value_t = RenderOptions::default().longest_side)]
    longest_side: u32,
    /// Patches on each sheet; 0 for no sheets.
    #[arg(long, value_name = "K", default_value_t = RenderOptions::default().top_k)]
    top_k: usize,
    /// The largest number of polygons in a GeoJSON file; patches beyond are binned into squares.
    #[arg(long, value_name = "N", default_value_t = RenderOptions::default().most_polygons)]
    polygons: usize,
    /// Device that the model computes on: the CPU, or an NVIDIA GPU by its number from 0.
    #[arg(long, value_name = "cpu|cuda:N", default_value_t)]
    pub(crate) device: DeviceName,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Run directory of `cf-train cv`.
    #[arg(long, value_name = "DIR")]
    pub(crate) run: PathBuf,
    /// Directory of bags; those of the run by default.
    #[arg(long, value_name = "DIR")]
    pub(crate) features: Option<PathBuf>,
    /// Layout of the directory of bags; detected when left out.
    #[arg(long, value_name = "NAME", requires = "features")]
    pub(crate) layout: Option<Layout>,
    /// Directory of slide files; without it maps are drawn on an empty canvas.
    #[arg(long, value_name = "DIR")]
    pub(crate) slides: Option<PathBuf>,
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, value_name = "P", default_value_t = 8080)]
    pub(crate) port: u16,
    /// Device that the model computes on: the CPU, or an NVIDIA GPU by its number from 0.
    #[arg(long, value_name = "cpu|cuda:N", default_value_t)]
    pub(crate) device: DeviceName,
}

impl RenderArguments {
    /// How maps are drawn.
    pub(crate) fn options(&self) -> RenderOptions {
        RenderOptions {
            colours: self.colours,
            scaling: self.scaling.unwrap_or_default(),
            effect_scaling: match self.scaling {
                Some(Scaling::Rank) => Scaling::Rank,
                _ => Scaling::Signed,
            },
            under: self.under,
            opacity: self.alpha,
            longest_side: self.longest_side,
            top_k: self.top_k,
            most_polygons: self.polygons,
        }
    }
}
