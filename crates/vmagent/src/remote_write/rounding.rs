//! Values cut to fewer digits, `-remoteWrite.significantFigures` and `-remoteWrite.roundDigits`.
//!
//! Fewer digits compress better. NaN (staleness markers above all) and infinities pass untouched.

/// What is done to each value of one URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rounding {
    /// Decimal digits from the first that is not zero; `None` or more than 17 leaves values alone.
    pub significant_figures: Option<u32>,
    /// Digits behind the point, negative ones in front of it; `None` leaves values alone.
    pub digits: Option<i32>,
}

impl Rounding {
    /// From the flags: figures are off at 0 and below, digits at 100 and above.
    pub fn from_flags(significant_figures: i64, digits: i64) -> Self {
        Self {
            significant_figures: u32::try_from(significant_figures).ok().filter(|figures| (1..18).contains(figures)),
            digits: i32::try_from(digits).ok().filter(|digits| (-100..100).contains(digits)),
        }
    }

    /// Whether any value would change.
    pub fn is_off(&self) -> bool {
        self.significant_figures.is_none() && self.digits.is_none()
    }

    /// The value in its place.
    pub fn apply(&self, value: f64) -> f64 {
        if !value.is_finite() || value == 0.0 {
            return value;
        }
        let value = match self.significant_figures {
            Some(figures) => round_to(value, figures as i32 - 1 - value.abs().log10().floor() as i32),
            None => value,
        };
        self.digits.map_or(value, |digits| round_to(value, digits))
    }
}

/// Rounds half away from zero at so many digits behind the point.
fn round_to(value: f64, digits: i32) -> f64 {
    // Powers beyond this are not exact, and nothing is behind so many digits.
    if digits > 300 {
        return value;
    }
    let power = 10_f64.powi(digits.abs());
    let rounded = if digits >= 0 { (value * power).round() / power } else { (value / power).round() * power };
    if rounded.is_finite() { rounded } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits() {
        let f = |digits: i64, value: f64, want: f64| {
            assert_eq!(Rounding::from_flags(0, digits).apply(value), want, "{value} to {digits}");
        };
        f(2, 1.236, 1.24);
        f(2, -1.236, -1.24);
        f(2, 0.004, 0.0);
        f(2, 123_456_789.987, 123_456_789.99);
        f(2, f64::INFINITY, f64::INFINITY);
        f(0, 2.5, 3.0);
        f(-1, 126.78, 130.0);
        f(-1, 4.0, 0.0);
        f(-1, -126.0, -130.0);
        f(100, 1.234_567_890_123_45, 1.234_567_890_123_45);
        f(99, f64::MAX, f64::MAX);
        f(5, f64::MIN_POSITIVE, 0.0);
    }

    #[test]
    fn figures() {
        let f = |figures: i64, digits: i64, value: f64, want: f64| {
            assert_eq!(Rounding::from_flags(figures, digits).apply(value), want, "{value} to {figures}");
        };
        f(3, 100, 1234.5, 1230.0);
        f(3, 100, 0.000_123_45, 0.000_123);
        f(3, 100, -9999.0, -10_000.0);
        f(3, 100, 12.0, 12.0);
        f(3, 1, 1.2654, 1.3);
        f(3, 1, 126.54, 127.0);
        f(0, 100, 1.23, 1.23);
        f(18, 100, 1.23, 1.23);
        f(3, 100, f64::MAX, f64::MAX);
        f(3, 100, 5e-324, 5e-324);
    }

    #[test]
    fn markers_keep_their_bits() {
        let marker = f64::from_bits(0x7ff0_0000_0000_0002);
        assert_eq!(Rounding::from_flags(3, 2).apply(marker).to_bits(), marker.to_bits());
    }
}
