//! Huffman-coded coefficients.

use crate::jpeg::header::ZIGZAG;

/// Codes up to this long are looked up.
const LOOKUP_BITS: u32 = 9;

/// The codes of one table.
pub(super) struct HuffmanTable {
    /// Value and length of the code that the next bits begin with; length 0 where it is longer.
    lookup: Vec<(u8, u8)>,
    /// For each length the first code beyond those of that length, left-aligned to 16 bits.
    limits: [u32; 17],
    /// For each length what to add to a code to find the place of its value.
    offsets: [i32; 17],
    values: Vec<u8>,
}

impl HuffmanTable {
    /// From the number of codes of each length, and their values in order.
    pub(super) fn new(counts: &[u8], values: &[u8]) -> Result<Self, &'static str> {
        let mut table = Self {
            lookup: vec![(0, 0); 1 << LOOKUP_BITS],
            limits: [0; 17],
            offsets: [0; 17],
            values: values.to_vec(),
        };
        let (mut code, mut place) = (0u32, 0usize);
        for (length, count) in (1u32..).zip(counts) {
            table.offsets[length as usize] = place as i32 - code as i32;
            for _ in 0..*count {
                if code >= 1 << length {
                    return Err("a Huffman table has more codes than fit");
                }
                if length <= LOOKUP_BITS {
                    let shift = LOOKUP_BITS - length;
                    let first = (code << shift) as usize;
                    for entry in &mut table.lookup[first..first + (1 << shift)] {
                        *entry = (values[place], length as u8);
                    }
                }
                code += 1;
                place += 1;
            }
            table.limits[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Ok(table)
    }

    fn read(&self, bits: &mut BitReader<'_>) -> Result<u8, &'static str> {
        let next = bits.peek(16);
        let (value, length) = self.lookup[(next >> (16 - LOOKUP_BITS)) as usize];
        if length > 0 {
            bits.skip(length.into())?;
            return Ok(value);
        }
        let length = (LOOKUP_BITS + 1..=16)
            .find(|length| next < self.limits[*length as usize])
            .ok_or("a code that is in no table")?;
        bits.skip(length)?;
        let place = (next >> (16 - length)) as i32 + self.offsets[length as usize];
        let value = usize::try_from(place).ok().and_then(|place| self.values.get(place));
        value.copied().ok_or("a code that is in no table")
    }
}

/// Bits of a scan, stuffed bytes taken out.
pub(super) struct BitReader<'a> {
    data: &'a [u8],
    at: usize,
    held: u64,
    n_held: u32,
    /// Bits that were made up beyond the end.
    n_beyond: u32,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0, held: 0, n_held: 0, n_beyond: 0 }
    }

    fn fill(&mut self) {
        while self.n_held <= 48 {
            let byte = match self.data.get(self.at) {
                Some(0xff) if self.data.get(self.at + 1) == Some(&0) => {
                    self.at += 2;
                    0xff
                }
                // A marker ends the samples.
                Some(0xff) | None => {
                    self.n_beyond += 8;
                    0
                }
                Some(byte) => {
                    self.at += 1;
                    *byte
                }
            };
            self.held = self.held << 8 | u64::from(byte);
            self.n_held += 8;
        }
    }

    /// The next bits, at most 16.
    fn peek(&mut self, n: u32) -> u32 {
        if self.n_held < n {
            self.fill();
        }
        (self.held >> (self.n_held - n)) as u32 & ((1 << n) - 1)
    }

    fn skip(&mut self, n: u32) -> Result<(), &'static str> {
        self.n_held -= n;
        if self.n_held < self.n_beyond { Err("the end of the samples") } else { Ok(()) }
    }

    /// A signed number of `n` bits in JPEG's form.
    fn receive(&mut self, n: u32) -> Result<i32, &'static str> {
        if n == 0 {
            return Ok(0);
        }
        let value = self.peek(n) as i32;
        self.skip(n)?;
        Ok(if value < 1 << (n - 1) { value - (1 << n) + 1 } else { value })
    }

    /// Goes on after a restart marker.
    pub(super) fn restart(&mut self) -> Result<(), &'static str> {
        (self.held, self.n_held, self.n_beyond) = (0, 0, 0);
        match self.data.get(self.at..self.at + 2) {
            Some([0xff, 0xd0..=0xd7]) => {
                self.at += 2;
                Ok(())
            }
            _ => Err("no restart marker where one is due"),
        }
    }
}

/// Reads one block, each coefficient times its quantiser, and returns the last place in zigzag order that is not 0.
pub(super) fn decode_block(
    bits: &mut BitReader<'_>,
    dc: &HuffmanTable,
    ac: &HuffmanTable,
    quantiser: &[i32; 64],
    prediction: &mut i32,
    block: &mut [i32; 64],
) -> Result<usize, &'static str> {
    *block = [0; 64];
    let size = dc.read(bits)?;
    if size > 11 {
        return Err("a DC coefficient that is too large");
    }
    *prediction = prediction.wrapping_add(bits.receive(size.into())?);
    block[0] = prediction.wrapping_mul(quantiser[0]);
    let (mut place, mut last) = (1, 0);
    while place < 64 {
        let code = ac.read(bits)?;
        let (run, size) = (usize::from(code >> 4), u32::from(code & 15));
        match (run, size) {
            (15, 0) => place += 16,
            (_, 0) => break,
            _ => {
                place += run;
                let Some(at) = ZIGZAG.get(place) else { return Err("a run beyond the block") };
                block[*at] = bits.receive(size)?.wrapping_mul(quantiser[*at]);
                last = place;
                place += 1;
            }
        }
    }
    Ok(last)
}
