//! Encoders against timm, torchvision, transformers and open_clip: names, shapes, and the vectors of small versions whose weights come
//! from a formula. `fixtures/generate/patch_encoders.py` wrote the reference.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Device;
use serde::Deserialize;

use crate::clip::ClipConfig;
use crate::conch::ConchConfig;
use crate::convert::convert_weights;
use crate::encoder::Encoder;
use crate::error::Error;
use crate::name::EncoderName;
use crate::published::{Architecture, Published};
use crate::rgb_image::RgbImage;
use crate::tensor_file::TensorFile;
use crate::vit::{Activation, VitConfig};

#[derive(Deserialize)]
struct Reference {
    /// Shapes of all parameters of the published sizes, by encoder and name.
    layouts: BTreeMap<String, BTreeMap<String, Vec<usize>>>,
    /// Features of two tiles, by encoder.
    vectors: BTreeMap<String, Vec<Vec<f32>>>,
}

fn reference() -> Reference {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/reference/patch_encoders.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The CRC-32 of zlib.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// Weights of the small versions: the script's `formula`.
fn formula(name: &str, shape: &[usize]) -> Vec<f32> {
    let seed = crc32(name.as_bytes());
    let uniform = |i: usize| {
        let mut x = (i as u32 + 1).wrapping_mul(0x9E37_79B1).wrapping_add(seed);
        x ^= x >> 16;
        x = x.wrapping_mul(0x85EB_CA6B);
        x ^= x >> 13;
        (x >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let fan_in: usize = shape[1..].iter().product();
    let (centre, spread) = if name.ends_with("running_var") {
        (1.0, 0.5)
    } else if shape.len() == 1 {
        (f32::from(u8::from(name.ends_with("weight"))), 0.25)
    } else if shape.len() == 3 || name.contains("query") || name.contains("position") {
        (0.0, 0.5)
    } else {
        (0.0, (1.5 / (fan_in as f64).sqrt()) as f32)
    };
    (0..shape.iter().product()).map(|i| centre + spread * uniform(i)).collect()
}

/// The script's `tile`.
fn tile(index: usize) -> RgbImage {
    let sample = |i: usize| {
        let (y, x, c) = (i / 768, i / 3 % 256, i % 3);
        ((x * (index + 1) + y * (2 * index + 3) + ((x * y) >> 5) * (c + 1) + 40 * c) % 256) as u8
    };
    RgbImage::new(256, 256, (0..256 * 256 * 3).map(sample).collect()).unwrap()
}

/// Writes the weights that `architecture` asks for, and compares the features of two tiles.
fn agrees(key: &str, name: EncoderName, architecture: Architecture) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    if key.ends_with("-gelu") {
        std::fs::write(directory.path().join("config.json"), r#"{"hidden_act": "gelu"}"#).unwrap();
    }
    write_weights(&path, architecture, |_, value| value);
    features_agree(key, name, architecture, &path);
}

/// A safetensors file of weights by the formula, each passed through `change` with its name.
fn write_weights(path: &Path, architecture: Architecture, change: impl Fn(&str, f32) -> f32) {
    let parameters = architecture.parameters().wanted.into_iter();
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = parameters
        .map(|(name, shape)| {
            let values = formula(&name, &shape);
            let bytes = values.iter().flat_map(|&value| change(&name, value).to_le_bytes()).collect();
            (name, shape, bytes)
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name, safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, path).unwrap();
}

/// Encodes two tiles with the weights of a file and compares the features with those under `key`.
fn features_agree(key: &str, name: EncoderName, architecture: Architecture, weights: &Path) -> Encoder {
    let published = Published { architecture, ..Published::of(name).unwrap() };
    let encoder = Encoder::load(name, &published, weights, &Device::Cpu).unwrap();
    let found = encoder.encode(&[tile(0), tile(1)]).unwrap();
    let wanted = reference().vectors[key].concat();
    assert_eq!(found.len(), wanted.len());
    let largest = wanted.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let differences = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs());
    let deviation = differences.fold(0.0, f32::max) / largest;
    println!("{key}: largest difference {deviation:.2e} of the largest feature");
    // f32 on both sides, sums in other orders.
    assert!(deviation < 1e-4, "{key}: {deviation:e}");
    encoder
}

/// The small CONCH.
fn conch() -> Architecture {
    let trunk = VitConfig {
        side: 448,
        width: 32,
        activation: Activation::Gelu,
        hidden: 128,
        layer_scale: false,
        ..SMALL
    };
    Architecture::Conch(ConchConfig { trunk, width: 16, n_heads: 8 })
}

const SMALL: VitConfig = VitConfig {
    side: 224,
    patch: 16,
    width: 48,
    depth: 2,
    n_heads: 4,
    activation: Activation::SwiGlu,
    hidden: 256,
    layer_scale: true,
    n_registers: 0,
};

#[test]
fn every_parameter_has_the_name_and_the_shape_that_the_libraries_give_it() {
    for (key, layout) in reference().layouts {
        let name: EncoderName = key.parse().unwrap();
        let parameters = name.parameters().unwrap();
        for (name, shape) in &parameters.wanted {
            assert_eq!(layout.get(name), Some(shape), "{key}: {name}");
        }
        for name in layout.keys() {
            let known = parameters.wanted.iter().any(|(wanted, _)| wanted == name);
            assert!(known || (parameters.unused)(name), "{key}: {name}");
        }
    }
}

#[test]
fn resnet50_agrees_with_torchvision() {
    for (key, name) in [("resnet50", EncoderName::Resnet50), ("resnet50-clam", EncoderName::Resnet50Clam)] {
        agrees(key, name, Published::of(name).unwrap().architecture);
    }
}

#[test]
fn features_of_a_patch_do_not_depend_on_the_patches_and_threads_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    let published = Published::of(EncoderName::Resnet50Clam).unwrap();
    write_weights(&path, published.architecture, |_, value| value);
    let encoder = Encoder::load(EncoderName::Resnet50Clam, &published, &path, &Device::Cpu).unwrap();
    let tiles: Vec<RgbImage> = (0..11).map(tile).collect();
    let with_threads = |n_threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| encoder.encode(&tiles).unwrap())
    };
    // Two groups: of a thread each, and of all threads together one after the other.
    let (apart, together) = (with_threads(2), with_threads(3));
    assert!(apart == together);
    for (tile, features) in tiles.iter().zip(apart.chunks(encoder.feature_dim())).skip(7).take(2) {
        assert!(encoder.encode(std::slice::from_ref(tile)).unwrap() == features);
    }
}

#[test]
fn conch_agrees_with_timm_and_open_clip() {
    agrees("conch", EncoderName::Conch, conch());
}

#[test]
fn a_pytorch_file_in_16_bits_is_widened_unwrapped_and_converted() {
    let published =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/reference/patch_encoders_conch.bin");
    features_agree("conch-half", EncoderName::Conch, conch(), &published);

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("conch.safetensors");
    let converted = convert_weights(&published, &path).unwrap();
    let file = TensorFile::open(&path).unwrap();
    assert_eq!(file.shapes(), TensorFile::open(&published).unwrap().shapes());
    assert_eq!(converted.n_tensors, file.shapes().len());
    let n_scalars: usize = file.shapes().values().map(|shape| shape.iter().product::<usize>()).sum();
    assert_eq!(converted.n_scalars, n_scalars);
    features_agree("conch-half", EncoderName::Conch, conch(), &path);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_weight_that_is_not_finite_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    let spoiled = |name: &str, value| if name.ends_with("1.norm2.bias") { f32::NAN } else { value };
    write_weights(&path, Architecture::Vit(SMALL), spoiled);
    let published = Published {
        architecture: Architecture::Vit(SMALL),
        ..Published::of(EncoderName::ProvGigapath).unwrap()
    };
    let error = Encoder::load(EncoderName::ProvGigapath, &published, &path, &Device::Cpu).unwrap_err();
    assert!(
        matches!(&error, Error::NonFiniteWeight { parameter, .. } if parameter == "blocks.1.norm2.bias"),
        "{error}"
    );
}

#[test]
fn uni2_h_agrees_with_timm() {
    let config = VitConfig { patch: 14, n_registers: 8, ..SMALL };
    agrees("uni2-h", EncoderName::Uni2H, Architecture::Vit(config));
}

#[test]
fn prov_gigapath_agrees_with_timm() {
    agrees("prov-gigapath", EncoderName::ProvGigapath, Architecture::Vit(SMALL));
}

/// The small QuiltNet.
fn quiltnet() -> Architecture {
    Architecture::Clip(ClipConfig {
        side: 224,
        patch: 32,
        width: 48,
        depth: 2,
        n_heads: 4,
        hidden: 192,
        activation: Activation::QuickGelu,
    })
}

#[test]
fn quiltnet_agrees_with_transformers_in_both_activations() {
    agrees("quiltnet", EncoderName::Quiltnet, quiltnet());
    agrees("quiltnet-gelu", EncoderName::Quiltnet, quiltnet());
}

#[test]
fn a_converted_quiltnet_keeps_its_activation_wherever_it_lies() {
    let [from, to] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [weights, converted] = [&from, &to].map(|folder| folder.path().join("model.safetensors"));
    let say = |folder: &Path, act: &str| {
        std::fs::write(folder.join("config.json"), format!(r#"{{"hidden_act": "{act}"}}"#)).unwrap();
    };
    let agree = |key: &str, path: &Path| features_agree(key, EncoderName::Quiltnet, quiltnet(), path);
    write_weights(&weights, quiltnet(), |_, value| value);
    // Nobody says which: CLIP's own, and a word about it.
    let untold = agree("quiltnet", &weights);
    let wanted = "model.safetensors: neither the file nor a config.json beside it says `hidden_act`, so it is taken to be \
                  `quick_gelu`, as in CLIP; the model's config.json beside the weights settles it";
    assert!(matches!(untold.warnings(), [warning] if warning.ends_with(wanted)), "{:?}", untold.warnings());
    let written = convert_weights(&weights, &converted).unwrap();
    assert_eq!((written.hidden_act, written.warnings.as_slice()), (None, untold.warnings()));
    assert_eq!(agree("quiltnet", &converted).warnings().len(), 1, "a guess does not become a statement");

    let mut hashes = Vec::new();
    for (act, other, key) in [("gelu", "quick_gelu", "quiltnet-gelu"), ("quick_gelu", "gelu", "quiltnet")] {
        say(from.path(), act);
        let before = agree(key, &weights);
        assert!(before.warnings().is_empty());
        let written = convert_weights(&weights, &converted).unwrap();
        assert_eq!((written.hidden_act.as_deref(), written.warnings), (Some(act), Vec::new()));
        // What lies beside it is of another model.
        say(to.path(), other);
        let after = agree(key, &converted);
        assert!(after.warnings().is_empty());
        assert_eq!(after.weights_sha256(), before.weights_sha256());
        let again = to.path().join("again.safetensors");
        assert_eq!(convert_weights(&converted, &again).unwrap().hidden_act.as_deref(), Some(act));
        agree(key, &again);
        std::fs::remove_file(to.path().join("config.json")).unwrap();
        agree(key, &converted);
        hashes.push(before.weights_sha256().unwrap().to_owned());
    }
    assert_ne!(hashes[0], hashes[1], "another activation gives other features");
    assert_eq!(untold.weights_sha256(), Some(hashes[1].as_str()));
}

#[test]
fn the_hash_of_weights_is_of_what_the_encoder_uses() {
    let directory = tempfile::tempdir().unwrap();
    let hash = |name: EncoderName, architecture: Architecture, path: &Path| {
        let published = Published { architecture, ..Published::of(name).unwrap() };
        let encoder = Encoder::load(name, &published, path, &Device::Cpu).unwrap();
        encoder.weights_sha256().unwrap().to_owned()
    };
    let of_conch = |path: &Path| hash(EncoderName::Conch, conch(), path);
    // By PyTorch and hashlib, from the description in `weights_hash.rs`: 16-bit floats below a prefix, a text tower beside them.
    let published =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/reference/patch_encoders_conch.bin");
    assert_eq!(of_conch(&published), "c9522f994bcdf153f639082628b8fd26ba0aa7022b074f936f443f0087fe78d7");
    let path = directory.path().join("conch.safetensors");
    convert_weights(&published, &path).unwrap();
    assert_eq!(of_conch(&path), "c9522f994bcdf153f639082628b8fd26ba0aa7022b074f936f443f0087fe78d7");

    let of_vit = |change: fn(&str, f32) -> f32| {
        write_weights(&path, Architecture::Vit(SMALL), change);
        hash(EncoderName::ProvGigapath, Architecture::Vit(SMALL), &path)
    };
    let plain = of_vit(|_, value| value);
    assert_eq!(of_vit(|_, value| value), plain);
    let changed = of_vit(|name, value| if name == "blocks.1.norm2.bias" { value * 1.001 } else { value });
    assert_ne!(changed, plain);
    let stain_texture = Encoder::open(EncoderName::StainTexture, None).unwrap();
    assert_eq!(stain_texture.weights_sha256(), None);
}
