//! Native files, which hold the features of several encoders.

use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::magnification::Magnification;
use crate::native::{self, GivenPatches};

use super::{Converted, Converter, IfThere, Source, slide_of};

impl Converter<'_> {
    /// Writes the file `beside`: what is to lie at `file`, of what lies there and of the sources.
    pub(super) fn write_native(
        &self,
        file: &Path,
        beside: &Path,
        mut sources: Vec<Source>,
    ) -> Result<Converted> {
        let slide = slide_of(&sources);
        let (backbone, mut sets) = (self.store.backbone(), Vec::with_capacity(sources.len()));
        let added = self.magnifications_to_add(file, &sources)?;
        if let Some(wanted) = &added {
            sources.retain(|(magnification, _)| wanted.contains(magnification));
            let given: Vec<GivenPatches<'_>> = sources
                .iter()
                .map(|(magnification, source)| GivenPatches {
                    magnification: *magnification,
                    coords: source.coords.as_deref(),
                    geometry: source.geometry,
                })
                .collect();
            native::check_same_patches(file, &given, &slide, backbone)?;
            native::add_sets(file, beside, backbone, |adder| {
                sources.into_iter().try_for_each(|source| {
                    let (patches, feature_type, mut set) = self.read(source, None)?;
                    // Parents were there before.
                    (set.has_parents, set.parent_fallbacks) = (false, None);
                    sets.push(set);
                    adder.add(set.magnification, &patches, feature_type)
                })
            })?;
        } else {
            let pairs = self.parents(&sources)?;
            native::write_sets(beside, backbone, &slide, |writer| {
                sources.into_iter().zip(pairs).try_for_each(|(source, found)| {
                    let (patches, feature_type, set) = self.read(source, found)?;
                    sets.push(set);
                    writer.write(set.magnification, &patches, feature_type)
                })
            })?;
        }
        Ok(Converted { files: vec![file.to_owned()], sets, added: added.is_some() })
    }

    /// At which magnifications features are added to a native file of other encoders; `None` where a file is written. Refuses a
    /// file that, written again, would lose features.
    fn magnifications_to_add(&self, file: &Path, sources: &[Source]) -> Result<Option<Vec<Magnification>>> {
        if !file.is_file() {
            return Ok(None);
        }
        let backbone = self.store.backbone();
        let encoders = match native::encoders(file) {
            Err(error) if self.if_there == IfThere::Overwrite && error.is_damage() => return Ok(None),
            encoders => encoders?,
        };
        let has_others = encoders.iter().any(|encoder| encoder != backbone);
        let there = native::magnifications(file, backbone)?;
        let lacking: Vec<Magnification> =
            sources.iter().map(|(at, _)| *at).filter(|at| !there.contains(at)).collect();
        let completes = self.if_there == IfThere::Complete && !lacking.is_empty();
        if has_others && (there.is_empty() || completes) {
            return Ok(Some(lacking));
        }
        for encoder in &encoders {
            let is_written =
                |at: &Magnification| encoder == backbone && sources.iter().any(|(of, _)| of == at);
            if let Some(lost) = native::magnifications(file, encoder)?.iter().find(|at| !is_written(at)) {
                let found = format!("{lost} features of `{encoder}`, which would be lost");
                let wanted = "a file of nothing but what is written again";
                return Err(Error::from(ErrorKind::Content { found, wanted }).in_file(file));
            }
        }
        Ok(None)
    }
}
