//! Patches per second of an encoder on this machine: `throughput NAME [WEIGHTS] [BATCHES]`.
#![allow(clippy::print_stdout, reason = "a program")]

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use patch_encoders::{Encoder, EncoderName, RgbImage};

/// Patches of a batch.
const BATCH: usize = 16;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let name: EncoderName = arguments.next().ok_or("the name of an encoder is missing")?.parse()?;
    let weights = if name.needs_weights() { arguments.next().map(PathBuf::from) } else { None };
    let n_batches: usize = arguments.next().map_or(Ok(3), |text| text.parse())?;

    let encoder = Encoder::open(name, weights.as_deref())?;
    let side = encoder.patch_side();
    let sample = |patch: usize, i: usize| (i * (patch + 3) + (i >> 9) * 7) as u8;
    let patches: Vec<RgbImage> = (0..BATCH)
        .map(|patch| RgbImage::new(side, side, (0..side * side * 3).map(|i| sample(patch, i)).collect()))
        .collect::<Result<_, _>>()?;
    // The first batch touches memory and starts threads.
    encoder.encode(&patches)?;
    let mut fastest = f64::INFINITY;
    for _ in 0..n_batches {
        let begun = Instant::now();
        encoder.encode(&patches)?;
        fastest = fastest.min(begun.elapsed().as_secs_f64());
    }
    println!(
        "{name}: {:.2} patches per second, fastest of {n_batches} batches of {BATCH}",
        BATCH as f64 / fastest
    );
    Ok(())
}
