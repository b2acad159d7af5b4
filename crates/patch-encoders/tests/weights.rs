//! Files that are not the weights that were asked for. Headers are real, tensors are holes in sparse files.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use patch_encoders::{Encoder, EncoderName, Error};

type Layout = BTreeMap<String, Vec<usize>>;

/// Names and shapes in the published file of an encoder.
fn layout(name: EncoderName) -> Layout {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/reference/patch_encoders.json");
    let reference: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    serde_json::from_value(reference["layouts"][name.as_str()].clone()).unwrap()
}

/// A safetensors file of zeros in f32.
fn zeros(directory: &Path, layout: &Layout) -> PathBuf {
    let path = directory.join("model.safetensors");
    let mut offset = 0;
    let mut header = serde_json::Map::new();
    for (name, shape) in layout {
        let end = offset + 4 * shape.iter().product::<usize>();
        header.insert(
            name.clone(),
            serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [offset, end]}),
        );
        offset = end;
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = File::create(&path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(&header).unwrap();
    file.set_len((8 + header.len() + offset) as u64).unwrap();
    path
}

/// The error that opening gives, as a user reads it.
fn refusal(name: EncoderName, path: &Path) -> String {
    let error = Encoder::open(name, Some(path)).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(path.file_name().unwrap().to_str().unwrap()), "the file is named: {text}");
    text
}

#[test]
fn weights_of_another_encoder_are_recognised() {
    let directory = tempfile::tempdir().unwrap();
    let path = zeros(directory.path(), &layout(EncoderName::Conch));
    let text = refusal(EncoderName::Uni2H, &path);
    assert!(text.contains("not the weights of uni2-h") && text.ends_with("the file fits conch"), "{text}");
    let path = zeros(directory.path(), &layout(EncoderName::Resnet50));
    let text = refusal(EncoderName::ProvGigapath, &path);
    assert!(text.contains("566 of 566 parameters are missing (`patch_embed.proj.weight`"), "{text}");
    assert!(text.ends_with("the file fits resnet50"), "{text}");
}

#[test]
fn a_missing_parameter_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let mut names = layout(EncoderName::Resnet50);
    names.remove("layer3.2.bn1.running_var");
    let text = refusal(EncoderName::Resnet50, &zeros(directory.path(), &names));
    assert!(text.ends_with("1 of 265 parameters are missing (`layer3.2.bn1.running_var`)"), "{text}");
}

#[test]
fn a_parameter_of_another_shape_is_named_with_both_shapes() {
    let directory = tempfile::tempdir().unwrap();
    let mut names = layout(EncoderName::Quiltnet);
    names.insert("vision_model.post_layernorm.weight".to_owned(), vec![512]);
    let text = refusal(EncoderName::Quiltnet, &zeros(directory.path(), &names));
    let wanted = "1 have another shape (`vision_model.post_layernorm.weight` is [512], expected [768])";
    assert!(text.ends_with(wanted), "{text}");
}

#[test]
fn an_unknown_parameter_is_refused_and_unused_parts_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let mut names = layout(EncoderName::Quiltnet);
    names.insert("text_model.final_layer_norm.weight".to_owned(), vec![512]);
    names.insert("logit_scale".to_owned(), vec![]);
    let encoder = Encoder::open(EncoderName::Quiltnet, Some(&zeros(directory.path(), &names))).unwrap();
    assert_eq!(encoder.feature_dim(), 768);
    names.insert("vision_model.adapter.weight".to_owned(), vec![4]);
    let text = refusal(EncoderName::Quiltnet, &zeros(directory.path(), &names));
    assert!(text.ends_with("1 are unknown (`vision_model.adapter.weight`)"), "{text}");
}

#[test]
fn damaged_files_and_files_of_other_kinds_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let whole = zeros(directory.path(), &layout(EncoderName::Resnet50));
    let len = std::fs::metadata(&whole).unwrap().len();
    File::options().write(true).open(&whole).unwrap().set_len(len - 5).unwrap();
    let text = refusal(EncoderName::Resnet50, &whole);
    assert!(text.contains("bytes of tensors, expected"), "{text}");

    let cases: [(&str, &[u8]); 4] = [
        ("empty.bin", b""),
        ("report.pdf", b"%PDF-1.7 and more"),
        ("long.safetensors", b"\xff\xff\xff\xff\0\0\0\0{"),
        ("cut.safetensors", b"\x10\0\0\0\0\0\0\0{\"a\":{}        "),
    ];
    for (name, bytes) in cases {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        refusal(EncoderName::Resnet50, &path);
    }
    let missing = directory.path().join("missing.bin");
    assert!(refusal(EncoderName::Conch, &missing).ends_with("cannot open the file"));
}

#[test]
fn weights_are_asked_for_where_they_are_needed_and_refused_where_not() {
    let text = Encoder::open(EncoderName::Uni2H, None).unwrap_err().to_string();
    assert_eq!(text, "uni2-h needs its file of weights (pytorch_model.bin of MahmoodLab/UNI2-h), found none");
    let error = Encoder::open(EncoderName::StainTexture, Some(Path::new("x.bin"))).unwrap_err();
    assert!(matches!(error, Error::WeightsRefused { .. }));
    let text = "resnet-50".parse::<EncoderName>().unwrap_err().to_string();
    assert!(
        text.starts_with("unknown encoder `resnet-50`, expected one of resnet50, resnet50-clam, conch"),
        "{text}"
    );
}
