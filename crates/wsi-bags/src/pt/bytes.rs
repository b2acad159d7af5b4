//! Reading numbers and texts off the front of a pickle.

const ENDS_EARLY: &str = "the pickle ends in the middle of a value";

/// The bytes of a pickle and how far they are read.
pub(super) struct Bytes<'a> {
    bytes: &'a [u8],
    pub(super) position: usize,
}

impl<'a> Bytes<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// The next `len` bytes, which must be there.
    pub(super) fn take(&mut self, len: u64) -> Result<&'a [u8], &'static str> {
        let end =
            usize::try_from(len).ok().and_then(|len| self.position.checked_add(len)).ok_or(ENDS_EARLY)?;
        let taken = self.bytes.get(self.position..end).ok_or(ENDS_EARLY)?;
        self.position = end;
        Ok(taken)
    }

    fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN], &'static str> {
        self.take(LEN as u64)?.try_into().map_err(|_| ENDS_EARLY)
    }

    pub(super) fn u8(&mut self) -> Result<u8, &'static str> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, &'static str> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, &'static str> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, &'static str> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, &'static str> {
        self.array().map(i32::from_le_bytes)
    }

    /// A little-endian two's complement integer whose length is stated first.
    pub(super) fn long(&mut self) -> Result<i64, &'static str> {
        let len = self.u8()?;
        let bytes = self.take(len.into())?;
        if bytes.len() > size_of::<i64>() {
            return Err("an integer is wider than 64 bits");
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; size_of::<i64>()];
        wide.iter_mut().zip(bytes).for_each(|(wide, byte)| *wide = *byte);
        Ok(i64::from_le_bytes(wide))
    }

    /// Text up to the next end of line.
    pub(super) fn line(&mut self) -> Result<String, &'static str> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let len = rest.iter().position(|byte| *byte == b'\n').ok_or("a name has no end")?;
        self.position += len + 1;
        Ok(String::from_utf8_lossy(rest.get(..len).unwrap_or_default()).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_integers_keep_their_sign() {
        for (bytes, value) in [
            (&[0][..], 0),
            (&[1, 0xff], -1),
            (&[2, 0xff, 0x00], 255),
            (&[2, 0x00, 0x80], -32_768),
            (&[8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], i64::MAX),
            (&[8, 0, 0, 0, 0, 0, 0, 0, 0x80], i64::MIN),
        ] {
            assert_eq!(Bytes::new(bytes).long(), Ok(value));
        }
    }
}
