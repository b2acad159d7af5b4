//! What a run was made with: `environment.json`.

use serde::{Deserialize, Serialize};

use crate::input_hash::InputRecord;

/// Versions and machine of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Version of this program.
    pub cf_train: String,
    /// Version of the tensor library that it was built with.
    pub candle: String,
    /// Operating system and architecture.
    pub platform: String,
    /// Processor model.
    pub processor: String,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Worker threads.
    pub threads: usize,
    /// Seed of every random stream.
    pub seed: u64,
    /// Hashes of what was read; absent from runs of earlier versions.
    #[serde(default)]
    pub inputs: Vec<InputRecord>,
}

impl Environment {
    /// Reads what the machine says of itself.
    pub fn read(device: &str, seed: u64, inputs: Vec<InputRecord>) -> Self {
        Self {
            cf_train: env!("CARGO_PKG_VERSION").to_owned(),
            candle: "0.11.1".to_owned(),
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            processor: processor().unwrap_or_else(|| "unknown".to_owned()),
            device: device.to_owned(),
            threads: rayon::current_num_threads(),
            seed,
            inputs,
        }
    }

    /// Rows for people.
    pub fn rows(&self) -> Vec<(String, String)> {
        [
            ("cf-train", self.cf_train.clone()),
            ("candle", self.candle.clone()),
            ("platform", self.platform.clone()),
            ("processor", self.processor.clone()),
            ("device", self.device.clone()),
            ("threads", self.threads.to_string()),
            ("seed", self.seed.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }
}

fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The largest resident memory of this process so far, in bytes; 0 where the system does not tell.
pub fn peak_rss_bytes() -> u64 {
    let read = || {
        let text = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024)
    };
    read().unwrap_or(0)
}
