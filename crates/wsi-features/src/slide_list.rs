//! Which slides, and what the user knows of their resolution.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use cf_cli::{RecordFault, Records, RowLengths, delimiter_of, header_at};
use wsi_bags::slide_stem;
use wsi_slides::ResolutionOverride;

use crate::error::{Error, Result};
use crate::passed_over::{PassedOver, real};

/// Extensions of files in a directory that are taken for slides.
const EXTENSIONS: [&str; 11] =
    ["svs", "tif", "tiff", "ndpi", "mrxs", "scn", "bif", "vms", "png", "jpg", "jpeg"];

/// Those of them that are mostly of other pictures, such as the masks and thumbnails that tools keep in folders.
const PICTURES: [&str; 3] = ["png", "jpg", "jpeg"];

/// Those of slides that no batch reads out of a directory.
const OTHER_SLIDES: [&str; 13] = [
    "dcm", "czi", "vsi", "qptiff", "isyntax", "svslide", "vmu", "lif", "jp2", "j2k", "btf", "tf8", "partial",
];

/// One slide.
#[derive(Debug, Clone, PartialEq)]
pub struct SlideEntry {
    /// The file.
    pub path: PathBuf,
    /// Its name without the extension, which its bag bears, too.
    pub id: String,
    /// What the user knows of its resolution.
    pub given: ResolutionOverride,
}

/// Slides in a fixed order, each with a name of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct SlideList {
    entries: Vec<SlideEntry>,
    passed_over: PassedOver,
}

impl SlideList {
    /// Takes files as they are, and of directories the slides that lie in them, hidden files left out; sorted by name.
    ///
    /// A link in a directory that leads nowhere is taken, too: the batch then says that its slide is missing.
    ///
    /// # Errors
    /// [`Error::Io`] for what cannot be listed, [`Error::NoPlace`], [`Error::NoSlides`] for a directory without any, [`Error::SameName`].
    pub fn find(places: &[PathBuf]) -> Result<Self> {
        let mut by_id: BTreeMap<String, PathBuf> = BTreeMap::new();
        let mut passed_over = PassedOver::default();
        let mut pairs = Vec::new();
        for place in places {
            if !place.exists() && !place.is_symlink() && !is_called(place, &EXTENSIONS) {
                return Err(Error::NoPlace { place: place.clone() });
            }
            let (found, others) = slides_of(place)?;
            if found.is_empty() {
                return Err(Error::NoSlides { place: place.clone(), passed_over: others.without(places) });
            }
            passed_over.append(others);
            for path in found {
                let id = id_of_file(&path);
                match by_id.get(&id) {
                    Some(first) if real(first) != real(&path) => pairs.push((first.clone(), path)),
                    Some(_) => {}
                    None => {
                        by_id.insert(id, path);
                    }
                }
            }
        }
        if !pairs.is_empty() {
            return Err(Error::SameName { pairs });
        }
        let entry = |(id, path)| SlideEntry { path, id, given: ResolutionOverride::default() };
        let passed_over = passed_over.without(places);
        Ok(Self { entries: by_id.into_iter().map(entry).collect(), passed_over })
    }

    /// What lies in the directories and was not taken, nor given by its name.
    #[must_use]
    pub fn passed_over(&self) -> &PassedOver {
        &self.passed_over
    }

    /// The slides.
    #[must_use]
    pub fn entries(&self) -> &[SlideEntry] {
        &self.entries
    }

    /// States one resolution for every slide.
    #[must_use]
    pub fn with_resolution(mut self, given: ResolutionOverride) -> Self {
        for entry in &mut self.entries {
            entry.given = given;
        }
        self
    }

    /// States resolutions by a table with the columns `slide` (or `wsi`, as in TRIDENT's tables) and `mpp`, `mag` or both; cells may be empty. Slides are
    /// named by their files, with or without folder and extension.
    ///
    /// Slides that the table does not name keep what their file states. Names in the table of which there is no slide are returned, too:
    /// the table may be that of a larger batch, or a name is misspelt.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Table`], with the line, for a table that cannot be read, a missing column, a cell that
    /// is no number, a slide that stands twice; and if none of its names is that of a slide and there are several slides: a single one,
    /// as each task of a job array has, need not stand in a table of corrections.
    pub fn with_table(mut self, path: &Path) -> Result<(Self, Vec<String>)> {
        let mut given = read_table(path)?;
        let n_given = given.len();
        for entry in &mut self.entries {
            if let Some((_, given)) = given.remove(&entry.id) {
                entry.given = given;
            }
        }
        let left: Vec<String> = given.into_values().map(|(name, _)| name).collect();
        let is_none_here = left.len() == n_given && self.entries.len() > 1;
        if let (true, Some(name), Some(entry)) = (is_none_here, left.first(), self.entries.first()) {
            let fault = format!(
                "none of its slides, such as `{name}`, is one of those at hand, such as `{}`",
                entry.id
            );
            return Err(Error::Table { path: path.to_owned(), fault });
        }
        Ok((self, left))
    }
}

/// What the bag of a slide is called. A name that is no text is written in a form of its own, so that no two are one.
fn id_of_file(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    stem.to_str().map_or_else(|| stem.as_encoded_bytes().escape_ascii().to_string(), str::to_owned)
}

impl SlideEntry {
    /// Refuses a slide whose name no bag can bear.
    ///
    /// # Errors
    /// [`Error::Name`].
    pub(crate) fn check_name(&self) -> Result<()> {
        let fault = |fault| Err(Error::Name { path: self.path.clone(), fault });
        match self.path.file_stem().unwrap_or_default().to_str() {
            None => fault("is no UTF-8 text"),
            Some(name) if name.chars().any(char::is_control) => {
                fault("has a line break or another character that is not shown")
            }
            Some(_) => Ok(()),
        }
    }
}

/// Whether a file is one of these by its extension, and not hidden, such as macOS's `._slide.svs` beside a slide on other file systems.
fn is_called(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    !is_hidden(path) && extensions.contains(&extension.as_str())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Whether a folder holds slides that a batch takes once the folder is named; plain pictures do not count. One that can't be listed is none of
/// a batch's business.
fn holds_slides(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| {
        let path = entry.path();
        is_called(&path, &EXTENSIONS) && !is_called(&path, &PICTURES) && path.is_file()
    })
}

/// The slides at a place, and what else lies there.
fn slides_of(place: &Path) -> Result<(Vec<PathBuf>, PassedOver)> {
    let (mut found, mut passed_over) = (Vec::new(), PassedOver::default());
    if !place.is_dir() {
        return Ok((vec![place.to_owned()], passed_over));
    }
    let failed = |source| Error::Io { path: place.to_owned(), action: "list the directory", source };
    for entry in std::fs::read_dir(place).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        // A link that leads nowhere is a slide that is missing, which its row says.
        let is_file = path.is_file() || (path.is_symlink() && !path.exists());
        if is_file && is_called(&path, &EXTENSIONS) {
            found.push(path);
        } else if is_file && is_called(&path, &OTHER_SLIDES) {
            passed_over.others.push(path);
        } else if !is_hidden(&path) && path.is_dir() && holds_slides(&path) {
            passed_over.folders.push(path);
        }
    }
    // Thumbnails and masks lie beside slides under their names.
    let slides: BTreeSet<OsString> =
        found.iter().filter(|path| !is_called(path, &PICTURES)).filter_map(|path| stem(path)).collect();
    let (pictures, found) = found.into_iter().partition(|path| {
        is_called(path, &PICTURES) && stem(path).is_some_and(|name| slides.contains(&name))
    });
    passed_over.pictures = pictures;
    Ok((found, passed_over))
}

fn stem(path: &Path) -> Option<OsString> {
    path.file_stem().map(OsStr::to_owned)
}

/// What a slide's bag is called by what a table calls the slide.
fn id_of(name: &str) -> &str {
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
    match file.rsplit_once('.') {
        Some((id, extension)) if EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)) => id,
        _ => slide_stem(file),
    }
}

/// By slide, what the table calls it and states.
fn read_table(path: &Path) -> Result<BTreeMap<String, (String, ResolutionOverride)>> {
    let table = |fault: String| Error::Table { path: path.to_owned(), fault };
    let unreadable = |row: RecordFault| table(row.to_string());
    let text = std::fs::read(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        action: "read the table",
        source,
    })?;
    let header_at = header_at(&text);
    let delimiter = delimiter_of(&text, header_at);
    let records = Records::new(&text, delimiter, header_at, RowLengths::Equal).map_err(unreadable)?;
    let column = |name: &str| -> Result<Option<usize>> {
        let mut found = records.header().cells().enumerate().filter(|(_, cell)| *cell == name);
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(table(format!("more than one column is called {name}"))),
            (first, _) => Ok(first.map(|(at, _)| at)),
        }
    };
    let slide = column("slide")?.or(column("wsi")?);
    let (mpp, mag) = (column("mpp")?, column("mag")?);
    let (Some(slide), true) = (slide, mpp.is_some() || mag.is_some()) else {
        let found = records.header().cells().collect::<Vec<_>>().join(", ");
        return Err(table(format!("the columns are {found}; expected `slide`, and `mpp` or `mag`")));
    };
    let mut given = BTreeMap::new();
    for record in records {
        let record = record.map_err(unreadable)?;
        let line = record.line;
        let number = |column: Option<usize>| -> Result<Option<f64>> {
            match column.map(|column| record.cell(column)).filter(|cell| !cell.is_empty()) {
                None => Ok(None),
                Some(cell) => cell.parse().map(Some).map_err(|_| {
                    let point = cell.replacen(',', ".", 1);
                    let is_decimal_comma = point != cell && point.parse::<f64>().is_ok();
                    let way_out = if is_decimal_comma { format!("; write {point}") } else { String::new() };
                    table(format!("line {line}: `{cell}` is no number{way_out}"))
                }),
            }
        };
        let name = record.cell(slide);
        let value = ResolutionOverride { mpp: number(mpp)?, magnification: number(mag)? };
        if given.insert(id_of(name).to_owned(), (name.to_owned(), value)).is_some() {
            return Err(table(format!("line {line}: `{name}` stands twice")));
        }
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_a_directory_and_is_not_taken_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for folder in ["uuid-1", "empty", "a", "masks", "thumbnails", ".trash", "dicom"] {
            std::fs::create_dir(at(folder)).unwrap();
        }
        // `a.mrxs` has its data in a folder of its name.
        let files = ["uuid-1/slide.svs", "b.dcm", "notes.txt", "a/Data0001.dat"];
        let of_tools = ["masks/a.png", "thumbnails/a.jpg", ".trash/old.svs", "dicom/1.dcm"];
        for name in files.iter().chain(&of_tools) {
            std::fs::write(at(name), "").unwrap();
        }
        let places = [dir.path().to_owned()];
        let none = SlideList::find(&places).unwrap_err();
        let told = format!(
            "; there are folders with slides (1): {}; name one to take its slides, or all (DIR/*/), or link the slides into one folder; \
             slides of other kinds (1): {}; name one to see why it is not read",
            at("uuid-1").display(),
            at("b.dcm").display()
        );
        assert!(none.to_string().ends_with(&told), "{none}");
        std::fs::write(at("a.mrxs"), "").unwrap();
        let found = SlideList::find(&places).unwrap();
        let passed_over =
            PassedOver { folders: vec![at("uuid-1")], others: vec![at("b.dcm")], pictures: Vec::new() };
        assert_eq!((found.entries().len(), found.passed_over()), (1, &passed_over));
    }

    #[test]
    fn what_is_named_beside_its_directory_is_not_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for folder in ["uuid-1", "uuid-2"] {
            std::fs::create_dir(at(folder)).unwrap();
        }
        for name in ["a.svs", "b.dcm", "c.czi", "uuid-1/d.svs", "uuid-2/e.svs"] {
            std::fs::write(at(name), "").unwrap();
        }
        // One of them by another name of it, and the directory twice.
        let places = [at(""), at("uuid-1"), at("uuid-2/../b.dcm"), dir.path().to_owned()];
        let found = SlideList::find(&places).unwrap();
        let ids: Vec<_> = found.entries().iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(ids, ["a", "b", "d"]);
        let passed_over =
            PassedOver { folders: vec![at("uuid-2")], others: vec![at("c.czi")], pictures: Vec::new() };
        assert_eq!(found.passed_over(), &passed_over);
        std::fs::remove_file(at("a.svs")).unwrap();
        let none = SlideList::find(&places).unwrap_err().to_string();
        assert!(none.contains("uuid-2") && !none.contains("uuid-1") && !none.contains("b.dcm"), "{none}");
    }

    #[test]
    fn directories_give_their_slides_by_name() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.svs", "a.TIF", "notes.txt"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let found = SlideList::find(&[dir.path().to_owned()]).unwrap();
        let ids: Vec<_> = found.entries().iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(ids, ["a", "b"]);
        // What macOS writes beside files, and what an editor or a copy in progress hides.
        for name in ["._b.svs", ".c.svs"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(SlideList::find(&[dir.path().to_owned()]).unwrap(), found);
        // The thumbnail of a slide, and pictures that are slides themselves.
        for name in ["b.png", "c.jpg"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let found = SlideList::find(&[dir.path().to_owned()]).unwrap();
        let ids: Vec<_> = found.entries().iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(
            (ids, &found.passed_over().pictures),
            (vec!["a", "b", "c"], &vec![dir.path().join("b.png")])
        );
        for name in ["a.svs", "b.ndpi"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let error = SlideList::find(&[dir.path().to_owned()]).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::SameName { pairs } if pairs.len() == 2));
        for wanted in ["slides of one name would share a bag", "a.TIF", "a.svs", "b.ndpi", "--out"] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(SlideList::find(&[empty.path().to_owned()]), Err(Error::NoSlides { .. })));
    }

    #[test]
    fn one_file_by_two_names_is_one_slide() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("links")).unwrap();
        std::fs::write(at("a.svs"), "").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(at("a.svs"), at("links/a.svs")).unwrap();
        let found = SlideList::find(&[at("a.svs"), at("links/../a.svs"), at("links")]);
        #[cfg(unix)]
        assert_eq!(found.unwrap().entries().len(), 1);
        assert!(matches!(SlideList::find(&[at("nowhere")]), Err(Error::NoPlace { .. })));
        // A slide of a list that is missing has its row in the table.
        assert_eq!(SlideList::find(&[at("missing.svs")]).unwrap().entries().len(), 1);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn names_that_no_bag_can_bear_are_those_of_slides_that_fail() {
        use std::os::unix::ffi::OsStrExt;
        let path = |bytes: &[u8]| Path::new("slides").join(OsStr::from_bytes(bytes));
        let names: [&[u8]; 4] = [b"a.tif", b"Pr\xe4p.tif", b"Pr\xfcp.tif", b"new\nline.tif"];
        let found = SlideList::find(&names.map(path)).unwrap();
        let told =
            |entry: &SlideEntry| (entry.id.clone(), entry.check_name().err().map(|error| error.to_string()));
        let told: Vec<_> = found.entries().iter().map(told).collect();
        let refused = |id: &str, words: &str| {
            let error = told.iter().find(|(of, _)| of == id).and_then(|(_, error)| error.as_ref()).unwrap();
            assert!(error.contains(words) && error.contains("rename the file"), "{error}");
        };
        assert_eq!(told[2], ("a".to_owned(), None));
        refused("Pr\\xe4p", "is no UTF-8 text");
        refused("Pr\\xfcp", "is no UTF-8 text");
        refused("new\nline", "has a line break");
    }

    #[test]
    fn a_table_states_resolutions_by_slide() {
        let dir = tempfile::tempdir().unwrap();
        let table = dir.path().join("slides.csv");
        let list = SlideList::find(&["x/a.svs".into(), "x/b.svs".into(), "d.1.png".into()]).unwrap();
        std::fs::write(&table, "slide,mpp,mag\nscans/a.svs,0.25,\nc.svs,0.5,20\nd.1.PNG,,10\n").unwrap();
        let (found, left) = list.clone().with_table(&table).unwrap();
        assert_eq!(found.entries()[0].given, ResolutionOverride { mpp: Some(0.25), magnification: None });
        assert_eq!(found.entries()[1].given, ResolutionOverride::default());
        assert_eq!(found.entries()[2].given, ResolutionOverride { mpp: None, magnification: Some(10.0) });
        assert_eq!(left, ["c.svs"]);
        // TRIDENT's own tables, which know no magnification.
        let trident = dir.path().join("trident.csv");
        std::fs::write(&trident, "wsi,mpp\na.svs,0.2523\nb.svs,0.5\n").unwrap();
        let (of_trident, left) = list.clone().with_table(&trident).unwrap();
        let mpp = [Some(0.2523), Some(0.5), None].map(|mpp| ResolutionOverride { mpp, magnification: None });
        assert_eq!(of_trident.entries().iter().map(|entry| entry.given).collect::<Vec<_>>(), mpp);
        assert_eq!(left.len(), 0);
        std::fs::write(&trident, "# from the scanner\nwsi;mpp\na.svs;0.2523\nb.svs;0.5\n").unwrap();
        assert_eq!(list.clone().with_table(&trident).unwrap().0, of_trident);
        // A slide of its own may be one that needs no correction.
        let alone = SlideList::find(&["x/b.svs".into()]).unwrap();
        let (found, left) = alone.clone().with_table(&table).unwrap();
        assert_eq!(found, alone);
        assert_eq!(left.len(), 3);
        for (text, fault) in [
            ("name,mpp\n", "expected `slide`"),
            ("slide;mpp\na;0,25\n", "line 2: `0,25` is no number; write 0.25"),
            ("slide,mpp,mpp\na,1,2\n", "more than one column is called mpp"),
            ("slide,mpp\na,much\n", "line 2: `much` is no number"),
            ("slide,mpp\na,1\na.svs,1\n", "line 3: `a.svs` stands twice"),
            ("slide,mpp\r\n\r\na,much\r\n", "line 3: `much` is no number"),
            ("slide,mpp\n\na\n", "line 3: 1 cells, expected 2 as in the header"),
            ("slide,mpp\n\"a,1\nb,1\n", "line 2: the quote that opens here is never closed"),
            (
                "slide,mpp\nA.svs,1\n",
                "none of its slides, such as `A.svs`, is one of those at hand, such as `a`",
            ),
        ] {
            std::fs::write(&table, text).unwrap();
            let error = list.clone().with_table(&table).unwrap_err().to_string();
            assert!(error.contains(fault), "{error}");
        }
    }
}
