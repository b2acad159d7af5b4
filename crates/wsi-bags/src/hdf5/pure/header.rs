//! What the HDF5 library keeps to itself: numeric attributes of groups, and where a dataset lies in the file.
//!
//! `rust-hdf5` reads group attributes as text only and does not tell the address of a contiguous dataset, but it
//! publishes its decoders of the file format. This walks from the superblock along a path of names to an object header
//! and looks at its messages. Where it cannot follow, the answer is `None`: a dataset is then read by the library, and
//! an attribute that the library lists but that is not found here is an error.

mod chunk_index;

use rust_hdf5::format::btree_v1::BTreeV1Node;
use rust_hdf5::format::dense_attr::read_dense_attributes;
use rust_hdf5::format::dense_link::read_dense_links;
use rust_hdf5::format::local_heap::{LocalHeapHeader, local_heap_get_string};
use rust_hdf5::format::messages::attr_info::AttributeInfoMessage;
use rust_hdf5::format::messages::attribute::AttributeMessage;
use rust_hdf5::format::messages::data_layout::DataLayoutMessage;
use rust_hdf5::format::messages::dataspace::DataspaceClass;
use rust_hdf5::format::messages::datatype::{ByteOrder, DatatypeMessage, IeeeFormat};
use rust_hdf5::format::messages::link::{LinkMessage, LinkTarget};
use rust_hdf5::format::messages::link_info::LinkInfoMessage;
use rust_hdf5::format::messages::{
    MSG_ATTR_INFO, MSG_ATTRIBUTE, MSG_DATA_LAYOUT, MSG_FLAG_SHARED, MSG_LINK, MSG_LINK_INFO,
    MSG_OBJ_HEADER_CONTINUATION, MSG_SYMBOL_TABLE,
};
use rust_hdf5::format::object_header::{ObjectHeader, ObjectHeaderMessage};
use rust_hdf5::format::superblock::{SuperblockV0V1, SuperblockV2V3, detect_superblock_version};
use rust_hdf5::format::symbol_table::SymbolTableNode;
use rust_hdf5::format::{BlockReader, FormatContext, FormatError, FormatResult, UNDEF_ADDR};

pub(super) use chunk_index::{ChunkList, ChunkPlace};

/// An attribute as it is stored.
pub(super) struct Stored(AttributeMessage);

impl Stored {
    /// The value, if it is a single integer or float.
    pub(super) fn number(&self) -> Option<f64> {
        (self.n_values() == Some(1)).then(|| number(&self.0.datatype, &self.0.data)).flatten()
    }

    /// Whether it was set to nothing, as by `h5py.Empty`.
    pub(super) fn is_empty(&self) -> bool {
        self.0.dataspace.class == DataspaceClass::Null
    }

    /// How many values it has; `None` for an attribute without a value.
    pub(super) fn n_values(&self) -> Option<u64> {
        match self.0.dataspace.class {
            DataspaceClass::Null => None,
            _ => self.0.dataspace.dims.iter().try_fold(1u64, |product, size| product.checked_mul(*size)),
        }
    }

    /// Whether it is a text of fixed or variable length.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.0.datatype, DatatypeMessage::FixedString { .. } | DatatypeMessage::VarLenString { .. })
    }

    /// Its type and number of values.
    pub(super) fn in_words(&self) -> String {
        match self.n_values() {
            None => "without a value".to_owned(),
            Some(1) => format!("of type {}", self.0.datatype),
            Some(n_values) => format!("{n_values} values of type {}", self.0.datatype),
        }
    }
}

/// Bytes of an address or length. Other widths exist in the format, but no library writes them unasked.
const WORD: usize = 8;
const CONTEXT: FormatContext = FormatContext { sizeof_addr: WORD as u8, sizeof_size: WORD as u8 };

/// No object header or group of a bag comes near these; they bound the work that a crafted file can cause.
const MAX_CONTINUATIONS: usize = 64;
const MAX_CONTINUATION_BYTES: usize = 1 << 20;
const MAX_NODES: usize = 4096;

/// The messages of one object, and the file from its superblock on.
pub(super) struct Header<'a> {
    messages: Vec<ObjectHeaderMessage>,
    image: &'a [u8],
}

/// Where the values of a dataset are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Space was never set aside: nothing was written.
    Unallocated,
    /// `len` bytes from `offset` on, as the header states; not compared with the length of the file.
    At { offset: u64, len: u64 },
}

impl<'a> Header<'a> {
    /// The header of the object at `path` (names joined by `/`, empty for the root) in a file whose superblock starts
    /// at byte `base`.
    pub(super) fn find(file: &'a [u8], base: u64, path: &str) -> Option<Self> {
        let image = file.get(usize::try_from(base).ok()?..)?;
        let mut header = Self::read(image, root_address(image)?)?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            header = Self::read(image, header.child(name)?)?;
        }
        Some(header)
    }

    /// The attribute `name`, if there is one that can be decoded.
    pub(super) fn attribute(&self, name: &str) -> Option<Stored> {
        self.of_type(MSG_ATTRIBUTE)
            .filter_map(decode_attribute)
            .find(|attribute| attribute.name == name)
            .or_else(|| self.dense_attribute(name))
            .map(Stored)
    }

    /// Where a contiguous dataset lies, or that one of any layout lies nowhere; `None` for every other dataset.
    pub(super) fn place(&self, base: u64) -> Option<Place> {
        match DataLayoutMessage::decode(self.of_type(MSG_DATA_LAYOUT).next()?, &CONTEXT).ok()?.0 {
            DataLayoutMessage::Contiguous { address: UNDEF_ADDR, .. }
            | DataLayoutMessage::ChunkedV3 { b_tree_address: UNDEF_ADDR, .. }
            | DataLayoutMessage::ChunkedV4 { index_address: UNDEF_ADDR, .. } => Some(Place::Unallocated),
            DataLayoutMessage::Contiguous { address, size } => {
                Some(Place::At { offset: address.checked_add(base)?, len: size })
            }
            _ => None,
        }
    }

    fn read(image: &'a [u8], address: u64) -> Option<Self> {
        let start = usize::try_from(address).ok()?;
        let (header, _) = ObjectHeader::decode_any(image.get(start..)?).ok()?;
        let old = image.get(start) == Some(&1);
        let indexed = header.has_creation_order();
        let mut messages = header.messages;
        let mut next = 0;
        let mut n_continuations = 0;
        while let Some(message) = messages.get(next) {
            next += 1;
            if message.msg_type != MSG_OBJ_HEADER_CONTINUATION {
                continue;
            }
            n_continuations += 1;
            let (start, len) = (word(&message.data, 0)?, word(&message.data, 1)?);
            let len = usize::try_from(len).ok().filter(|len| *len <= MAX_CONTINUATION_BYTES)?;
            let start = usize::try_from(start).ok()?;
            let block = image.get(start..start.checked_add(len)?)?;
            if n_continuations > MAX_CONTINUATIONS {
                return None;
            }
            messages.extend(if old { old_messages(block)? } else { new_messages(block, indexed)? });
        }
        Some(Self { messages, image })
    }

    fn of_type(&self, msg_type: u8) -> impl Iterator<Item = &[u8]> {
        self.messages
            .iter()
            .filter(move |message| message.msg_type == msg_type && message.flags & MSG_FLAG_SHARED == 0)
            .map(|message| message.data.as_slice())
    }

    /// An attribute of an object that has many, or that keeps them in order.
    fn dense_attribute(&self, name: &str) -> Option<AttributeMessage> {
        let (info, _) = AttributeInfoMessage::decode(self.of_type(MSG_ATTR_INFO).next()?, &CONTEXT).ok()?;
        let attributes = read_dense_attributes(&info, &CONTEXT, &mut Image(self.image)).ok()?;
        decode_attribute(&attributes.iter().find(|attribute| attribute.name() == name)?.encode(&CONTEXT))
    }

    /// Address of the member `name` of a group.
    fn child(&self, name: &str) -> Option<u64> {
        let address = |link: LinkMessage| match link.target {
            LinkTarget::Hard { address } => Some(address),
            _ => None,
        };
        let compact = self.of_type(MSG_LINK).filter_map(|data| LinkMessage::decode(data, &CONTEXT).ok());
        if let Some(link) = compact.map(|(link, _)| link).find(|link| link.name == name) {
            return address(link);
        }
        if let Some(table) = self.of_type(MSG_SYMBOL_TABLE).next() {
            return find_symbol(self.image, word(table, 0)?, word(table, 1)?, name);
        }
        let (info, _) = LinkInfoMessage::decode(self.of_type(MSG_LINK_INFO).next()?, &CONTEXT).ok()?;
        let links = read_dense_links(&info, &CONTEXT, &mut Image(self.image)).ok()?;
        address(links.into_iter().find(|link| link.name == name)?)
    }
}

/// The file from its superblock on, as the library's decoders want to read it.
struct Image<'a>(&'a [u8]);

impl BlockReader for Image<'_> {
    fn read_block(&mut self, offset: u64, len: usize) -> FormatResult<Vec<u8>> {
        let rest = usize::try_from(offset).ok().and_then(|start| self.0.get(start..)).unwrap_or_default();
        Ok(rest.get(..len).unwrap_or(rest).to_vec())
    }
}

/// How many bytes a file that begins with its superblock says that it has.
pub(super) fn stated_length(file: &[u8]) -> Option<u64> {
    let stated = match detect_superblock_version(file).ok()? {
        0 | 1 => SuperblockV0V1::decode(file).ok()?.end_of_file_address,
        _ => SuperblockV2V3::decode(file).ok()?.end_of_file_address,
    };
    (stated != UNDEF_ADDR).then_some(stated)
}

fn root_address(image: &[u8]) -> Option<u64> {
    match detect_superblock_version(image).ok()? {
        0 | 1 => {
            let superblock = SuperblockV0V1::decode(image).ok()?;
            let words = [superblock.sizeof_offsets, superblock.sizeof_lengths];
            (words == [WORD as u8; 2]).then_some(superblock.root_symbol_table_entry.obj_header_addr)
        }
        _ => {
            let superblock = SuperblockV2V3::decode(image).ok()?;
            let words = [superblock.sizeof_offsets, superblock.sizeof_lengths];
            (words == [WORD as u8; 2]).then_some(superblock.root_group_object_header_address)
        }
    }
}

fn word(data: &[u8], index: usize) -> Option<u64> {
    data.get(index * WORD..(index + 1) * WORD)?.try_into().ok().map(u64::from_le_bytes)
}

/// Messages of a version-1 continuation block: type, length, flags, three spare bytes, data.
fn old_messages(block: &[u8]) -> Option<Vec<ObjectHeaderMessage>> {
    let mut messages = Vec::new();
    let mut rest = block;
    while let Some(([kind_low, _, len_low, len_high, flags, ..], tail)) = rest.split_first_chunk::<8>() {
        let len = usize::from(u16::from_le_bytes([*len_low, *len_high]));
        let data = tail.get(..len)?.to_vec();
        messages.push(ObjectHeaderMessage { msg_type: *kind_low, flags: *flags, creation_index: 0, data });
        rest = tail.get(len..)?;
    }
    Some(messages)
}

/// Messages of a version-2 continuation block: a signature, then type, length, flags, an index where the header keeps
/// one, data; a gap too small for another message; a checksum.
fn new_messages(block: &[u8], indexed: bool) -> Option<Vec<ObjectHeaderMessage>> {
    const CHECKSUM: usize = 4;
    let envelope = if indexed { 6 } else { 4 };
    let block = block.strip_prefix(b"OCHK")?;
    let mut rest = block.get(..block.len().checked_sub(CHECKSUM)?)?;
    let mut messages = Vec::new();
    while let Some(([kind, len_low, len_high, flags, ..], tail)) = rest.split_at_checked(envelope) {
        let len = usize::from(u16::from_le_bytes([*len_low, *len_high]));
        let data = tail.get(..len)?.to_vec();
        messages.push(ObjectHeaderMessage { msg_type: *kind, flags: *flags, creation_index: 0, data });
        rest = tail.get(len..)?;
    }
    Some(messages)
}

/// Looks a name up in a group of the old kind: a B-tree of symbol tables whose names lie in a heap.
fn find_symbol(image: &[u8], tree: u64, heap: u64, name: &str) -> Option<u64> {
    let at = |address: u64| image.get(usize::try_from(address).ok()?..);
    let heap = LocalHeapHeader::decode(at(heap)?, WORD, WORD).ok()?;
    let names = at(heap.data_addr)?;
    let names = names.get(..usize::try_from(heap.data_size).ok()?)?;
    let mut nodes = vec![tree];
    let mut n_visited = 0;
    while let Some(node) = nodes.pop() {
        n_visited += 1;
        if n_visited > MAX_NODES {
            return None;
        }
        let node = BTreeV1Node::decode(at(node)?, WORD, WORD, u16::MAX).ok()?;
        if node.level > 0 {
            nodes.extend(node.children);
            continue;
        }
        for table in node.children {
            n_visited += 1;
            let table = SymbolTableNode::decode(at(table)?, WORD, WORD, u16::MAX).ok()?;
            for entry in table.entries {
                if local_heap_get_string(names, entry.name_offset).is_ok_and(|found| found == name) {
                    return (entry.obj_header_addr != UNDEF_ADDR).then_some(entry.obj_header_addr);
                }
            }
        }
    }
    None
}

/// An attribute. The library wants a value even of one that was set to nothing, so that such a one is given zeros to read.
fn decode_attribute(data: &[u8]) -> Option<AttributeMessage> {
    match AttributeMessage::decode(data, &CONTEXT) {
        Ok((attribute, _)) => Some(attribute),
        Err(FormatError::BufferTooShort { needed, .. }) if needed <= data.len() + MAX_CONTINUATION_BYTES => {
            let zeros = std::iter::repeat_n(0, needed.saturating_sub(data.len()));
            let padded: Vec<u8> = data.iter().copied().chain(zeros).collect();
            let (attribute, _) = AttributeMessage::decode(&padded, &CONTEXT).ok()?;
            (attribute.dataspace.class == DataspaceClass::Null).then_some(attribute)
        }
        Err(_) => None,
    }
}

/// A single integer or float of either byte order.
fn number(datatype: &DatatypeMessage, data: &[u8]) -> Option<f64> {
    let byte_order = match datatype {
        DatatypeMessage::FixedPoint { byte_order, .. }
        | DatatypeMessage::FloatingPoint { byte_order, .. } => *byte_order,
        _ => return None,
    };
    let mut bytes = data.to_vec();
    if byte_order == ByteOrder::BigEndian {
        bytes.reverse();
    }
    match datatype {
        DatatypeMessage::FixedPoint { size, signed, bit_offset: 0, bit_precision, .. }
            if u32::from(*bit_precision) == size * 8 && bytes.len() == usize::try_from(*size).ok()? =>
        {
            let negative = *signed && bytes.last().is_some_and(|byte| byte & 0x80 != 0);
            let mut wide = [if negative { 0xff } else { 0 }; size_of::<i128>()];
            wide.get_mut(..bytes.len())?.copy_from_slice(&bytes);
            Some(i128::from_le_bytes(wide) as f64)
        }
        float => match float.ieee_format()? {
            IeeeFormat::Binary32 => {
                bytes.as_slice().try_into().ok().map(|bytes| f32::from_le_bytes(bytes).into())
            }
            IeeeFormat::Binary64 => bytes.as_slice().try_into().ok().map(f64::from_le_bytes),
            IeeeFormat::Binary16 => {
                bytes.as_slice().try_into().ok().map(|bytes| half::f16::from_le_bytes(bytes).into())
            }
        },
    }
}
