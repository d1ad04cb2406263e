//! Addresses found in words and covered: what leaves the house must not tell who the clients are.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

/// `text` with every IP address for which `cover` has another word replaced by it. Ports, prefix
/// lengths and brackets around an address stay.
///
/// An address is what [`IpAddr`] reads in a run of digits, letters a to f, colons and dots, also
/// with a port behind IPv4. MAC addresses and times of day are none.
pub fn addresses(text: &str, mut cover: impl FnMut(IpAddr) -> Option<String>) -> Cow<'_, str> {
    let mut out = String::new();
    let mut kept = 0;
    for (start, run) in runs(text) {
        let Some((offset, len, address)) = address_in(run) else {
            continue;
        };
        if let Some(word) = cover(address) {
            let start = start + offset;
            out.push_str(&text[kept..start]);
            out.push_str(&word);
            kept = start + len;
        }
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[kept..]);
    Cow::Owned(out)
}

/// The longest pieces of `text` of which an address may consist, with where they start.
fn runs(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let of_address = |c: char| c.is_ascii_hexdigit() || c == ':' || c == '.';
    text.split(move |c| !of_address(c))
        .filter(|run| run.len() > 1)
        .map(move |run| (run.as_ptr().addr() - text.as_ptr().addr(), run))
}

/// The address in a run: where it starts, how long it is, and which it is.
fn address_in(run: &str) -> Option<(usize, usize, IpAddr)> {
    if let Ok(address) = run.parse() {
        return Some((0, run.len(), address));
    }
    // The dot of a sentence, or the colon before an explanation.
    let end = run.strip_suffix(['.', ':']).unwrap_or(run);
    if let Ok(address) = end.parse() {
        return Some((0, end.len(), address));
    }
    let core = end.trim_start_matches(['.', ':']);
    let offset = end.len() - core.len();
    if let Ok(address) = core.parse() {
        return Some((offset, core.len(), address));
    }
    let (host, _port) = core.split_once(':')?;
    let address: Ipv4Addr = host.parse().ok()?;
    Some((offset, host.len(), address.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn covered(text: &str) -> Cow<'_, str> {
        let vip: IpAddr = Ipv4Addr::new(192, 0, 2, 10).into();
        addresses(text, |address| {
            (address != vip).then(|| "(client)".to_owned())
        })
    }

    #[test]
    fn addresses_are_covered_wherever_they_stand() {
        for (text, shown) in [
            ("192.0.2.100", "(client)"),
            (
                "192.0.2.100:40000 -> 192.0.2.10:443",
                "(client):40000 -> 192.0.2.10:443",
            ),
            ("[2001:db8::100]:443", "[(client)]:443"),
            (
                "flows of 198.51.100.0/24 cleared",
                "flows of (client)/24 cleared",
            ),
            ("from 2001:db8::1.", "from (client)."),
            ("peer=::ffff:192.0.2.7, gone", "peer=(client), gone"),
            ("tcp:192.0.2.7: refused", "tcp:(client): refused"),
            ("192.0.2.7,192.0.2.8", "(client),(client)"),
            ("bücher 192.0.2.7 書", "bücher (client) 書"),
        ] {
            assert_eq!(covered(text), shown);
        }
    }

    #[test]
    fn other_words_stay() {
        for text in [
            "",
            "added a face: bad",
            "02:00:00:00:00:21 claims it",
            "at 20:39:42.125",
            "lbd 0.1.0, revision 7",
            "192.0.2.10:443/tcp",
            "999.0.2.1",
        ] {
            assert!(matches!(covered(text), Cow::Borrowed(_)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_address_survives(address: IpAddr, before in "[ (=,\\[]", behind in "[ ),/\\]]|: |\\. ") {
            let text = format!("x{before}{address}{behind}y");
            let shown = addresses(&text, |_| Some("?".to_owned())).into_owned();
            prop_assert_eq!(shown, format!("x{before}?{behind}y"));
        }

        #[test]
        fn nothing_else_is_touched(text: String) {
            let shown = addresses(&text, |_| None);
            prop_assert_eq!(shown.as_ref(), text.as_str());
        }
    }
}
