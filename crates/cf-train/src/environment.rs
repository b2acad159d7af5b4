//! What a run was made with: `environment.json`.

use candle_core::Device;
use cf_model::kernels::{
    self,
    device::{self, DeviceName},
};
use serde::{Deserialize, Serialize};

use crate::error::Result;
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
    /// The maker's name of a GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_name: Option<String>,
    /// Its driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_driver: Option<String>,
    /// Whether sums on it were made in a fixed order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deterministic: Option<bool>,
    /// Worker threads.
    pub threads: usize,
    /// Seed of every random stream.
    pub seed: u64,
    /// Hashes of what was read; absent from runs of earlier versions.
    #[serde(default)]
    pub inputs: Vec<InputRecord>,
}

impl Environment {
    /// Reads what the machine says of itself and of the device.
    ///
    /// # Errors
    /// If the device's driver fails.
    pub fn read((name, device): (DeviceName, &Device), seed: u64, inputs: Vec<InputRecord>) -> Result<Self> {
        let (device_name, device_driver) =
            device::description(device)?.map(|gpu| (gpu.name, gpu.driver)).unzip();
        Ok(Self {
            cf_train: env!("CARGO_PKG_VERSION").to_owned(),
            candle: "0.11.1".to_owned(),
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            processor: processor().unwrap_or_else(|| "unknown".to_owned()),
            device: name.to_string(),
            deterministic: device_name.as_ref().map(|_| kernels::deterministic()),
            device_name,
            device_driver,
            threads: rayon::current_num_threads(),
            seed,
            inputs,
        })
    }

    /// Rows for people.
    pub fn rows(&self) -> Vec<(String, String)> {
        let order = self.deterministic.map(|fixed| if fixed { "deterministic" } else { "not deterministic" });
        let device =
            [Some(self.device.as_str()), self.device_name.as_deref(), self.device_driver.as_deref(), order];
        let device: Vec<&str> = device.into_iter().flatten().collect();
        [
            ("cf-train", self.cf_train.clone()),
            ("candle", self.candle.clone()),
            ("platform", self.platform.clone()),
            ("processor", self.processor.clone()),
            ("device", device.join(", ")),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_is_told_by_name_and_the_cpu_has_none() {
        let cpu = Environment::read((DeviceName::Cpu, &Device::Cpu), 7, Vec::new()).unwrap();
        let json = serde_json::to_string(&cpu).unwrap();
        assert!(!json.contains("device_name") && !json.contains("deterministic"), "{json}");
        assert_eq!(serde_json::from_str::<Environment>(&json).unwrap(), cpu);
        let gpu = Environment {
            device: "cuda:1".to_owned(),
            device_name: Some("NVIDIA H200".to_owned()),
            device_driver: Some("580.65.06 (CUDA 13.0)".to_owned()),
            deterministic: Some(true),
            ..cpu.clone()
        };
        let device = |environment: &Environment| {
            environment.rows().into_iter().find(|(key, _)| key == "device").unwrap().1
        };
        assert_eq!(device(&cpu), "cpu");
        assert_eq!(device(&gpu), "cuda:1, NVIDIA H200, 580.65.06 (CUDA 13.0), deterministic");
    }
}
