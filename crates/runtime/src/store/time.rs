//! Points in time as RFC 3339 text.

use std::time::{Duration, SystemTime};

/// `now` in UTC with nanoseconds, as Go's RFC3339Nano: trailing zeros of the fraction are left out.
pub fn now() -> String {
    let (seconds, nanos) = rt_sys::process::since_1970();
    rfc3339(seconds, nanos)
}

fn rfc3339(seconds: u64, nanos: u32) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
    if nanos == 0 {
        return humantime::format_rfc3339_seconds(time).to_string();
    }
    let text = humantime::format_rfc3339_nanos(time).to_string();
    format!("{}Z", text.trim_end_matches('Z').trim_end_matches('0'))
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
