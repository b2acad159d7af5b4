//! Which folds of a run this process trains: a claim on each, beside its directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::claim::{Claim, Claimed};
use crate::error::{Error, Result};

/// Claims on folds; dropping them gives the folds free.
#[derive(Debug, Default)]
pub(crate) struct FoldClaims {
    claims: BTreeMap<usize, Claim>,
}

impl FoldClaims {
    /// Claims folds of the run in `run`, all or none. None, too, is for whoever holds the whole directory.
    ///
    /// # Errors
    /// [`Error::FoldElsewhere`] if another process is at one of them, or a claim can't be written.
    pub(crate) fn make(run: &Path, folds: impl IntoIterator<Item = usize>) -> Result<Self> {
        let mut claims = BTreeMap::new();
        for fold in folds {
            let path = claim_path(run, fold);
            // What is lost is noticed before anything of the fold is written.
            match Claim::make(&path, |_| {})? {
                Claimed::Ours(claim) => claims.insert(fold, claim),
                Claimed::Others(holder) => {
                    let by = holder.map_or_else(|| "another process".to_owned(), |holder| holder.to_string());
                    let reason = format!(
                        "fold {fold} is being trained by {by}; wait for it, train others with --folds, or remove this file if \
                         that process is gone"
                    );
                    return Err(Error::FoldElsewhere { claim: path, reason });
                }
            };
        }
        Ok(Self { claims })
    }

    /// Removes what a process that was killed after its last fold left of its claim on a complete one.
    ///
    /// # Errors
    /// If it can't be looked at.
    pub(crate) fn clear(run: &Path, fold: usize) -> Result<()> {
        let path = claim_path(run, fold);
        if path.is_file() {
            drop(Claim::make(&path, |_| {})?);
        }
        Ok(())
    }

    /// Refuses to go on with a fold that was claimed and that another process took over since.
    ///
    /// # Errors
    /// [`Error::FoldElsewhere`] if one did.
    pub(crate) fn check(&self, fold: usize) -> Result<()> {
        // A file system that stalls is no other process.
        let is_lost = |claim: &Claim| claim.is_held().is_ok_and(|is_held| !is_held);
        match self.claims.get(&fold).filter(|claim| is_lost(claim)) {
            None => Ok(()),
            Some(claim) => Err(Error::FoldElsewhere {
                claim: claim.path().to_owned(),
                reason: format!(
                    "fold {fold} was taken over by another process, having heard nothing of this one for ten minutes"
                ),
            }),
        }
    }
}

fn claim_path(run: &Path, fold: usize) -> PathBuf {
    run.join(format!("fold_{fold}.claim"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_are_claimed_all_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let first = FoldClaims::make(dir.path(), [1, 3]).unwrap();
        let error = FoldClaims::make(dir.path(), [0, 1, 2]).unwrap_err();
        assert!(matches!(error, Error::FoldElsewhere { .. }), "{error}");
        let text = error.to_string();
        let wanted = format!("process {}; wait for it, train others with --folds", std::process::id());
        assert!(
            text.contains("fold_1.claim: fold 1 is being trained by ") && text.contains(&wanted),
            "{text}"
        );
        drop(FoldClaims::make(dir.path(), [0, 2]).unwrap());
        drop(first);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_fold_that_was_taken_over_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let claims = FoldClaims::make(dir.path(), [0, 1]).unwrap();
        claims.check(0).unwrap();
        let path = claim_path(dir.path(), 0);
        let other = std::fs::read_to_string(&path).unwrap().replace("\"pid\":", "\"pid\":1");
        std::fs::write(&path, &other).unwrap();
        let error = claims.check(0).unwrap_err().to_string();
        assert!(error.contains("fold 0 was taken over"), "{error}");
        claims.check(1).unwrap();
        claims.check(2).unwrap();
        drop(claims);
        // The other one's stays.
        assert_eq!(std::fs::read_to_string(&path).unwrap(), other);
        FoldClaims::clear(dir.path(), 1).unwrap();
    }
}
