//! SVG to PNG with the bundled font, so that every machine draws the same picture, fonts installed or not.

use std::sync::{Arc, LazyLock};

use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

use crate::error::{Error, Result};

static BUNDLED_FONT: &[u8] = include_bytes!("../assets/DejaVuSans-Latin.ttf");
const BUNDLED_FAMILY: &str = "DejaVu Sans";

static FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(BUNDLED_FONT.to_vec());
    fonts.set_sans_serif_family(BUNDLED_FAMILY);
    Arc::new(fonts)
});

/// Draws an SVG document on white at `scale` pixels per user unit and encodes it as PNG.
///
/// All text is set in the bundled font, which covers Latin, Greek and the signs that the figures use.
///
/// # Errors
/// If `svg` is not valid SVG, or if the picture would have no pixel or too many.
pub fn svg_to_png(svg: &str, scale: f32) -> Result<Vec<u8>> {
    let options =
        Options { font_family: BUNDLED_FAMILY.to_owned(), fontdb: Arc::clone(&FONTS), ..Options::default() };
    let tree = Tree::from_str(svg, &options).map_err(Error::Svg)?;
    let (width, height) = (tree.size().width(), tree.size().height());
    // A float cast saturates: too large a side or a scale of 0, NaN or below ends in `None`.
    let pixels = ((width * scale).ceil() as u32, (height * scale).ceil() as u32);
    let mut pixmap = Pixmap::new(pixels.0, pixels.1).ok_or(Error::PictureSize { width, height, scale })?;
    pixmap.fill(Color::WHITE);
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixmap.as_mut());
    pixmap.encode_png().map_err(|error| Error::Png(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn darkened_pixels(svg: &str, scale: f32) -> (u32, u32, usize) {
        let png = svg_to_png(svg, scale).expect("valid SVG");
        let pixmap = Pixmap::decode_png(&png).expect("a PNG");
        let n = pixmap.pixels().iter().filter(|p| p.red() < 128 && p.green() < 128 && p.blue() < 128).count();
        (pixmap.width(), pixmap.height(), n)
    }

    #[test]
    fn text_leaves_pixels_with_no_installed_font() {
        let svg = |text: &str| {
            format!(
                r#"<svg xmlns="http://www.w3.org/2000/svg" width="80" height="30"><text x="5" y="20" font-family="system-ui, sans-serif" font-size="16">{text}</text></svg>"#
            )
        };
        let (width, height, blank) = darkened_pixels(&svg(""), 2.0);
        assert_eq!((width, height, blank), (160, 60, 0));
        let (_, _, one) = darkened_pixels(&svg("p"), 2.0);
        let (_, _, many) = darkened_pixels(&svg("p = 2.30"), 2.0);
        assert!(one > 20 && many > 3 * one, "{one} and {many} dark pixels");
    }

    #[test]
    fn signs_of_the_figures_are_in_the_bundled_font() {
        let picture = |sign: char| {
            let svg = format!(
                r#"<svg xmlns="http://www.w3.org/2000/svg" width="30" height="30"><text x="5" y="20">{sign}</text></svg>"#
            );
            svg_to_png(&svg, 1.0).expect("valid SVG")
        };
        let missing = picture('中');
        for sign in ['χ', '²', '−', '–', '≥', '±', 'é'] {
            assert_ne!(picture(sign), missing, "{sign} is not in the bundled font");
        }
    }

    #[test]
    fn pictures_without_size_and_files_that_are_not_svg_are_refused() {
        let svg = r#"<svg xmlns="http://www.w3.org/2000/svg" width="8" height="3"></svg>"#;
        let error = svg_to_png(svg, 0.0).expect_err("no pixel");
        assert_eq!(error.to_string(), "figure of 8 x 3 at scale 0 does not make a picture");
        assert!(matches!(svg_to_png(svg, f32::NAN), Err(Error::PictureSize { .. })));
        assert!(matches!(svg_to_png("<html>", 1.0), Err(Error::Svg(_))));
    }
}
