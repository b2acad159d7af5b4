//! What gives a bag what it lacks beside features: a conversion where its files tell it, else another extraction or model.

use cf_model::Need;
use wsi_bags::{Bag, BagStore, Magnification};

use crate::error::Error;
use crate::shell::shell;

/// The error of a model's check of a bag of `store`, with the way out where the bag lacks something.
pub(crate) fn of_model(error: cf_model::Error, store: &BagStore) -> Error {
    with_way_out(error, store, |_, _| {
        "extract the features again with a tool that writes them, or choose a model that needs none (`cf-train models`)".to_owned()
    })
}

/// The error of an occlusion of `bag`, of `store`, with the way out where it lacks something.
pub(crate) fn of_occlusion(error: cf_model::Error, store: &BagStore, bag: &Bag) -> Error {
    with_way_out(error, store, |need, at| {
        let again = "extract the features again with a tool that writes them";
        match bag.get(at) {
            Some(set) if need == Need::Squares && at == Magnification::X5 => format!(
                "ask for {} parts or more, with which every 5x patch is a part of its own, or {again}",
                set.n_patches()
            ),
            _ => again.to_owned(),
        }
    })
}

fn with_way_out(
    error: cf_model::Error,
    store: &BagStore,
    otherwise: impl FnOnce(Need, Magnification) -> String,
) -> Error {
    let cf_model::Error::MissingFact { slide_id, magnification, need, .. } = &error else {
        return error.into();
    };
    let (need, magnification) = (*need, *magnification);
    let way_out =
        conversion(store, slide_id, need, magnification).unwrap_or_else(|| otherwise(need, magnification));
    Error::BagLacks { fault: Box::new(error), way_out }
}

/// The conversion that writes what a slide's bag lacks, in words, where its files tell it.
pub(crate) fn conversion(
    store: &BagStore,
    slide_id: &str,
    need: Need,
    magnification: Magnification,
) -> Option<String> {
    let described = store.describe(slide_id, magnification).ok()?;
    let command = |resolution: &str| {
        let layout = store.layout().map_or_else(String::new, |layout| format!(" --layout {layout}"));
        let bags = store.directory().map_or_else(
            || "--root x5=DIR --root x10=DIR --root x20=DIR".to_owned(),
            |directory| format!("--features {}{layout}", shell(&directory.display().to_string())),
        );
        let backbone = shell(store.backbone());
        format!("`wsi-bags convert {bags} --backbone {backbone}{resolution} --to native --out BAGS`")
    };
    let tells_parents =
        || !described.has_parents && matches!(store.find_parents(slide_id, magnification), Ok(Some(_)));
    match need {
        Need::TissueClasses => None,
        _ if !described.has_coords && described.provenance.is_of_stamp() => Some(format!(
            "STAMP's coordinates are in micrometres: {} writes bags with level-0 pixels, X being the micrometres per pixel of the \
             slides at level 0",
            command(" --slide-mpp X")
        )),
        Need::Parents if tells_parents() => Some(format!(
            "the parent of each patch follows from the coordinates that are there: {} writes bags that state it",
            command("")
        )),
        Need::Coordinates | Need::Squares | Need::Parents => None,
    }
}
