//! Errors as users and their schedulers see them.

use std::error::Error;
use std::io;

/// The error and what its causes add.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let line = inner.to_string();
        if !text.contains(&line) {
            text.push_str(": ");
            text.push_str(&line);
        }
        cause = inner.source();
    }
    text
}

/// `ENFILE` and `EMFILE`: too many files are open, in all processes or in this. Elsewhere the numbers mean something else.
const TOO_MANY_FILES: &[i32] = if cfg!(unix) { &[23, 24] } else { &[] };

/// Whether a retry may help: the error, or the first of its causes that is the system's, says that the disk is full, that something was
/// interrupted, that the machine or the process has too many files open, or that a file system of the network is away.
#[must_use]
pub fn is_temporary(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            use io::ErrorKind::{Interrupted, QuotaExceeded, StaleNetworkFileHandle, StorageFull, TimedOut};
            let of_the_moment = matches!(
                io.kind(),
                StorageFull | QuotaExceeded | Interrupted | TimedOut | StaleNetworkFileHandle
            );
            return of_the_moment || io.raw_os_error().is_some_and(|code| TOO_MANY_FILES.contains(&code));
        }
        cause = inner.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt;

    #[derive(Debug)]
    struct Outer(&'static str, io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.1)
        }
    }

    #[test]
    fn causes_are_added_once_and_decide_whether_to_retry() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let error = Outer("a.h5: cannot write", full());
        assert_eq!(with_causes(&error), format!("a.h5: cannot write: {}", full()));
        assert!(is_temporary(&error) && is_temporary(&full()));
        let error = Outer("not there: permission denied", io::ErrorKind::PermissionDenied.into());
        assert_eq!(with_causes(&error), "not there: permission denied");
        assert!(!is_temporary(&error) && !is_temporary(&fmt::Error));
        assert!(TOO_MANY_FILES.iter().all(|code| is_temporary(&io::Error::from_raw_os_error(*code))));
    }
}
