//! Until when an X.509 certificate is good: its `notAfter`, found by walking the DER it stands in
//! (RFC 5280, 4.1). Nothing is verified here; rustls does that.

/// Seconds since 1970 of `notAfter`; `None` if this is no certificate. Total: any bytes will do.
pub fn expires(der: &[u8]) -> Option<i64> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let (certificate, _) = expect(SEQUENCE, der)?;
    let (mut rest, _) = expect(SEQUENCE, certificate)?;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    // serialNumber, signature, issuer.
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (validity, _) = expect(SEQUENCE, rest)?;
    let (_, _, not_after) = element(validity)?;
    let (tag, text, _) = element(not_after)?;
    time(tag, text)
}

/// Tag and contents of the first element of `der`, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // So many bytes of length follow; four of them are 4 GiB.
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = bytes
                .iter()
                .fold(0, |length, byte| length << 8 | usize::from(*byte));
            (length, rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((tag, contents, rest))
}

fn expect(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, contents, rest) = element(der)?;
    (found == tag).then_some((contents, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`, the only forms certificates may use.
fn time(tag: u8, text: &[u8]) -> Option<i64> {
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let pairs: Vec<i64> = digits
        .chunks(2)
        .map(|pair| {
            pair.iter()
                .fold(0, |n, digit| n * 10 + i64::from(digit - b'0'))
        })
        .collect();
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) if pairs[0] < 50 => (2000 + pairs[0], &pairs[1..]),
        (UTC_TIME, 12) => (1900 + pairs[0], &pairs[1..]),
        (GENERALIZED_TIME, 14) => (pairs[0] * 100 + pairs[1], &pairs[2..]),
        _ => return None,
    };
    let &[
        month @ 1..=12,
        day @ 1..=31,
        hour @ 0..=23,
        minute @ 0..=59,
        second @ 0..=60,
    ] = rest
    else {
        return None;
    };
    Some(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days since 1970 of a date (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tagged(tag: u8, contents: &[u8]) -> Vec<u8> {
        let mut der = vec![tag];
        match contents.len() {
            short @ 0..=0x7f => der.push(short as u8),
            long => {
                der.push(0x82);
                der.extend((long as u16).to_be_bytes());
            }
        }
        der.extend(contents);
        der
    }

    /// A certificate as far as its validity reaches.
    fn certificate(version: bool, not_after: &[u8]) -> Vec<u8> {
        let validity = [tagged(0x17, b"200101000000Z"), not_after.to_vec()].concat();
        let mut fields = Vec::new();
        if version {
            fields.extend(tagged(0xa0, &tagged(2, &[2])));
        }
        fields.extend(tagged(2, &[9; 20]));
        fields.extend(tagged(0x30, &[6, 0]));
        fields.extend(tagged(0x30, &[0; 200]));
        fields.extend(tagged(0x30, &validity));
        fields.extend(tagged(0x30, b"subject and the rest"));
        tagged(0x30, &tagged(0x30, &fields))
    }

    #[test]
    fn the_end_of_validity_is_found() {
        for (tag, text, expected) in [
            (0x17, "700101000000Z", 0),
            (0x17, "491231235959Z", 2_524_607_999),
            (0x17, "500101000000Z", -631_152_000),
            (0x17, "240229120000Z", 1_709_208_000),
            (0x18, "20500101000000Z", 2_524_608_000),
            (0x18, "99991231235959Z", 253_402_300_799),
        ] {
            for version in [true, false] {
                let der = certificate(version, &tagged(tag, text.as_bytes()));
                assert_eq!(expires(&der), Some(expected), "{text}");
            }
        }
    }

    #[test]
    fn other_times_are_none() {
        for (tag, text) in [
            (0x17, "20240229120000Z"),
            (0x18, "240229120000Z"),
            (0x17, "241329120000Z"),
            (0x17, "240200120000Z"),
            (0x17, "240229250000Z"),
            (0x17, "240229120000"),
            (0x17, "24022912000xZ"),
            (0x17, ""),
            (0x04, "240229120000Z"),
        ] {
            assert_eq!(
                expires(&certificate(true, &tagged(tag, text.as_bytes()))),
                None,
                "{text}"
            );
        }
    }

    #[test]
    fn cut_certificates_are_none_or_whole_enough() {
        let whole = certificate(true, &tagged(0x17, b"240229120000Z"));
        for length in 0..whole.len() {
            assert_eq!(expires(&whole[..length]), None);
        }
    }

    proptest! {
        #[test]
        fn t34_any_bytes_will_do(bytes: Vec<u8>, at: prop::sample::Index, byte: u8) {
            expires(&bytes);
            let mut der = certificate(true, &tagged(0x17, b"240229120000Z"));
            let at = at.index(der.len());
            der[at] = byte;
            expires(&der);
        }
    }
}
