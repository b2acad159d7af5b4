//! Colour maps against Matplotlib's.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use cf_viewer::ColourMap;

#[test]
fn maps_have_the_colours_that_their_names_stand_for() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/reference/colour_maps.json");
    let reference: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for map in ColourMap::ALL {
        let table = map.table();
        for (step, wanted) in
            reference["steps"].as_array().unwrap().iter().zip(reference[map.label()].as_array().unwrap())
        {
            let step = step.as_u64().unwrap() as usize;
            let wanted: Vec<i64> =
                wanted.as_array().unwrap().iter().map(|value| value.as_i64().unwrap()).collect();
            for (found, wanted) in table[step].iter().zip(wanted) {
                // Matplotlib tabulates coolwarm at 33 places and draws straight lines between them, in steps of 1/256.
                let tolerance = if map == ColourMap::Coolwarm { 2 } else { 1 };
                assert!((i64::from(*found) - wanted).abs() <= tolerance, "{map:?} {step}: {:?}", table[step]);
            }
        }
    }
}
