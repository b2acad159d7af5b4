//! Writing a bare tensor as `torch.save` does.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::error::{Error, ErrorKind, Result};
use crate::feature_type::FeatureType;
use crate::features::FeatureMatrix;

/// Where `torch.save` puts the bytes of a storage, so that they can be mapped and read with wide loads.
const ALIGNMENT: u16 = 64;

/// Largest size of a zip record without 64-bit extensions, less some room.
const LARGE: usize = 0xf000_0000;

/// Writes the archive to a new file.
pub(super) fn write_archive(path: &Path, features: &FeatureMatrix, feature_type: FeatureType) -> Result<()> {
    feature_type.check(features)?;
    let file = File::create(path).map_err(|source| ErrorKind::Io { action: "create the file", source })?;
    let mut zip = ZipWriter::new(BufWriter::with_capacity(1 << 20, file));
    let n_bytes = features.as_slice().len() * feature_type.size();
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .with_alignment(ALIGNMENT)
        .large_file(n_bytes > LARGE);

    let mut record =
        |name: &str, write: &mut dyn FnMut(&mut dyn Write) -> std::io::Result<()>| -> Result<()> {
            let failed = |source: std::io::Error| ErrorKind::Io { action: "write the file", source };
            zip.start_file(format!("archive/{name}"), options).map_err(|source| failed(source.into()))?;
            Ok(write(&mut zip).map_err(failed)?)
        };
    record("data.pkl", &mut |out| {
        out.write_all(&pickle(features.n_patches(), features.dim(), feature_type))
    })?;
    record("byteorder", &mut |out| out.write_all(b"little"))?;
    record("data/0", &mut |out| write_floats(out, features.as_slice(), feature_type))?;
    record("version", &mut |out| out.write_all(b"3\n"))?;

    zip.finish()
        .map_err(std::io::Error::from)
        .and_then(|buffer| buffer.into_inner().map(drop).map_err(std::io::IntoInnerError::into_error))
        .map_err(|source| Error::from(ErrorKind::Io { action: "finish the file", source }))
}

fn write_floats(out: &mut dyn Write, values: &[f32], feature_type: FeatureType) -> std::io::Result<()> {
    const BLOCK: usize = 16 << 10;
    let mut bytes = Vec::with_capacity(BLOCK * feature_type.size());
    for block in values.chunks(BLOCK) {
        bytes.clear();
        feature_type.encode(block, &mut bytes);
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// The pickle of a row-major float tensor over the whole of storage `0`:
/// `_rebuild_tensor_v2(storage, 0, (n, d), (d, 1), False, OrderedDict())`.
fn pickle(n_patches: usize, dim: usize, feature_type: FeatureType) -> Vec<u8> {
    let mut pickle = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((".to_vec();
    text(&mut pickle, "storage");
    pickle.extend(match feature_type {
        FeatureType::F16 => b"ctorch\nHalfStorage\n".as_slice(),
        FeatureType::F32 => b"ctorch\nFloatStorage\n",
    });
    text(&mut pickle, "0");
    text(&mut pickle, "cpu");
    int(&mut pickle, n_patches * dim);
    pickle.extend(b"tQ");
    int(&mut pickle, 0);
    for [outer, inner] in [[n_patches, dim], [dim, 1]] {
        int(&mut pickle, outer);
        int(&mut pickle, inner);
        pickle.push(0x86);
    }
    pickle.extend(b"\x89ccollections\nOrderedDict\n)RtR.");
    pickle
}

/// BINUNICODE. Only called with short literals.
fn text(pickle: &mut Vec<u8>, text: &str) {
    pickle.push(b'X');
    pickle.extend((text.len() as u32).to_le_bytes());
    pickle.extend(text.as_bytes());
}

/// LONG1, which holds any size. Sizes of memory are below 2^63, so the sign is never set.
fn int(pickle: &mut Vec<u8>, value: usize) {
    let bytes = (value as u64).to_le_bytes();
    pickle.extend([0x8a, 8]);
    pickle.extend(bytes);
}
