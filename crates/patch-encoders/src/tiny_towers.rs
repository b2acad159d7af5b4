//! Small towers in the published names against outputs of timm, transformers and CONCH's own code. Needs `CF_TEST_DATA`.

use std::path::PathBuf;

use candle_core::Device;

use crate::clip::ClipConfig;
use crate::conch::ConchConfig;
use crate::name::EncoderName;
use crate::pixels::Pixels;
use crate::published::Architecture;
use crate::tensor_file::TensorFile;
use crate::vit::{Activation, VitConfig};

const TINY: VitConfig = VitConfig {
    side: 64,
    patch: 16,
    width: 96,
    depth: 2,
    n_heads: 4,
    activation: Activation::SwiGlu,
    hidden: 512,
    layer_scale: true,
    n_registers: 0,
};

/// The folder of the towers, or why there is none.
fn models() -> Option<PathBuf> {
    let data = std::env::var_os("CF_TEST_DATA");
    if data.is_none() {
        println!("skipped: CF_TEST_DATA is not set");
    }
    data.map(|data| PathBuf::from(data).join("wsi/golden/models"))
}

/// Input `[n, 3, side, side]` and output of a file, the input channels last.
fn input_and_output(path: &std::path::Path) -> (Pixels, Vec<f32>) {
    let mut file = TensorFile::open(path).unwrap();
    let shape = file.shapes()["input"].clone();
    let (n_images, side) = (shape[0], shape[2]);
    let input = file.values("input").unwrap().unwrap();
    let values = (0..input.len())
        .map(|i| {
            let (image, position, channel) = (i / (3 * side * side), i / 3 % (side * side), i % 3);
            input[(image * 3 + channel) * side * side + position]
        })
        .collect();
    (Pixels { values, n_images, side }, file.values("output").unwrap().unwrap())
}

/// Largest difference between what the tower gives and what was stored, over the largest stored value.
fn deviation(tower: &str, architecture: Architecture) -> Option<f32> {
    let models = models()?;
    let loaded = architecture
        .load(EncoderName::Uni2H, &models.join(format!("{tower}.safetensors")), &Device::Cpu)
        .unwrap();
    let (pixels, wanted) = input_and_output(&models.join(format!("{tower}.io.safetensors")));
    let found = loaded.network.forward(&pixels).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(found.len(), wanted.len());
    let differences = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs());
    let deviation = differences.fold(0.0, f32::max);
    println!("{tower}: largest difference {deviation:.2e}");
    Some(deviation)
}

#[test]
fn uni2_h_in_small_equals_timm() {
    let config = VitConfig { side: 56, patch: 14, n_registers: 8, ..TINY };
    assert!(deviation("uni2h_tiny", Architecture::Vit(config)).is_none_or(|by| by < 1e-5));
}

#[test]
fn prov_gigapath_in_small_equals_timm() {
    assert!(deviation("gigapath_tiny", Architecture::Vit(TINY)).is_none_or(|by| by < 1e-5));
}

#[test]
fn conch_in_small_equals_its_own_code() {
    let trunk = VitConfig { activation: Activation::Gelu, hidden: 384, layer_scale: false, ..TINY };
    let config = ConchConfig { trunk, width: 64, n_heads: 8 };
    assert!(deviation("conch_tiny", Architecture::Conch(config)).is_none_or(|by| by < 1e-5));
}

#[test]
fn clip_in_small_equals_transformers() {
    let config = ClipConfig {
        side: 64,
        patch: 32,
        width: 96,
        depth: 2,
        n_heads: 4,
        hidden: 384,
        activation: Activation::QuickGelu,
    };
    assert!(deviation("clip_tiny_quick_gelu", Architecture::Clip(config)).is_none_or(|by| by < 1e-5));
}
