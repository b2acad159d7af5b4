//! `--device`: what a command computes on.

use candle_core::Device;
use cf_model::kernels::device::DeviceName;
use cf_model::kernels::set_deterministic;

use super::Failure;

/// The argument, for every command that runs a model.
#[derive(Debug, clap::Args)]
pub(super) struct DeviceArgument {
    /// Device to compute on: the CPU, or an NVIDIA GPU by its number from 0.
    #[arg(long = "device", default_value_t, value_name = "cpu|cuda:N")]
    pub(super) name: DeviceName,
}

impl DeviceArgument {
    /// Opens it; a command does so once.
    pub(super) fn open(&self) -> Result<Device, Failure> {
        self.name.open().map_err(|error| Failure::Usage(error.to_string()))
    }
}

/// The arguments of commands that train, or test what was trained.
#[derive(Debug, clap::Args)]
pub(super) struct TrainingDeviceArguments {
    #[command(flatten)]
    device: DeviceArgument,
    /// On a GPU, add in a fixed order everywhere, which takes longer: runs repeat and resume to the same bytes, as they always do on
    /// the CPU.
    #[arg(long)]
    deterministic: bool,
}

impl TrainingDeviceArguments {
    /// Opens the device and sets the mode of this process.
    pub(super) fn open(&self) -> Result<(DeviceName, Device), Failure> {
        set_deterministic(self.deterministic);
        Ok((self.device.name, self.device.open()?))
    }
}
