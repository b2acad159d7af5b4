//! Chroma to full size by libjpeg's triangle filter, and colours by its tables.

use pulp::{Arch, Simd, WithSimd};

use crate::jpeg::header::Frame;
use crate::jpeg::{Colours, Plane};

/// RGB pixels, row by row.
pub(super) fn to_rgb(frame: &Frame, planes: &[Plane], colours: Colours) -> Vec<u8> {
    let (width, height) = (frame.width as usize, frame.height as usize);
    let mut rgb = vec![0; width * height * 3];
    let mut rows = vec![vec![0u8; width + 16]; planes.len()];
    let arch = Arch::new();
    for (y, out) in rgb.chunks_exact_mut(width * 3).enumerate() {
        for (number, row) in rows.iter_mut().enumerate() {
            full_row(frame, planes, number, y, row);
        }
        match (rows.as_slice(), colours) {
            ([grey], _) => {
                for (pixel, value) in out.chunks_exact_mut(3).zip(grey) {
                    pixel.fill(*value);
                }
            }
            ([a, b, c], Colours::Rgb) => {
                for (x, pixel) in out.chunks_exact_mut(3).enumerate() {
                    pixel.copy_from_slice(&[a[x], b[x], c[x]]);
                }
            }
            ([luma, blue, red], Colours::YCbCr | Colours::Stated) => {
                arch.dispatch(ColourRow { luma, blue, red, out });
            }
            _ => {}
        }
    }
    rgb
}

/// A row of pixels, compiled for each vector unit.
struct ColourRow<'a> {
    luma: &'a [u8],
    blue: &'a [u8],
    red: &'a [u8],
    out: &'a mut [u8],
}

impl WithSimd for ColourRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let spans = self.out.chunks_mut(3 * SPAN).zip(self.luma.chunks(SPAN));
        for ((out, luma), (blue, red)) in spans.zip(self.blue.chunks(SPAN).zip(self.red.chunks(SPAN))) {
            if let (Ok(out), Ok(luma), Ok(blue), Ok(red)) =
                (out.try_into(), luma.try_into(), blue.try_into(), red.try_into())
            {
                colour_span(luma, blue, red, out);
                continue;
            }
            for ((pixel, luma), (blue, red)) in out.chunks_exact_mut(3).zip(luma).zip(blue.iter().zip(red)) {
                pixel.copy_from_slice(&colour(*luma, *blue, *red));
            }
        }
    }
}

/// Pixels whose channels are computed side by side before they are woven together.
const SPAN: usize = 64;

/// Sizes that are known when it is compiled let both loops vectorise.
#[inline(always)]
fn colour_span(luma: &[u8; SPAN], blue: &[u8; SPAN], red: &[u8; SPAN], out: &mut [u8; 3 * SPAN]) {
    let (mut reds, mut greens, mut blues) = ([0; SPAN], [0; SPAN], [0; SPAN]);
    for x in 0..SPAN {
        [reds[x], greens[x], blues[x]] = colour(luma[x], blue[x], red[x]);
    }
    for x in 0..SPAN {
        out[3 * x] = reds[x];
        out[3 * x + 1] = greens[x];
        out[3 * x + 2] = blues[x];
    }
}

/// ITU-R BT.601 with 16 fractional bits.
#[inline(always)]
fn colour(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(luma), i32::from(blue) - 128, i32::from(red) - 128);
    let r = y + ((91_881 * cr + HALF) >> 16);
    let g = y + ((-22_554 * cb - 46_802 * cr + HALF) >> 16);
    let b = y + ((116_130 * cb + HALF) >> 16);
    [r, g, b].map(|value| value.clamp(0, 255) as u8)
}

/// Row `y` of a component at full width; `out` is longer than the image is wide.
fn full_row(frame: &Frame, planes: &[Plane], number: usize, y: usize, out: &mut [u8]) {
    let [most_h, most_v] = frame.largest();
    let component = &frame.components[number];
    let plane = &planes[number];
    let (width, height) = (frame.width as usize, frame.height as usize);
    // The size of the component itself, without padding.
    let own_width = (width * component.h).div_ceil(most_h);
    let own_height = (height * component.v).div_ceil(most_v);
    let row = |at: usize| &plane.samples[at * plane.stride..at * plane.stride + own_width];
    let (wide, high) = (most_h / component.h, most_v / component.v);
    let is_whole = most_h % component.h == 0 && most_v % component.v == 0;
    match (wide, high) {
        (1, 1) if is_whole => out[..own_width].copy_from_slice(row(y)),
        (2, 1) if is_whole && own_width > 2 => double_width(row(y), out),
        (1, 2) if is_whole => {
            let (near, far) = (row(y / 2), row(neighbour(y, own_height)));
            // The upper of two rows is rounded down at a tie, the lower one up.
            let bias = if y.is_multiple_of(2) { 1 } else { 2 };
            for (value, (near, far)) in out.iter_mut().zip(near.iter().zip(far)) {
                *value = ((3 * u32::from(*near) + u32::from(*far) + bias) >> 2) as u8;
            }
        }
        (2, 2) if is_whole && own_width > 2 => double_both(row(y / 2), row(neighbour(y, own_height)), out),
        // Other ratios repeat samples.
        _ => {
            let row = row(y * component.v / most_v);
            for (x, value) in out[..width].iter_mut().enumerate() {
                *value = row[x * component.h / most_h];
            }
        }
    }
}

/// The next nearest row of a component at half height: above for the upper of two rows, below for the lower.
fn neighbour(y: usize, own_height: usize) -> usize {
    if y.is_multiple_of(2) { (y / 2).saturating_sub(1) } else { (y / 2 + 1).min(own_height - 1) }
}

fn double_width(row: &[u8], out: &mut [u8]) {
    let value = |at: usize| u32::from(row[at]);
    let last = row.len() - 1;
    for at in 0..=last {
        let three = 3 * value(at);
        out[2 * at] = if at == 0 { row[0] } else { ((three + value(at - 1) + 1) >> 2) as u8 };
        out[2 * at + 1] = if at == last { row[last] } else { ((three + value(at + 1) + 2) >> 2) as u8 };
    }
}

fn double_both(near: &[u8], far: &[u8], out: &mut [u8]) {
    let sum = |at: usize| 3 * u32::from(near[at]) + u32::from(far[at]);
    let last = near.len() - 1;
    for at in 0..=last {
        let this = sum(at);
        let before = if at == 0 { this } else { sum(at - 1) };
        let after = if at == last { this } else { sum(at + 1) };
        out[2 * at] = ((3 * this + before + 8) >> 4) as u8;
        out[2 * at + 1] = ((3 * this + after + 7) >> 4) as u8;
    }
}
