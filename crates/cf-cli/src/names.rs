//! Names as errors list them.

/// Names that are listed before the rest is only counted: tables with gene columns have thousands.
const MAX_LISTED: usize = 24;

/// The names, separated by commas; of very many the first and how many more there are.
#[must_use]
pub fn listed<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    listed_up_to(MAX_LISTED, names)
}

/// [`listed`], of more than `most` the first.
#[must_use]
pub fn listed_up_to<S: AsRef<str>>(most: usize, names: impl IntoIterator<Item = S>) -> String {
    let mut names = names.into_iter();
    let mut text = String::new();
    for (at, name) in names.by_ref().take(most).enumerate() {
        text.push_str(if at == 0 { "" } else { ", " });
        text.push_str(name.as_ref());
    }
    match names.count() {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn very_many_names_are_counted() {
        let names = |n: u32| listed((1..=n).map(|k| k.to_string()));
        assert_eq!(names(3), "1, 2, 3");
        assert!(names(24).ends_with(", 23, 24"));
        assert!(names(20_000).ends_with(", 23, 24 and 19976 more"));
    }
}
