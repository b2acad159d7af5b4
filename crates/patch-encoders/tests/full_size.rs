//! Encoders at their published sizes against timm, torchvision, transformers and open_clip on real tiles.
//!
//! The checkpoints, 9 GB of random weights, are made by `fixtures/generate/patch_encoders.py --full-size DIR`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Instant;

use patch_encoders::{Encoder, EncoderName, RgbImage};
use safetensors::SafeTensors;

/// Tiles and their features, as the script wrote them.
fn tiles_and_vectors(path: &Path) -> (Vec<RgbImage>, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tiles = file.tensor("tiles").unwrap();
    let side = tiles.shape()[1];
    let tiles = tiles.data().chunks(side * side * 3);
    let tiles = tiles.map(|pixels| RgbImage::new(side, side, pixels.to_vec()).unwrap()).collect();
    let values = file.tensor("vectors").unwrap();
    let values = values.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    (tiles, values)
}

#[test]
#[ignore = "needs 9 GB of checkpoints that a script makes"]
fn published_sizes_agree_with_the_python_libraries() {
    let root =
        std::env::var_os("PATCH_ENCODERS_FULL_SIZE").expect("PATCH_ENCODERS_FULL_SIZE names the folder");
    let mut n_compared = 0;
    for name in EncoderName::ALL {
        let folder = Path::new(&root).join(name.as_str());
        if !folder.join("vectors.safetensors").exists() {
            println!("{name}: no vectors to compare with");
            continue;
        }
        let (tiles, wanted) = tiles_and_vectors(&folder.join("vectors.safetensors"));
        let begun = Instant::now();
        let encoder = Encoder::open(name, Some(&folder.join("pytorch_model.bin"))).unwrap();
        let (opened, begun) = (begun.elapsed(), Instant::now());
        let found = encoder.encode(&tiles).unwrap();
        let encoded = begun.elapsed();
        assert_eq!(found.len(), wanted.len(), "{name}");
        let largest = wanted.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let differences = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs());
        let deviation = differences.fold(0.0, f32::max) / largest;
        println!(
            "{name}: {} tiles, largest difference {deviation:.1e} of the largest feature; opened in {opened:.1?}, encoded in {encoded:.1?}",
            tiles.len()
        );
        assert!(deviation < 1e-4, "{name}: {deviation:e}");
        n_compared += 1;
    }
    assert!(n_compared > 0, "no checkpoint in {}", Path::new(&root).display());
}
