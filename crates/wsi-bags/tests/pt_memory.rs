//! A pickle that names one long value many times does not copy it. One test to a process: it measures the process.
#![cfg(all(feature = "pt", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod craft;

use craft::pt_file;
use wsi_bags::{ErrorKind, pt};

/// Largest resident size of this process so far, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[test]
fn what_is_named_again_is_not_copied() {
    const KEY: usize = 1 << 18;
    const TIMES: usize = 4000;
    let mut pickle = b"\x80\x02((X\x07\0\0\0storagectorch\nFloatStorage\nX".to_vec();
    pickle.extend((KEY as u32).to_le_bytes());
    pickle.extend([b'k'; KEY]);
    pickle.extend(b"X\x03\0\0\0cpuK\x06tq\x00");
    // The id of the storage stays on the stack below its storages: 1 GiB of keys, if they were copied.
    pickle.extend(b"Q0h\x00".repeat(TIMES));
    // A tensor of 64 axes over the last one: 100 MiB of sizes, if they were copied.
    pickle.extend(b"QK\x00(");
    pickle.extend(b"K\x01".repeat(64));
    pickle.extend(b"tq\x01h\x01\x89}tq\x020ctorch._utils\n_rebuild_tensor_v2\nq\x030");
    pickle.extend(b"h\x03h\x02R0".repeat(25 * TIMES));
    pickle.extend(b"N.");
    let directory = tempfile::tempdir().unwrap();
    let path = pt_file(directory.path(), &pickle, &[0; 24]);
    let before = peak();
    let error = pt::read_features(&path).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Content { found, .. } if found == "None"), "{error}");
    let grown = peak() - before;
    assert!(grown < 32 << 20, "{} MiB for a pickle of {} KiB", grown >> 20, pickle.len() >> 10);
}
