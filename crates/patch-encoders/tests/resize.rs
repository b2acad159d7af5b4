//! Resizing equals Pillow's: pictures made by Pillow and torchvision from real slides. Needs `CF_TEST_DATA`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "a test that skips says why")]

mod support;

use patch_encoders::{Filter, resize};
use support::{golden, read_png};

/// Regions of the shared slides, each 256 or 512 pixels wide.
const REGIONS: [&str; 4] = [
    "CMU-1-Small-Region.x832y838l0s256",
    "CMU-1-Small-Region.x832y838l0s512",
    "CMU-1-Small-Region.x2100y2900l0s256",
    "DERIVED-TCGA-CR-7395-40x-pyramid.x1048y1280l1s256",
];

#[test]
fn every_sample_equals_pillows() {
    let Some(golden) = golden() else { return };
    let mut n_compared = 0;
    for region in REGIONS {
        let source = read_png(&golden.join(format!("{region}.png")));
        let cases = [
            ("bilinear224", 224, Filter::Bilinear),
            ("bicubic224", 224, Filter::Bicubic),
            ("bicubic448", 448, Filter::Bicubic),
            ("pil_default256", 256, Filter::Bicubic),
        ];
        for (ending, side, filter) in cases {
            let path = golden.join(format!("{region}.{ending}.png"));
            // Only one region was also stored at 448 pixels.
            if !path.exists() && side == 448 {
                continue;
            }
            let resized = resize(&source, side, side, filter).unwrap();
            assert_eq!(resized, read_png(&path), "{region} {ending}");
            n_compared += 1;
        }
    }
    assert_eq!(n_compared, 13);
}
