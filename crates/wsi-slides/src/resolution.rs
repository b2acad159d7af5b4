//! Physical resolution and nominal magnification: what the file states, what the user states, and which rule decides.

use std::str::FromStr;

use wsi_bags::Magnification;

use crate::error::{Error, ErrorKind, Result};
use crate::reader::{SlideReader, SlideWarning};
use crate::resolution_warning::ResolutionWarning;

/// Micrometres per pixel outside this range are not taken for a slide's: they are defaults of other software (72 dpi)
/// or downscaled copies.
pub const PLAUSIBLE_MPP: [f64; 2] = [0.05, 4.0];

/// A difference of sizes that is told of: an eighth.
///
/// Scanners have their own idea of 40x, nominally 0.25 micrometres per pixel, and of 20x, 0.5: Aperio 0.2456 to 0.2529 and 0.4942 to
/// 0.5040, Philips 0.25, Leica's GT450 0.263, 3DHISTECH 0.2325 and 0.2425 (and 0.1625 at 60x, nominally 0.1667), Hamamatsu 0.2204 to
/// 0.2308 and 0.4410 to 0.46. The last are the farthest off, by 11.9 %. An eighth tells of none of these, and of both 0.31 and 0.59, whose
/// patches at 20x differ by a factor of 1.9.
pub const NOTEWORTHY_DIFFERENCE: f64 = 0.125;

/// Objective power and micrometres per pixel as the file states them, unjudged.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StatedResolution {
    /// Micrometres per level-0 pixel along x and y.
    pub mpp: Option<[f64; 2]>,
    /// Objective power, such as 40.
    pub power: Option<f64>,
}

/// What the user knows better than the file. It wins over what the file states.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ResolutionOverride {
    /// Micrometres per level-0 pixel.
    pub mpp: Option<f64>,
    /// Magnification of level 0, such as 40.
    pub magnification: Option<f64>,
}

/// Which number decides where power and micrometres per pixel disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preference {
    /// Micrometres per pixel: what the encoder sees.
    #[default]
    Mpp,
    /// Objective power: what users of CLAM go by.
    Power,
}

impl FromStr for Preference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "mpp" => Ok(Self::Mpp),
            "power" => Ok(Self::Power),
            _ => {
                let known = vec!["mpp", "power"];
                Err(ErrorKind::UnknownName { what: "preference", found: text.to_owned(), known }.into())
            }
        }
    }
}

/// How the magnification of level 0 was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The user gave the magnification.
    GivenMagnification,
    /// The user gave micrometres per pixel.
    GivenMpp,
    /// Power and micrometres per pixel agree.
    Agreement,
    /// They disagree, and micrometres per pixel were preferred.
    MppOverPower,
    /// They disagree, and power was preferred.
    PowerOverMpp,
    /// Only micrometres per pixel are stated.
    MppOnly,
    /// Only power is stated.
    PowerOnly,
}

impl Rule {
    /// A name for reports, such as `mpp-over-power`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::GivenMagnification => "given-magnification",
            Self::GivenMpp => "given-mpp",
            Self::Agreement => "power-and-mpp-agree",
            Self::MppOverPower => "mpp-over-power",
            Self::PowerOverMpp => "power-over-mpp",
            Self::MppOnly => "mpp-only",
            Self::PowerOnly => "power-only",
        }
    }
}

/// The resolution of level 0 and how it was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolution {
    /// Nominal magnification of level 0: 80, 60, 40, 20, 10 or 5 out of micrometres per pixel, or what was stated.
    pub base: f64,
    /// Micrometres per level-0 pixel, where known. Those that a slide states against a magnification that the user gave are not.
    pub mpp: Option<f64>,
    /// The rule that gave `base`.
    pub rule: Rule,
    /// What a person should look at.
    pub warnings: Vec<ResolutionWarning>,
}

impl Resolution {
    /// [`ResolutionWarning::OffNominal`] where micrometres per pixel are off the nominal ones of the magnification by more than
    /// [`NOTEWORTHY_DIFFERENCE`].
    ///
    /// It is no part of `warnings`, since it matters where patches are cut by magnification and not where they are cut by micrometres.
    #[must_use]
    pub fn off_nominal(&self) -> Option<ResolutionWarning> {
        let (magnification, mpp) = (self.base, self.mpp?);
        let difference = (mpp / nominal_mpp(magnification) - 1.0).abs();
        (difference > NOTEWORTHY_DIFFERENCE).then_some(ResolutionWarning::OffNominal { magnification, mpp })
    }

    /// The finest magnification of patches by name: the finest that is not above `base`, and 5x for slides of less.
    #[must_use]
    pub fn finest(&self) -> Magnification {
        finest_of(self.base)
    }
}

pub(crate) fn finest_of(base: f64) -> Magnification {
    let finer = [Magnification::X20, Magnification::X10];
    finer.into_iter().find(|finest| f64::from(finest.power()) <= base).unwrap_or(Magnification::X5)
}

/// Micrometres per pixel of a magnification by its name: 10x has 1.
pub(crate) fn nominal_mpp(magnification: f64) -> f64 {
    10.0 / magnification
}

/// Decides the resolution of level 0.
///
/// What the user gives wins; then agreement of power and micrometres per pixel; then, with a warning, the one that
/// `preference` names; then the only one there is. Nothing is assumed.
///
/// # Errors
/// [`ErrorKind::NoResolution`] if nothing usable is stated or given, or what decides is less than 5x, [`ErrorKind::Resolution`] if what the user gives is
/// impossible or stands for less than 5x.
///
/// ```
/// use wsi_slides::{Preference, ResolutionOverride, Rule, StatedResolution, resolve};
///
/// let stated = StatedResolution { mpp: Some([0.25, 0.25]), power: Some(20.0) };
/// let resolution = resolve(stated, ResolutionOverride::default(), Preference::Mpp)?;
/// assert_eq!((resolution.base, resolution.rule), (40.0, Rule::MppOverPower));
/// assert_eq!(resolution.warnings.len(), 1);
/// # Ok::<(), wsi_slides::Error>(())
/// ```
pub fn resolve(
    stated: StatedResolution,
    given: ResolutionOverride,
    preference: Preference,
) -> Result<Resolution> {
    let mut warnings = Vec::new();
    let stated_mpp = plausible(stated.mpp, &mut warnings);
    let power = stated.power.filter(|power| power.is_finite() && (1.0..=400.0).contains(power));
    if let Some(mpp) = given.mpp {
        check_given_mpp(mpp)?;
    }
    let mut mpp = given.mpp.or(stated_mpp);
    let (base, rule) = if let Some(magnification) = given.magnification {
        if !(magnification.is_finite() && (1.0..=400.0).contains(&magnification)) {
            let wanted = "1 to 400";
            return Err(ErrorKind::Resolution { what: "magnification", found: magnification, wanted }.into());
        }
        if let Some(mpp) = given.mpp.filter(|mpp| !stands_for(*mpp, magnification)) {
            warnings.push(ResolutionWarning::GivenContradict { magnification, mpp });
        }
        // The user's number says that the slide's is wrong: sizes in micrometres must not be taken from it.
        if let (None, Some(stated)) = (given.mpp, mpp) {
            let mpp_magnification = magnification_of_mpp(stated);
            if mpp_magnification != Some(magnification) {
                warnings.push(ResolutionWarning::GivenOverMpp {
                    magnification,
                    mpp: stated,
                    mpp_magnification,
                });
                mpp = None;
            }
        }
        (magnification, Rule::GivenMagnification)
    } else if let Some(mpp) = given.mpp {
        let below_5x =
            ErrorKind::Resolution { what: "mpp", found: mpp, wanted: "less than 2.4, which is 5x" };
        (magnification_of_mpp(mpp).ok_or(below_5x)?, Rule::GivenMpp)
    } else {
        match (power, mpp.map(|mpp| (mpp, magnification_of_mpp(mpp)))) {
            (Some(power), Some((_, Some(bucket)))) if power == bucket => (power, Rule::Agreement),
            (Some(power), Some((mpp, Some(bucket)))) => {
                warnings.push(ResolutionWarning::Disagreement { power, mpp, mpp_magnification: bucket });
                match preference {
                    Preference::Mpp => (bucket, Rule::MppOverPower),
                    Preference::Power => (power, Rule::PowerOverMpp),
                }
            }
            (Some(power), Some((mpp, None))) if preference == Preference::Power => {
                warnings.push(ResolutionWarning::BelowLowest { power, mpp });
                (power, Rule::PowerOverMpp)
            }
            (None, Some((_, Some(bucket)))) => (bucket, Rule::MppOnly),
            (Some(power), None) => (power, Rule::PowerOnly),
            (_, Some((_, None))) | (None, None) => {
                return Err(ErrorKind::NoResolution { stated: shown(stated) }.into());
            }
        }
    };
    Ok(Resolution { base, mpp, rule, warnings })
}

/// [`resolve`] for a slide. Where nothing usable is stated, the error says what could not be understood of that, too.
///
/// # Errors
/// Those of [`resolve`].
pub fn resolve_slide(
    slide: &dyn SlideReader,
    given: ResolutionOverride,
    preference: Preference,
) -> Result<Resolution> {
    resolve(slide.stated_resolution(), given, preference).map_err(|error| {
        let fault = |warning: &SlideWarning| match warning {
            SlideWarning::Resolution(fault) => Some(fault.clone()),
            SlideWarning::Pages(_) => None,
        };
        let faults: Vec<String> = slide.warnings().iter().filter_map(fault).collect();
        match error.kind() {
            ErrorKind::NoResolution { stated } if !faults.is_empty() => {
                ErrorKind::NoResolution { stated: format!("{stated} ({})", faults.join("; ")) }.into()
            }
            _ => error,
        }
    })
}

/// Whether given micrometres per pixel are nearer to those of a magnification, of which 10x has 1, than to those of its half or double.
fn stands_for(mpp: f64, magnification: f64) -> bool {
    let ratio = mpp / nominal_mpp(magnification);
    (1.0 / std::f64::consts::SQRT_2..=std::f64::consts::SQRT_2).contains(&ratio)
}

/// The nominal magnification that micrometres per pixel stand for, by the bands of TRIDENT; `None` from 2.4 on. A band is wide: what is
/// far from its nominal value is told of by [`Resolution::off_nominal`].
#[must_use]
pub fn magnification_of_mpp(mpp: f64) -> Option<f64> {
    const BANDS: [(f64, f64); 6] =
        [(0.16, 80.0), (0.2, 60.0), (0.3, 40.0), (0.6, 20.0), (1.2, 10.0), (2.4, 5.0)];
    BANDS.iter().find(|(below, _)| mpp < *below).map(|(_, magnification)| *magnification)
}

fn plausible(stated: Option<[f64; 2]>, warnings: &mut Vec<ResolutionWarning>) -> Option<f64> {
    let [x, y] = stated?;
    let [least, most] = PLAUSIBLE_MPP;
    for mpp in [x, y] {
        if !(least..=most).contains(&mpp) {
            warnings.push(ResolutionWarning::ImplausibleMpp { mpp });
            return None;
        }
    }
    if (x - y).abs() > 0.01 * x {
        warnings.push(ResolutionWarning::Anisotropic { mpp: [x, y] });
    }
    Some(x)
}

fn check_given_mpp(mpp: f64) -> Result<()> {
    let [least, most] = PLAUSIBLE_MPP;
    if (least..=most).contains(&mpp) {
        Ok(())
    } else {
        Err(ErrorKind::Resolution { what: "mpp", found: mpp, wanted: "0.05 to 4" }.into())
    }
}

fn shown(stated: StatedResolution) -> String {
    match (stated.power, stated.mpp) {
        (None, None) => "neither objective power nor micrometres per pixel".to_owned(),
        (Some(power), None) => format!("objective power {power}"),
        (power, Some([x, y])) => {
            let power =
                power.map_or("no objective power".to_owned(), |power| format!("objective power {power}"));
            format!("{power}, and {x} by {y} micrometres per pixel, of which no magnification can be told")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(mpp: Option<f64>, power: Option<f64>) -> Result<Resolution> {
        let stated = StatedResolution { mpp: mpp.map(|mpp| [mpp, mpp]), power };
        resolve(stated, ResolutionOverride::default(), Preference::Mpp)
    }

    #[test]
    fn scanners_with_their_own_idea_of_40x_are_40x() {
        for mpp in [0.2208, 0.23, 0.25, 0.26, 0.2527] {
            let resolution = found(Some(mpp), Some(40.0)).unwrap();
            assert_eq!((resolution.base, resolution.rule), (40.0, Rule::Agreement));
            assert!(resolution.warnings.is_empty());
        }
    }

    #[test]
    fn a_disagreement_is_reported_and_settled_by_preference() {
        let stated = StatedResolution { mpp: Some([0.25; 2]), power: Some(20.0) };
        let power = resolve(stated, ResolutionOverride::default(), Preference::Power).unwrap();
        assert_eq!((power.base, power.rule), (20.0, Rule::PowerOverMpp));
        assert!(matches!(power.warnings[..], [ResolutionWarning::Disagreement { .. }]));
    }

    #[test]
    fn nothing_stated_is_refused() {
        assert!(matches!(found(None, None).unwrap_err().kind(), ErrorKind::NoResolution { .. }));
    }

    #[test]
    fn implausible_micrometres_do_not_count() {
        for mpp in [28.97, 352.8, 0.0, f64::NAN] {
            let error = found(Some(mpp), None).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::NoResolution { .. }), "{mpp}");
            let resolution = found(Some(mpp), Some(20.0)).unwrap();
            assert_eq!((resolution.base, resolution.mpp, resolution.rule), (20.0, None, Rule::PowerOnly));
            assert_eq!(resolution.warnings.len(), 1);
        }
    }

    #[test]
    fn micrometres_below_5x_are_not_passed_over_for_a_power() {
        let error = found(Some(3.0), Some(20.0)).unwrap_err();
        assert!(error.to_string().contains("objective power 20, and 3 by 3 micrometres"), "{error}");
        let stated = StatedResolution { mpp: Some([3.0; 2]), power: Some(20.0) };
        let power = resolve(stated, ResolutionOverride::default(), Preference::Power).unwrap();
        assert_eq!((power.base, power.rule), (20.0, Rule::PowerOverMpp));
        assert_eq!(power.warnings, [ResolutionWarning::BelowLowest { power: 20.0, mpp: 3.0 }]);
    }

    #[test]
    fn what_the_user_gives_wins() {
        let stated = StatedResolution { mpp: Some([0.5; 2]), power: Some(20.0) };
        let given = ResolutionOverride { mpp: Some(0.25), magnification: None };
        let resolution = resolve(stated, given, Preference::Mpp).unwrap();
        assert_eq!((resolution.base, resolution.mpp, resolution.rule), (40.0, Some(0.25), Rule::GivenMpp));
        let given = ResolutionOverride { mpp: Some(28.97), magnification: None };
        let error = resolve(stated, given, Preference::Mpp).unwrap_err();
        assert_eq!(error.to_string(), "mpp is 28.97, expected 0.05 to 4");
        let given = ResolutionOverride { mpp: None, magnification: Some(40.0) };
        assert_eq!(resolve(stated, given, Preference::Mpp).unwrap().base, 40.0);
    }

    #[test]
    fn micrometres_that_contradict_a_given_magnification_are_left_out() {
        let resolved = |stated: f64, mpp, magnification| {
            let stated = StatedResolution { mpp: Some([stated; 2]), power: Some(20.0) };
            let given = ResolutionOverride { mpp, magnification: Some(magnification) };
            resolve(stated, given, Preference::Mpp).unwrap()
        };
        let contradicted = resolved(0.499, None, 40.0);
        assert_eq!((contradicted.base, contradicted.mpp), (40.0, None));
        assert_eq!(
            contradicted.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "magnification 40 was given, but the slide's 0.499 micrometres per pixel stand for 20x and were left out of \
                 account"
            ]
        );
        let below = resolved(3.0, None, 40.0);
        assert_eq!(below.mpp, None);
        assert!(below.warnings[0].to_string().contains("stand for less than 5x"), "{}", below.warnings[0]);
        // What agrees stays, and so does what the user gives, whatever it stands for.
        let agreed = resolved(0.499, None, 20.0);
        assert_eq!((agreed.mpp, agreed.warnings.len()), (Some(0.499), 0));
        let both = resolved(0.499, Some(0.3), 40.0);
        assert_eq!((both.base, both.mpp, both.warnings.len()), (40.0, Some(0.3), 0));
    }

    #[test]
    fn a_given_magnification_and_given_micrometres_that_contradict_it_are_reported() {
        let given = ResolutionOverride { mpp: Some(0.25), magnification: Some(20.0) };
        let found = resolve(StatedResolution::default(), given, Preference::Mpp).unwrap();
        assert_eq!((found.base, found.mpp), (20.0, Some(0.25)));
        assert_eq!(found.warnings, [ResolutionWarning::GivenContradict { magnification: 20.0, mpp: 0.25 }]);
        // Scanners' 40x differ.
        for mpp in [0.18, 0.2208, 0.26, 0.3, 0.34] {
            let given = ResolutionOverride { mpp: Some(mpp), magnification: Some(40.0) };
            let found = resolve(StatedResolution::default(), given, Preference::Mpp).unwrap();
            assert_eq!(found.warnings, [], "{mpp}");
        }
    }

    #[test]
    fn no_scanner_of_a_nominal_magnification_is_told_of() {
        let scanners = [
            (20.0, vec![0.4942, 0.499, 0.5040, 0.4410, 0.46, 0.5]),
            (40.0, vec![0.2456, 0.2529, 0.2204, 0.2308, 0.2325, 0.2425, 0.25, 0.263]),
            (60.0, vec![0.1625]),
        ];
        for (magnification, mpp) in scanners {
            for mpp in mpp {
                let resolution = found(Some(mpp), None).unwrap();
                assert_eq!((resolution.base, resolution.off_nominal()), (magnification, None), "{mpp}");
            }
        }
        assert_eq!(found(None, Some(20.0)).unwrap().off_nominal(), None);
    }

    #[test]
    fn both_ends_of_a_band_are_told_of_with_the_size_of_their_patches() {
        let told = |mpp| found(Some(mpp), None).unwrap().off_nominal().map(|warning| warning.to_string());
        // 256 * 0.31 = 79.36, 256 * 0.59 = 151.04.
        let of = |mpp: &str, base, nominal, rest: &str| {
            format!(
                "{mpp} micrometres per pixel are taken for {base}x, which nominally has {nominal}: patches at {rest}"
            )
        };
        assert_eq!(told(0.31), Some(of("0.31", 20, "0.5", "20x span 79 µm instead of 128")));
        assert_eq!(told(0.309_999_99), told(0.31));
        assert_eq!(told(0.59), Some(of("0.59", 20, "0.5", "20x span 151 µm instead of 128")));
        // On a slide of 40x they are 512 pixels: 512 * 0.29 = 148.48.
        assert_eq!(told(0.29), Some(of("0.29", 40, "0.25", "20x span 148 µm instead of 128")));
        assert_eq!(told(0.18), None);
        assert_eq!(told(0.19), Some(of("0.19", 60, "0.1667", "20x span 146 µm instead of 128")));
        // What is finest on slides of 10x and 5x.
        assert_eq!(told(0.7), Some(of("0.7", 10, "1", "10x span 179 µm instead of 256")));
        assert_eq!(told(2.39), Some(of("2.39", 5, "2", "5x span 612 µm instead of 512")));
        // A magnification that the user gives is no excuse.
        let given = ResolutionOverride { mpp: Some(0.34), magnification: Some(40.0) };
        let both = resolve(StatedResolution::default(), given, Preference::Mpp).unwrap();
        assert_eq!(
            both.off_nominal(),
            Some(ResolutionWarning::OffNominal { magnification: 40.0, mpp: 0.34 })
        );
    }

    #[test]
    fn unequal_axes_are_reported() {
        let stated = StatedResolution { mpp: Some([0.25, 0.26]), power: Some(40.0) };
        let resolution = resolve(stated, ResolutionOverride::default(), Preference::Mpp).unwrap();
        assert!(matches!(resolution.warnings[..], [ResolutionWarning::Anisotropic { .. }]));
    }
}
