//! Which program wrote a TIFF file, and what it says of the slide.

use std::collections::BTreeMap;

use crate::error::{ErrorKind, Result};
use crate::ome;
use crate::resolution::StatedResolution;
use crate::tiff_page::Page;

/// What a file says of its slide.
#[derive(Debug, Default)]
pub(crate) struct Statement {
    pub(crate) properties: BTreeMap<String, String>,
    pub(crate) resolution: StatedResolution,
    /// What it says of the resolution that cannot be understood.
    pub(crate) faults: Vec<String>,
}

/// The forms of TIFF that the built-in reader knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TiffForm {
    /// Aperio SVS, and what Leica's later scanners write.
    Aperio,
    /// OME-TIFF.
    Ome,
    /// Any other TIFF.
    Generic,
}

/// Forms that look like TIFF but put their levels together in ways of their own: name and a mark in the metadata.
const FOREIGN: [(&str, &str); 4] = [
    ("Leica SCN", "<scn"),
    ("Ventana BIF", "<iScan"),
    ("Philips TIFF", "DPUfsImport"),
    ("Trestle TIFF", "MedScan"),
];

impl TiffForm {
    /// # Errors
    /// [`ErrorKind::Unsupported`] with the name of a form that needs OpenSlide.
    pub(crate) fn of(pages: &[Page]) -> Result<Self> {
        let Some(first) = pages.first() else { return Ok(Self::Generic) };
        let unsupported = |found: &str| {
            let wanted = "SVS and tiled TIFF (OpenSlide, through the feature `openslide`, reads this one)";
            Err(ErrorKind::Unsupported { found: found.to_owned(), wanted }.into())
        };
        if first.is_ndpi {
            return unsupported("Hamamatsu NDPI");
        }
        let texts = [&first.description, &first.software, &first.xmp];
        let says = |mark: &str| texts.into_iter().flatten().any(|text| text.contains(mark));
        if let Some((name, _)) = FOREIGN.iter().find(|(_, mark)| says(mark)) {
            return unsupported(name);
        }
        let description = first.description.as_deref().unwrap_or("");
        if description.starts_with("Aperio") {
            Ok(Self::Aperio)
        } else if description.contains("<OME") {
            if first.samples == 1 && (pages.len() > 1 || !first.sub_pages.is_empty()) {
                return unsupported("OME-TIFF with one sample per pixel (grey, or a colour per page)");
            }
            Ok(Self::Ome)
        } else {
            Ok(Self::Generic)
        }
    }

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Aperio => "aperio",
            Self::Ome => "ome-tiff",
            Self::Generic => "generic-tiff",
        }
    }

    /// What the page of level 0 says, or of an OME file the description at its `head`.
    pub(crate) fn statement(self, page: &Page, head: &str) -> Statement {
        let mut found = Statement::default();
        let mut put = |key: String, value: &str| found.properties.insert(key, value.to_owned());
        if let Some(([x, y], unit)) = page.resolution {
            put("tiff.XResolution".to_owned(), &x.to_string());
            put("tiff.YResolution".to_owned(), &y.to_string());
            let name = match unit {
                2 => "inch",
                3 => "centimeter",
                _ => "none",
            };
            put("tiff.ResolutionUnit".to_owned(), name);
        }
        if let Some(software) = &page.software {
            put("tiff.Software".to_owned(), software);
        }
        let description = page.description.as_deref().filter(|_| self != Self::Ome).unwrap_or(head);
        if !description.is_empty() {
            put("tiff.ImageDescription".to_owned(), description);
        }
        match self {
            Self::Aperio => {
                let (power, mpp) = (&mut found.resolution.power, &mut found.resolution.mpp);
                for (key, value) in aperio_fields(description) {
                    put(format!("aperio.{key}"), value);
                    let stated = decimal(value);
                    match key {
                        "MPP" => *mpp = stated.map(|mpp| [mpp, mpp]),
                        "AppMag" => *power = stated,
                        _ => continue,
                    }
                    if stated.is_none() && !value.is_empty() {
                        found.faults.push(format!("`{key}` is `{value}`, expected a number"));
                    }
                }
            }
            Self::Ome => {
                (found.resolution, found.faults) = ome::resolution(description, [page.width, page.height]);
                found.resolution.mpp = found.resolution.mpp.or(mpp_of_tags(page.resolution));
            }
            Self::Generic => found.resolution.mpp = mpp_of_tags(page.resolution),
        }
        found
    }
}

/// A number as any country writes it.
pub(crate) fn decimal(text: &str) -> Option<f64> {
    text.trim().replace(',', ".").parse().ok()
}

/// The fields `key = value` between bars that follow the first line.
fn aperio_fields(description: &str) -> impl Iterator<Item = (&str, &str)> {
    let fields = description.split('|').skip(1);
    fields.filter_map(|field| field.split_once('=')).map(|(key, value)| (key.trim(), value.trim()))
}

/// Micrometres per pixel of the resolution tags; a unit of `none` says nothing about lengths.
fn mpp_of_tags(resolution: Option<([f64; 2], u16)>) -> Option<[f64; 2]> {
    let ([x, y], unit) = resolution?;
    let micrometres = match unit {
        2 => 25_400.0,
        3 => 10_000.0,
        _ => return None,
    };
    (x > 0.0 && y > 0.0).then(|| [micrometres / x, micrometres / y])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aperio_fields_are_trimmed_and_keep_their_order() {
        let text = "Aperio Image Library v11\r\n46000x32914 [0,100 46000x32814]|AppMag = 20|MPP = 0.4990";
        let fields: Vec<_> = aperio_fields(text).collect();
        assert_eq!(fields, [("AppMag", "20"), ("MPP", "0.4990")]);
    }

    #[test]
    fn resolution_tags_count_in_inches_or_centimetres() {
        assert_eq!(mpp_of_tags(Some(([40_000.0, 20_000.0], 3))), Some([0.25, 0.5]));
        assert_eq!(mpp_of_tags(Some(([50_800.0, 50_800.0], 2))), Some([0.5, 0.5]));
        assert_eq!(mpp_of_tags(Some(([1.0, 1.0], 1))), None);
        assert_eq!(mpp_of_tags(Some(([0.0, 1.0], 3))), None);
    }
}
