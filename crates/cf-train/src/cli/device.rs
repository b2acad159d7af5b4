//! The device that `--device` names, chosen once.

use candle_core::Device;

/// Parses `cpu`; another device needs another build.
pub(super) fn parse(text: &str) -> Result<String, String> {
    match text {
        "cpu" => Ok(text.to_owned()),
        _ => Err(format!("this program was built for the CPU only, expected `cpu`, found `{text}`")),
    }
}

/// The device of a parsed name.
pub(super) fn open(_: &str) -> Device {
    Device::Cpu
}
