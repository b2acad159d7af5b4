//! State dicts of AMIL, DSMIL and TransMIL as CrossFusion's authors save them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod formula;

use std::io::Write as _;
use std::path::Path;

use candle_core::{DType, Device};
use cf_model::weights::Checkpoint;
use cf_model::{AmilConfig, AmilForm, BagTensors, ForwardCtx, ModelConfig, ModelName, ParamStore};

/// Names and shapes of the released checkpoints, D the width of the backbone.
fn released(name: ModelName, d: usize) -> Vec<(&'static str, Vec<usize>)> {
    match name {
        ModelName::Amil => vec![
            ("attention_net.0.weight", vec![512, d]),
            ("attention_net.0.bias", vec![512]),
            ("attention_net.2.attention_a.0.weight", vec![256, 512]),
            ("attention_net.2.attention_a.0.bias", vec![256]),
            ("attention_net.2.attention_b.0.weight", vec![256, 512]),
            ("attention_net.2.attention_b.0.bias", vec![256]),
            ("attention_net.2.attention_c.weight", vec![1, 256]),
            ("attention_net.2.attention_c.bias", vec![1]),
            ("classifiers.weight", vec![4, 512]),
            ("classifiers.bias", vec![4]),
        ],
        ModelName::Dsmil => vec![
            ("i_classifier.fc.0.weight", vec![4, d]),
            ("i_classifier.fc.0.bias", vec![4]),
            ("b_classifier.q.0.weight", vec![128, d]),
            ("b_classifier.q.0.bias", vec![128]),
            ("b_classifier.q.2.weight", vec![128, 128]),
            ("b_classifier.q.2.bias", vec![128]),
            ("b_classifier.fcc.weight", vec![4, 4, d]),
            ("b_classifier.fcc.bias", vec![4]),
        ],
        ModelName::TransMil => vec![
            ("_fc1.0.weight", vec![512, d]),
            ("_fc1.0.bias", vec![512]),
            ("cls_token", vec![1, 1, 512]),
            ("layer1.norm.weight", vec![512]),
            ("layer1.norm.bias", vec![512]),
            ("layer1.attn.to_qkv.weight", vec![1536, 512]),
            ("layer1.attn.to_out.0.weight", vec![512, 512]),
            ("layer1.attn.to_out.0.bias", vec![512]),
            ("layer1.attn.res_conv.weight", vec![8, 1, 33, 1]),
            ("layer2.norm.weight", vec![512]),
            ("layer2.norm.bias", vec![512]),
            ("layer2.attn.to_qkv.weight", vec![1536, 512]),
            ("layer2.attn.to_out.0.weight", vec![512, 512]),
            ("layer2.attn.to_out.0.bias", vec![512]),
            ("layer2.attn.res_conv.weight", vec![8, 1, 33, 1]),
            ("pos_layer.proj.weight", vec![512, 1, 7, 7]),
            ("pos_layer.proj.bias", vec![512]),
            ("pos_layer.proj1.weight", vec![512, 1, 5, 5]),
            ("pos_layer.proj1.bias", vec![512]),
            ("pos_layer.proj2.weight", vec![512, 1, 3, 3]),
            ("pos_layer.proj2.bias", vec![512]),
            ("norm.weight", vec![512]),
            ("norm.bias", vec![512]),
            ("_fc2.weight", vec![4, 512]),
            ("_fc2.bias", vec![4]),
        ],
        other => panic!("nothing was released of {other}"),
    }
}

#[test]
fn names_and_shapes_are_those_of_the_released_checkpoints() {
    for name in [ModelName::Amil, ModelName::Dsmil, ModelName::TransMil] {
        let store = ParamStore::seeded(7, DType::F32, &Device::Cpu);
        ModelConfig::default_of(name).build(24, store.builder()).unwrap();
        let mut wanted = released(name, 24);
        wanted.sort_unstable();
        let params = store.params();
        let found: Vec<(&str, Vec<usize>)> =
            params.iter().map(|(name, var)| (name.as_str(), var.dims().to_vec())).collect();
        assert_eq!(found, wanted, "{name}");
    }
}

/// Files that `fixtures/generate/baselines/checkpoint.py` made with PyTorch.
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/reference/baselines");

/// What the oracle says of a checkpoint: width, patches, tensors in the order of their storages, logits.
fn written(name: ModelName) -> serde_json::Value {
    let text = std::fs::read_to_string(format!("{FIXTURES}/{name}_checkpoint.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// An archive as `torch.save` makes it: PyTorch's own pickle, and the numbers, which follow from the tensors' names.
fn archive(name: ModelName, path: &Path) {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut entry = |name: String, bytes: &[u8]| {
        zip.start_file(name, stored).unwrap();
        zip.write_all(bytes).unwrap();
    };
    entry(format!("{name}/data.pkl"), &std::fs::read(format!("{FIXTURES}/{name}.pkl")).unwrap());
    entry(format!("{name}/byteorder"), b"little");
    let tensors: Vec<(String, Vec<usize>)> =
        serde_json::from_value(written(name)["tensors"].clone()).unwrap();
    for (storage, (tensor, shape)) in tensors.iter().enumerate() {
        let values = formula::formula(tensor, shape).flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        entry(format!("{name}/data/{storage}"), &bytes);
    }
    entry(format!("{name}/version"), b"3\n");
    zip.finish().unwrap();
}

#[test]
fn a_state_dict_of_pytorch_loads_by_name_and_predicts_as_there() {
    let dir = tempfile::tempdir().unwrap();
    for name in [ModelName::Amil, ModelName::Dsmil, ModelName::TransMil] {
        let wanted = written(name);
        let path = match name {
            // Small enough to be kept whole.
            ModelName::Dsmil => Path::new(FIXTURES).join("dsmil.pt"),
            _ => dir.path().join(format!("{name}.pt")),
        };
        if name != ModelName::Dsmil {
            archive(name, &path);
        }
        let checkpoint = Checkpoint::read(&path).unwrap();
        let hints = ModelConfig::default_of(name);
        let (config, dim) = checkpoint.describe(name, &hints).unwrap();
        assert_eq!((&config, dim as u64), (&hints, wanted["backbone_dim"].as_u64().unwrap()));
        let (_, model) = checkpoint.build(&config, dim, &Device::Cpu).unwrap();
        let n = wanted["n_patches"].as_u64().unwrap() as usize;
        let x20 = Some(formula::formula("input/checkpoint/x20", &[n, dim]));
        let bag = BagTensors { x20, ..BagTensors::default() };
        let output = model.forward(&bag, &mut ForwardCtx::eval()).unwrap();
        for (found, wanted) in output.logit_values().unwrap().iter().zip(wanted["logits"].as_array().unwrap())
        {
            assert!((found - wanted.as_f64().unwrap()).abs() < 1e-5, "{name}: {found}, PyTorch {wanted}");
        }
        let other = if name == ModelName::Amil { ModelName::Dsmil } else { ModelName::Amil };
        let text = checkpoint.describe(other, &ModelConfig::default_of(other)).unwrap_err().to_string();
        assert!(text.contains(&format!("holds weights of `{name}`, expected `{other}`")), "{text}");
    }
}

#[test]
fn each_released_model_is_told_by_its_names() {
    let dir = tempfile::tempdir().unwrap();
    let forms = [AmilForm::Survival, AmilForm::Ungated].map(|form| ModelConfig::Amil(AmilConfig { form }));
    let released = [ModelName::Amil, ModelName::Dsmil, ModelName::TransMil].map(ModelConfig::default_of);
    for wanted in released.into_iter().chain(forms) {
        let name = wanted.name();
        let store = formula::store(&wanted, 24, DType::F32);
        wanted.build(24, store.builder()).unwrap();
        let values: std::collections::HashMap<_, _> =
            store.params().into_iter().map(|(name, var)| (name, var.as_tensor().clone())).collect();
        // Without metadata, as a foreign file.
        let path = dir.path().join(format!("{name}.safetensors"));
        candle_core::safetensors::save(&values, &path).unwrap();
        let checkpoint = Checkpoint::read(&path).unwrap();
        let (config, dim) = checkpoint.describe(name, &ModelConfig::default_of(name)).unwrap();
        assert_eq!((&config, dim), (&wanted, 24));
        checkpoint.build(&config, dim, &Device::Cpu).unwrap();
    }
}
