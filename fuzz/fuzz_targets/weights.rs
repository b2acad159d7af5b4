//! Safetensors and state dicts: checkpoints of models, weights of encoders, bags.

#![no_main]

use candle_core::Device;
use cf_model::weights::Checkpoint;
use cf_model::{ModelConfig, ModelName};
use fuzz::{Scratch, bounded, scratch};
use libfuzzer_sys::fuzz_target;
use patch_encoders::convert_weights;
use wsi_bags::{BagStore, Magnification};

fuzz_target!(|input: &[u8]| {
    let Some((form, bytes)) = input.split_first() else { return };
    scratch(|folder| match form % 4 {
        0 => checkpoint(folder, "best.safetensors", bytes),
        1 => checkpoint(folder, "best.pt", bytes),
        2 => encoder(folder, bytes),
        _ => bag(folder, bytes),
    });
});

fn checkpoint(folder: &Scratch, name: &str, bytes: &[u8]) {
    let path = folder.write(name, bytes);
    bounded(bytes.len(), || {
        let Ok(checkpoint) = Checkpoint::read(&path) else { return };
        for name in ModelName::ALL {
            if let Ok((config, backbone_dim)) = checkpoint.describe(name, &ModelConfig::default_of(name)) {
                let _ = checkpoint.build(&config, backbone_dim, &Device::Cpu);
            }
        }
    });
}

fn encoder(folder: &Scratch, bytes: &[u8]) {
    let path = folder.write("pytorch_model.bin", bytes);
    let converted = folder.path().join("converted.safetensors");
    bounded(bytes.len(), || drop(convert_weights(&path, &converted)));
}

fn bag(folder: &Scratch, bytes: &[u8]) {
    folder.write("x20/slide.safetensors", bytes);
    let root = folder.path().join("x20");
    bounded(bytes.len(), || {
        if let Ok(store) = BagStore::open_roots(&[(Magnification::X20, root)], "resnet50") {
            let _ = store.read("slide", &[Magnification::X20]);
        }
    });
}
