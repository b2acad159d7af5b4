//! Encoders at their published sizes on a GPU against the CPU, with weights by a formula. Fails where there is no GPU.
//!
//! `cargo test -p patch-encoders --features cuda --test cuda` where CUDA is, or the binary alone, which needs no Rust.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;

use patch_encoders::{DeviceName, Encoder, EncoderName, RgbImage};

const REFERENCE: &str = include_str!("../../../fixtures/reference/patch_encoders.json");

/// Values without a pattern, in [-1, 1).
fn uniform(n: usize, salt: usize) -> impl Iterator<Item = f32> {
    let hash = move |i: usize| (i + 7_919 * salt + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    (0..n).map(move |i| hash(i) as f32 / (1 << 23) as f32 - 1.0)
}

/// A file with the names and shapes of the published one. Weights keep the size of what goes through them.
fn write_weights(path: &Path, name: EncoderName) {
    let reference: serde_json::Value = serde_json::from_str(REFERENCE).unwrap();
    let layout: BTreeMap<String, Vec<usize>> =
        serde_json::from_value(reference["layouts"][name.as_str()].clone()).unwrap();
    let values = |(salt, (name, shape)): (usize, (&String, &Vec<usize>))| {
        let n = shape.iter().product();
        let fan_in: usize = shape.iter().skip(1).product();
        let values: Vec<u8> = uniform(n, salt)
            .map(|value| match shape.len() {
                0 | 1 if name.ends_with("weight") || name.ends_with("var") => 1.0 + 0.2 * value,
                0 | 1 => 0.1 * value,
                _ => value * (3.0 / fan_in as f32).sqrt(),
            })
            .flat_map(f32::to_le_bytes)
            .collect();
        (name.clone(), shape.clone(), values)
    };
    let tensors: Vec<_> = layout.iter().enumerate().map(values).collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name, safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, path).unwrap();
}

fn patches() -> Vec<RgbImage> {
    let patch = |index: usize| {
        let pixel = |i: usize| ((i * (index + 3) + (i >> 9) * 7 + (i >> 5) * index) % 256) as u8;
        RgbImage::new(256, 256, (0..256 * 256 * 3).map(pixel).collect()).unwrap()
    };
    (0..3).map(patch).collect()
}

#[test]
fn features_agree_with_the_cpu() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    for name in [EncoderName::Resnet50, EncoderName::Resnet50Clam, EncoderName::Quiltnet, EncoderName::Conch]
    {
        write_weights(&path, name);
        let encode =
            |device| Encoder::open_on(device, name, Some(&path)).unwrap().encode(&patches()).unwrap();
        let (cpu, gpu) = (encode(DeviceName::Cpu), encode(DeviceName::Cuda(0)));
        assert_eq!(cpu.len(), gpu.len());
        let largest = cpu.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let deviation = cpu.iter().zip(&gpu).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest;
        // Single precision on both sides, sums in other orders.
        assert!(deviation < 1e-3, "{name}: {deviation:e} of the largest feature");
        assert!(
            cpu.iter().any(|value| (value - cpu[0]).abs() > 1e-3 * largest),
            "{name}: all features are alike"
        );
    }
}
