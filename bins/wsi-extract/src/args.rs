//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use patch_encoders::{DeviceName, Encoder, EncoderName};
use wsi_bags::Magnification;
use wsi_features::{BadTiles, PixelSource, Shard};
use wsi_slides::render::Base;
use wsi_slides::tissue::{PenMarks, Preset, Threshold, TissueParams};

use crate::resolution_args::{ManySlidesArguments, ResolutionArguments, parse_mpp};

/// From whole slide images to bags of patch features: resolution, tissue, patch lattices, encoders.
///
/// Exit codes: 0 done, 1 unexpected, 2 usage, 3 bad data (do not retry), 75 temporary, such as a full disk (retry;
/// nothing is left under a final name).
#[derive(Debug, Parser)]
#[command(name = "wsi-extract", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Say nothing but errors on stderr.
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
    /// How progress and errors are written to stderr.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) log_format: cf_cli::LogFormat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show a slide's levels, what it states about its resolution, and which magnification follows by which rule; of several slides, a table
    /// of these and of what they do not agree on.
    ///
    /// Of several slides, one that cannot be read, or of which no magnification can be told, is a row with its fault; the exit code is then
    /// 3, as in `run`. --json prints one object a line. µm are micrometres: how much of the tissue a patch spans at each magnification.
    #[command(after_help = "Examples:\n  wsi-extract inspect slide.svs\n  \
        wsi-extract inspect slide.svs --mpp 0.25 --json\n  \
        wsi-extract inspect slides --slides-csv slides.csv --target-mpp 0.5")]
    Inspect(InspectArguments),
    /// Show where patches would be cut, in level-0 pixels.
    ///
    /// `nested` is one lattice over the slide, in which each coarse patch holds its finer ones; `clam` is CLAM's grid per
    /// piece of tissue, in its order. A slide without tissue gives an empty list.
    #[command(after_help = "Examples:\n  wsi-extract lattice slide.svs --json\n  \
        wsi-extract lattice slide.svs --lattice clam --preset tcga --patch-level0 512 --json")]
    Lattice(LatticeArguments),
    /// Find tissue: a mask, a thumbnail with contours, and the contours as GeoJSON for each slide.
    ///
    /// Writes DIR/masks/SLIDE.png (before pieces are dropped by size), DIR/thumbnails/SLIDE.png and DIR/geojson/SLIDE.geojson. A
    /// slide that cannot be read is listed with its fault, the others go on, and the exit code is then 3.
    #[command(after_help = "Examples:\n  wsi-extract tissue slides/*.svs --out tissue\n  \
        wsi-extract tissue scan.png --out tissue --threshold otsu")]
    Tissue(TissueArguments),
    /// Turn slides into bags: tissue, lattice, features at every magnification, one native HDF5 file per slide.
    ///
    /// A slide that fails is listed with the reason and the others go on; the exit code is then 3. What is there already
    /// is left alone, so a run that was interrupted continues by running it again, and features of a second encoder join
    /// those of the first, at the same time, too, if the same settings lay the patches. A bag that was cut by other settings, or from another
    /// file of the name, fails its slide. A bag that lacks some of these patches stays without them, with a warning. An interrupt ends it with
    /// 75. DIR/status.csv says what became of each slide with each encoder. `wsi-bags convert`
    /// makes CLAM's files of bags.
    #[command(after_help = "Examples:\n  wsi-extract run slides --out bags --encoder stain-texture\n  \
        wsi-extract run slides --out bags --encoder stain-texture --dry-run\n  \
        wsi-extract run slides --out bags --encoder uni2-h --weights pytorch_model.bin --shard 1/4\n  \
        wsi-extract run scan.png --out bags --encoder stain-texture --mpp 0.5 --preset bwh_biopsy")]
    Run(Box<RunArguments>),
    /// Add the features of another encoder to bags that are there, at the patches that they have.
    ///
    /// Tissue and lattice are not looked for again: whatever settings laid them, all encoders see the same patches. A slide
    /// without a bag in DIR is listed with its fault, the others go on, and the exit code is then 3. What is there already is
    /// left alone. Slides may be copies in another format than the bags were cut from, of the same size.
    #[command(after_help = "Examples:\n  wsi-extract run slides --out bags --encoder stain-texture\n  \
        wsi-extract encode slides --out bags --encoder uni2-h --weights pytorch_model.bin")]
    Encode(BatchArguments),
    /// Draw the slides of a simulated cohort: H&E-like pyramids whose truth is known.
    ///
    /// PLAN is the slides.csv that `cf-train simulate --slides` writes. Draws DIR/slides/SLIDE.svs, and writes what was planted
    /// where in DIR/truth/SLIDE.csv, and its shares per slide in DIR/planted.csv.
    #[command(after_help = "Examples:\n  cf-train simulate --slides --patients 24 --out cohort\n  \
        wsi-extract render cohort/slides.csv --out cohort\n  \
        wsi-extract render cohort/slides.csv --out cohort --base 40")]
    Render(RenderArguments),
    /// Turn a published file of weights (`pytorch_model.bin`) into safetensors.
    #[command(after_help = "Example:\n  wsi-extract convert-weights pytorch_model.bin uni2-h.safetensors")]
    ConvertWeights(ConvertWeightsArguments),
}

/// What counts as tissue.
#[derive(Debug, Args)]
pub(crate) struct SegmentationArguments {
    /// CLAM's parameter set: default, tcga, bwh_biopsy or bwh_resection. Small pieces need bwh_biopsy.
    #[arg(long, value_name = "NAME", default_value = "tcga")]
    preset: Preset,
    /// Threshold of the saturation: a number from 0 to 255, or otsu to find it on each slide. [default: the preset's]
    #[arg(long, value_name = "T", value_parser = parse_threshold)]
    threshold: Option<Threshold>,
    /// Whether ink of felt pens counts as tissue: keep or remove. Pools of blood and tissue stained blue may go with the ink;
    /// strokes narrower than 15 pixels of the segmented level and dark or purple inks stay. [default: remove, but keep where
    /// CLAM's grid is laid]
    #[arg(long, value_name = "WHAT")]
    pen_marks: Option<PenMarksArgument>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PenMarksArgument {
    Keep,
    Remove,
}

impl SegmentationArguments {
    pub(crate) fn params(&self, default_pen_marks: PenMarks) -> TissueParams {
        let params = self.preset.params();
        let pen_marks = match self.pen_marks {
            Some(PenMarksArgument::Keep) => PenMarks::Keep,
            Some(PenMarksArgument::Remove) => PenMarks::Remove,
            None => default_pen_marks,
        };
        TissueParams { threshold: self.threshold.unwrap_or(params.threshold), pen_marks, ..params }
    }
}

fn parse_threshold(text: &str) -> Result<Threshold, String> {
    match text {
        "otsu" => Ok(Threshold::Otsu),
        _ => text.parse().map(Threshold::Fixed).map_err(|_| "expected 0 to 255 or otsu".to_owned()),
    }
}

#[derive(Debug, Args)]
pub(crate) struct InspectArguments {
    /// Slides, or directories of them.
    #[arg(required = true, value_name = "SLIDE")]
    pub(crate) slides: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) many: ManySlidesArguments,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How patches are laid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LatticeKind {
    Nested,
    Clam,
}

impl From<LatticeKind> for wsi_features::LatticeKind {
    fn from(kind: LatticeKind) -> Self {
        match kind {
            LatticeKind::Nested => Self::Nested,
            LatticeKind::Clam => Self::Clam,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct LatticeArguments {
    /// The slide.
    pub(crate) slide: PathBuf,
    /// How patches are laid: nested or clam.
    #[arg(long, value_name = "NAME", default_value = "nested")]
    pub(crate) lattice: LatticeKind,
    /// Magnifications, separated by commas. The finest decides: in the nested lattice, a coarser patch is cut where any of its
    /// patches at the finest one lies on tissue, so that x5 alone may give other x5 patches than x5,x10,x20.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "x5,x10,x20", value_parser = Magnification::from_str)]
    pub(crate) magnifications: Vec<Magnification>,
    /// Side of a patch in level-0 pixels, whatever the magnification: for slides that state none.
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(1..=65_536), conflicts_with_all = ["target_mpp", "mpp", "magnification"])]
    pub(crate) patch_level0: Option<u32>,
    /// Micrometres per pixel of 20x patches, coarser ones 2 and 4 times as many, instead of nominal magnifications.
    #[arg(long, value_name = "X", value_parser = parse_mpp)]
    pub(crate) target_mpp: Option<f64>,
    #[command(flatten)]
    pub(crate) resolution: ResolutionArguments,
    #[command(flatten)]
    pub(crate) segmentation: SegmentationArguments,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TissueArguments {
    /// Slides, or directories of them.
    #[arg(required = true, value_name = "SLIDE")]
    pub(crate) slides: Vec<PathBuf>,
    /// Directory to write into.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) segmentation: SegmentationArguments,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum PixelsArgument {
    Nearest,
    Level0,
}

impl From<PixelsArgument> for PixelSource {
    fn from(pixels: PixelsArgument) -> Self {
        match pixels {
            PixelsArgument::Nearest => Self::NearestLevel,
            PixelsArgument::Level0 => Self::Level0,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum BadTilesArgument {
    Fail,
    Skip,
}

impl From<BadTilesArgument> for BadTiles {
    fn from(policy: BadTilesArgument) -> Self {
        match policy {
            BadTilesArgument::Fail => Self::FailSlide,
            BadTilesArgument::Skip => Self::SkipPatch,
        }
    }
}

/// Which encoder, and where it computes.
#[derive(Debug, Args)]
pub(crate) struct EncoderArguments {
    /// The encoder: resnet50, resnet50-clam, conch, uni2-h, quiltnet, prov-gigapath or stain-texture (no weights).
    #[arg(long, value_name = "NAME")]
    encoder: EncoderName,
    /// Its published file of weights. A build with feature `hub` fetches it from Hugging Face if none is named.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Device that the encoder computes on: the CPU, or an NVIDIA GPU by its number from 0.
    #[arg(long, value_name = "cpu|cuda:N", default_value_t)]
    device: DeviceName,
}

impl EncoderArguments {
    pub(crate) fn open(&self) -> patch_encoders::Result<Encoder> {
        #[cfg(feature = "hub")]
        if self.weights.is_none() {
            let fetched = patch_encoders::hub::fetch_weights(self.encoder)?;
            return Encoder::open_on(self.device, self.encoder, fetched.as_deref());
        }
        Encoder::open_on(self.device, self.encoder, self.weights.as_deref())
    }
}

/// A batch of slides, and what its features are.
#[derive(Debug, Args)]
pub(crate) struct BatchArguments {
    /// Slides, or directories of them.
    #[arg(required = true, value_name = "SLIDE")]
    pub(crate) slides: Vec<PathBuf>,
    /// Directory of the bags.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) encoder: EncoderArguments,
    /// Every n-th slide, from the i-th: for several machines.
    #[arg(long, value_name = "i/n", default_value = "1/1")]
    pub(crate) shard: Shard,
    /// Which level patches are read from: the nearest one above their resolution, or level0.
    #[arg(long, value_name = "WHAT", default_value = "nearest")]
    pub(crate) pixels: PixelsArgument,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    pub(crate) batch: BatchArguments,
    /// How patches are laid: nested or clam.
    #[arg(long, value_name = "NAME", default_value = "nested")]
    pub(crate) lattice: LatticeKind,
    /// Magnifications, separated by commas. The finest decides: in the nested lattice, a coarser patch is cut where any of its
    /// patches at the finest one lies on tissue, so that x5 alone may give other x5 patches than x5,x10,x20.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "x5,x10,x20", value_parser = Magnification::from_str)]
    pub(crate) magnifications: Vec<Magnification>,
    /// What a tile that does not decode does: fail its slide, or skip its patches.
    #[arg(long, value_name = "WHAT", default_value = "fail")]
    pub(crate) bad_tiles: BadTilesArgument,
    /// Say what would be done with each slide (resolution, tissue, number of patches, what is there already, faults) and write nothing. The
    /// encoder is opened, so that weights that are missing, or others than those of a bag, are found, too.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) many: ManySlidesArguments,
    #[command(flatten)]
    pub(crate) segmentation: SegmentationArguments,
}

/// Magnification of a drawn slide's level 0.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum BaseArgument {
    #[value(name = "20")]
    X20,
    #[value(name = "40")]
    X40,
}

impl From<BaseArgument> for Base {
    fn from(base: BaseArgument) -> Self {
        match base {
            BaseArgument::X20 => Self::X20,
            BaseArgument::X40 => Self::X40,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct RenderArguments {
    /// Table with the columns slide_id, seed, cells, kind (additive or interaction), z, z5, z10 and z20.
    pub(crate) plan: PathBuf,
    /// Directory to write into.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Magnification of level 0: 20 (0.5 micrometres per pixel) or 40 (0.25).
    #[arg(long, value_name = "M", default_value = "20")]
    pub(crate) base: BaseArgument,
}

#[derive(Debug, Args)]
pub(crate) struct ConvertWeightsArguments {
    /// The published file.
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
    /// The safetensors file to write.
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
