//! A batch of slides as the user sees it: progress on stderr, a table of what became of each on stdout.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use cf_cli::{Log, LogFormat, aligned};
use serde::Serialize;
use wsi_features::{Event, Outcome, SlideScale, SlideStatus, differing_spans};

use crate::error::CliError;
use crate::output::{Spans, print, print_json};

#[derive(Serialize)]
struct Row<'a> {
    slide: &'a str,
    status: &'static str,
    reason: Option<&'a str>,
    /// Patches at 5x, 10x and 20x, of slides that were done.
    patches: Option<[usize; 3]>,
    unreadable_patches: Option<usize>,
    magnification: Option<f64>,
    rule: Option<&'a str>,
    /// Micrometres per level-0 pixel, and those that a patch spans; null where `run` does not know them.
    mpp: Option<f64>,
    patch_um: Option<Spans>,
    warnings: &'a [String],
    seconds: Option<f64>,
}

/// Set by SIGINT, SIGTERM or SIGUSR1, by which a batch ends without leaving anything half done.
pub(crate) fn stop_at_signals() -> Result<Arc<AtomicBool>, CliError> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT, signal_hook::consts::SIGUSR1] {
        // Who asks twice does not wait for what is under way.
        signal_hook::flag::register_conditional_shutdown(signal, 75, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(CliError::Signals)?;
    }
    Ok(stop)
}

/// Runs a batch and prints its table, as text or JSON; an error if any slide failed.
pub(crate) fn follow(
    log: Log,
    json: bool,
    batch: impl FnOnce(&dyn Fn(Event<'_>)) -> wsi_features::Result<Vec<SlideStatus>>,
) -> Result<(), CliError> {
    let (begun, n_patches) = (Instant::now(), Cell::new(0));
    let statuses = batch(&|event| {
        if let Event::Patches(n) = event {
            n_patches.set(n_patches.get() + n);
        }
        tell(log, &event);
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    let rate = n_patches.get() as f64 / seconds.max(1e-9);
    log.remark(&format!(
        "{} slides, {} patches in {seconds:.1} s: {rate:.1} patches/s",
        statuses.len(),
        n_patches.get()
    ));
    if json {
        print_json(&statuses.iter().map(row).collect::<Vec<_>>())?;
    } else {
        print(&text(&statuses))?;
    }
    let scales = statuses.iter().filter_map(|status| Some((status.slide.as_str(), status.scale.as_ref()?)));
    warn_of_spans(log, scales);
    CliError::unless_none(
        statuses.iter().filter(|status| matches!(status.outcome, Outcome::Failed(_))).count(),
    )
}

/// Says what goes on.
pub(crate) fn tell(log: Log, event: &Event<'_>) {
    match (event, log.format) {
        (Event::Patches(_), _) => {}
        (Event::Warning(text), _) => log.warn(text),
        (Event::Begun(slide, number, count), LogFormat::Text) => {
            log.remark(&format!("[{number}/{count}] {slide}"));
        }
        (Event::Begun(slide, number, count), LogFormat::Json) => {
            tracing::info!(slide, number, count, "begun");
        }
        (Event::Finished(status), LogFormat::Text) => log.remark(&format!("  {}", told(status))),
        (Event::Finished(status), LogFormat::Json) => record(status),
    }
}

/// Says where patches of the slides span other sizes.
pub(crate) fn warn_of_spans<'a>(log: Log, scales: impl Iterator<Item = (&'a str, &'a SlideScale)>) {
    if let Some(differ) = differing_spans(scales) {
        log.warn(&differ);
    }
}

/// What became of a slide, for people.
fn told(status: &SlideStatus) -> String {
    match &status.outcome {
        Outcome::Done(done) => {
            let n: usize = done.n_patches.iter().sum();
            let rate = n as f64 / done.seconds.max(1e-9);
            let warnings = done.warnings.iter().map(|warning| format!("\n  warning: {warning}"));
            format!("done: {n} patches, {rate:.1} patches/s{}", warnings.collect::<String>())
        }
        Outcome::Present => "present".to_owned(),
        Outcome::Failed(reason) => format!("failed: {reason}"),
    }
}

/// What became of a slide, for programs.
fn record(status: &SlideStatus) {
    let slide = status.slide.as_str();
    match &status.outcome {
        Outcome::Done(done) => {
            let [x5, x10, x20] = done.n_patches;
            for warning in &done.warnings {
                tracing::warn!(slide, "{warning}");
            }
            tracing::info!(slide, x5, x10, x20, seconds = done.seconds, "done");
        }
        Outcome::Present => tracing::info!(slide, "present"),
        Outcome::Failed(reason) => tracing::error!(slide, reason, "failed"),
    }
}

fn row(status: &SlideStatus) -> Row<'_> {
    let (done, reason) = match &status.outcome {
        Outcome::Done(done) => (Some(done), None),
        Outcome::Present => (None, None),
        Outcome::Failed(reason) => (None, Some(reason.as_str())),
    };
    Row {
        slide: &status.slide,
        status: status.outcome.label(),
        reason,
        patches: done.map(|done| done.n_patches),
        unreadable_patches: done.map(|done| done.n_unreadable),
        magnification: done.and_then(|done| done.base),
        rule: done.map(|done| done.rule.as_str()),
        mpp: status.scale.as_ref().and_then(|scale| scale.resolution.mpp),
        patch_um: status.scale.as_ref().and_then(Spans::of),
        warnings: done.map_or(&[], |done| &done.warnings),
        seconds: done.map(|done| done.seconds),
    }
}

fn text(statuses: &[SlideStatus]) -> String {
    let mut table = vec![["slide", "status", "x5", "x10", "x20", "reason"].map(str::to_owned).to_vec()];
    for status in statuses {
        let mut cells = vec![status.slide.clone(), status.outcome.label().to_owned()];
        match &status.outcome {
            Outcome::Done(done) => cells.extend(done.n_patches.iter().map(ToString::to_string)),
            Outcome::Present | Outcome::Failed(_) => cells.extend(["", "", ""].map(str::to_owned)),
        }
        if let Outcome::Failed(reason) = &status.outcome {
            cells.push(reason.clone());
        }
        table.push(cells);
    }
    aligned(&table)
}
