//! Attributes, checked as they are read.

use crate::error::{Error, ErrorKind, Result};

use super::backend::Attribute;
use super::joined;
use super::reader::Group;

impl Group<'_> {
    /// A positive number given as an attribute of this group; `None` if there is none.
    pub(crate) fn positive_number(&self, name: &'static str) -> Result<Option<f64>> {
        self.positive_number_of("", name)
    }

    /// A positive number given as an attribute of a member; `None` if there is none.
    pub(crate) fn positive_number_of(&self, member: &str, name: &'static str) -> Result<Option<f64>> {
        match self.number_of(member, name)? {
            Some(number) if !(number.is_finite() && number > 0.0) => {
                Err(self.wrong_attribute_of(member, name, number.to_string(), "a positive finite number"))
            }
            number => Ok(number),
        }
    }

    /// A positive whole number given as an attribute of this group; `None` if there is none.
    pub(crate) fn positive_integer(&self, name: &'static str) -> Result<Option<u64>> {
        self.positive_integer_of("", name)
    }

    /// A positive whole number given as an attribute of a member; `None` if there is none.
    pub(crate) fn positive_integer_of(&self, member: &str, name: &'static str) -> Result<Option<u64>> {
        match self.whole_number_of(member, name)? {
            Some(0) => Err(self.wrong_attribute_of(member, name, "0".to_owned(), "a positive whole number")),
            number => Ok(number),
        }
    }

    /// A whole number, 0 among them, given as an attribute of a member; `None` if there is none.
    pub(crate) fn whole_number_of(&self, member: &str, name: &'static str) -> Result<Option<u64>> {
        // Whole numbers up to here are exact in an f64.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match self.number_of(member, name)? {
            None => Ok(None),
            Some(number) if number.fract() == 0.0 && (0.0..=EXACT).contains(&number) => {
                Ok(Some(number as u64))
            }
            Some(number) => {
                Err(self.wrong_attribute_of(member, name, number.to_string(), "a positive whole number"))
            }
        }
    }

    /// A number given as an attribute of a member; the text `None`, which Python writes for what it does not know, is
    /// no number.
    fn number_of(&self, member: &str, name: &'static str) -> Result<Option<f64>> {
        let other = |found| Err(self.wrong_attribute_of(member, name, found, "a single number"));
        match self.attribute_of(member, name)? {
            None => Ok(None),
            Some(Attribute::Number(number)) => Ok(Some(number)),
            Some(Attribute::Text(text)) if is_nothing(&text) => Ok(None),
            Some(Attribute::Text(text)) => other(format!("{text:?}")),
            Some(Attribute::Other(found)) => other(found),
        }
    }

    /// A text given as an attribute of this group; `None` if there is none.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<String>> {
        self.text_of("", name)
    }

    /// A text given as an attribute of a member; `None` if there is none, or if it is empty or the text `None`, which
    /// Python writes for what it does not know.
    pub(crate) fn text_of(&self, member: &str, name: &'static str) -> Result<Option<String>> {
        let other = |found| Err(self.wrong_attribute_of(member, name, found, "a single text"));
        match self.attribute_of(member, name)? {
            None => Ok(None),
            Some(Attribute::Text(text)) => Ok((!is_nothing(&text)).then_some(text)),
            Some(Attribute::Number(number)) => other(number.to_string()),
            Some(Attribute::Other(found)) => other(found),
        }
    }

    fn attribute_of(&self, member: &str, name: &str) -> Result<Option<Attribute>> {
        let place = self.place(member);
        self.reader.source.attribute(&place, name).map_err(|error| at(error, &place))
    }

    /// The error for an attribute of this group.
    pub(crate) fn wrong_attribute(&self, name: &'static str, found: String, wanted: &'static str) -> Error {
        self.wrong_attribute_of("", name, found, wanted)
    }

    /// The error for an attribute of a member.
    pub(crate) fn wrong_attribute_of(
        &self,
        member: &str,
        name: &'static str,
        found: String,
        wanted: &'static str,
    ) -> Error {
        at(ErrorKind::Attribute { name, found, wanted }.into(), &self.place(member))
    }

    fn place(&self, member: &str) -> String {
        if member.is_empty() { self.path().to_owned() } else { joined(self.path(), member) }
    }
}

fn at(error: Error, place: &str) -> Error {
    if place.is_empty() { error } else { error.at_place(place) }
}

fn is_nothing(text: &str) -> bool {
    text.is_empty() || text == "None"
}
