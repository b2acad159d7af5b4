//! State dicts read tensor by tensor, and which dict of several is taken.
#![cfg(feature = "pt")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod craft;

use std::path::{Path, PathBuf};

use craft::{fixture, pt_file, tensor_pickle};
use wsi_bags::ErrorKind;
use wsi_bags::pt::{StateDict, read_state_dict};

/// A text.
fn text(text: &str) -> Vec<u8> {
    let mut pickle = b"X".to_vec();
    pickle.extend((text.len() as u32).to_le_bytes());
    pickle.extend(text.as_bytes());
    pickle
}

/// A dict of pickled values.
fn dict(items: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let items = items.iter().flat_map(|(key, value)| [text(key), value.clone()].concat());
    [&b"}("[..], &items.collect::<Vec<u8>>(), b"u"].concat()
}

/// A tensor of the first `n` numbers of the file's storage.
fn tensor(storage: &str, n: i64) -> Vec<u8> {
    let pickle = tensor_pickle(storage, n, 0, &[n], &[1]);
    pickle[2..pickle.len() - 1].to_vec()
}

/// A file of one pickled value, and the bytes of the storage that all tensors share.
fn file(directory: &Path, root: &[u8], storage: &[u8]) -> PathBuf {
    pt_file(directory, &[b"\x80\x02", root, b"."].concat(), storage)
}

#[test]
fn only_what_is_asked_for_is_converted() {
    let directory = tempfile::tempdir().unwrap();
    // As a float, the counter is another number, and as an integer none that f32 holds.
    let storage = 20_000_001u64.to_le_bytes();
    let root = dict(&[("weight", tensor("FloatStorage", 2)), ("counter", tensor("LongStorage", 1))]);
    let path = file(directory.path(), &root, &storage);
    let mut opened = StateDict::open(&path).unwrap();
    let tensors: Vec<_> = opened.tensors().map(|(name, shape)| (name.to_owned(), shape.to_vec())).collect();
    assert_eq!(tensors, [("weight".to_owned(), vec![2]), ("counter".to_owned(), vec![1])]);
    assert_eq!([opened.is_float("weight"), opened.is_float("counter")], [Some(true), Some(false)]);
    assert_eq!(opened.is_float("absent"), None);
    for _ in 0..2 {
        assert_eq!(opened.values("weight").unwrap().unwrap(), [f32::from_bits(20_000_001), 0.0]);
    }
    assert_eq!(opened.values("absent").unwrap(), None);
    let error = opened.values("counter").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Inexact { value: 20_000_001 }), "{error}");
    assert!(error.to_string().contains("crafted.pt: `counter`: "), "{error}");
    let error = read_state_dict(&path).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Inexact { .. }), "all are asked for: {error}");
}

#[test]
fn a_dict_that_may_be_the_weights_as_well_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let weights = |n: usize| {
        let names = ["a", "b", "c", "d"];
        dict(&names[..n].iter().map(|name| (*name, tensor("FloatStorage", 1))).collect::<Vec<_>>())
    };
    let optimizer =
        dict(&[("state", dict(&[("exp_avg", tensor("FloatStorage", 1))])), ("lr", b"K\x01".to_vec())]);
    let scaler = dict(&[("scale", tensor("FloatStorage", 1))]);
    let mut cases = vec![
        (vec![("model", weights(4)), ("model_ema", weights(4))], Some("model"), vec!["model_ema"]),
        (
            vec![("state_dict_ema", weights(4)), ("state_dict", weights(4))],
            Some("state_dict"),
            vec!["state_dict_ema"],
        ),
        (vec![("model", weights(4)), ("state_dict", weights(2))], Some("state_dict"), vec!["model"]),
        (vec![("model", weights(4)), ("optimizer", optimizer), ("scaler", scaler)], Some("model"), vec![]),
        (vec![("a", tensor("FloatStorage", 1))], None, vec![]),
    ];
    for (items, key, rivals) in cases.drain(..) {
        let opened = StateDict::open(&file(directory.path(), &dict(&items), &[0; 4])).unwrap();
        assert_eq!(opened.key(), key);
        assert_eq!(opened.rivals(), rivals, "{key:?}");
    }
    assert_eq!(StateDict::open(&fixture("state_plain.pt")).unwrap().key(), None);
}
