//! The tags of one TIFF directory, each with its form checked.

use std::fs::File;
use std::io::BufReader;

use tiff::decoder::Decoder;
use tiff::decoder::ifd::Value;
use tiff::tags::{IfdPointer, Tag, Type, ValueBuffer};
use tiff::{Directory, TiffError};

use crate::error::{Error, ErrorKind, Result};

/// The tags of the directory that lies at `place`, as errors call it.
pub(crate) struct Tags<'a> {
    pub(crate) decoder: &'a mut Decoder<BufReader<File>>,
    pub(crate) directory: &'a Directory,
    pub(crate) place: &'a str,
}

impl Tags<'_> {
    fn value(&mut self, tag: Tag) -> Result<Option<Value>> {
        let read = self.decoder.read_directory_tags(self.directory).find_tag(tag);
        read.map_err(|source| structure(&format!("{}, {tag:?}", self.place), source))
    }

    fn converted<T>(
        &mut self,
        tag: Tag,
        convert: impl FnOnce(Value) -> Result<T, TiffError>,
    ) -> Result<Option<T>> {
        let place = format!("{}, {tag:?}", self.place);
        self.value(tag)?.map(|value| convert(value).map_err(|source| structure(&place, source))).transpose()
    }

    pub(crate) fn whole(&mut self, tag: Tag) -> Result<Option<u64>> {
        self.converted(tag, Value::into_u64)
    }

    pub(crate) fn short(&mut self, tag: Tag) -> Result<Option<u16>> {
        self.converted(tag, Value::into_u16)
    }

    pub(crate) fn list(&mut self, tag: Tag) -> Result<Vec<u64>> {
        Ok(self.converted(tag, Value::into_u64_vec)?.unwrap_or_default())
    }

    pub(crate) fn bytes(&mut self, tag: Tag) -> Result<Option<Vec<u8>>> {
        self.converted(tag, Value::into_u8_vec)
    }

    /// Numbers that only some pages must have right; a tag that holds others counts as absent.
    pub(crate) fn numbers(&mut self, tag: Tag) -> Vec<u64> {
        self.list(tag).unwrap_or_default()
    }

    /// Fractions; a tag that holds anything else counts as absent.
    pub(crate) fn ratios(&mut self, tag: Tag) -> Vec<f64> {
        let Some(Value::List(values)) = self.value(tag).ok().flatten() else { return Vec::new() };
        values.iter().filter_map(ratio).collect()
    }

    pub(crate) fn pointers(&mut self, tag: Tag) -> Result<Vec<IfdPointer>> {
        let Some(value) = self.value(tag)? else { return Ok(Vec::new()) };
        if let Ok(pointers) = value.clone().into_ifd_vec() {
            return Ok(pointers);
        }
        // Some write plain numbers, of any width.
        let numbers = value.into_u64_vec().unwrap_or_default();
        Ok(numbers.into_iter().map(IfdPointer).collect())
    }

    /// Text up to its end; a tag that is no text counts as absent.
    ///
    /// The format takes ASCII alone, but programs write UTF-8, and older ones Latin-1.
    pub(crate) fn text(&mut self, tag: Tag) -> Option<String> {
        let mut value = ValueBuffer::empty(Type::ASCII);
        let found = self.decoder.read_directory_tags(self.directory).find_tag_buf(tag, &mut value);
        found.ok().flatten().filter(|entry| entry.field_type() == Type::ASCII)?;
        let bytes = value.as_bytes().split(|byte| *byte == 0).next().unwrap_or_default();
        Some(match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
        })
    }

    pub(crate) fn resolution(&mut self) -> Result<Option<([f64; 2], u16)>> {
        let x = self.value(Tag::XResolution)?.as_ref().and_then(ratio);
        let y = self.value(Tag::YResolution)?.as_ref().and_then(ratio);
        let unit = self.short(Tag::ResolutionUnit)?.unwrap_or(2);
        Ok(x.zip(y).map(|(x, y)| ([x, y], unit)))
    }

    pub(crate) fn positive(&self, name: &str, found: u64) -> Result<u32> {
        match u32::try_from(found) {
            Ok(found) if found > 0 => Ok(found),
            _ => Err(fault_at(self.place, format!("{name} is {found}, expected 1 to {}", u32::MAX))),
        }
    }
}

fn ratio(value: &Value) -> Option<f64> {
    match value {
        Value::Rational(above, below) if *below != 0 => Some(f64::from(*above) / f64::from(*below)),
        _ => None,
    }
}

pub(crate) fn fault_at(place: &str, fault: String) -> Error {
    ErrorKind::Structure { place: place.to_owned(), fault, source: None }.into()
}

pub(crate) fn structure(place: &str, source: TiffError) -> Error {
    if let TiffError::IoError(error) = &source
        && error.kind() == std::io::ErrorKind::UnexpectedEof
    {
        return fault_at(place, "it cannot be read: it reaches beyond the end of the file".to_owned());
    }
    let fault = "it cannot be read".to_owned();
    ErrorKind::Structure { place: place.to_owned(), fault, source: Some(Box::new(source)) }.into()
}
