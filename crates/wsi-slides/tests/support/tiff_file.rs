//! TIFF files of uncompressed pages, written tag by tag.

/// The values of a tag.
#[derive(Debug, Clone)]
pub(crate) enum Values {
    Short(Vec<u16>),
    Long(Vec<u32>),
    /// Bytes in whatever encoding.
    Text(Vec<u8>),
    Ratio(u32, u32),
}

impl Values {
    /// Number of the type, how many values there are, and their bytes.
    fn stored(&self) -> (u16, u32, Vec<u8>) {
        match self {
            Self::Text(text) => (2, text.len() as u32 + 1, [text.as_slice(), &[0]].concat()),
            Self::Short(values) => {
                (3, values.len() as u32, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
            Self::Long(values) => {
                (4, values.len() as u32, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
            Self::Ratio(above, below) => (5, 1, [above.to_le_bytes(), below.to_le_bytes()].concat()),
        }
    }
}

/// A page of one colour, and those below it.
#[derive(Debug, Clone)]
pub(crate) struct TiffPage {
    tags: Vec<(u16, Values)>,
    /// Bytes of every tile or strip.
    chunks: Vec<Vec<u8>>,
    is_tiled: bool,
    below: Vec<TiffPage>,
}

const TILE: u32 = 16;

impl TiffPage {
    /// RGB tiles.
    pub(crate) fn tiled([width, height]: [u32; 2], colour: [u8; 3]) -> Self {
        let n_tiles = width.div_ceil(TILE) * height.div_ceil(TILE);
        let chunks = vec![colour.repeat((TILE * TILE) as usize); n_tiles as usize];
        let page = Self::of(&colour, [width, height], true, chunks);
        page.with(322, Values::Long(vec![TILE])).with(323, Values::Long(vec![TILE]))
    }

    /// Tiles of one sample.
    pub(crate) fn grey_tiled([width, height]: [u32; 2], grey: u8) -> Self {
        let n_tiles = width.div_ceil(TILE) * height.div_ceil(TILE);
        let chunks = vec![vec![grey; (TILE * TILE) as usize]; n_tiles as usize];
        let page = Self::of(&[grey], [width, height], true, chunks);
        page.with(322, Values::Long(vec![TILE])).with(323, Values::Long(vec![TILE]))
    }

    /// RGB strips of four rows.
    pub(crate) fn strips([width, height]: [u32; 2], colour: [u8; 3]) -> Self {
        let tops = (0..height).step_by(4);
        let chunks = tops.map(|top| colour.repeat((width * 4.min(height - top)) as usize)).collect();
        Self::of(&colour, [width, height], false, chunks).with(278, Values::Long(vec![4]))
    }

    /// A single strip of grey rows.
    pub(crate) fn strip([width, height]: [u32; 2], rows: Vec<u8>) -> Self {
        Self::of(&[0], [width, height], false, vec![rows]).with(278, Values::Long(vec![height]))
    }

    fn of(colour: &[u8], [width, height]: [u32; 2], is_tiled: bool, chunks: Vec<Vec<u8>>) -> Self {
        let photometric = if colour.len() == 3 { 2 } else { 1 };
        let tags = vec![
            (256, Values::Long(vec![width])),
            (257, Values::Long(vec![height])),
            (258, Values::Short(vec![8; colour.len()])),
            (259, Values::Short(vec![1])),
            (262, Values::Short(vec![photometric])),
            (277, Values::Short(vec![colour.len() as u16])),
        ];
        Self { tags, chunks, is_tiled, below: Vec::new() }
    }

    /// With a tag, in the place of one of that number. Those of offsets and lengths are written with the file, unless they are given here.
    pub(crate) fn with(mut self, number: u16, values: Values) -> Self {
        self.tags.retain(|tag| tag.0 != number);
        self.tags.push((number, values));
        self
    }

    /// With `NewSubfileType`.
    pub(crate) fn of_kind(self, kind: u32) -> Self {
        self.with(254, Values::Long(vec![kind]))
    }

    pub(crate) fn described(self, text: impl AsRef<[u8]>) -> Self {
        self.with(270, Values::Text(text.as_ref().to_vec()))
    }

    /// With so many pixels per centimetre.
    pub(crate) fn with_resolution(self, per_centimetre: u32) -> Self {
        let ratio = || Values::Ratio(per_centimetre, 1);
        self.with(282, ratio()).with(283, ratio()).with(296, Values::Short(vec![3]))
    }

    pub(crate) fn with_below(mut self, pages: &[TiffPage]) -> Self {
        self.below = pages.to_vec();
        self
    }

    /// Writes tiles, pages below and the directory; returns where this is, and where it says what is next.
    fn write(&self, bytes: &mut Vec<u8>) -> [usize; 2] {
        let mut tags = self.tags.clone();
        let mut put = |number: u16, values: Vec<usize>| {
            if tags.iter().all(|tag| tag.0 != number) {
                tags.push((number, Values::Long(values.iter().map(|value| *value as u32).collect())));
            }
        };
        let [offsets, lengths] = if self.is_tiled { [324, 325] } else { [273, 279] };
        put(lengths, self.chunks.iter().map(Vec::len).collect());
        let place = |chunk: &Vec<u8>| {
            bytes.extend(chunk);
            bytes.len() - chunk.len()
        };
        put(offsets, self.chunks.iter().map(place).collect());
        if !self.below.is_empty() {
            put(330, self.below.iter().map(|page| page.write(bytes)[0]).collect());
        }
        tags.sort_by_key(|tag| tag.0);
        let mut entries = Vec::new();
        for (number, values) in tags {
            let (kind, count, mut value) = values.stored();
            if value.len() > 4 {
                let at = bytes.len() as u32;
                bytes.extend(value);
                value = at.to_le_bytes().to_vec();
            }
            value.resize(4, 0);
            entries.extend([number.to_le_bytes(), kind.to_le_bytes()].concat());
            entries.extend(count.to_le_bytes());
            entries.extend(value);
        }
        let start = bytes.len();
        bytes.extend(((entries.len() / 12) as u16).to_le_bytes());
        bytes.extend(entries);
        bytes.extend([0; 4]);
        [start, bytes.len() - 4]
    }
}

/// A file of these pages.
pub(crate) fn tiff_file(pages: &[TiffPage]) -> Vec<u8> {
    let mut bytes = b"II*\0\0\0\0\0".to_vec();
    let mut next = 4;
    for page in pages {
        let [start, after] = page.write(&mut bytes);
        bytes[next..next + 4].copy_from_slice(&(start as u32).to_le_bytes());
        next = after;
    }
    bytes
}
