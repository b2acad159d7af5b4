//! Files that PyTorch itself wrote (`tests/data/generate.py`): read with the right values, or refused for the right
//! reason.
#![cfg(feature = "pt")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod craft;

use craft::{fixture, rule};
use wsi_bags::{Error, ErrorKind, FileKind, pt};

fn refused(name: &str) -> Error {
    let path = fixture(name);
    let error = pt::read_features(&path).unwrap_err();
    assert_eq!(error.path(), Some(path.as_path()), "the error names the file");
    error
}

#[test]
fn every_float_type_gives_the_same_values() {
    for name in ["f32", "f16", "bf16", "f64"] {
        let features = pt::read_features(&fixture(&format!("features_{name}.pt"))).unwrap();
        assert_eq!((features.n_patches(), features.dim()), (3, 4), "{name}");
        assert_eq!(features.as_slice(), rule(12), "{name}");
        assert_eq!(features.is_mapped(), name == "f32", "{name}");
    }
}

#[test]
fn a_pickle_of_protocol_4_and_a_parameter_are_tensors_too() {
    for name in ["features_protocol4.pt", "features_parameter.pt"] {
        assert_eq!(pt::read_features(&fixture(name)).unwrap().as_slice(), rule(12), "{name}");
    }
}

#[test]
fn a_transposed_tensor_is_read_in_its_own_order() {
    let features = pt::read_features(&fixture("features_transposed.pt")).unwrap();
    let stored = rule(12);
    for row in 0..3 {
        let expected: Vec<f32> = (0..4).map(|column| stored[column * 3 + row]).collect();
        assert_eq!(features.row(row).unwrap(), expected);
    }
}

#[test]
fn a_view_of_some_rows_starts_at_its_offset() {
    let features = pt::read_features(&fixture("features_rows.pt")).unwrap();
    assert_eq!(features.n_patches(), 2);
    assert_eq!(features.as_slice(), &rule(12)[4..]);
    assert!(features.is_mapped());
}

#[test]
fn a_view_of_some_columns_skips_the_others() {
    let features = pt::read_features(&fixture("features_columns.pt")).unwrap();
    let stored = rule(12);
    assert_eq!(features.as_slice(), [stored[1], stored[2], stored[5], stored[6], stored[9], stored[10]]);
}

#[test]
fn an_expanded_tensor_is_refused() {
    let error = refused("wrong_expanded.pt");
    assert!(matches!(error.kind(), ErrorKind::TensorLayout { shape, .. } if shape == &[1000, 2]));
    assert!(
        error.to_string().ends_with("its elements overlap, as after `expand`; save `tensor.contiguous()`"),
        "{error}"
    );
}

#[test]
fn a_negated_view_is_not_read_with_the_sign_of_its_storage() {
    let error = refused("wrong_negated.pt");
    let told = matches!(error.kind(), ErrorKind::Pickle { fault, .. } if fault.contains("(metadata: neg)") && fault.contains("resolve_neg()"));
    assert!(told, "{error}");
}

#[test]
fn integers_are_not_features() {
    let error = refused("wrong_int64.pt");
    assert!(matches!(error.kind(), ErrorKind::ElementType { found, .. } if found == "int64"));
}

#[test]
fn complex_numbers_are_not_features() {
    let error = refused("wrong_complex.pt");
    assert!(
        matches!(error.kind(), ErrorKind::Global { name } if name == "torch.ComplexFloatStorage"),
        "{error}"
    );
}

#[test]
fn one_or_three_axes_are_not_features() {
    for (name, shape) in [("wrong_one_axis.pt", vec![6]), ("wrong_three_axes.pt", vec![1, 3, 2])] {
        assert!(matches!(refused(name).kind(), ErrorKind::Shape { found, .. } if *found == shape), "{name}");
    }
    let text = refused("wrong_three_axes.pt").to_string();
    assert!(text.ends_with("shape is [1, 3, 2], wanted [n_patches, dim], as of `features[0]`"), "{text}");
}

#[test]
fn zero_patches_are_an_empty_bag() {
    assert!(matches!(refused("wrong_no_rows.pt").kind(), ErrorKind::EmptyBag));
}

#[test]
fn zero_columns_are_refused() {
    assert!(matches!(refused("wrong_no_columns.pt").kind(), ErrorKind::ZeroWidth));
}

#[test]
fn nan_and_infinity_are_refused_with_their_place() {
    for name in ["wrong_nan.pt", "wrong_inf.pt"] {
        assert!(matches!(refused(name).kind(), ErrorKind::NonFinite { row: 1, column: 2 }), "{name}");
    }
}

#[test]
fn files_of_another_kind_are_named_as_what_they_are() {
    for (name, kind) in [
        ("wrong_legacy.pt", FileKind::BarePickle),
        ("wrong_tar.pt", FileKind::Tar),
        ("wrong_npy.pt", FileKind::Npy),
        ("wrong_npz.pt", FileKind::OtherZip),
        ("wrong_torchscript.pt", FileKind::TorchScript),
        ("native_f32.h5", FileKind::Hdf5),
        ("generate.py", FileKind::Unknown),
    ] {
        let error = refused(name);
        assert!(matches!(error.kind(), ErrorKind::FileKind { found, .. } if *found == kind), "{error}");
    }
}

#[test]
fn the_text_of_a_legacy_file_says_found_and_wanted() {
    let text = refused("wrong_legacy.pt").to_string();
    assert!(
        text.ends_with(
            "wrong_legacy.pt: found a legacy file (a pickle that is not in a zip archive), \
             wanted a zip archive as written by torch.save since PyTorch 1.6; load and save it again there"
        ),
        "{text}"
    );
}

#[test]
fn containers_are_not_a_bare_tensor() {
    for (name, wanted) in [
        ("wrong_list.pt", "a list of 1 items"),
        ("wrong_dict.pt", "a dict with keys [features, coords]"),
        ("wrong_none.pt", "None"),
    ] {
        let error = refused(name);
        assert!(matches!(error.kind(), ErrorKind::Content { found, .. } if found == wanted), "{error}");
    }
}

#[test]
fn a_pickled_numpy_array_is_named_as_one() {
    let error = refused("wrong_numpy.pt");
    let found = match error.kind() {
        ErrorKind::Content { found, .. } => found,
        other => panic!("{other}"),
    };
    assert!(found.starts_with("a pickled NumPy object (`numpy."), "{found}");
}

#[test]
fn code_is_refused_by_name_and_never_run() {
    for (name, global) in
        [("wrong_call.pt", "posix.system"), ("wrong_module.pt", "torch.nn.modules.linear.Linear")]
    {
        let error = refused(name);
        assert!(matches!(error.kind(), ErrorKind::Global { name } if name == global), "{error}");
    }
}

#[test]
fn a_state_dict_keeps_names_shapes_values_and_order() {
    for name in ["state_plain.pt", "state_nested.pt", "state_model.pt"] {
        let tensors = pt::read_state_dict(&fixture(name)).unwrap();
        let found: Vec<_> =
            tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice())).collect();
        let expected: [(&str, &[usize]); 7] = [
            ("0.weight", &[3, 2]),
            ("0.bias", &[3]),
            ("1.weight", &[3]),
            ("1.bias", &[3]),
            ("1.running_mean", &[3]),
            ("1.running_var", &[3]),
            ("1.num_batches_tracked", &[]),
        ];
        assert_eq!(found, expected, "{name}");
        assert_eq!(tensors[0].values, rule(6), "{name}");
        assert_eq!(tensors[6].values, [7.0], "{name}");
        assert!(tensors[1..6].iter().all(|tensor| tensor.values == rule(3)), "{name}");
    }
}

#[test]
fn tied_weights_are_read_under_every_name() {
    let tensors = pt::read_state_dict(&fixture("state_tied.pt")).unwrap();
    assert_eq!(tensors[0].values, rule(4));
    assert_eq!(tensors[1].values, rule(4));
    assert_eq!(tensors[2].values, [-0.625, -0.375, -0.5, -0.25], "the transposed one");
}

#[test]
fn a_dict_of_other_things_is_not_a_state_dict() {
    for (name, wanted) in [
        ("state_wrong_value.pt", "an integer under `epoch`"),
        ("state_wrong_key.pt", "a dict with an integer as key"),
        ("features_f32.pt", "a tensor"),
        ("wrong_list.pt", "a list of 1 items"),
    ] {
        let error = pt::read_state_dict(&fixture(name)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Content { found, .. } if found == wanted), "{error}");
    }
}
