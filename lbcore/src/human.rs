//! Numbers and times as people say them.

use std::time::{Duration, SystemTime};

/// `999`, `1,048,576`, `12.3M`.
pub fn count(n: u64) -> String {
    match n {
        0..=9_999_999 => grouped(n),
        _ => scaled(n as f64, 1000.0, &["", "k", "M", "G", "T", "P", "E"]),
    }
}

/// `999 B`, `1.2 KiB`, `3.45 GiB`.
pub fn bytes(n: u64) -> String {
    scaled(
        n as f64,
        1024.0,
        &[" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"],
    )
}

/// So many a second: `0`, `0.4`, `12`, `1,234`, `12.3M`; rates below 10 have a decimal, unless it
/// would be 0.
pub fn rate(per_second: f64) -> String {
    let tenths = (per_second * 10.0).round();
    if tenths < 100.0 && tenths % 10.0 != 0.0 {
        return format!("{:.1}", tenths / 10.0);
    }
    count(per_second.round() as u64)
}

/// `0 bit/s`, `999 bit/s`, `1.23 Mbit/s`.
pub fn bits(per_second: f64) -> String {
    let units = ["", "k", "M", "G", "T", "P", "E"];
    let scaled = scaled(per_second.round(), 1000.0, &units);
    let at = scaled.trim_end_matches(|c: char| c.is_alphabetic()).len();
    format!("{} {}bit/s", &scaled[..at], &scaled[at..])
}

/// `12,345`.
fn grouped(n: u64) -> String {
    if n < 1000 {
        n.to_string()
    } else {
        format!("{},{:03}", grouped(n / 1000), n % 1000)
    }
}

/// Three significant digits.
fn scaled(n: f64, step: f64, units: &[&str]) -> String {
    let mut n = n;
    let mut unit = 0;
    // 999.5 would be rounded up to a fourth digit.
    while n >= 999.5 && unit + 1 < units.len() {
        n /= step;
        unit += 1;
    }
    let decimals = match n {
        _ if unit == 0 => 0,
        0.0..9.995 => 2,
        9.995..99.95 => 1,
        _ => 0,
    };
    format!("{n:.decimals$}{}", units[unit])
}

/// The two largest parts: `59s`, `4m 10s`, `3h 5m`, `12d 3h`.
pub fn duration(d: Duration) -> String {
    let s = d.as_secs();
    let pair = |big: u64, big_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{big}{big_unit}"),
        _ => format!("{big}{big_unit} {small}{small_unit}"),
    };
    match s {
        0..60 => format!("{s}s"),
        60..3600 => pair(s / 60, "m", s % 60, "s"),
        3600..86_400 => pair(s / 3600, "h", s / 60 % 60, "m"),
        _ => pair(s / 86_400, "d", s / 3600 % 24, "h"),
    }
}

/// How long ago `then` was; a clock that was set back makes it `0s`.
pub fn ago(then: SystemTime, now: SystemTime) -> String {
    duration(now.duration_since(then).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (n, words) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (999_999, "999,999"),
            (1_048_576, "1,048,576"),
            (12_345_678, "12.3M"),
            (999_499_999, "999M"),
            (999_999_999, "1.00G"),
            (u64::MAX, "18.4E"),
        ] {
            assert_eq!(count(n), words, "{n}");
        }
        for (n, words) in [
            (0, "0 B"),
            (999, "999 B"),
            (1023, "1.00 KiB"),
            (1024, "1.00 KiB"),
            (10_240, "10.0 KiB"),
            (9_876_543_210, "9.20 GiB"),
        ] {
            assert_eq!(bytes(n), words, "{n}");
        }
    }

    #[test]
    fn rates_read_well() {
        for (n, words) in [
            (0.0, "0"),
            (0.04, "0"),
            (0.35, "0.4"),
            (1.0, "1"),
            (9.96, "10"),
            (12.4, "12"),
            (123_456.0, "123,456"),
            (12_345_678.0, "12.3M"),
        ] {
            assert_eq!(rate(n), words, "{n}");
        }
        for (n, words) in [
            (0.0, "0 bit/s"),
            (999.0, "999 bit/s"),
            (1000.0, "1.00 kbit/s"),
            (12_345_678.0, "12.3 Mbit/s"),
            (9.99e9, "9.99 Gbit/s"),
        ] {
            assert_eq!(bits(n), words, "{n}");
        }
    }

    #[test]
    fn durations_read_well() {
        for (s, words) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (250, "4m 10s"),
            (3600, "1h"),
            (11_100, "3h 5m"),
            (1_047_600, "12d 3h"),
        ] {
            assert_eq!(duration(Duration::from_secs(s)), words, "{s}");
        }
    }
}
