//! What the description of an OME-TIFF file says of the resolution of one of its images.

use roxmltree::{Document, Node, ParsingOptions};

use crate::resolution::StatedResolution;
use crate::tiff_form::decimal;

/// A description has a node for each of the thousand planes of a file, and some more.
const MOST_NODES: u32 = 1 << 20;

/// Bytes of a tag with its attributes. The parser compares each attribute of a tag with all before it.
const LONGEST_TAG: usize = 1 << 16;

/// Resolution of the image of that width and height, and what cannot be understood of it: a field, what it is and what is expected.
pub(crate) fn resolution(description: &str, size: [u32; 2]) -> (StatedResolution, Vec<String>) {
    let options = ParsingOptions { nodes_limit: MOST_NODES, ..ParsingOptions::default() };
    let text = description.trim_start_matches('\u{feff}').trim();
    let tag_bytes = |part: &str| part.find('>').unwrap_or(part.len());
    if text.split('<').skip(1).any(|part| tag_bytes(part) > LONGEST_TAG) {
        let fault = format!("the OME description has a tag of more than {LONGEST_TAG} bytes");
        return (StatedResolution::default(), vec![fault]);
    }
    let document = match Document::parse_with_options(text, options) {
        Ok(document) => document,
        Err(error) => {
            let fault = format!("the OME description cannot be read as XML: {error}");
            return (StatedResolution::default(), vec![fault]);
        }
    };
    let Some(pixels) = elements(document.root(), "Pixels").find(|pixels| has_size(*pixels, size)) else {
        let [width, height] = size;
        let fault = format!("the OME description has no image of the slide's {width} by {height} pixels");
        return (StatedResolution::default(), vec![fault]);
    };
    let mut faults = Vec::new();
    let [x, y] = ["X", "Y"].map(|axis| match micrometres(pixels, axis) {
        Ok(stated) => stated,
        Err(fault) => {
            faults.push(fault);
            None
        }
    });
    if x.is_some() != y.is_some() && faults.is_empty() {
        faults.push("`PhysicalSize` is that of one axis, expected both".to_owned());
    }
    let power = match objective(&document, pixels).and_then(|node| node.attribute("NominalMagnification")) {
        None => None,
        Some(text) => {
            let stated = decimal(text);
            if stated.is_none() {
                faults.push(format!("`NominalMagnification` is `{text}`, expected a number"));
            }
            stated
        }
    };
    (StatedResolution { mpp: x.zip(y).map(|(x, y)| [x, y]), power }, faults)
}

fn elements<'a>(root: Node<'a, 'a>, name: &'static str) -> impl Iterator<Item = Node<'a, 'a>> {
    root.descendants().filter(move |node| node.tag_name().name() == name)
}

fn has_size(pixels: Node<'_, '_>, size: [u32; 2]) -> bool {
    let stated = |name: &str| pixels.attribute(name).and_then(|text| text.trim().parse::<u32>().ok());
    [stated("SizeX"), stated("SizeY")] == size.map(Some)
}

/// Micrometres per pixel along an axis, in whatever unit they are stated; micrometres where none is.
fn micrometres(pixels: Node<'_, '_>, axis: &str) -> Result<Option<f64>, String> {
    let name = format!("PhysicalSize{axis}");
    let Some(text) = pixels.attribute(name.as_str()) else { return Ok(None) };
    let size = decimal(text).ok_or_else(|| format!("`{name}` is `{text}`, expected a number"))?;
    let unit = pixels.attribute(format!("{name}Unit").as_str()).map_or("µm", str::trim);
    let in_micrometres = match unit {
        // The sign for micro, and the Greek letter.
        "µm" | "μm" | "um" => 1.0,
        "nm" => 1e-3,
        "Å" => 1e-4,
        "mm" => 1e3,
        "cm" => 1e4,
        "m" => 1e6,
        _ => return Err(format!("`{name}Unit` is `{unit}`, expected µm, nm, Å, mm, cm or m")),
    };
    Ok(Some(size * in_micrometres))
}

/// The objective that an image names, or the only one there is.
fn objective<'a>(document: &'a Document<'a>, pixels: Node<'a, 'a>) -> Option<Node<'a, 'a>> {
    let settings = pixels.parent().and_then(|image| elements(image, "ObjectiveSettings").next());
    let mut objectives = elements(document.root(), "Objective");
    match settings.and_then(|settings| settings.attribute("ID")) {
        Some(wanted) => objectives.find(|objective| objective.attribute("ID") == Some(wanted)),
        None => objectives.next().filter(|_| objectives.next().is_none()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(pixels: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><OME xmlns=\"http://www.openmicroscopy.org/Schemas/OME/2016-06\">\
             <Image ID=\"Image:0\"><Pixels ID=\"Pixels:0\" SizeX=\"700\" SizeY=\"600\" {pixels}><TiffData/></Pixels></Image></OME>"
        )
    }

    fn mpp(pixels: &str) -> Option<[f64; 2]> {
        let (stated, faults) = resolution(&described(pixels), [700, 600]);
        assert!(faults.is_empty(), "{pixels}: {faults:?}");
        stated.mpp
    }

    fn fault(pixels: &str) -> String {
        let (stated, faults) = resolution(&described(pixels), [700, 600]);
        assert_eq!(stated.mpp, None, "{pixels}");
        faults.join("; ")
    }

    #[test]
    fn sizes_are_read_in_every_unit_and_spelling() {
        let of_unit = |size: &str, unit: &str| {
            let axis =
                |axis: &str| format!("PhysicalSize{axis}=\"{size}\" PhysicalSize{axis}Unit=\"{unit}\"");
            let found = mpp(&format!("{} {}", axis("X"), axis("Y"))).unwrap();
            found.map(|size| (size * 1e6).round() / 1e6)
        };
        for unit in ["µm", "\u{3bc}m", "um", "&#181;m", "&#xB5;m"] {
            assert_eq!(of_unit("0.25", unit), [0.25; 2], "{unit}");
        }
        for (size, unit) in
            [("250", "nm"), ("2500", "Å"), ("0.00025", "mm"), ("0.000025", "cm"), ("2.5e-7", "m")]
        {
            assert_eq!(of_unit(size, unit), [0.25; 2], "{unit}");
        }
        assert_eq!(mpp("PhysicalSizeX=\"0.25\" PhysicalSizeY=\"0.26\""), Some([0.25, 0.26]));
        assert_eq!(mpp("PhysicalSizeX = '0.25' PhysicalSizeY = '0,26'"), Some([0.25, 0.26]));
        assert_eq!(mpp(""), None);
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        let of_pixels = "PhysicalSizeX=\"1\" PhysicalSizeXUnit=\"pixel\" PhysicalSizeY=\"1\"";
        assert_eq!(fault(of_pixels), "`PhysicalSizeXUnit` is `pixel`, expected µm, nm, Å, mm, cm or m");
        assert_eq!(
            fault("PhysicalSizeX=\"wide\" PhysicalSizeY=\"1\""),
            "`PhysicalSizeX` is `wide`, expected a number"
        );
        assert_eq!(fault("PhysicalSizeX=\"0.25\""), "`PhysicalSize` is that of one axis, expected both");
        let (_, faults) = resolution(&described(""), [350, 300]);
        assert_eq!(faults, ["the OME description has no image of the slide's 350 by 300 pixels"]);
        let many = (0..9000).map(|at| format!("a{at}=\"1\" ")).collect::<String>();
        assert_eq!(fault(&many), "the OME description has a tag of more than 65536 bytes");
        let (_, faults) = resolution("<OME><Image>", [350, 300]);
        assert!(faults[0].starts_with("the OME description cannot be read as XML: "), "{faults:?}");
    }

    #[test]
    fn the_power_is_that_of_the_objective_that_the_image_names() {
        let power = |objectives: &str, settings: &str| {
            let text = format!(
                "<OME><Instrument>{objectives}</Instrument><Image>{settings}<Pixels SizeX=\"7\" SizeY=\"6\"/></Image></OME>"
            );
            let (stated, faults) = resolution(&text, [7, 6]);
            assert!(faults.is_empty(), "{faults:?}");
            stated.power
        };
        let one = "<Objective ID=\"Objective:0\" NominalMagnification=\"20.0\"/>";
        let two = &format!("{one}<Objective ID=\"Objective:1\" NominalMagnification=\"40.0\"/>");
        assert_eq!(power(one, ""), Some(20.0));
        assert_eq!(power(two, ""), None);
        assert_eq!(power(two, "<ObjectiveSettings ID=\"Objective:1\"/>"), Some(40.0));
        assert_eq!(power("", ""), None);
    }
}
