//! Whole slides: TIFF and SVS directories, PNG and JPEG images.

#![no_main]

use fuzz::{bounded, scratch};
use libfuzzer_sys::fuzz_target;
use wsi_slides::open;

fuzz_target!(|input: &[u8]| {
    scratch(|folder| {
        let path = folder.write("slide.svs", input);
        bounded(input.len(), || {
            let Ok(slide) = open(&path) else { return };
            let _ = slide.stated_resolution();
            for (number, level) in slide.levels().iter().enumerate().take(3) {
                let _ = slide.read_region(number, [0, 0], [48, 48]);
                let far = |side: u32, scale: f64| (f64::from(side) * scale) as i64 - 24;
                let corner = [far(level.width, level.downsample), far(level.height, level.downsample)];
                let _ = slide.read_region(number, corner, [48, 48]);
            }
        });
    });
});
