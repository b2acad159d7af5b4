//! Hand-made `.pt` files: a pickle given instruction by instruction, and the bytes of its storages.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A file of the committed fixtures.
#[allow(dead_code, reason = "each test program uses its own part of this module")]
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The rule of the fixtures: the i-th value of a matrix, row after row, is (i - 5) / 8.
#[allow(dead_code, reason = "each test program uses its own part of this module")]
pub(crate) fn rule(n_values: usize) -> Vec<f32> {
    (0..n_values).map(|i| (i as f32 - 5.0) / 8.0).collect()
}

/// A zip archive of stored records.
#[allow(dead_code, reason = "each test program uses its own part of this module")]
pub(crate) fn archive(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in records {
        zip.start_file(*name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The pickle of a tensor: type of the storage, number of its elements, offset, sizes, strides.
#[allow(dead_code, reason = "each test program uses its own part of this module")]
pub(crate) fn tensor_pickle(storage: &str, len: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let mut pickle = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\n".to_vec();
    pickle.extend(storage.as_bytes());
    pickle.extend(b"\nX\x01\0\0\x000X\x03\0\0\0cpu");
    pickle.extend(int(len));
    pickle.extend(b"tQ");
    pickle.extend(int(offset));
    for sizes in [shape, strides] {
        pickle.push(b'(');
        pickle.extend(sizes.iter().flat_map(|size| int(*size)));
        pickle.push(b't');
    }
    pickle.extend(b"\x89ccollections\nOrderedDict\n)RtR.");
    pickle
}

fn int(value: i64) -> Vec<u8> {
    [&[0x8a, 8], &value.to_le_bytes()[..]].concat()
}

/// A `.pt` file of one pickle and the storage `0`.
#[allow(dead_code, reason = "each test program uses its own part of this module")]
pub(crate) fn pt_file(directory: &Path, pickle: &[u8], storage: &[u8]) -> PathBuf {
    let path = directory.join("crafted.pt");
    fs::write(&path, archive(&[("a/data.pkl", pickle), ("a/byteorder", b"little"), ("a/data/0", storage)]))
        .unwrap();
    path
}
