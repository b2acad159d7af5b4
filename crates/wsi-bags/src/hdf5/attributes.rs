//! Attributes of groups, checked as they are read.

use crate::error::{Error, ErrorKind, Result};

use super::header::Header;
use super::{Group, failed};

impl Group<'_> {
    /// A positive number given as an attribute; `None` if there is none.
    pub(crate) fn positive_number(&self, name: &'static str) -> Result<Option<f64>> {
        const WANTED: &str = "a positive finite number";
        if !self.has_attribute(name)? {
            return Ok(None);
        }
        let number = Header::find(self.reader.map.bytes(), self.reader.base, &self.path)
            .and_then(|header| header.number(name));
        match number {
            Some(number) if number.is_finite() && number > 0.0 => Ok(Some(number)),
            Some(number) => Err(self.wrong_attribute(name, number.to_string(), WANTED)),
            None => Err(self.wrong_attribute(name, "not a single number".to_owned(), WANTED)),
        }
    }

    /// A positive whole number given as an attribute; `None` if there is none.
    pub(crate) fn positive_integer(&self, name: &'static str) -> Result<Option<u64>> {
        // Whole numbers up to here are exact in an f64.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match self.positive_number(name)? {
            None => Ok(None),
            Some(number) if number.fract() == 0.0 && number <= EXACT => Ok(Some(number as u64)),
            Some(number) => Err(self.wrong_attribute(name, number.to_string(), "a positive whole number")),
        }
    }

    /// A text given as an attribute; `None` if there is none.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<String>> {
        if !self.has_attribute(name)? {
            return Ok(None);
        }
        let text = self
            .group
            .attr_string(name)
            .map_err(|source| failed(format!("read attribute `{name}`"), source))?;
        Ok(Some(text))
    }

    /// The error for an attribute of this group.
    pub(crate) fn wrong_attribute(&self, name: &'static str, found: String, wanted: &'static str) -> Error {
        let error = Error::from(ErrorKind::Attribute { name, found, wanted });
        if self.path.is_empty() { error } else { error.at_place(&self.path) }
    }

    fn has_attribute(&self, name: &str) -> Result<bool> {
        let names = self.group.attr_names().map_err(|source| failed("list the attributes", source))?;
        Ok(names.iter().any(|found| found == name))
    }
}
