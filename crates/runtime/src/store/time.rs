//! Points in time as RFC 3339 text.

/// `now` in UTC with nanoseconds, as Go's RFC3339Nano: trailing zeros of the fraction are left out.
pub fn now() -> String {
    let (seconds, nanos) = rt_sys::process::since_1970();
    rfc3339(seconds, nanos)
}

fn rfc3339(secs: u64, nanos: u32) -> String {
    let (days, rest) = ((secs / 86400) as i64, secs % 86400);
    let (year, month, day) = civil(days);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    if nanos > 0 {
        let fraction = format!(".{nanos:09}");
        text.push_str(fraction.trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// The Gregorian date of a day number since 1970-01-01: eras of 400 years, years that begin in
/// March.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Engines parse this text as Go's time.
    #[test]
    fn known_points_in_time() {
        assert_eq!(rfc3339(0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400, 0), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_793_000_713, 831_953_961), "2026-10-26T07:45:13.831953961Z");
        assert_eq!(rfc3339(1_793_000_713, 500_000_000), "2026-10-26T07:45:13.5Z");
        assert_eq!(rfc3339(4_107_542_399, 0), "2100-02-28T23:59:59Z");
    }
}
