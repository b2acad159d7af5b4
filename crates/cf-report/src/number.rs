//! How numbers are written: one rule per quantity, for figures, tables and text alike.

/// What stands where a number is undefined.
pub(crate) const MISSING: &str = "\u{2013}";

/// `value` with `decimals` decimals and a true minus sign, or [`MISSING`] if it is not finite.
pub(crate) fn fixed(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return MISSING.to_owned();
    }
    let text = format!("{:.decimals$}", value.abs());
    // -0.0004 with three decimals is 0.000 and not -0.000.
    let is_zero = text.bytes().all(|b| matches!(b, b'0' | b'.'));
    if value < 0.0 && !is_zero { format!("\u{2212}{text}") } else { text }
}

/// [`fixed`] of a value that may be missing.
pub(crate) fn fixed_or_missing(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| MISSING.to_owned(), |v| fixed(v, decimals))
}

/// A level of confidence as a title has it: 0.55 is 55%, though 0.55 * 100 is not 55 in f64.
#[must_use]
pub fn percent(level: f64) -> String {
    let digits = format!("{:.12}", level * 100.0);
    format!("{}%", digits.trim_end_matches('0').trim_end_matches('.'))
}

/// `value` with three significant digits, in scientific notation outside [0.001, 10000).
pub(crate) fn significant(value: f64) -> String {
    let magnitude = value.abs();
    if !value.is_finite() {
        MISSING.to_owned()
    } else if magnitude == 0.0 {
        "0".to_owned()
    } else if (1e-3..1e4).contains(&magnitude) {
        let n_integer_digits = magnitude.log10().floor() as i32 + 1;
        fixed(value, (3 - n_integer_digits).max(0) as usize)
    } else {
        let text = format!("{:.2e}", magnitude);
        if value < 0.0 { format!("\u{2212}{text}") } else { text }
    }
}

/// A p-value as in the paper, `2.30e-39`, and with three decimals from 0.1 up.
///
/// `log10_p` carries values that f64 cannot: below 1e-300, where `p` loses digits and then is 0, the text is
/// made from it alone. Where it is infinite, it was lost with `p`, and the text says as much as is known.
pub(crate) fn p_value(p: f64, log10_p: f64) -> String {
    if p >= 0.1 {
        format!("{p:.3}")
    } else if p > 1e-300 {
        format!("{p:.2e}")
    } else if log10_p.is_infinite() {
        "< 1e-300".to_owned()
    } else {
        let mut exponent = log10_p.floor();
        let mut mantissa = 10f64.powf(log10_p - exponent);
        // 9.996 would print as 10.00.
        if mantissa >= 9.995 {
            mantissa = 1.0;
            exponent += 1.0;
        }
        format!("{mantissa:.2}e{exponent:.0}")
    }
}

/// A duration: `48 s`, `12 min 5 s`, `3 h 7 min`.
pub(crate) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return MISSING.to_owned();
    }
    if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    let total = seconds.round() as u64;
    let (hours, minutes, rest) = (total / 3600, total % 3600 / 60, total % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest} s"),
        (0, _) => format!("{minutes} min {rest} s"),
        _ => format!("{hours} h {minutes} min"),
    }
}

/// A size in memory, in binary units: `512 MiB`, `1.83 GiB`.
pub(crate) fn bytes(n_bytes: u64) -> String {
    const MIB: f64 = 1024.0 * 1024.0;
    let mib = n_bytes as f64 / MIB;
    if mib < 1024.0 { format!("{mib:.0} MiB") } else { format!("{:.2} GiB", mib / 1024.0) }
}

/// `1 slide`, `2 slides`: a count with its noun, groups of three digits set apart from 10,000 on.
pub(crate) fn counted(n: usize, singular: &str, plural: &str) -> String {
    format!("{} {}", count(n), if n == 1 { singular } else { plural })
}

/// A count, groups of three digits separated from 10,000 on.
pub(crate) fn count(n: usize) -> String {
    let digits = n.to_string();
    if n < 10_000 {
        return digits;
    }
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_shown_as_they_were_given() {
        for (level, shown) in
            [(0.95, "95%"), (0.55, "55%"), (0.07, "7%"), (0.999, "99.9%"), (0.1 + 0.2, "30%")]
        {
            assert_eq!(percent(level), shown);
        }
        assert_eq!(percent(1.0 - 1e-12), "99.9999999999%");
    }

    #[test]
    fn p_values_read_as_in_the_paper() {
        assert_eq!(p_value(2.3e-39, -38.638), "2.30e-39");
        assert_eq!(p_value(1.79e-4, -3.747), "1.79e-4");
        assert_eq!(p_value(0.0149, -1.827), "1.49e-2");
        assert_eq!(p_value(0.6204, -0.207), "0.620");
        assert_eq!(p_value(1.0, 0.0), "1.000");
    }

    #[test]
    fn p_values_beyond_f64_come_from_their_logarithm() {
        // 10^-412.5 = 3.1623e-413.
        assert_eq!(p_value(0.0, -412.5), "3.16e-413");
        assert_eq!(p_value(0.0, -400.0001), "1.00e-400");
    }

    #[test]
    fn a_p_value_whose_logarithm_is_lost_has_a_bound() {
        assert_eq!(p_value(0.0, 0.0_f64.log10()), "< 1e-300");
        assert_eq!(p_value(1e-310, 1e-310_f64.log10()), "1.00e-310");
    }

    #[test]
    fn undefined_numbers_never_print_as_nan() {
        assert_eq!(fixed(f64::NAN, 3), MISSING);
        assert_eq!(fixed(f64::INFINITY, 3), MISSING);
        assert_eq!(fixed_or_missing(None, 3), MISSING);
        assert_eq!(significant(f64::NEG_INFINITY), MISSING);
        assert_eq!(duration(f64::NAN), MISSING);
    }

    #[test]
    fn negative_numbers_have_a_minus_sign_unless_they_round_to_zero() {
        assert_eq!(fixed(-1.25, 1), "\u{2212}1.2");
        assert_eq!(fixed(-0.0004, 3), "0.000");
    }

    #[test]
    fn significant_digits_follow_the_magnitude() {
        assert_eq!(significant(172.345), "172");
        assert_eq!(significant(9.3456), "9.35");
        assert_eq!(significant(0.012345), "0.0123");
        assert_eq!(significant(1e-4), "1.00e-4");
        assert_eq!(significant(0.0), "0");
    }

    #[test]
    fn durations_sizes_and_counts_carry_their_unit() {
        assert_eq!(duration(2.34), "2.3 s");
        assert_eq!(duration(725.0), "12 min 5 s");
        assert_eq!(duration(11_220.0), "3 h 7 min");
        assert_eq!(bytes(1_964_947_865), "1.83 GiB");
        assert_eq!(bytes(536_870_912), "512 MiB");
        assert_eq!(counted(1, "slide", "slides"), "1 slide");
        assert_eq!(counted(137_990, "patch", "patches"), "137,990 patches");
    }
}
