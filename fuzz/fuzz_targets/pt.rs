//! PyTorch files: whole archives, and pickles inside an archive whose checksums are right.

#![no_main]

use std::io::{Cursor, Write};

use fuzz::{bounded, scratch};
use libfuzzer_sys::fuzz_target;
use wsi_bags::pt;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

fuzz_target!(|input: &[u8]| {
    let Some((form, bytes)) = input.split_first() else { return };
    let file = if form % 2 == 0 { bytes.to_vec() } else { archive(bytes) };
    scratch(|folder| {
        let path = folder.write("slide.pt", &file);
        bounded(file.len(), || {
            let _ = pt::read_features(&path);
            let _ = pt::read_state_dict(&path);
        });
    });
});

/// An archive as `torch.save` writes it, around a pickle and two storages.
fn archive(pickle: &[u8]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let storage: Vec<u8> = (0..240).collect();
    let records = [
        ("a/data.pkl", pickle),
        ("a/byteorder", b"little"),
        ("a/data/0", &storage),
        ("a/data/1", &storage[..96]),
    ];
    for (name, bytes) in records {
        zip.start_file(name, options).expect("a record");
        zip.write_all(bytes).expect("its bytes");
    }
    zip.finish().expect("an archive").into_inner()
}
