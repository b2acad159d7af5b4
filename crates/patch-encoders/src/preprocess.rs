//! What each published encoder does to a patch before its first layer: resize, crop, normalise.

use crate::error::Result;
use crate::resample::{Filter, resize};
use crate::rgb_image::{CHANNELS, RgbImage};

/// The preparation of one encoder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Preprocessing {
    pub(crate) resize: Resize,
    pub(crate) filter: Filter,
    /// Side of the square that is cut from the centre.
    pub(crate) crop: usize,
    pub(crate) statistics: Statistics,
}

/// The size that an image gets before the crop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resize {
    /// Both sides, whatever the aspect.
    Square(usize),
    /// The shorter side; the longer keeps the aspect, rounded down.
    ShorterSide(usize),
}

/// Mean and standard deviation of the samples that an encoder was trained on, per channel, in 0..=1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Statistics {
    pub(crate) mean: [f32; CHANNELS],
    pub(crate) sd: [f32; CHANNELS],
}

impl Statistics {
    /// Those of ImageNet.
    pub(crate) const IMAGENET: Self = Self { mean: [0.485, 0.456, 0.406], sd: [0.229, 0.224, 0.225] };
    /// Those of OpenAI's CLIP.
    pub(crate) const OPENAI: Self = Self {
        mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
        sd: [0.268_629_54, 0.261_302_6, 0.275_777_1],
    };

    /// The normalised value of each sample, by channel: `(sample / 255 - mean) / sd` in f32, as torchvision computes it.
    pub(crate) fn table(&self) -> SampleTable {
        let value =
            |channel: usize, sample: usize| (sample as f32 / 255.0 - self.mean[channel]) / self.sd[channel];
        std::array::from_fn(|channel| std::array::from_fn(|sample| value(channel, sample)))
    }
}

/// Values of the 256 samples, by channel.
pub(crate) type SampleTable = [[f32; 256]; CHANNELS];

impl Preprocessing {
    /// The image resized and cropped, ready to be normalised sample by sample.
    ///
    /// # Errors
    /// If the image is too narrow for its longer side to be counted.
    pub(crate) fn apply(&self, image: &RgbImage) -> Result<RgbImage> {
        let (width, height) = (image.width(), image.height());
        let longer = |side: usize| side.saturating_mul(width.max(height)) / width.min(height);
        let (width, height) = match self.resize {
            Resize::Square(side) => (side, side),
            Resize::ShorterSide(side) if width <= height => (side, longer(side)),
            Resize::ShorterSide(side) => (longer(side), side),
        };
        let resized = resize(image, width, height, self.filter)?;
        if (width, height) == (self.crop, self.crop) {
            return Ok(resized);
        }
        // torchvision's centre: halves are rounded to the even neighbour.
        let margin = |side: usize| ((side - self.crop) as f64 / 2.0).round_ties_even() as usize;
        Ok(resized.window(margin(width), margin(height), self.crop, self.crop))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::name::EncoderName;
    use crate::published::Published;

    /// An 8-bit RGB picture.
    fn read_png(path: &Path) -> RgbImage {
        let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        RgbImage::new(info.width as usize, info.height as usize, pixels).unwrap()
    }

    /// Needs `CF_TEST_DATA`.
    #[test]
    fn every_encoder_is_given_what_torchvision_gives_it() {
        let Some(data) = std::env::var_os("CF_TEST_DATA") else {
            println!("skipped: CF_TEST_DATA is not set");
            return;
        };
        let stem = Path::new(&data).join("wsi/golden/DERIVED-TCGA-CR-7395-40x-pyramid.x1048y1280l1s256");
        let patch = read_png(&stem.with_added_extension("png"));
        let cases = [
            (EncoderName::Resnet50, "bilinear224.png"),
            (EncoderName::Resnet50Clam, "bilinear224.png"),
            (EncoderName::Conch, "bicubic448.png"),
            (EncoderName::Uni2H, "bilinear224.png"),
            (EncoderName::Quiltnet, "bicubic224.png"),
            (EncoderName::ProvGigapath, "bicubic256c224.png"),
        ];
        for (name, prepared) in cases {
            let preparation = Published::of(name).unwrap().preprocessing;
            let wanted = read_png(&stem.with_added_extension(prepared));
            assert_eq!(preparation.apply(&patch).unwrap(), wanted, "{name}");
        }
    }

    const NARROW: Preprocessing = Preprocessing {
        resize: Resize::ShorterSide(4),
        filter: Filter::Bilinear,
        crop: 3,
        statistics: Statistics::IMAGENET,
    };

    #[test]
    fn the_shorter_side_decides_and_the_centre_is_kept() {
        // 2 x 5 becomes 4 x 10; the crop is 3 x 3 from (0, 4): halves 0.5 and 3.5 go to the even 0 and 4.
        let image = RgbImage::new(2, 5, (0..30).collect()).unwrap();
        let resized = resize(&image, 4, 10, Filter::Bilinear).unwrap();
        assert_eq!(NARROW.apply(&image).unwrap(), resized.window(0, 4, 3, 3));
    }

    #[test]
    fn samples_are_scaled_and_standardised() {
        let table = Statistics::IMAGENET.table();
        assert_eq!(table[0][0], -0.485 / 0.229);
        assert!((table[2][255] - 2.64).abs() < 1e-6);
    }
}
