//! The names of bags, found by what tables and slide files call a slide.

use std::collections::BTreeMap;

use crate::slide_name::slide_stem;

/// Names of bags, such as those of a directory.
///
/// A slide is called `X` by one tool and `X.svs` by another, and so is its bag: a bag is found by its own name, by the name without
/// the ending of a slide file, and, where neither is there, by the only name that says the same without such an ending.
///
/// ```
/// use wsi_bags::SlideNames;
///
/// let names = SlideNames::new(["a".to_owned(), "b.svs".to_owned()]);
/// assert_eq!(names.find("a.svs"), Some("a"));
/// assert_eq!(names.find("b"), Some("b.svs"));
/// assert_eq!(names.find("c"), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SlideNames {
    names: Vec<String>,
    /// Of the names that end as slide files do, by what is before: which one, `None` where there are several.
    with_ending: BTreeMap<String, Option<usize>>,
}

impl SlideNames {
    /// Sorts the names.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        let mut names: Vec<String> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        let mut with_ending: BTreeMap<String, Option<usize>> = BTreeMap::new();
        for (index, name) in names.iter().enumerate() {
            let stem = slide_stem(name);
            if stem != name {
                with_ending.entry(stem.to_owned()).and_modify(|only| *only = None).or_insert(Some(index));
            }
        }
        Self { names, with_ending }
    }

    /// All of them, sorted.
    #[must_use]
    pub fn all(&self) -> &[String] {
        &self.names
    }

    /// The name of a slide's bag, if it is told.
    #[must_use]
    pub fn find(&self, slide_id: &str) -> Option<&str> {
        let listed = |name: &str| {
            let index = self.names.binary_search_by(|listed| listed.as_str().cmp(name)).ok()?;
            self.names.get(index)
        };
        let stem = slide_stem(slide_id);
        let only = || self.names.get((*self.with_ending.get(stem)?)?);
        listed(slide_id).or_else(|| listed(stem)).or_else(only).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_none_of_two() {
        let names = ["a", "a.svs", "b.SVS", "c.svs", "c.tif", "d.e.svs"].map(str::to_owned);
        let names = SlideNames::new(names);
        for (slide, found) in [
            ("a", Some("a")),
            ("a.svs", Some("a.svs")),
            ("a.tif", Some("a")),
            ("b", Some("b.SVS")),
            ("b.svs", Some("b.SVS")),
            ("c", None),
            ("c.tif", Some("c.tif")),
            ("d", None),
            ("d.e", Some("d.e.svs")),
        ] {
            assert_eq!(names.find(slide), found, "{slide}");
        }
    }
}
