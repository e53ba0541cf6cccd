//! Time as the protocol writes it: `20260115T123456Z` in signatures, IMF-fixdate in `Date`.
//! Hand-written because both directions are needed for exactly these two shapes and nothing else.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since the epoch now, moved by `offset` seconds.
pub(crate) fn unix_now(offset: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    i64::try_from(now).unwrap_or(i64::MAX).saturating_add(offset)
}

/// Milliseconds since the epoch now, by the machine's clock.
pub(crate) fn unix_now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
    u64::try_from(now).unwrap_or(u64::MAX)
}

struct Civil {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    weekday: usize,
}

/// Days to date and back: the well-known algorithm over 400-year eras, with March as first month.
fn civil(unix: i64) -> Civil {
    let days = unix.div_euclid(86_400);
    let rest = unix.rem_euclid(86_400);
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    Civil {
        year: yoe + era * 400 + i64::from(month <= 2),
        month,
        day: doy - (153 * mp + 2) / 5 + 1,
        hour: rest / 3_600,
        minute: rest / 60 % 60,
        second: rest % 60,
        weekday: usize::try_from((days + 4).rem_euclid(7)).unwrap_or(0),
    }
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let mp = (month + 9) % 12;
    let doy = (153 * mp + 2) / 5 + day - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

/// `20260115T123456Z`.
pub(crate) fn amz_date(unix: i64) -> String {
    let c = civil(unix);
    format!("{:04}{:02}{:02}T{:02}{:02}{:02}Z", c.year, c.month, c.day, c.hour, c.minute, c.second)
}

/// Reads `20260115T123456Z`; anything else is refused, also impossible dates.
pub(crate) fn parse_amz_date(text: &str) -> Option<i64> {
    let b = text.as_bytes();
    if b.len() != 16 || b[8] != b'T' || b[15] != b'Z' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| {
        b[range]
            .iter()
            .try_fold(0i64, |n, c| c.is_ascii_digit().then(|| n * 10 + i64::from(c - b'0')))
    };
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let (hour, minute, second) = (number(9..11)?, number(11..13)?, number(13..15)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let unix = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    // 31 February would come back as a day in March.
    (civil(unix - second).day == day).then_some(unix)
}

fn month_name(c: &Civil) -> &'static str {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    usize::try_from(c.month - 1).ok().and_then(|m| MONTHS.get(m)).unwrap_or(&"Jan")
}

/// `15/Jan/2026:12:34:56 +0000`, as in API Gateway's events.
pub(crate) fn log_date(unix: i64) -> String {
    let c = civil(unix);
    format!(
        "{:02}/{}/{:04}:{:02}:{:02}:{:02} +0000",
        c.day,
        month_name(&c),
        c.year,
        c.hour,
        c.minute,
        c.second
    )
}

/// `2026-01-15T12:34:56.789Z`.
pub(crate) fn iso_date(unix_ms: u64) -> String {
    let c = civil(i64::try_from(unix_ms / 1_000).unwrap_or(0));
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        c.year,
        c.month,
        c.day,
        c.hour,
        c.minute,
        c.second,
        unix_ms % 1_000
    )
}

/// `Thu, 15 Jan 2026 12:34:56 GMT`.
pub(crate) fn http_date(unix: i64) -> String {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    let c = civil(unix);
    format!(
        "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
        DAYS[c.weekday],
        c.day,
        month_name(&c),
        c.year,
        c.hour,
        c.minute,
        c.second
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        assert_eq!(parse_amz_date("20260115T123456Z"), Some(1_768_480_496));
        assert_eq!(amz_date(1_768_480_496), "20260115T123456Z");
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(log_date(1_768_480_496), "15/Jan/2026:12:34:56 +0000");
        assert_eq!(iso_date(1_768_480_496_789), "2026-01-15T12:34:56.789Z");
        assert_eq!(parse_amz_date("20260231T000000Z"), None);
        assert_eq!(parse_amz_date("20260115T12345"), None);
        assert_eq!(parse_amz_date("2026é115T12345Z"), None);
    }

    proptest::proptest! {
        #[test]
        fn round_trip(unix in 0i64..4_000_000_000) {
            proptest::prop_assert_eq!(parse_amz_date(&amz_date(unix)), Some(unix));
        }
    }
}
