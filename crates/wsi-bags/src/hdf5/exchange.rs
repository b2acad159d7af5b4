//! What one backend writes, each backend reads.

use std::path::Path;

use super::backend::Attribute;
use super::reader::Reader;
use super::writer::{Rows, Writer};
use super::{BACKENDS, Backend, Values};

const FLOATS: [f32; 6] = [0.5, -1.0, 2.25, 1e30, -0.0, 3.0];

/// What 16 bits hold.
const HALVES: [f32; 6] = [0.5, -1.0, 2.25, 65_504.0, -0.0, 5.960_464_5e-8];

fn write(backend: Backend, path: &Path) {
    let writer = Writer::create_with(backend, path).unwrap();
    let root = writer.root();
    root.set_text("producer", "grün").unwrap();
    root.set_float("mpp", 0.2525).unwrap();
    let group = root.create_group("x20").unwrap();
    group.set_whole("patch_size_level0", 512).unwrap();
    group.write("coords", [3, 2], Values::I64(&[0, 1, -2, 3, 4, i64::MAX]), Rows::Contiguous).unwrap();
    group.write("coords32", [3, 2], Values::I32(&[0, 1, -2, 3, 4, 5]), Rows::Chunked(2)).unwrap();
    group.write_list("parent", Values::I64(&[-1, 0, 7])).unwrap();
    group.write_list("tissue", Values::U8(&[0, 255, 7])).unwrap();
    let features = group.create_group("features").unwrap();
    features.write("uni", [3, 2], Values::F32(&FLOATS), Rows::Contiguous).unwrap();
    features.write("grown", [3, 2], Values::F32(&FLOATS), Rows::Chunked(32)).unwrap();
    features.write("half", [3, 2], Values::F16(&HALVES), Rows::Contiguous).unwrap();
    features.write("grown_half", [3, 2], Values::F16(&HALVES), Rows::Chunked(2)).unwrap();
    features.group("uni").set_text("encoder", "UNI").unwrap();
    writer.finish().unwrap();
}

fn check(backend: Backend, path: &Path) {
    let reader = Reader::open_with(backend, path).unwrap();
    let attribute = |place: &str, name: &str| reader.source.attribute(place, name).unwrap();
    assert_eq!(attribute("", "producer"), Some(Attribute::Text("grün".to_owned())));
    assert_eq!(attribute("", "mpp"), Some(Attribute::Number(0.2525)));
    assert_eq!(attribute("x20", "patch_size_level0"), Some(Attribute::Number(512.0)));
    assert_eq!(attribute("x20/features/uni", "encoder"), Some(Attribute::Text("UNI".to_owned())));
    assert_eq!(attribute("x20", "absent"), None);
    let group = reader.group("x20").unwrap().unwrap();
    assert_eq!(group.datasets().unwrap(), ["coords", "coords32", "parent", "tissue"]);
    assert_eq!(group.groups().unwrap(), ["features"]);
    assert_eq!(group.integer_rows::<2>("coords").unwrap(), [[0, 1], [-2, 3], [4, i64::MAX]]);
    assert_eq!(group.integer_rows::<2>("coords32").unwrap(), [[0, 1], [-2, 3], [4, 5]]);
    assert_eq!(group.integer_list("parent").unwrap(), [-1, 0, 7]);
    assert_eq!(group.integer_list("tissue").unwrap(), [0, 255, 7]);
    let features = group.group("features").unwrap().unwrap();
    for (name, in_place) in [("uni", true), ("grown", false)] {
        let matrix = features.features(&features.float_matrix(name).unwrap()).unwrap();
        assert_eq!(matrix.as_slice(), FLOATS, "{name}");
        assert_eq!(matrix.is_mapped(), in_place, "{name}");
    }
    for name in ["half", "grown_half"] {
        let header = features.float_matrix(name).unwrap();
        assert_eq!(header.element, crate::element_type::ElementType::F16, "{name}");
        assert_eq!(features.features(&header).unwrap().as_slice(), HALVES, "{name}");
    }
}

#[test]
fn each_reads_what_the_other_wrote() {
    let directory = tempfile::tempdir().unwrap();
    for writer in BACKENDS {
        let path = directory.path().join(format!("{writer:?}.h5"));
        write(writer, &path);
        for reader in BACKENDS {
            check(reader, &path);
        }
    }
}

#[test]
fn equal_content_gives_equal_bytes() {
    let directory = tempfile::tempdir().unwrap();
    for backend in BACKENDS {
        let paths = ["a.h5", "b.h5"].map(|name| directory.path().join(name));
        paths.iter().for_each(|path| write(backend, path));
        let [first, second] = paths.map(|path| std::fs::read(path).unwrap());
        assert!(first == second, "{backend:?}");
    }
}

#[test]
fn a_locked_file_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("locked.h5");
    write(Backend::Pure, &path);
    let held = std::fs::File::open(&path).unwrap();
    held.lock().unwrap();
    for backend in BACKENDS {
        check(backend, &path);
    }
}

/// Every write to `/dev/full` fails as on a full disk.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_as_the_systems_error() {
    for backend in BACKENDS {
        let write = || {
            let writer = Writer::create_with(backend, Path::new("/dev/full"))?;
            let features = vec![0.5; 1 << 20];
            writer.root().write("features", [1 << 10; 2], Values::F32(&features), Rows::Contiguous)?;
            writer.finish()
        };
        let error = write().unwrap_err();
        let source = std::error::Error::source(&error).unwrap().downcast_ref::<std::io::Error>();
        let kind = source.map(std::io::Error::kind);
        assert_eq!(kind, Some(std::io::ErrorKind::StorageFull), "{backend:?} {error}: {error:?}");
    }
}

#[test]
fn what_is_not_the_systems_error_stays_the_librarys() {
    for text in ["dataset '(os error 28)' not found", "errno = x, error message = ''", "(os error )", ")"] {
        let error = super::failed("read", text);
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), text);
    }
}

#[test]
fn a_matrix_that_its_shape_does_not_fit_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    for backend in BACKENDS {
        let writer = Writer::create_with(backend, &directory.path().join("short.h5")).unwrap();
        let written = writer.root().write("m", [3, 2], Values::F32(&[0.0; 5]), Rows::Contiguous);
        assert!(written.is_err(), "{backend:?}");
    }
}
