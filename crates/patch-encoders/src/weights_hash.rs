//! The hash by which bags tell weights apart.

use std::collections::BTreeMap;
use std::fmt::Write;

use sha2::{Digest, Sha256};

/// SHA-256 of weights as an encoder uses them, whatever file they lie in.
///
/// It is that of a text with a line for each parameter, sorted by name: the name as published, the shape, and the SHA-256 of the
/// values as little-endian 32-bit floats, row by row, such as `norm.weight [768] 0a1b..`. Where a setting belongs to the
/// weights, a line with its name and value comes last. So the hash does not change with the type in the file, a prefix of its
/// names, or what it holds besides.
#[derive(Debug, Default)]
pub(crate) struct WeightsHash {
    lines: BTreeMap<String, String>,
}

impl WeightsHash {
    /// Adds a parameter.
    pub(crate) fn add(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        // Blocks that stay in the cache.
        const BLOCK: usize = 4096;
        let mut hash = Sha256::new();
        let mut bytes = Vec::with_capacity(BLOCK * size_of::<f32>());
        for values in values.chunks(BLOCK) {
            bytes.clear();
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            hash.update(&bytes);
        }
        self.lines.insert(name.to_owned(), format!("{name} {shape:?} {}\n", hex(hash)));
    }

    /// The hash, hexadecimal, of all that was added and of a setting and its value.
    pub(crate) fn finish(self, setting: Option<[&str; 2]>) -> String {
        let mut text: String = self.lines.into_values().collect();
        if let Some([name, value]) = setting {
            text.push_str(&format!("{name} {value}\n"));
        }
        hex(Sha256::new().chain_update(text))
    }
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        // A string takes whatever is written to it.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ```python
    /// import hashlib, struct
    /// sha = lambda b: hashlib.sha256(b).hexdigest()
    /// def line(name, shape, values):
    ///     return f"{name} {shape} {sha(struct.pack(f'<{len(values)}f', *values))}\n"
    /// text = line("a.bias", [3], [0.5, -1.0, 3.0]) + line("b.weight", [2, 5000], [i / 8 for i in range(10000)])
    /// print(sha(text.encode()), sha((text + "hidden_act gelu\n").encode()))
    /// ```
    #[test]
    fn the_hash_is_that_of_its_description() {
        let hash = |setting| {
            let mut hash = WeightsHash::default();
            let values: Vec<f32> = (0..10_000).map(|i| i as f32 / 8.0).collect();
            hash.add("b.weight", &[2, 5000], &values);
            hash.add("a.bias", &[3], &[0.5, -1.0, 3.0]);
            hash.finish(setting)
        };
        assert_eq!(hash(None), "9dba9cf571a17af462d922bdce5d2152867e1317302c89bd4660c174b0caaf56");
        assert_eq!(
            hash(Some(["hidden_act", "gelu"])),
            "9e60412939daf601c7d60760479e5e3610d3f69a62871264b5c15ce616ee76bc"
        );
    }
}
