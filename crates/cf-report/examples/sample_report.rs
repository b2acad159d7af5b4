//! Writes the report of a made-up run, with its figures as SVG and PNG: `sample_report DIR [patients folds epochs]`.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

#[path = "../tests/sample/mod.rs"]
mod sample;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let directory =
        PathBuf::from(arguments.next().ok_or("usage: sample_report DIR [patients folds epochs]")?);
    let sizes = arguments.map(|n| n.parse()).collect::<Result<Vec<usize>, _>>()?;
    let (n_patients, n_folds, n_epochs) = match sizes.as_slice() {
        [] => (380, 5, 40),
        [n_patients, n_folds, n_epochs] => (*n_patients, *n_folds, *n_epochs),
        _ => return Err("give patients, folds and epochs, or none of them".into()),
    };
    let report = sample::report(n_patients, n_folds, n_epochs);
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("report.html"), cf_report::render_html(&report)?)?;
    for figure in cf_report::figures(&report)? {
        fs::write(directory.join(figure.name).with_extension("svg"), &figure.svg)?;
        fs::write(
            directory.join(figure.name).with_extension("png"),
            cf_report::svg_to_png(&figure.svg, 2.0)?,
        )?;
    }
    fs::write(directory.join("c-index.txt"), cf_report::c_index_table(&report))?;
    Ok(())
}
