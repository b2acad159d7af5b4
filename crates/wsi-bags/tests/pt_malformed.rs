//! Damaged and hostile `.pt` files: an error that says what is wrong, never a panic, never a large allocation.
#![cfg(feature = "pt")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod craft;

use std::fs;
use std::path::Path;

use craft::{archive, fixture, pt_file, tensor_pickle};
use wsi_bags::{Error, ErrorKind, FileKind, pt};

fn refused_pickle(pickle: &[u8]) -> Error {
    let directory = tempfile::tempdir().unwrap();
    pt::read_features(&pt_file(directory.path(), pickle, &[0; 24])).unwrap_err()
}

fn refused_file(bytes: &[u8]) -> Error {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("crafted.pt");
    fs::write(&path, bytes).unwrap();
    pt::read_features(&path).unwrap_err()
}

fn pickle_fault(pickle: &[u8]) -> String {
    match refused_pickle(pickle).kind() {
        ErrorKind::Pickle { fault, .. } => fault.clone(),
        other => panic!("{other}"),
    }
}

fn layout_fault(storage: &str, len: i64, offset: i64, shape: &[i64], strides: &[i64]) -> String {
    match refused_pickle(&tensor_pickle(storage, len, offset, shape, strides)).kind() {
        ErrorKind::TensorLayout { fault, .. } => fault.clone(),
        other => panic!("{other}"),
    }
}

#[test]
fn the_crafted_tensor_is_read_when_nothing_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let storage: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0].into_iter().flat_map(f32::to_le_bytes).collect();
    let path = pt_file(directory.path(), &tensor_pickle("FloatStorage", 6, 0, &[3, 2], &[2, 1]), &storage);
    assert_eq!(pt::read_features(&path).unwrap().as_slice(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn a_missing_file_and_a_directory_are_io_errors_with_their_path() {
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path().join("absent.pt"), directory.path().to_owned()] {
        let error = pt::read_features(&path).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
        assert_eq!(error.path(), Some(path.as_path()));
    }
}

#[test]
fn an_empty_file_is_named_as_one() {
    assert!(matches!(refused_file(&[]).kind(), ErrorKind::FileKind { found: FileKind::Empty, .. }));
}

#[test]
fn what_servers_and_git_leave_in_place_of_a_file_is_named_with_the_way_out() {
    let pages = ["<!DOCTYPE html><html>403 gated</html>", "\u{feff}\n <HTML lang=en><head>"];
    for page in pages {
        let error = refused_file(page.as_bytes());
        assert!(matches!(error.kind(), ErrorKind::FileKind { found: FileKind::Html, .. }), "{error}");
        assert!(error.to_string().contains("an HTML page saved in place of the file (log in there, accept"));
    }
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 102\n";
    let error = refused_file(pointer.as_bytes());
    assert!(matches!(error.kind(), ErrorKind::FileKind { found: FileKind::LfsPointer, .. }), "{error}");
    assert!(error.to_string().contains("a git-lfs pointer in place of the file (`git lfs pull`"), "{error}");
    for other in ["<svg/>", "version 2", "html"] {
        let error = refused_file(other.as_bytes());
        assert!(matches!(error.kind(), ErrorKind::FileKind { found: FileKind::Unknown, .. }), "{error}");
    }
}

#[test]
fn a_zip_archive_without_pickle_is_named_as_one() {
    for records in
        [&[][..], &[("a/readme", b"x" as &[u8])], &[("data.pkl", b"N.")], &[("a/b/data.pkl", b"N.")]]
    {
        let error = refused_file(&archive(records));
        assert!(matches!(error.kind(), ErrorKind::FileKind { found: FileKind::OtherZip, .. }), "{error}");
    }
}

#[test]
fn every_truncation_is_an_error() {
    for name in ["features_f32.pt", "features_f16.pt", "state_plain.pt"] {
        let bytes = fs::read(fixture(name)).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cut.pt");
        for len in 0..bytes.len() {
            fs::write(&path, &bytes[..len]).unwrap();
            assert!(pt::read_features(&path).is_err(), "{name} cut to {len} bytes");
            assert!(pt::read_state_dict(&path).is_err(), "{name} cut to {len} bytes");
        }
    }
}

#[test]
fn no_changed_byte_causes_a_panic() {
    for name in ["features_f32.pt", "features_protocol4.pt", "state_tied.pt"] {
        let bytes = fs::read(fixture(name)).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("changed.pt");
        for position in 0..bytes.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[position] ^= mask;
                fs::write(&path, changed).unwrap();
                if let Ok(features) = pt::read_features(&path) {
                    assert!(
                        features.as_slice().len() <= 12,
                        "{name}: byte {position} ^ {mask:#x} made values up"
                    );
                }
                let _ = pt::read_state_dict(&path);
            }
        }
    }
}

#[test]
fn a_changed_weight_does_not_match_its_checksum() {
    let mut bytes = fs::read(fixture("state_tied.pt")).unwrap();
    // -0.625 and -0.5 as float16, the first values of the storage.
    let storage = bytes.windows(4).position(|window| window == [0x00, 0xb9, 0x00, 0xb8]).unwrap();
    bytes[storage] ^= 1;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("changed.pt");
    fs::write(&path, bytes).unwrap();
    let error = pt::read_state_dict(&path).unwrap_err();
    assert!(
        error.to_string().ends_with("`a`: damaged zip archive: a record does not match its checksum"),
        "{error}"
    );
}

#[test]
fn a_compressed_record_is_refused() {
    let pickle = tensor_pickle("FloatStorage", 6, 0, &[3, 2], &[2, 1]);
    let mut bytes = archive(&[("a/data.pkl", &pickle), ("a/data/0", &[0; 24])]);
    // The method of the last entry in the central directory; 8 is deflate.
    let entry = bytes.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    bytes[entry + 10] = 8;
    let error = refused_file(&bytes);
    assert!(matches!(error.kind(), ErrorKind::Archive { .. }), "{error}");
}

#[test]
fn big_endian_numbers_are_refused() {
    let pickle = tensor_pickle("FloatStorage", 6, 0, &[3, 2], &[2, 1]);
    let error =
        refused_file(&archive(&[("a/data.pkl", &pickle), ("a/byteorder", b"big"), ("a/data/0", &[0; 24])]));
    assert!(matches!(error.kind(), ErrorKind::ElementType { found, .. } if found == "big-endian"), "{error}");
}

#[test]
fn a_storage_without_record_is_refused() {
    let pickle = tensor_pickle("FloatStorage", 6, 0, &[3, 2], &[2, 1]);
    let error = refused_file(&archive(&[("a/data.pkl", &pickle)]));
    assert!(error.to_string().ends_with("record `data/0` is absent"), "{error}");
}

#[test]
fn a_storage_longer_than_its_record_is_refused() {
    for len in [7, i64::MAX / 2, i64::MAX] {
        let fault = layout_fault("FloatStorage", len, 0, &[3, 2], &[2, 1]);
        assert_eq!(fault, format!("storage `0` states {len} elements of 4 bytes, its record has 24 bytes"));
    }
}

#[test]
fn a_tensor_beyond_its_storage_is_refused() {
    let fault = "the storage has 6 elements, the offset is";
    assert_eq!(layout_fault("FloatStorage", 6, 1, &[3, 2], &[2, 1]), format!("{fault} 1"));
    assert_eq!(layout_fault("FloatStorage", 6, i64::MAX, &[3, 2], &[2, 1]), format!("{fault} {}", i64::MAX));
    assert_eq!(layout_fault("FloatStorage", 6, 0, &[4, 2], &[2, 1]), format!("{fault} 0"));
    assert_eq!(layout_fault("FloatStorage", 6, 0, &[3, 2], &[3, 1]), format!("{fault} 0"));
}

#[test]
fn a_tensor_whose_size_overflows_is_refused() {
    let huge = 1 << 40;
    assert_eq!(layout_fault("FloatStorage", 6, 0, &[huge, huge], &[0, 0]), "its size overflows");
    assert_eq!(layout_fault("FloatStorage", 6, 0, &[3, 2], &[i64::MAX, 1]), "its size overflows");
}

#[test]
fn a_huge_tensor_over_few_bytes_is_refused() {
    assert_eq!(
        layout_fault("FloatStorage", 6, 0, &[1 << 40, 1], &[0, 0]),
        "its elements overlap, as after `expand`; save `tensor.contiguous()`"
    );
}

#[test]
fn an_empty_tensor_of_huge_width_is_an_empty_bag() {
    let error = refused_pickle(&tensor_pickle("FloatStorage", 6, 0, &[0, i64::MAX], &[i64::MAX, 1]));
    assert!(matches!(error.kind(), ErrorKind::EmptyBag), "{error}");
}

#[test]
fn strides_that_do_not_match_the_axes_are_refused() {
    assert_eq!(layout_fault("FloatStorage", 6, 0, &[3, 2], &[2]), "it has not one stride per axis");
}

#[test]
fn negative_sizes_are_refused() {
    let pickles = [
        tensor_pickle("FloatStorage", -6, 0, &[3, 2], &[2, 1]),
        tensor_pickle("FloatStorage", 6, -1, &[3, 2], &[2, 1]),
        tensor_pickle("FloatStorage", 6, 0, &[-3, 2], &[2, 1]),
        tensor_pickle("FloatStorage", 6, 0, &[3, 2], &[2, -1]),
    ];
    for pickle in pickles {
        assert!(pickle_fault(&pickle).contains("negative"));
    }
}

#[test]
fn tensors_of_more_axes_than_pytorch_has_are_refused() {
    let of = |n_axes: usize| tensor_pickle("FloatStorage", 6, 0, &vec![1; n_axes], &vec![1; n_axes]);
    assert_eq!(pickle_fault(&of(65)), "a tensor has 65 axes, more than 64");
    let error = refused_pickle(&of(64));
    assert!(matches!(error.kind(), ErrorKind::Shape { found, .. } if found.len() == 64), "{error}");
}

#[test]
fn doubles_beyond_single_range_are_not_finite() {
    let directory = tempfile::tempdir().unwrap();
    let storage = [1.0f64, 1e300].map(f64::to_le_bytes).concat();
    let path = pt_file(directory.path(), &tensor_pickle("DoubleStorage", 2, 0, &[2, 1], &[1, 1]), &storage);
    let error = pt::read_features(&path).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NonFinite { row: 1, column: 0 }), "{error}");
}

#[test]
fn faults_of_the_stack_are_told() {
    for (pickle, fault) in [
        (&b"."[..], "the stack is empty"),
        (b"N(0.", "the stack is empty"),
        (b"t.", "there is no mark on the stack"),
        (b"h\x05.", "a memo entry is used before it is set"),
        (b"q\x00.", "the stack is empty"),
        (b"NNs.", "the stack is empty"),
        (b"NNNs.", "keys are set on something other than a dict"),
        (b"}(Nu.", "a key has no value"),
        (b"NNa.", "items are added to something other than a list"),
        (b"NNb.", "state is set on something other than a dict"),
        (b"NNR.", "the arguments of a call are not a tuple"),
        (b"N)R.", "a call has arguments that torch.save does not write"),
        (b"NQ.", "a persistent id does not describe a storage"),
        (b"NN\x93.", "the name of a class or function is not a string"),
    ] {
        assert_eq!(pickle_fault(pickle), fault, "{}", pickle.escape_ascii());
    }
}

#[test]
fn metadata_that_change_what_a_tensor_is_are_refused_of_features_and_weights() {
    let tensor = tensor_pickle("FloatStorage", 6, 0, &[3, 2], &[2, 1]);
    // The last three bytes end the arguments, call, and end.
    let with = |metadata: &[u8]| [&tensor[..tensor.len() - 3], metadata, b"tR."].concat();
    let storage: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let directory = tempfile::tempdir().unwrap();
    for harmless in [&b"N"[..], b"}"] {
        let read = pt::read_features(&pt_file(directory.path(), &with(harmless), &storage)).unwrap();
        assert_eq!(read.as_slice(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    }
    let negated = with(b"}X\x03\0\0\0neg\x88s");
    assert!(pickle_fault(&negated).contains("(metadata: neg)"), "{}", pickle_fault(&negated));
    let entry = &negated[2..negated.len() - 1];
    let state = [b"\x80\x02}X\x01\0\0\0w", entry, b"s."].concat();
    let error = pt::read_state_dict(&pt_file(directory.path(), &state, &storage)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Pickle { fault, .. } if fault.contains("neg")), "{error}");
    assert_eq!(pickle_fault(&with(b"K\x01")), "the metadata of a tensor are not a dict");
}

#[test]
fn a_pickle_that_ends_early_is_refused() {
    for pickle in [
        &b""[..],
        b"N",
        b"X\xff\xff\xff\xffab",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
        b"J\0\0",
        b"\x8a\x09",
    ] {
        assert_eq!(
            pickle_fault(pickle),
            "the pickle ends in the middle of a value",
            "{}",
            pickle.escape_ascii()
        );
    }
    assert_eq!(pickle_fault(b"ctorch"), "a name has no end");
}

#[test]
fn an_instruction_that_torch_never_writes_is_refused() {
    assert_eq!(pickle_fault(b"\x80\x02\x81."), "instruction 0x81 is not one that torch.save uses");
    assert_eq!(pickle_fault(b"\x8a\x09\0\0\0\0\0\0\0\0\0."), "an integer is wider than 64 bits");
}

#[test]
fn names_reach_no_further_than_the_list() {
    for (pickle, name) in [
        (&b"cos\nsystem\n."[..], "os.system"),
        (b"cbuiltins\neval\n.", "builtins.eval"),
        (b"ctorch.serialization\nload\n.", "torch.serialization.load"),
        (b"ctorch\nload\n.", "torch.load"),
        (b"\x8c\x08builtins\x8c\x04exec\x93.", "builtins.exec"),
    ] {
        let error = refused_pickle(pickle);
        assert!(matches!(error.kind(), ErrorKind::Global { name: found } if found == name), "{error}");
    }
}

#[test]
fn deep_nesting_and_cycles_do_no_harm() {
    let mut deep = b"N".to_vec();
    deep.extend([0x85; 200_000]);
    deep.push(b'.');
    assert!(
        matches!(refused_pickle(&deep).kind(), ErrorKind::Content { found, .. } if found == "a tuple of 1 items")
    );
    // A list that holds itself.
    let error = refused_pickle(b"]q\x00h\x00a.");
    assert!(
        matches!(error.kind(), ErrorKind::Content { found, .. } if found == "a list of 1 items"),
        "{error}"
    );
}

#[test]
fn many_names_of_one_storage_do_not_multiply_it() {
    // A thousand entries that all show the same megabyte: a gigabyte if they were believed.
    let tensor = tensor_pickle("FloatStorage", 1 << 18, 0, &[1 << 18], &[1]);
    let body = &tensor[2..tensor.len() - 1];
    let mut pickle = b"\x80\x02}(X\x05\0\0\0firsT".to_vec();
    pickle.extend(body);
    pickle.extend(b"q\x00");
    for i in 0..1000 {
        pickle.extend(b"X\x04\0\0\0");
        pickle.extend(format!("{i:04}").as_bytes());
        pickle.extend(b"h\x00");
    }
    pickle.extend(b"u.");
    let directory = tempfile::tempdir().unwrap();
    let error = pt::read_state_dict(&pt_file(directory.path(), &pickle, &vec![0; 1 << 20])).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Limit { .. }), "{error}");
}

#[test]
fn a_name_given_twice_is_refused() {
    let tensor = tensor_pickle("FloatStorage", 1, 0, &[1], &[1]);
    let body = &tensor[2..tensor.len() - 1];
    let entry = [b"X\x01\0\0\0a", body].concat();
    let pickle = [b"\x80\x02}(", &entry[..], &entry, b"u."].concat();
    let directory = tempfile::tempdir().unwrap();
    let error = pt::read_state_dict(&pt_file(directory.path(), &pickle, &[0; 4])).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Content { found, .. } if found == "two entries `a`"),
        "{error}"
    );
}

#[test]
fn writing_into_a_missing_directory_names_the_file() {
    let features = wsi_bags::FeatureMatrix::new(vec![1.0], 1, 1).unwrap();
    let path = Path::new("no/such/directory/slide.pt");
    let error = pt::write_features(path, &features).unwrap_err();
    assert_eq!(error.to_string(), "no/such/directory/slide.pt: cannot create the file");
}
