//! The faults that the doctor knows: stable names, what is wanted instead, and the way out.

use crate::splits::validated_parts::SAME_VALIDATION_WAY_OUT;

macro_rules! faults {
    ($($(#[$docs:meta])* $variant:ident, $name:literal, $wanted:literal, $way_out:expr;)+) => {
        /// A kind of fault. Its name is stable: scripts may match on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Fault {
            $($(#[$docs])* $variant,)+
        }

        impl Fault {
            /// Every fault, in the order in which they are looked for.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name, in kebab case.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What should be there instead.
            pub fn wanted(self) -> &'static str {
                match self { $(Self::$variant => $wanted),+ }
            }

            /// What to do.
            pub fn way_out(self) -> &'static str {
                match self { $(Self::$variant => $way_out),+ }
            }
        }
    };
}

faults! {
    /// The configuration can't be read.
    ConfigUnreadable, "config-unreadable", "a configuration file",
        "check the path given with --config";
    /// The configuration is not TOML.
    ConfigSyntax, "config-syntax", "a TOML file",
        "mend the line; texts stand in double quotes";
    /// Nothing reads a key.
    UnknownKey, "unknown-key", "keys that are read",
        "write the nearest valid key, or take the line out";
    /// A required key or section is missing.
    MissingKey, "missing-key", "every required key",
        "add it; the README lists all keys with their defaults";
    /// A value is of another kind or out of its range.
    BadValue, "bad-value", "a value of the stated kind and range",
        "correct the value";
    /// The clinical table can't be read as a table.
    UnusableTable, "unusable-table", "delimited text with a header, a row per slide or patient",
        "check cohort.clinical, and export the table again as CSV in UTF-8";
    /// A column is missing.
    MissingColumn, "missing-column", "columns of ids, time and status",
        "name the columns of your table in [cohort.columns], or choose its cohort.preset";
    /// Nothing says what a 1 in the status column means.
    SignNotStated, "sign-not-stated", "the meaning of a 1 in the status column",
        "write cohort.preset, or event = \"..\" or censorship = \"..\" in [cohort.columns]";
    /// An id is empty.
    EmptyId, "empty-id", "an id in every row",
        "fill in the id, or delete the row";
    /// A time is negative, not a number, or infinite.
    BadTime, "bad-time", "a time of at least 0",
        "correct the cell; where no time was recorded, empty it and write missing_outcome = \"skip\" in [cohort]";
    /// A status is none of the known ones.
    BadStatus, "bad-status", "one notation of event and censored throughout",
        "correct the cell, or list the values as event_values and censored_values in [cohort.columns]";
    /// A slide stands in two rows.
    DuplicateSlide, "duplicate-slide", "one row per slide",
        "delete one of the rows";
    /// A patient stands in two rows of a table of patients.
    DuplicatePatient, "duplicate-patient", "one row per patient",
        "delete one of the rows, or name the slide column where rows are slides";
    /// Rows of one patient disagree.
    TwoOutcomes, "two-outcomes", "one outcome per patient",
        "give all rows of the patient the same time and status";
    /// Nobody has an event.
    NoEvent, "no-event", "some patients with an event",
        "check whether the status column was read with the wrong sign, or holds one value only";
    /// The status column looks inverted.
    InvertedStatus, "inverted-status", "longest follow-ups mostly censored, and a column that is named for what it holds",
        "look up what a 1 means, then say it: event = \"..\" or censorship = \"..\" in [cohort.columns]";
    /// Rows were left out for want of an outcome.
    RowsLeftOut, "rows-left-out", "an outcome for every row",
        "nothing, if these patients were lost to follow-up from the start";
    /// Times are longer than lives, or shorter than studies.
    ImplausibleTimes, "implausible-times", "follow-up of months to decades",
        "look up the unit of the column, then write time_unit = \"days\" (or weeks, months, years) in [cohort.columns]";
    /// A column of patients is not read, and says that cases are of one patient.
    UnreadPatients, "unread-patients", "one id for all rows of a patient",
        "name the column of patients as case_id in [cohort.columns], and make folds of its ids";
    /// The splits can't be read.
    UnusableSplits, "unusable-splits", "splits of one known form, numbered from 0",
        "check cohort.splits, or make folds with `cf-train splits make`";
    /// An id stands twice in one part of a fold.
    DuplicateId, "duplicate-id", "every id once per fold",
        "delete one of them";
    /// A patient is in two parts of a fold.
    PatientInBothParts, "patient-in-both-parts", "every patient in one part of a fold",
        "put all slides of the patient into one part, or make folds with `cf-train splits make`";
    /// A part of a fold is empty once joined.
    EmptyFold, "empty-fold", "training and validation patients with rows in the table and whole bags",
        "compare the ids of splits and table: they must be spelt alike";
    /// A part of a fold has no event.
    FoldWithoutEvent, "fold-without-event", "events in both parts of every fold",
        "make folds that share events out, with `cf-train splits make`";
    /// Time bins can't be fitted.
    TimeBins, "time-bins", "enough distinct event times for four bins",
        "give times that are not rounded, or more patients with the event";
    /// Ids stand in one place and not in the other.
    IdsNotJoined, "ids-not-joined", "ids that are spelt alike in table, splits and bags",
        "compare the examples: a prefix, an ending or another barcode length is the usual reason";
    /// Cases that no fold validates.
    NeverValidated, "never-validated", "every case validated by a fold",
        "nothing, if that is the design of the folds";
    /// Patients whom several folds validate.
    ValidatedTwice, "validated-twice", "every patient validated by one fold",
        "nothing, if the folds are meant as repeated draws; else make folds with `cf-train splits make`";
    /// Two folds validate the same.
    SameValidation, "same-validation", "folds that validate different patients",
        SAME_VALIDATION_WAY_OUT;
    /// Tissue source sites are trained and validated on.
    SharedSites, "shared-sites", "sites apart, for an honest estimate at a new hospital",
        "make folds by site, with `cf-train splits make --group-by site`";
    /// Slides of tumours are mixed with those of normal tissue, or diagnostic slides with frozen sections.
    MixedSamples, "mixed-samples", "slides of one kind of tissue, prepared one way",
        "leave out the others, in the clinical table or by keeping their bags elsewhere";
    /// There are no bags.
    NoBags, "no-bags", "features in a known layout",
        "check features.dir and features.backbone; docs/formats.md shows the layouts";
    /// A directory holds files of two layouts.
    TwoLayouts, "two-layouts", "files of one layout, or a stated one",
        "write features.layout, or keep each layout in a directory of its own";
    /// A directory holds folders of two encoders or runs.
    TwoEncoders, "two-encoders", "one folder of features per magnification",
        "give features.backbone in full, or name the folders in [features.roots]";
    /// A file has no features of the encoder.
    MissingEncoder, "missing-encoder", "features of features.backbone",
        "write the encoder that the file holds as features.backbone, or extract again";
    /// A slide lacks a magnification that the model reads.
    MissingMagnification, "missing-magnification", "every magnification that the model reads, for every slide",
        "extract the missing magnification; the run leaves such slides out";
    /// A bag does not say something that the model needs of its patches.
    MissingPatchFact, "missing-patch-fact", "what the model needs of the patches beside features",
        "extract again with a tool that writes it, or choose a model that needs none (`cf-train models`)";
    /// A file has no bytes.
    EmptyFile, "empty-file", "a bag",
        "copy the file again, or extract the slide again";
    /// A file ends early or is damaged.
    TruncatedFile, "truncated-file", "a whole file",
        "copy the file again, or extract the slide again";
    /// A file holds something other than features.
    WrongFileKind, "wrong-file-kind", "a bare tensor [patches, columns], or HDF5 in a known layout",
        "save the tensor alone (torch.save(features, path)), or extract again";
    /// A file can't be opened.
    UnreadableFile, "unreadable-file", "a file that this user may read",
        "check permissions, the disk, and where the name leads if it is a link";
    /// A bag has no patches.
    ZeroPatches, "zero-patches", "at least one patch",
        "look at the slide's tissue mask; leave the slide out if there is no tissue";
    /// A feature is NaN or infinite.
    NanFeatures, "nan-features", "finite features",
        "extract the slide again; half precision overflows are the usual reason";
    /// Widths of features differ.
    FeatureWidth, "feature-width", "features of one width, and of the model's",
        "extract with one encoder: ResNet50 alone has 1024 or 2048 columns";
    /// Arrays of a file have unequal rows.
    CoordsRows, "coords-rows", "one row of coordinates for each patch",
        "extract the slide again: coordinates and features are of two runs";
    /// Coordinates can't be level-0 pixels of the slide.
    CoordsOffSlide, "coords-off-slide", "coordinates in level-0 pixels",
        "convert them from the level at which patches were read";
    /// Bags differ in the order of their rows.
    RowOrderMixed, "row-order-mixed", "one order of patches in all bags and in the weights",
        "extract all slides with one version of one tool: the model folds rows into a grid";
    /// Bags state that their features were made differently.
    FeaturesMixed, "features-mixed", "features that one encoder made with one file of weights, of pixels chosen one way",
        "extract the few again as the others were: a model learns the difference in place of the patients";
    /// Two slides have the same features.
    SameFeatures, "same-features", "features of its own for every slide",
        "find out which slide they are of, and extract the other again";
    /// Two files of one slide disagree.
    FilesDisagree, "files-disagree", "files of one slide that agree",
        "delete the stale one";
    /// Patch counts of the magnifications do not fit together.
    ScaleProportion, "scale-proportion", "about 4 patches per patch of the next coarser magnification",
        "check at which resolution patches were cut: levels are not magnifications";
    /// Resolutions of patches, slides and magnifications contradict each other.
    MppClash, "mpp-clash", "patches of one resolution per magnification, in all slides",
        "look the slide up with `wsi-extract inspect`, and extract it again with its resolution in --slides-csv";
    /// Weights to start from do not fit.
    InitialWeights, "initial-weights", "weights of this model and width",
        "take training.initial_weights out, or set model and features as they were trained";
    /// The largest bag does not fit in memory.
    Memory, "memory", "memory for the largest bag",
        "use a machine with more memory, a smaller model.embed_dim, or leave the slide out";
    /// There is not enough room on the disk.
    DiskSpace, "disk-space", "room for checkpoints and state",
        "free some space, or choose an --out on another disk";
    /// A fold takes longer than a job may.
    ClusterTime, "cluster-time", "a time limit above what the longest fold is predicted to take",
        "ask for more time, or let jobs be queued again (`cf-train study emit` does): a fold goes on where it was";
    /// Something can't be looked at.
    NotExamined, "not-examined", "a look at everything",
        "mend the errors above and run the doctor again";
}
