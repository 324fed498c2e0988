//! Decimal numbers as text.

/// A decimal number in units of its last place, and what is left of it below that place.
pub struct Decimal {
    pub units: u128,
    pub remainder: Remainder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remainder {
    Zero,
    BelowHalf,
    HalfOrMore,
}

/// So many digits fit into 128 bits, with any exponent that a price has.
const MOST_DIGITS: usize = 30;

impl Decimal {
    /// Parses a number that is not negative, with or without fraction and exponent.
    pub fn parse(text: &str, places: i64) -> Option<Self> {
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        let has_digits = !whole.is_empty() && (fraction.is_empty() != mantissa.contains('.'));
        let is_number = has_digits && digits.bytes().all(|byte| byte.is_ascii_digit());
        let digits = digits.trim_start_matches('0');
        if !is_number || digits.len() > MOST_DIGITS {
            return None;
        }
        let exponent: i64 = exponent.parse().ok()?;
        if digits.is_empty() {
            return Some(Self { units: 0, remainder: Remainder::Zero });
        }
        let digits: u128 = digits.parse().ok()?;
        let shift = exponent.checked_add(places)?.checked_sub(i64::try_from(fraction.len()).ok()?)?;
        let power = u32::try_from(shift.unsigned_abs()).ok().and_then(|power| 10_u128.checked_pow(power));
        if shift >= 0 {
            return Some(Self { units: digits.checked_mul(power?)?, remainder: Remainder::Zero });
        }
        // A divisor beyond 128 bits leaves nothing of so few digits.
        let Some(divisor) = power else { return Some(Self { units: 0, remainder: Remainder::BelowHalf }) };
        let remainder = match digits % divisor {
            0 => Remainder::Zero,
            rest if rest >= divisor / 2 => Remainder::HalfOrMore,
            _ => Remainder::BelowHalf,
        };
        Some(Self { units: digits / divisor, remainder })
    }
}
