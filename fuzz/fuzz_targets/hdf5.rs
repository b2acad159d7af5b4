//! HDF5 files through the reader in Rust: native bags, and those of CLAM, TRIDENT, AtlasPatch and STAMP.

#![no_main]

use fuzz::{bounded, scratch};
use libfuzzer_sys::fuzz_target;
use wsi_bags::{BagStore, Magnification, native};

// A panic inside the library is caught and is an error; one outside of it still ends the run.
fuzz_target!(init: std::panic::set_hook(Box::new(|panic| eprintln!("{panic}"))), |input: &[u8]| {
    scratch(|folder| {
        let path = folder.write("x20/slide.h5", input);
        let root = folder.path().join("x20");
        bounded(input.len(), || {
            let _ = native::slide_info(&path);
            for encoder in native::encoders(&path).unwrap_or_default().iter().take(2) {
                let _ = native::read(&path, encoder, &Magnification::ALL);
            }
            if let Ok(store) = BagStore::open_roots(&[(Magnification::X20, root)], "resnet50") {
                let _ = store.read("slide", &[Magnification::X20]);
            }
        });
    });
});
