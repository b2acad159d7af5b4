//! What `convert_weights` keeps, leaves out and refuses.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use patch_encoders::{Error, convert_weights};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// A state dict of PyTorch: two layers and a counter.
fn state_dict() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../wsi-bags/tests/data/state_plain.pt")
}

/// A safetensors file of one float tensor, if wanted, and one of integers.
fn weights(directory: &Path, has_floats: bool) -> PathBuf {
    let path = directory.join("published.safetensors");
    let floats = [0.5f32, -1.25, 3.0].map(f32::to_le_bytes).concat();
    let counter = 20_000_001i64.to_le_bytes();
    let floats = TensorView::new(Dtype::F32, vec![3], &floats).unwrap();
    let counter = TensorView::new(Dtype::I64, vec![], &counter).unwrap();
    let mut tensors = vec![("bn1.num_batches_tracked", counter)];
    tensors.extend(has_floats.then_some(("bn1.weight", floats)));
    safetensors::serialize_to_file(tensors, None, &path).unwrap();
    path
}

fn floats(view: &TensorView<'_>) -> Vec<f32> {
    view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[test]
fn floats_keep_their_values_and_counters_are_left_out_and_told() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out.safetensors");
    let converted = convert_weights(&weights(directory.path(), true), &out).unwrap();
    assert_eq!((converted.n_tensors, converted.n_scalars), (1, 3));
    assert_eq!(converted.left_out, ["bn1.num_batches_tracked"]);
    let bytes = std::fs::read(&out).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.names(), ["bn1.weight"]);
    assert_eq!(floats(&file.tensor("bn1.weight").unwrap()), [0.5, -1.25, 3.0]);

    let converted = convert_weights(&state_dict(), &out).unwrap();
    assert_eq!((converted.n_tensors, converted.n_scalars), (6, 6 + 5 * 3));
    assert_eq!(converted.left_out, ["1.num_batches_tracked"]);
    let bytes = std::fs::read(&out).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    // The rule of the file: the i-th value is (i - 5) / 8.
    let rule: Vec<f32> = (0..6).map(|i| (i as f32 - 5.0) / 8.0).collect();
    let weight = file.tensor("0.weight").unwrap();
    assert_eq!((weight.shape(), floats(&weight)), (&[3, 2][..], rule));
}

#[test]
fn a_file_without_floats_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out.safetensors");
    let published = weights(directory.path(), false);
    let text = convert_weights(&published, &out).unwrap_err().to_string();
    assert!(
        text.ends_with(
            "published.safetensors: found no tensor of floats, expected the weights of an encoder"
        )
    );
    let nothing: [(&str, TensorView<'_>); 0] = [];
    safetensors::serialize_to_file(nothing, None, &published).unwrap();
    assert!(matches!(convert_weights(&published, &out), Err(Error::NoTensors { .. })));
    assert!(!out.exists());
}

#[test]
fn the_published_file_is_never_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let published = weights(directory.path(), true);
    let before = std::fs::read(&published).unwrap();
    let around = directory.path().join(".").join("published.safetensors");
    let mut names = vec![published.clone(), around];
    #[cfg(unix)]
    {
        let [soft, hard] = ["soft.safetensors", "hard.safetensors"].map(|name| directory.path().join(name));
        std::os::unix::fs::symlink(&published, &soft).unwrap();
        std::fs::hard_link(&published, &hard).unwrap();
        names.extend([soft, hard]);
    }
    for output in names {
        let text = convert_weights(&published, &output).unwrap_err().to_string();
        let wanted = "this is the file to be converted, which is kept; name another file for the output";
        assert_eq!(text, format!("{}: {wanted}", output.display()));
        assert_eq!(std::fs::read(&published).unwrap(), before);
    }
}

#[test]
#[cfg(unix)]
fn others_may_read_the_output_as_far_as_the_umask_lets_them() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out.safetensors");
    convert_weights(&weights(directory.path(), true), &out).unwrap();
    let usual = directory.path().join("usual");
    std::fs::write(&usual, "").unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&out), mode(&usual));
}
