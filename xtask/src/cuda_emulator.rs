//! `cargo xtask cuda-emulate`: the tests that need a GPU, on a GPU that is not there.
//!
//! `xtask/cuda/emulator` is a CUDA driver whose launches run the kernels' own sources, compiled as C++, thread by thread, those of Hopper
//! where it says that it is one. What is left out is what only a chip has: threads that truly run at once, and speed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::cuda_kernels;
use crate::cuda_programs::{self, TESTED};
use crate::cuda_toolkit::driver_stub::{driver_functions, is_driver_function};
use crate::cuda_toolkit::{self, Parts};
use crate::demo::fresh_folder;
use crate::failure::Failure;
use crate::files::{entries, make_folder, write};
use crate::step::Step;

const EMULATOR: &str = "xtask/cuda/emulator";
/// One that is run only where it is asked for: whole runs take most of an hour.
const SLOW: &str = "cf-train";
/// A test whose attention has 270 million weights a head.
const TOO_LONG: &str = "long_sequences_in_evaluation";
/// A test whose sizes follow the number of multiprocessors: for few of them only.
const IN_ROUNDS: &str = "attention_in_rounds";
const FLAGS: [&str; 7] =
    ["-std=c++17", "-O2", "-fPIC", "-fno-semantic-interposition", "-w", "-include", "cuda_words.h"];
/// With few, blocks get so much work that loops over tiles use their memory again, which is where barriers are forgotten.
const MULTIPROCESSORS: &str = "CF_EMULATED_MULTIPROCESSORS";
/// Which GPU it is.
const GPU: &str = "CF_EMULATED_GPU";
/// Tests that reach the kernels for blocks with little shared memory.
const OF_ADA: &str = "attention";
/// Tests that reach the kernels of Hopper, which are those of attention; the last two through layers and a model.
const OF_HOPPER: [&str; 3] = ["attention", "layers", "crossfusion"];
/// For kernels: an address that is no multiple of what is read or written there ends the program, as it does on a GPU.
const ALIGNED: [&str; 2] = ["-fsanitize=alignment", "-fsanitize-undefined-trap-on-error"];
/// For kernels whose every access to memory is looked at; lines of theirs can be named.
const WATCHED: [&str; 3] = ["-DCF_RACES", "-fsanitize=thread", "-g"];

/// What to run.
#[derive(Debug, PartialEq, Eq)]
struct Options<'a> {
    packages: Vec<&'a str>,
    /// Look for races between threads, too.
    races: bool,
    /// For the test programs, such as the name of a test.
    args: Vec<&'a str>,
}

impl<'a> Options<'a> {
    fn parse(args: &'a [String]) -> Result<Self, Failure> {
        let mut options = Self { packages: Vec::new(), races: false, args: Vec::new() };
        let mut args = args.iter().map(String::as_str);
        while let Some(arg) = args.next() {
            match arg {
                "-p" => {
                    let package = args.next().filter(|package| TESTED.contains(package));
                    let known = || Failure::usage(format!("`-p` takes one of {}", TESTED.join(", ")));
                    let package = package.ok_or_else(known)?;
                    if !options.packages.contains(&package) {
                        options.packages.push(package);
                    }
                }
                "--races" => options.races = true,
                arg => options.args.push(arg),
            }
        }
        if options.packages.is_empty() {
            options.packages = TESTED.into_iter().filter(|&package| package != SLOW).collect();
        }
        Ok(options)
    }
}

/// Builds the test programs of the packages that `args` names with `-p`, or of all but the slow one, and the emulator, and runs them
/// with the other `args`.
pub(crate) fn run(root: &Path, args: &[String]) -> Result<(), Failure> {
    let Options { packages, races, args } = Options::parse(args)?;
    let toolkit = cuda_toolkit::provide(root, Parts::All)?;
    let programs = cuda_programs::tests(root, &toolkit, &packages)?;
    let libraries = libraries(root, &programs, races)?;
    println!(
        "programs with feature `cuda` run on it, too: LD_LIBRARY_PATH={} PROGRAM --device cuda:0\n\
         ({GPU}=hopper: with the kernels of Hopper; {GPU}=ada: with little shared memory; {GPU}=memory: nothing \
         is computed, and what tensors take is counted as on a GPU)",
        libraries.display()
    );
    let is_set = |variable: &&str| std::env::var_os(variable).is_some();
    let passes = if [MULTIPROCESSORS, GPU].iter().any(is_set) {
        vec![Pass { variables: vec![], args }]
    } else {
        passes(&packages, races, &args)
    };
    passes
        .iter()
        .try_for_each(|pass| programs.iter().try_for_each(|program| pass.run(root, program, &libraries)))
}

/// One time that the test programs are run.
#[derive(Debug, PartialEq, Eq)]
struct Pass<'a> {
    variables: Vec<(&'static str, &'static str)>,
    args: Vec<&'a str>,
}

impl Pass<'_> {
    fn run(&self, root: &Path, program: &Path, libraries: &Path) -> Result<(), Failure> {
        let args = [&["--test-threads", "1", "--skip", TOO_LONG], &self.args[..]].concat();
        let step = Step::new(root, program, &args).env("LD_LIBRARY_PATH", &libraries.display().to_string());
        self.variables.iter().fold(step, |step, (name, value)| step.env(name, value)).run()
    }
}

/// The tests that `args` name, or all: on a GPU for which there are no kernels but the common ones, on Hopper, and on one whose blocks have
/// little shared memory. Looking for races is for the common kernels and these, and Hopper for what is not slow.
fn passes<'a>(packages: &[&str], races: bool, args: &[&'a str]) -> Vec<Pass<'a>> {
    const FEW: (&str, &str) = (MULTIPROCESSORS, "2");
    const HOPPER: (&str, &str) = (GPU, "hopper");
    const ADA: (&str, &str) = (GPU, "ada");
    const REVERSE: (&str, &str) = ("CF_EMULATED_ORDER", "reverse");
    // Each of Hopper's kernels gets some tests whose tiles are more than it holds at a time.
    const ENOUGH_FOR_HOPPER: (&str, &str) = (MULTIPROCESSORS, "5");
    let of_ada =
        Pass { variables: vec![FEW, ADA], args: if args.is_empty() { vec![OF_ADA] } else { args.to_vec() } };
    if races {
        return vec![Pass { variables: vec![FEW], args: args.to_vec() }, of_ada];
    }
    let but_in_rounds = |args: &[&'a str]| [&["--skip", IN_ROUNDS], args].concat();
    let mut passes = vec![Pass { variables: vec![], args: but_in_rounds(args) }];
    if !packages.contains(&SLOW) {
        let (all, alone) = if args.is_empty() { (&OF_HOPPER[..], &OF_HOPPER[..1]) } else { (args, args) };
        passes.push(Pass { variables: vec![HOPPER, ENOUGH_FOR_HOPPER], args: but_in_rounds(all) });
        // Copies that come too early are seen in one order, products that do in the other.
        passes.push(Pass { variables: vec![HOPPER, ENOUGH_FOR_HOPPER, REVERSE], args: but_in_rounds(alone) });
        passes.push(of_ada);
    }
    if args.is_empty() || args.iter().any(|arg| IN_ROUNDS.contains(arg)) {
        passes.push(Pass { variables: vec![FEW], args: vec![IN_ROUNDS] });
        passes.push(Pass { variables: vec![FEW, HOPPER], args: vec![IN_ROUNDS] });
    }
    passes
}

/// A folder with the libraries that `programs` are linked to.
fn libraries(root: &Path, programs: &[PathBuf], races: bool) -> Result<PathBuf, Failure> {
    let out = fresh_folder(root, if races { "cuda-emulator-races" } else { "cuda-emulator" })?;
    let kernels = entries(&root.join(cuda_kernels::FOLDER))?;
    // The emulator's own files come last: they take the place of the kernels'.
    for source in kernels.iter().filter(|path| is_source(path)).chain(&entries(&root.join(EMULATOR))?) {
        let to = out.join(name_of(source));
        std::fs::copy(source, &to).map_err(|error| Failure::io("write", &to, &error))?;
    }
    let (mut sources, mut kernels) = (Vec::new(), Vec::new());
    for file in entries(&out)? {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("cc") => sources.push(name_of(&file)),
            Some("cu") => kernels.push(with_names(&out, &file)?),
            _ => {}
        }
    }
    let compile = |sources: &[String], flags: &[&str]| {
        let sources = sources.iter().map(String::as_str);
        let all: Vec<&str> =
            ["-c"].into_iter().chain(FLAGS).chain(flags.iter().copied()).chain(sources).collect();
        Step::new(&out, "g++", &all).run()
    };
    compile(&sources, if races { &["-DCF_RACES"] } else { &[] })?;
    compile(&kernels, if races { &WATCHED } else { &ALIGNED })?;
    sources.append(&mut kernels);

    let mut objects: Vec<String> = sources.iter().map(|source| source.replace(".cc", ".o")).collect();
    let has = symbols(&out, "--defined-only", &objects.iter().map(String::as_str).collect::<Vec<_>>())?;
    let mut wanted = of_all(programs, |program| functions(&out, program))?;
    // Other programs call other functions of the driver.
    wanted.extend(driver_functions(root)?);
    let stub = |name: &String| format!("int {name}(void) {{ return missing(\"{name}\"); }}\n");
    let stubs: String = wanted.difference(&has).map(stub).collect();
    write(&out.join("stubs.c"), &format!("int missing(const char *name);\n{stubs}"))?;
    Step::new(&out, "gcc", &["-c", "-fPIC", "-w", "stubs.c"]).run()?;
    objects.push("stubs.o".to_owned());
    let folder = out.join("lib");
    make_folder(&folder)?;
    link(&out, "libcuda.so.1", &objects, None)?;
    // The others need only be there: a function is looked for in all.
    for library in of_all(programs, |program| libraries_beside(&out, program))? {
        // The version of its functions is called as the library.
        write(&out.join("versions"), &format!("{library} {{}};\n"))?;
        link(&out, &library, &[], Some("-Wl,--version-script=versions"))?;
    }
    Ok(folder)
}

/// Whether a file of the kernels is in C++.
fn is_source(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "cu" || extension == "cuh")
}

/// Writes `NAME.cc`: a kernel file, and a line for each of its kernels by which a launch finds it.
fn with_names(out: &Path, file: &Path) -> Result<String, Failure> {
    let name = name_of(file);
    let mut preprocess: Vec<&str> = vec!["-E", "-P", "-x", "c++"];
    preprocess.extend(FLAGS);
    preprocess.push(&name);
    let text = Step::new(out, "g++", &preprocess).stdout()?;
    let lines: String = kernel_names(&text).into_iter().map(|kernel| format!("KERNEL({kernel})\n")).collect();
    let to = name.replace(".cu", ".cc");
    write(&out.join(&to), &format!("#include \"{name}\"\n#include \"launch.h\"\n{lines}"))?;
    Ok(to)
}

/// The functions that a preprocessed file declares `extern "C" void`.
fn kernel_names(text: &str) -> Vec<&str> {
    fn name(declaration: &str) -> Option<&str> {
        declaration.trim_start().strip_prefix("void")?.split_once('(')?.0.split_whitespace().last()
    }
    text.split("extern \"C\"").skip(1).filter_map(name).collect()
}

/// Names in the symbol tables of `files`.
fn symbols(out: &Path, which: &str, files: &[&str]) -> Result<BTreeSet<String>, Failure> {
    let table = Step::new(out, "nm", &[&[which], files].concat()).stdout()?;
    Ok(table.lines().filter_map(|line| line.split_whitespace().last()).map(str::to_owned).collect())
}

/// Functions of CUDA's that a program calls.
fn functions(out: &Path, program: &str) -> Result<BTreeSet<String>, Failure> {
    let all = symbols(out, "--undefined-only", &["-D", program])?;
    Ok(all.iter().filter_map(|symbol| cuda_function(symbol)).map(str::to_owned).collect())
}

/// CUDA's libraries that a program asks for, but for the driver's.
fn libraries_beside(out: &Path, program: &str) -> Result<BTreeSet<String>, Failure> {
    let table = Step::new(out, "readelf", &["-d", program]).stdout()?;
    let names = table.lines().filter_map(|line| line.split_once("Shared library: [")?.1.strip_suffix(']'));
    let of_cuda =
        |name: &&str| ["libcublas", "libcurand", "libcudart"].iter().any(|start| name.starts_with(start));
    Ok(names.filter(of_cuda).map(str::to_owned).collect())
}

/// A symbol without its version, if it is one of CUDA's.
fn cuda_function(symbol: &str) -> Option<&str> {
    let name = symbol.split('@').next()?;
    let starts = ["cublas", "curand", "cuda", "__cuda"];
    (starts.iter().any(|start| name.starts_with(start)) || is_driver_function(name)).then_some(name)
}

/// What `f` finds in all programs.
fn of_all(
    programs: &[PathBuf],
    f: impl Fn(&str) -> Result<BTreeSet<String>, Failure>,
) -> Result<BTreeSet<String>, Failure> {
    let found = programs.iter().map(|program| f(&program.display().to_string()));
    Ok(found.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

fn link(out: &Path, library: &str, objects: &[String], option: Option<&str>) -> Result<(), Failure> {
    let (name, to) = (format!("-Wl,-soname,{library}"), format!("lib/{library}"));
    let mut args: Vec<&str> = vec!["-shared", "-fPIC", "-Wl,-Bsymbolic-functions", &name, "-o", &to];
    args.extend(option);
    args.extend(objects.iter().map(String::as_str));
    Step::new(out, "g++", &args).run()
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_named_with_p_and_all_else_is_for_the_tests() {
        let parse = |line: &str| {
            let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            Options::parse(&args).map(|options| {
                assert_eq!(options.races, line.contains("--races"));
                [options.packages, options.args].map(|list| list.join(" "))
            })
        };
        assert_eq!(
            parse("attention --exact").unwrap(),
            ["cf-layers cf-model patch-encoders", "attention --exact"]
        );
        assert_eq!(
            parse("-p cf-train a_run --races -p cf-model -p cf-train").unwrap(),
            ["cf-train cf-model", "a_run"]
        );
        for line in ["-p", "-p cf-viewer"] {
            assert!(
                parse(line)
                    .unwrap_err()
                    .to_string()
                    .contains("cf-layers, cf-model, patch-encoders, cf-train")
            );
        }
    }

    #[test]
    fn hopper_gets_what_reaches_its_kernels() {
        let names = |packages: &[&str], races, args: &[&'static str]| {
            let all = passes(packages, races, args);
            let words = |pass: &Pass<'_>| {
                let variables = pass.variables.iter().map(|(_, value)| *value);
                variables.chain(pass.args.iter().copied()).collect::<Vec<_>>().join(" ")
            };
            all.iter().map(words).collect::<Vec<_>>()
        };
        assert_eq!(
            names(&["cf-layers"], false, &[]),
            [
                "--skip attention_in_rounds",
                "hopper 5 --skip attention_in_rounds attention layers crossfusion",
                "hopper 5 reverse --skip attention_in_rounds attention",
                "2 ada attention",
                "2 attention_in_rounds",
                "2 hopper attention_in_rounds"
            ]
        );
        assert_eq!(
            names(&["cf-layers"], false, &["linear"]),
            [
                "--skip attention_in_rounds linear",
                "hopper 5 --skip attention_in_rounds linear",
                "hopper 5 reverse --skip attention_in_rounds linear",
                "2 ada linear"
            ]
        );
        assert_eq!(names(&["cf-layers"], true, &["linear"]), ["2 linear", "2 ada linear"]);
        assert_eq!(names(&["cf-model", SLOW], false, &["a_run"]), ["--skip attention_in_rounds a_run"]);
    }

    #[test]
    fn kernels_are_found_by_their_declarations() {
        let text = "extern \"C\" void switch_stack(void **a);\n void f() {}\n\
                    extern \"C\"   void\n layer_norm_4(const float *x) {}\nextern \"C\" { int cuInit(unsigned); }";
        assert_eq!(kernel_names(text), ["switch_stack", "layer_norm_4"]);
    }

    #[test]
    fn only_what_cuda_has_is_stubbed() {
        assert_eq!(cuda_function("cublasCreate_v2@libcublas.so.13"), Some("cublasCreate_v2"));
        assert_eq!(
            ["cuInit", "__cudaRegisterVar"].map(cuda_function),
            [Some("cuInit"), Some("__cudaRegisterVar")]
        );
        assert_eq!(["curl_init", "custom", "malloc"].map(cuda_function), [None; 3]);
    }
}
