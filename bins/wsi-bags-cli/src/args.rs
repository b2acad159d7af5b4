//! The command line.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, Parser, Subcommand};
use wsi_bags::{BagStore, FeatureType, Layout, Magnification, named_root};

use crate::error::CliError;

/// Bags of patch features: convert between the layouts of CLAM, TRIDENT, STAMP, AtlasPatch, MMP, CrossFusion and
/// native files, and inspect them.
///
/// Exit codes: 0 done, 1 unexpected, 2 usage, 3 bad data (do not retry), 75 temporary, such as a full disk (retry;
/// nothing is left under a final name).
#[derive(Debug, Parser)]
#[command(name = "wsi-bags", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Show errors only: no progress bar.
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
    /// How warnings and errors are written to stderr.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) log_format: cf_cli::LogFormat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write every slide of a directory in another layout.
    ///
    /// The order of rows is kept, 16-bit features stay so (others become 32-bit floats), and native files get the parent
    /// of each patch in the next coarser magnification where coordinates tell it. Slides that are there already are left
    /// alone, in whatever float type. A directory that holds another layout, or features of the encoder of another width, is refused.
    /// Features of another encoder are added to native files of the same patches, by several processes at once, too; CLAM's
    /// folders hold those of one encoder and need a directory for each. A slide that cannot be converted is listed with its
    /// fault, the others go on, and the exit code is then 3.
    #[command(after_help = "Examples:\n  \
        wsi-bags convert --features trident_job --backbone uni_v1 --to native --out bags\n  \
        wsi-bags convert --root x5=a/h5 --root x20=b/h5 --backbone uni --to safetensors --out bags\n  \
        wsi-bags convert --features clam --backbone uni --to native --dtype f16 --out bags\n  \
        wsi-bags convert --features stamp --backbone uni2 --slide-mpp 0.25 --to native --out bags")]
    Convert(ConvertArguments),
    /// List slides with shapes, element types, row order, parents and provenance. Features are not read.
    ///
    /// A slide that cannot be used is listed with its fault, and the exit code is then 3.
    #[command(after_help = "Examples:\n  \
        wsi-bags inspect --features bags --backbone uni\n  \
        wsi-bags inspect --features bags --backbone uni --slide slide-1 --json")]
    Inspect(InspectArguments),
}

/// Where the bags are.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("source").required(true).args(["features", "root"]))]
pub(crate) struct SourceArguments {
    /// Directory of bags.
    #[arg(long, value_name = "DIR")]
    features: Option<PathBuf>,
    /// Directory of one magnification, in the form of any tool. Repeat for the others.
    #[arg(long, value_name = "x5|x10|x20=DIR", value_parser = named_root)]
    root: Vec<(Magnification, PathBuf)>,
    /// Layout of --features; detected when left out.
    #[arg(long, value_name = "NAME", conflicts_with = "root")]
    layout: Option<Layout>,
    /// The encoder, by the name of its folder or dataset.
    #[arg(long, value_name = "NAME")]
    backbone: String,
    /// Micrometres per pixel of all slides at level 0, for coordinates in micrometres (STAMP).
    #[arg(long, value_name = "X", value_parser = parse_mpp)]
    slide_mpp: Option<f64>,
    /// Only this slide. Repeat for several.
    #[arg(long, value_name = "ID")]
    slide: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ConvertArguments {
    #[command(flatten)]
    pub(crate) source: SourceArguments,
    /// Layout to write: native, clam, crossfusion or safetensors.
    #[arg(long, value_name = "NAME")]
    pub(crate) to: Layout,
    /// Directory to write into.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Float type of the features in the files written; 16 bits take half the room. As the source has it when left out.
    #[arg(long, value_name = "f16|f32")]
    pub(crate) dtype: Option<FeatureType>,
    /// Write slides again that are there already, damaged ones, too. A native file with more features than the source is refused,
    /// since it would lose them.
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArguments {
    #[command(flatten)]
    pub(crate) source: SourceArguments,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

impl SourceArguments {
    /// Opens the store.
    pub(crate) fn open(&self) -> Result<BagStore, CliError> {
        let store = match &self.features {
            Some(directory) => BagStore::open(directory, self.layout, &self.backbone),
            None => BagStore::open_roots(&self.root, &self.backbone),
        };
        let store = store.map_err(CliError::Bags)?;
        match self.slide_mpp {
            Some(mpp) => store.with_slide_mpp(mpp).map_err(CliError::Bags),
            None => Ok(store),
        }
    }

    /// Opens what was written of it.
    pub(crate) fn written(&self, out: &Path, layout: Layout) -> wsi_bags::Result<BagStore> {
        BagStore::open(out, Some(layout), &self.backbone)
    }

    /// The slides asked for; all where none is.
    pub(crate) fn slides<'a>(&'a self, store: &'a BagStore) -> &'a [String] {
        if self.slide.is_empty() { store.slide_ids() } else { &self.slide }
    }
}

fn parse_mpp(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(mpp) if mpp.is_finite() && mpp > 0.0 => Ok(mpp),
        _ => Err("expected a positive number, such as 0.25".to_owned()),
    }
}
