//! Whether folds that are still to be trained are those that the run was planned with.

use std::collections::BTreeSet;
use std::path::Path;

use super::{FoldRecord, FoldsRecord, Plan};
use crate::error::{Error, Result};
use crate::run_dir;

impl Plan {
    /// Refuses to train a fold of other slides than those that the run was planned with: its mean would be over two versions of the splits.
    ///
    /// # Errors
    /// If `folds.json` names other slides of a fold that is not begun. Folds that are begun say themselves on what.
    pub(crate) fn check_recorded(&self, run: &Path) -> Result<()> {
        let path = run.join(run_dir::FOLDS);
        // One that was cut off is written again.
        let Ok(before) = run_dir::read_json::<FoldsRecord>(&path) else { return Ok(()) };
        let is_begun = |fold: usize| run_dir::fold_dir(run, fold).join(run_dir::fold_files::DATA).is_file();
        for now in self.record.folds.iter().filter(|now| !is_begun(now.fold)) {
            let Some(planned) = before.folds.iter().find(|planned| planned.fold == now.fold) else {
                continue;
            };
            let slides = |of: &FoldRecord| -> BTreeSet<String> { of.slides().cloned().collect() };
            let parts = |of: &FoldRecord| {
                [&of.train, &of.inner_validation, &of.validation]
                    .map(|part| part.iter().cloned().collect::<BTreeSet<_>>())
            };
            if parts(planned) == parts(now) {
                continue;
            }
            let (planned_slides, now_slides) = (slides(planned), slides(now));
            let n_others = planned_slides.symmetric_difference(&now_slides).count();
            let what = if n_others > 0 {
                format!("{n_others} slides are in one of them only")
            } else {
                "slides changed between training and validation".to_owned()
            };
            let reason = format!(
                "fold {} was planned with other slides than splits, table and bags give now ({what}): put these back, or choose another --out",
                now.fold
            );
            return Err(Error::data(&path, reason));
        }
        Ok(())
    }
}
