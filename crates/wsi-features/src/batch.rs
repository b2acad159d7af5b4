//! Many slides: shards, what is there already, and a table of what became of each.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use wsi_bags::native::{self, Placed};
use wsi_bags::{FolderLock, SlideNames};

use crate::bag_lattice::{check_features, check_settings, features_at, has_all, lacking};
use crate::encoder::PatchEncoder;
use crate::error::{Error, Result};
use crate::extract::{ExtractOptions, Extracted, extract_of, origin};
use crate::patch_reader::PixelSource;
use crate::slide_list::{SlideEntry, SlideList};
use crate::slide_scale::{SlideScale, resolution_remarks};
use crate::status::{Encoded, Outcome, SlideStatus, check_table, place, record};
use crate::tissue_remarks::ink_warning;

/// Every n-th slide, starting at the i-th: part `i/n` of a batch that several machines share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    count: usize,
}

impl Shard {
    /// Everything.
    pub const WHOLE: Self = Self { index: 1, count: 1 };

    /// The name of this shard's table.
    pub(crate) fn table(self) -> String {
        match self.count {
            1 => "status.csv".to_owned(),
            _ => format!("status-{}-of-{}.csv", self.index, self.count),
        }
    }

    fn has(self, number: usize) -> bool {
        number % self.count == self.index - 1
    }

    /// Its slides.
    pub(crate) fn of(self, slides: &SlideList) -> Vec<&SlideEntry> {
        let numbered = slides.entries().iter().enumerate();
        numbered.filter(|(number, _)| self.has(*number)).map(|(_, entry)| entry).collect()
    }
}

impl FromStr for Shard {
    type Err = String;

    /// Reads `i/n`, i from 1 to n.
    fn from_str(text: &str) -> Result<Self, String> {
        let parsed =
            text.split_once('/').and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        match parsed {
            Some((index, count)) if (1..=count).contains(&index) => Ok(Self { index, count }),
            _ => Err("expected i/n with i from 1 to n, such as 1/4".to_owned()),
        }
    }
}

/// How a batch is run.
#[derive(Debug, Clone)]
pub struct BatchOptions {
    /// Directory of the bags; made where it is missing.
    pub out: PathBuf,
    /// How each slide becomes a bag.
    pub extract: ExtractOptions,
    /// Which of the slides.
    pub shard: Shard,
    /// Ends the batch once it is set: what is done of a slide is dropped, and the bags that are there stay.
    pub stop: Arc<AtomicBool>,
}

impl BatchOptions {
    /// All slides, into `out`.
    #[must_use]
    pub fn new(out: PathBuf, extract: ExtractOptions) -> Self {
        Self { out, extract, shard: Shard::WHOLE, stop: Arc::default() }
    }
}

/// How features of another encoder are added to bags.
#[derive(Debug, Clone)]
pub struct EncodeOptions {
    /// Directory of the bags.
    pub bags: PathBuf,
    /// Which level patches are read from.
    pub pixels: PixelSource,
    /// Which of the slides.
    pub shard: Shard,
    /// As [`BatchOptions::stop`].
    pub stop: Arc<AtomicBool>,
}

impl EncodeOptions {
    /// All slides of the bags in a directory, from the nearest level.
    #[must_use]
    pub fn new(bags: PathBuf) -> Self {
        Self { bags, pixels: PixelSource::NearestLevel, shard: Shard::WHOLE, stop: Arc::default() }
    }
}

/// What a progress bar hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<'a> {
    /// What a person should know of the encoder or of the directory of the bags, before the first slide; in [`preview`](crate::preview) of
    /// slides, too, which it names.
    Warning(&'a str),
    /// A slide was begun, the first number of all of this shard.
    Begun(&'a str, usize, usize),
    /// That many patches more were encoded.
    Patches(usize),
    /// A slide is finished.
    Finished(&'a SlideStatus),
}

/// Makes the bags of all slides of a shard, one after the other, each with all threads.
///
/// A slide whose bag has the encoder's features at every magnification asked for is left alone; it fails if the bag states another
/// resolution, other sizes of patches or another kind of lattice than the options give, or that these features were made with other
/// weights or of other pixels. A bag with features of
/// another encoder gets those of this one beside them, if the options lay its patches again. A slide that fails is listed and the
/// others go on. The table `status.csv` (`status-i-of-n.csv` for a shard) in the directory of the bags is written after each slide;
/// rows of earlier runs stay until their slide's turn comes.
///
/// Processes with other encoders may run at the same time. A bag that bears the name of the slide's file (`X.svs.h5`) is the slide's, too.
///
/// # Errors
/// [`Error::Io`] if the directory or the table cannot be written, [`Error::Table`] if another table has its name, which is found before
/// the first slide is begun, [`Error::Interrupted`], and any error that is temporary, such as a full disk: the other slides would meet it,
/// too.
pub fn run(
    slides: &SlideList,
    encoder: &dyn PatchEncoder,
    options: &BatchOptions,
    on_event: &dyn Fn(Event<'_>),
) -> Result<Vec<SlideStatus>> {
    let out = &options.out;
    std::fs::create_dir_all(out).map_err(|source| Error::Io {
        path: out.clone(),
        action: "make the directory",
        source,
    })?;
    each(slides, encoder, (out, options.shard, &options.stop), on_event, |entry, bag| {
        one(entry, bag, encoder, options, &|n| on_event(Event::Patches(n)))
    })
}

/// Adds the features of another encoder to the bags of all slides of a shard, at the patches that the bags have.
///
/// Tissue and lattice are not looked for again, so that features of all encoders are of the same patches, whatever
/// settings or tool laid them. A bag that has the encoder's features at all its magnifications is left alone. The rest is as
/// in [`run`]; a tile that does not decode fails its slide.
///
/// # Errors
/// [`Error::NoFolder`], and as [`run`].
pub fn encode(
    slides: &SlideList,
    encoder: &dyn PatchEncoder,
    options: &EncodeOptions,
    on_event: &dyn Fn(Event<'_>),
) -> Result<Vec<SlideStatus>> {
    if !options.bags.is_dir() {
        return Err(Error::NoFolder { folder: options.bags.clone() });
    }
    each(slides, encoder, (&options.bags, options.shard, &options.stop), on_event, |entry, bag| {
        let on_patches = |n| on_event(Event::Patches(n));
        let outcome = features_at(&entry.path, bag, encoder, options.pixels, (&options.stop, &on_patches));
        outcome.map(|outcome| (outcome, None))
    })
}

/// Goes through the slides of a shard and keeps the table in `folder`.
fn each(
    slides: &SlideList,
    encoder: &dyn PatchEncoder,
    (folder, shard, stop): (&Path, Shard, &AtomicBool),
    on_event: &dyn Fn(Event<'_>),
    one: impl Fn(&SlideEntry, &Path) -> Result<(Outcome, Option<SlideScale>)>,
) -> Result<Vec<SlideStatus>> {
    let table = folder.join(shard.table());
    check_table(&table)?;
    for warning in encoder.warnings() {
        on_event(Event::Warning(warning));
    }
    let bags = bag_names(folder)?;
    if let Some(warning) = FolderLock::of(folder)?.warning() {
        on_event(Event::Warning(warning));
    }
    let entries = shard.of(slides);
    let mut statuses = Vec::new();
    for (number, entry) in entries.iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        on_event(Event::Begun(&entry.id, number + 1, entries.len()));
        let done = entry.check_name().and_then(|()| one(entry, &bag_of(entry, folder, &bags)));
        let (outcome, scale) = match done {
            Ok(done) => done,
            Err(error) if error.is_temporary() => return Err(error),
            Err(error) => (Outcome::Failed(whole_text(&error)), None),
        };
        let status = SlideStatus { slide: entry.id.clone(), outcome, scale };
        let alone = FolderLock::of(folder)?;
        record(&table, encoder.name(), &status)?;
        drop(alone);
        on_event(Event::Finished(&status));
        statuses.push(status);
    }
    Ok(statuses)
}

/// The names of the bags that are there.
pub(crate) fn bag_names(folder: &Path) -> Result<SlideNames> {
    let failed = |source| Error::Io { path: folder.to_owned(), action: "list the directory", source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".h5").map(str::to_owned));
    }
    Ok(SlideNames::new(names))
}

/// The bag of a slide, which may be there, by its own name or by that of the slide's file.
pub(crate) fn bag_of(entry: &SlideEntry, folder: &Path, bags: &SlideNames) -> PathBuf {
    let name = |id: &str| folder.join(format!("{id}.h5"));
    let path = name(&entry.id);
    // Other processes may have made it since the names were listed.
    if path.exists() { path } else { name(bags.find(&entry.id).unwrap_or(&entry.id)) }
}

fn one(
    entry: &SlideEntry,
    path: &Path,
    encoder: &dyn PatchEncoder,
    options: &BatchOptions,
    on_patches: &dyn Fn(usize),
) -> Result<(Outcome, Option<SlideScale>)> {
    let begun = Instant::now();
    let encoded = encoder.name();
    let is_there = path.exists();
    if is_there {
        let scale = check_settings(entry, path, &options.extract)?;
        check_features(path, encoder, options.extract.pixels)?;
        if has_all(path, encoded, &options.extract.magnifications)? {
            return Ok((Outcome::Present, scale));
        }
    }
    let mut warnings = Vec::new();
    let wanted = |laid| if is_there { lacking(path, encoded, laid, &mut warnings) } else { Ok(laid) };
    let slide = (entry.path.as_path(), entry.given);
    let Extracted { bag, info, scale, n_unreadable, ink, warnings: of_slide } =
        extract_of(slide, encoder, &options.extract, &options.out, wanted, (&options.stop, on_patches))?;
    // Another process may have made it meanwhile.
    let placed = native::write_or_add(path, &bag, encoded, &info, &origin(&entry.path, &options.extract))?;
    let mut n_patches = [0; 3];
    for (magnification, set) in bag.sets() {
        n_patches[place(magnification)] = set.n_patches();
    }
    let resolution = &scale.resolution;
    let outcome = Outcome::Done(Encoded {
        n_patches,
        n_unreadable,
        joined: placed != Placed::Written,
        base: Some(resolution.base),
        rule: resolution.rule.label().to_owned(),
        warnings: resolution_remarks(resolution, options.extract.target_mpp)
            .into_iter()
            .chain(of_slide.iter().map(ToString::to_string))
            .chain(ink_warning(ink))
            .chain(warnings)
            .collect(),
        seconds: begun.elapsed().as_secs_f64(),
    });
    Ok((outcome, Some(scale)))
}

/// The error, what its causes add, and the way out.
pub(crate) fn whole_text(error: &Error) -> String {
    let mut text = cf_cli::with_causes(error);
    if let Some(way_out) = way_out_of(error) {
        text.push_str("; ");
        text.push_str(way_out);
    }
    text
}

/// What to do about a slide that failed.
fn way_out_of(error: &Error) -> Option<&'static str> {
    match error {
        Error::Slide(error) => match error.kind() {
            wsi_slides::ErrorKind::NoResolution { .. } => {
                Some("state it for all slides (--mpp, --magnification) or in a table (--slides-csv)")
            }
            other => crate::error::way_out(other),
        },
        Error::Bag(error) if error.is_damage() => {
            Some("the bag is damaged: remove it, and `wsi-extract run` makes it again")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_take_every_slide_once() {
        let shards: Vec<Shard> = ["1/3", "2/3", "3/3"].map(|text| text.parse().unwrap()).to_vec();
        for number in 0..10 {
            assert_eq!(shards.iter().filter(|shard| shard.has(number)).count(), 1);
        }
        for bad in ["0/3", "4/3", "1", "a/b", "1/0"] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
        assert_eq!(shards[1].table(), "status-2-of-3.csv");
        assert_eq!(Shard::WHOLE.table(), "status.csv");
    }
}
