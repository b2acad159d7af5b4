//! `cargo xtask cuda-kernels`: every CUDA kernel compiled, and what the compiler gave it held against a budget. Needs no GPU.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::cuda_toolkit::{self, Parts, Version};
use crate::demo::fresh_folder;
use crate::failure::Failure;
use crate::files::entries;
use crate::step::Step;

/// Where they are.
pub(crate) const FOLDER: &str = "crates/cf-layers/src/kernels/cuda";
/// As the crate's build script compiles them.
const FLAGS: [&str; 4] = ["-cubin", "-O3", "-std=c++17", "-Xptxas=-v"];
/// The chips that get machine code, and how nvcc is told.
const CHIPS: [(&str, &str); 2] =
    [("sm_80", "arch=compute_80,code=sm_80"), ("sm_90a", "arch=compute_90a,code=sm_90a")];

/// What a kernel may use: all registers that a thread can have, and no memory in their place.
const BUDGET: Budget = Budget { registers: 255, spilled_bytes: 0 };
/// Kernels that may spill on either chip: how many bytes, and why.
const EXCEPTIONS: &[(&str, u32, &str)] = &[
    ("attention_128", 80, "the sums of a tile of queries over 128 channels take all registers"),
    ("attention_backward_128", 96, "the sums of a tile of keys over 128 channels take all registers"),
    (
        "attention_f32_backward_keys_128",
        24,
        "the assembler stops at 128 registers, where two blocks fit a multiprocessor",
    ),
    (
        "attention_f32_backward_keys_128_small",
        48,
        "the assembler stops at 128 registers, on Hopper, which takes the larger tiles",
    ),
    (
        "attention_f32_backward_keys_32",
        96,
        "the assembler stops at 64 or 80 registers, where more blocks fit",
    ),
    ("layer_norm_backward_64", 4096, WIDE_ROWS),
    ("layer_norm_backward_64_bf16", 4096, WIDE_ROWS),
];
const WIDE_ROWS: &str =
    "a row of 1,025 to 2,048 channels is more than a warp's registers hold; no model has one by default";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Budget {
    registers: u32,
    /// Stored and loaded.
    spilled_bytes: u32,
}

/// What the assembler says of one kernel on one chip.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Usage {
    file: String,
    kernel: String,
    chip: String,
    registers: u32,
    spilled_bytes: u32,
    /// Each product of tensor cores waits for the one before, since the assembler could not let them run beside other work: a kernel
    /// that counts on that is at half its speed.
    serialised: bool,
}

impl Usage {
    fn exception(&self) -> Option<&'static (&'static str, u32, &'static str)> {
        EXCEPTIONS.iter().find(|(kernel, ..)| self.kernel == *kernel)
    }

    fn budget(&self) -> Budget {
        self.exception().map_or(BUDGET, |&(_, spilled_bytes, _)| Budget { spilled_bytes, ..BUDGET })
    }

    fn is_over(&self) -> bool {
        let budget = self.budget();
        self.serialised || self.registers > budget.registers || self.spilled_bytes > budget.spilled_bytes
    }

    fn line(&self) -> String {
        let Self { file, kernel, chip, registers, spilled_bytes, serialised } = self;
        let reason = self.exception().map_or_else(String::new, |(_, _, reason)| format!(" ({reason})"));
        let waits = if *serialised { ", products one after the other" } else { "" };
        format!(
            "{file:16} {kernel:37} {chip:7} {registers:3} registers, {spilled_bytes} bytes spilled{reason}{waits}"
        )
    }
}

/// Compiles, prints a line per kernel and chip, and fails where one is over its budget; says why it skips where no compiler can be had.
pub(crate) fn run(root: &Path) -> Result<(), Failure> {
    if let Some(reason) = cuda_toolkit::unreachable(root)? {
        println!("skipped: {reason}");
        return Ok(());
    }
    let toolkit = cuda_toolkit::provide(root, Parts::Compiler)?;
    let nvcc = toolkit.nvcc();
    let sources = sources(root)?;
    let out = fresh_folder(root, "cuda-kernels")?;
    let jobs: Vec<_> = sources.iter().flat_map(|source| CHIPS.map(|chip| (source, chip))).collect();
    let waiting = Mutex::new(jobs.into_iter());
    let done = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let next = || waiting.lock().ok()?.next();
                while let Some((source, chip)) = next() {
                    let compiled = compile(root, &nvcc, source, chip, &out);
                    if let Ok(mut done) = done.lock() {
                        done.push(compiled);
                    }
                }
            });
        }
    });
    let compiled = done.into_inner().map_err(|_| Failure::new("a compiling thread panicked"))?;
    let mut usages: Vec<Usage> = compiled.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    usages.sort();
    for usage in &usages {
        println!("{}", usage.line());
    }
    let known = |kernel: &str| usages.iter().any(|usage| usage.kernel == kernel);
    if let Some((kernel, ..)) = EXCEPTIONS.iter().find(|(kernel, ..)| !known(kernel)) {
        return Err(Failure::new(format!(
            "`{kernel}`, an exception in xtask/src/cuda_kernels.rs, is no kernel"
        )));
    }
    judge(&usages, toolkit.version)
}

fn judge(usages: &[Usage], compiler: Version) -> Result<(), Failure> {
    let over: Vec<String> = usages
        .iter()
        .filter(|usage| usage.is_over())
        .map(|usage| {
            let Budget { registers, spilled_bytes } = usage.budget();
            format!("{}; at most {registers} registers, {spilled_bytes} bytes", usage.line())
        })
        .collect();
    if over.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "over the budget of xtask/src/cuda_kernels.rs, which is for nvcc 13.0; this is {compiler}:\n{}",
        over.join("\n")
    )))
}

/// The files with kernels, in order.
fn sources(root: &Path) -> Result<Vec<PathBuf>, Failure> {
    let folder = root.join(FOLDER);
    let mut sources = entries(&folder)?;
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "cu"));
    if sources.is_empty() {
        return Err(Failure::new(format!("{FOLDER} holds no file `*.cu`")));
    }
    Ok(sources)
}

fn compile(
    root: &Path,
    nvcc: &Path,
    source: &Path,
    (chip, target): (&str, &str),
    out: &Path,
) -> Result<Vec<Usage>, Failure> {
    let name = source.file_stem().unwrap_or_default().display().to_string();
    let [cubin, log] = ["cubin", "log"].map(|kind| out.join(format!("{name}.{chip}.{kind}")));
    let (cubin, file) = (cubin.display().to_string(), source.display().to_string());
    let args = [&FLAGS[..], &["-gencode", target, "-o", &cubin, &file]].concat();
    Step::new(root, nvcc, &args).run_logged(&log)?;
    let said = std::fs::read_to_string(&log).map_err(|error| Failure::io("read", &log, &error))?;
    let usages = usages(&name, &said);
    if usages.is_empty() {
        return Err(Failure::new(format!("{} says nothing of a kernel of {chip}", log.display())));
    }
    Ok(usages)
}

/// Reads the assembler's report: whose products it serialised, then of each kernel its name, its spills, its registers.
fn usages(file: &str, said: &str) -> Vec<Usage> {
    let serialised: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("wgmma.mma_async instructions are serialized"))
        .filter_map(|line| line.rsplit('\'').nth(1))
        .collect();
    let mut found = Vec::new();
    let (mut kernel, mut spilled_bytes) = (None, 0);
    for line in said.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            let mut quoted = rest.split('\'');
            kernel = quoted.next().zip(quoted.nth(1));
            spilled_bytes = 0;
        } else if line.contains("bytes spill stores") {
            // Of the kernel, or of a function that it calls.
            spilled_bytes += ["bytes spill stores", "bytes spill loads"]
                .iter()
                .filter_map(|what| before(line, what))
                .sum::<u32>();
        } else if let (Some((name, chip)), Some(registers)) = (kernel, before(line, "registers")) {
            found.push(Usage {
                file: file.to_owned(),
                kernel: name.to_owned(),
                chip: chip.to_owned(),
                registers,
                spilled_bytes,
                serialised: serialised.contains(&name),
            });
            kernel = None;
        }
    }
    found
}

/// The number right before `what`.
fn before(line: &str, what: &str) -> Option<u32> {
    let (head, _) = line.split_once(what)?;
    head.split_whitespace().next_back()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPILER: Version = Version { major: 13, minor: 0 };
    const SAID: &str = "\
ptxas info    : 0 bytes gmem
ptxas info    : (C7512) Potential Performance Loss: wgmma.mma_async instructions are serialized due to insufficient register resources for the function 'pooling'
ptxas info    : Compiling entry function 'attention_256' for 'sm_90a'
ptxas info    : Function properties for attention_256
    8 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 255 registers, used 3 barriers, 8 bytes cumulative stack size
ptxas info    : Compile time = 45.1 ms
ptxas info    : Compiling entry function 'adam' for 'sm_90a'
ptxas info    : Function properties for adam
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, used 0 barriers
ptxas info    : Compiling entry function 'pooling' for 'sm_90a'
ptxas info    : Function properties for pooling
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 168 registers, used 1 barriers
";

    #[test]
    fn registers_and_spills_are_read_of_each_kernel() {
        let found: Vec<_> = usages("a", SAID)
            .into_iter()
            .map(|usage| (usage.kernel, usage.registers, usage.spilled_bytes))
            .collect();
        let wanted = [("attention_256", 255, 28), ("adam", 40, 0), ("pooling", 168, 0)];
        assert_eq!(found, wanted.map(|(kernel, registers, spilled)| (kernel.to_owned(), registers, spilled)));
    }

    #[test]
    fn kernels_that_spill_or_whose_products_wait_are_named_and_no_others() {
        let usages = usages("a", SAID);
        let failure = judge(&usages, COMPILER).unwrap_err().to_string();
        assert!(failure.contains("attention_256") && failure.contains("28 bytes spilled"), "{failure}");
        let pooling = failure.lines().find(|line| line.contains("pooling")).unwrap();
        assert!(pooling.contains("products one after the other"), "{failure}");
        assert!(!failure.contains("adam"), "{failure}");
        assert!(judge(&usages[1..2], COMPILER).is_ok());
    }
}
