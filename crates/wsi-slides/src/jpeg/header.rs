//! The markers before the samples.

use crate::jpeg::entropy::HuffmanTable;
use crate::jpeg::{Colours, Fault, broken};

/// Everything that a scan needs.
#[derive(Default)]
pub(super) struct Header {
    pub(super) quantisers: [Option<[i32; 64]>; 4],
    pub(super) dc: [Option<HuffmanTable>; 4],
    pub(super) ac: [Option<HuffmanTable>; 4],
    pub(super) frame: Option<Frame>,
    /// MCUs between restart markers; 0 for none.
    pub(super) restart_interval: usize,
    is_jfif: bool,
    /// Of Adobe's marker: 0 for components that are as they are.
    adobe_transform: Option<u8>,
}

/// Size and components of the image.
pub(super) struct Frame {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) components: Vec<Component>,
}

/// One component: its sampling and its tables, by number.
pub(super) struct Component {
    id: u8,
    pub(super) h: usize,
    pub(super) v: usize,
    pub(super) quantiser: usize,
    pub(super) dc: usize,
    pub(super) ac: usize,
}

impl Frame {
    /// The largest sampling factors.
    pub(super) fn largest(&self) -> [usize; 2] {
        let most = |factor: fn(&Component) -> usize| self.components.iter().map(factor).max().unwrap_or(1);
        [most(|component| component.h), most(|component| component.v)]
    }

    /// Columns and rows of MCUs.
    pub(super) fn mcus(&self) -> [usize; 2] {
        let [h, v] = self.largest();
        [(self.width as usize).div_ceil(8 * h), (self.height as usize).div_ceil(8 * v)]
    }
}

/// Zigzag order: the place in a block of each coefficient.
pub(super) const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

impl Header {
    /// Reads markers up to the samples, and returns where these begin; `None` where the stream ends before.
    pub(super) fn read(&mut self, stream: &[u8]) -> Result<Option<usize>, Fault> {
        if !stream.starts_with(&[0xff, 0xd8]) {
            return Err(broken("it does not begin as JPEG does"));
        }
        let mut at = 2;
        loop {
            match stream.get(at) {
                None => return Ok(None),
                Some(0xff) => at += 1,
                Some(other) => return Err(broken(format!("found byte {other} where a marker is due"))),
            }
            // A marker may be preceded by any number of fill bytes.
            let Some(marker) = stream.get(at).copied() else { return Ok(None) };
            if marker == 0xff {
                continue;
            }
            at += 1;
            match marker {
                0xd9 => return Ok(None),
                0xd0..=0xd7 | 0x01 => continue,
                _ => {}
            }
            let length = match stream.get(at..at + 2) {
                Some(bytes) => usize::from(bytes[0]) << 8 | usize::from(bytes[1]),
                None => return Err(broken("it ends in a marker")),
            };
            let Some(body) = (length >= 2).then(|| stream.get(at + 2..at + length)).flatten() else {
                return Err(broken("it ends in a marker"));
            };
            at += length;
            match marker {
                0xdb => self.quantisation(body)?,
                0xc4 => self.huffman(body)?,
                0xc0 | 0xc1 => self.frame(body)?,
                0xc2..=0xcf => return Err(Fault::OtherForm),
                0xe0 if body.starts_with(b"JFIF\0") => self.is_jfif = true,
                0xee if body.starts_with(b"Adobe") => self.adobe_transform = body.get(11).copied(),
                0xdd => self.restart_interval = usize::from(word(body, 0)?),
                0xda => {
                    self.scan(body)?;
                    return Ok(Some(at));
                }
                _ => {}
            }
        }
    }

    /// What the three components of the frame are, as libjpeg tells: by the marker of JFIF, else by Adobe's, else by the components' names.
    pub(super) fn stated_colours(&self, frame: &Frame) -> Colours {
        let names: Vec<u8> = frame.components.iter().map(|component| component.id).collect();
        match self.adobe_transform {
            _ if self.is_jfif => Colours::YCbCr,
            Some(0) => Colours::Rgb,
            None if names == *b"RGB" => Colours::Rgb,
            _ => Colours::YCbCr,
        }
    }

    fn quantisation(&mut self, mut body: &[u8]) -> Result<(), Fault> {
        while let [head, rest @ ..] = body {
            let (is_wide, number) = (head >> 4 != 0, usize::from(head & 3));
            let size = if is_wide { 128 } else { 64 };
            let values = rest.get(..size).ok_or_else(|| broken("a quantisation table is cut off"))?;
            let mut table = [0; 64];
            for (place, value) in ZIGZAG.iter().zip(values.chunks_exact(size / 64)) {
                table[*place] = value.iter().fold(0, |sum, byte| sum << 8 | i32::from(*byte));
            }
            self.quantisers[number] = Some(table);
            body = &rest[size..];
        }
        Ok(())
    }

    fn huffman(&mut self, mut body: &[u8]) -> Result<(), Fault> {
        while let [head, rest @ ..] = body {
            let number = usize::from(head & 3);
            let counts = rest.get(..16).ok_or_else(|| broken("a Huffman table is cut off"))?;
            let n_values: usize = counts.iter().map(|count| usize::from(*count)).sum();
            let values = rest.get(16..16 + n_values).ok_or_else(|| broken("a Huffman table is cut off"))?;
            let table = HuffmanTable::new(counts, values).map_err(broken)?;
            let home = if head >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            home[number] = Some(table);
            body = &rest[16 + n_values..];
        }
        Ok(())
    }

    fn frame(&mut self, body: &[u8]) -> Result<(), Fault> {
        let byte = |at: usize| body.get(at).copied().ok_or_else(|| broken("its frame is cut off"));
        if byte(0)? != 8 {
            return Err(Fault::OtherForm);
        }
        let (height, width) = (u32::from(word(body, 1)?), u32::from(word(body, 3)?));
        if width == 0 || height == 0 {
            return Err(broken("it has no pixels"));
        }
        let mut components = Vec::new();
        for number in 0..usize::from(byte(5)?) {
            let at = 6 + 3 * number;
            let factors = byte(at + 1)?;
            let (h, v) = (usize::from(factors >> 4), usize::from(factors & 15));
            if !(1..=4).contains(&h) || !(1..=4).contains(&v) {
                return Err(broken("its sampling factors are not 1 to 4"));
            }
            let quantiser = usize::from(byte(at + 2)? & 3);
            components.push(Component { id: byte(at)?, h, v, quantiser, dc: 0, ac: 0 });
        }
        match components.len() {
            // The factors of a single component say nothing.
            1 => components[0].h = 1,
            3 => {}
            _ => return Err(Fault::OtherForm),
        }
        if components.len() == 1 {
            components[0].v = 1;
        }
        self.frame = Some(Frame { width, height, components });
        Ok(())
    }

    fn scan(&mut self, body: &[u8]) -> Result<(), Fault> {
        let frame = self.frame.as_mut().ok_or_else(|| broken("its scan comes before its frame"))?;
        let byte = |at: usize| body.get(at).copied().ok_or_else(|| broken("its scan is cut off"));
        if usize::from(byte(0)?) != frame.components.len() {
            return Err(Fault::OtherForm);
        }
        for (number, component) in frame.components.iter_mut().enumerate() {
            if byte(1 + 2 * number)? != component.id {
                return Err(Fault::OtherForm);
            }
            let tables = byte(2 + 2 * number)?;
            (component.dc, component.ac) = (usize::from(tables >> 4 & 3), usize::from(tables & 3));
        }
        Ok(())
    }
}

fn word(body: &[u8], at: usize) -> Result<u16, Fault> {
    match body.get(at..at + 2) {
        Some(bytes) => Ok(u16::from(bytes[0]) << 8 | u16::from(bytes[1])),
        None => Err(broken("a marker is cut off")),
    }
}
