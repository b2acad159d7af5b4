//! The machine that a measurement is of.

use std::fmt;

/// What the system tells of the processor.
pub(super) struct Host {
    cpuinfo: String,
}

impl Host {
    pub(super) fn read() -> Self {
        Self { cpuinfo: std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default() }
    }

    /// The first core's value under `name`.
    fn field(&self, name: &str) -> &str {
        let mut lines = self.cpuinfo.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.trim() == name).map_or("?", |(_, value)| value.trim())
    }

    /// Who made it, such as `Intel`; the architecture where the system does not tell.
    pub(super) fn vendor(&self) -> &str {
        match self.field("vendor_id") {
            "AuthenticAMD" => "AMD",
            "GenuineIntel" => "Intel",
            _ => std::env::consts::ARCH,
        }
    }

    /// [`Self::vendor`] in the name of a file.
    pub(super) fn file_part(&self) -> String {
        self.vendor().to_lowercase()
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let wide = if self.field("flags").contains("avx512f") { "AVX-512" } else { "no AVX-512" };
        let [model_name, family, model] = ["model name", "cpu family", "model"].map(|name| self.field(name));
        let system = std::env::consts::OS;
        write!(f, "{cores} cores, {model_name} (family {family}, model {model}), {wide}, {system}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_by_the_first_core_and_its_file_by_the_vendor() {
        let core = "vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx512f\n";
        let host = Host { cpuinfo: format!("{core}\n{}", core.replace("17", "18")) };
        assert_eq!((host.vendor(), host.file_part().as_str()), ("AMD", "amd"));
        assert!(host.to_string().contains("AMD EPYC (family 25, model 17), AVX-512"), "{host}");
        let unknown = Host { cpuinfo: String::new() };
        assert_eq!(unknown.vendor(), std::env::consts::ARCH);
        assert!(unknown.to_string().contains("? (family ?, model ?), no AVX-512"), "{unknown}");
    }
}
