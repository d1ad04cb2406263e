//! One DNS question and what its answer means (RFC 1035, EDNS of RFC 6891).

use std::fmt;

/// What may be asked for, with its number (IANA, DNS parameters) and word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// IPv4 address.
    A,
    /// IPv6 address.
    Aaaa,
    /// Certification authorities.
    Caa,
    /// Another name.
    Cname,
    /// Mail server.
    Mx,
    /// Name server.
    Ns,
    /// Name of an address.
    Ptr,
    /// Start of authority.
    Soa,
    /// Place of a service.
    Srv,
    /// Text.
    Txt,
}

impl Record {
    /// Every one with its word.
    pub const ALL: [(&'static str, Record); 10] = [
        ("A", Record::A),
        ("AAAA", Record::Aaaa),
        ("CAA", Record::Caa),
        ("CNAME", Record::Cname),
        ("MX", Record::Mx),
        ("NS", Record::Ns),
        ("PTR", Record::Ptr),
        ("SOA", Record::Soa),
        ("SRV", Record::Srv),
        ("TXT", Record::Txt),
    ];

    fn number(self) -> u16 {
        match self {
            Record::A => 1,
            Record::Ns => 2,
            Record::Cname => 5,
            Record::Soa => 6,
            Record::Ptr => 12,
            Record::Mx => 15,
            Record::Txt => 16,
            Record::Aaaa => 28,
            Record::Srv => 33,
            Record::Caa => 257,
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Record::ALL.iter().find(|(_, record)| record == self);
        f.write_str(word.map_or("?", |(word, _)| word))
    }
}

/// Longest label, and longest name as text (RFC 1035, 2.3.4).
const MAX_LABEL: usize = 63;
const MAX_NAME: usize = 253;

const HEADER: usize = 12;
const CLASS_IN: u16 = 1;

/// What we take in one datagram: what fits any path without fragments (DNS flag day 2020).
pub const MAX_ANSWER: u16 = 1232;

/// Whether `name` can be asked for: `example.com`, `example.com.`, or `.` alone.
pub fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let label = |label: &str| (1..=MAX_LABEL).contains(&label.len()) && label.bytes().all(allowed);
    let bare = name.strip_suffix('.').unwrap_or(name);
    name == "." || (bare.len() <= MAX_NAME && bare.split('.').all(label))
}

/// The question for `record` of `name`, which [`is_name`].
pub fn query(id: u16, name: &str, record: Record) -> Vec<u8> {
    const RECURSE: u16 = 0x0100;
    let mut query = Vec::with_capacity(HEADER + MAX_NAME + 20);
    for word in [id, RECURSE, 1, 0, 0, 1] {
        query.extend(word.to_be_bytes());
    }
    query.extend(question(name, record));
    // EDNS: the root name, OPT, how much we take, no flags, no options.
    query.extend([0, 0, 41]);
    query.extend(MAX_ANSWER.to_be_bytes());
    query.extend([0; 6]);
    query
}

fn question(name: &str, record: Record) -> Vec<u8> {
    let mut question = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let bytes = &label.as_bytes()[..label.len().min(MAX_LABEL)];
        question.push(bytes.len() as u8);
        question.extend(bytes);
    }
    question.push(0);
    question.extend(record.number().to_be_bytes());
    question.extend(CLASS_IN.to_be_bytes());
    question
}

/// What a datagram means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answers another question: wait on.
    NotOurs,
    /// It holds so many records of the kind.
    Records(usize),
    /// The server answers, and does not give what was asked for: why, in words.
    SaysNo(String),
    /// It is broken.
    Malformed,
}

/// Judges a datagram that came after [`query`]. Total: any bytes give a verdict.
pub fn judge(answer: &[u8], id: u16, name: &str, record: Record) -> Verdict {
    let word = |at: usize| {
        let bytes = answer.get(at..at + 2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    };
    let (Some(found), Some(flags)) = (word(0), word(2)) else {
        return Verdict::NotOurs;
    };
    let is_answer = flags & 0x8000 != 0;
    if found != id || !is_answer {
        return Verdict::NotOurs;
    }
    let (Some(questions), Some(answers)) = (word(4), word(6)) else {
        return Verdict::Malformed;
    };
    let asked = question(name, record);
    let repeats = answer
        .get(HEADER..HEADER + asked.len())
        .is_some_and(|theirs| theirs.eq_ignore_ascii_case(&asked));
    let code = flags & 0xf;
    match (questions, repeats) {
        (1, true) => {}
        // Who cannot read a question need not repeat it.
        (0, _) if code != 0 => {}
        _ => return Verdict::NotOurs,
    }
    if code != 0 {
        return Verdict::SaysNo(format!("dns answer {}", rcode(code)));
    }
    let mut at = HEADER + asked.len();
    let mut records = 0;
    for _ in 0..answers {
        let Some((kind, class, next)) = resource(answer, at) else {
            // Cut off, as the server has told, or broken.
            let truncated = flags & 0x0200 != 0;
            if truncated {
                break;
            }
            return Verdict::Malformed;
        };
        records += usize::from(kind == record.number() && class == CLASS_IN);
        at = next;
    }
    match records {
        0 => Verdict::SaysNo(format!("dns answer without a record of type {record}")),
        _ => Verdict::Records(records),
    }
}

/// Type and class of the record at `at`, and where the next one begins, always further on.
fn resource(answer: &[u8], at: usize) -> Option<(u16, u16, usize)> {
    let mut at = at;
    loop {
        let length = *answer.get(at)?;
        match length {
            0 => {
                at += 1;
                break;
            }
            // A pointer ends the name; where it leads is of no interest.
            0xc0.. => {
                at += 2;
                break;
            }
            1..=63 => at += 1 + usize::from(length),
            _ => return None,
        }
    }
    let fixed = answer.get(at..at + 10)?;
    let word = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
    let next = at + 10 + usize::from(word(8));
    (next <= answer.len()).then_some((word(0), word(2), next))
}

/// RFC 1035 and 6895.
fn rcode(code: u16) -> String {
    match code {
        1 => "FORMERR".to_owned(),
        2 => "SERVFAIL".to_owned(),
        3 => "NXDOMAIN".to_owned(),
        4 => "NOTIMP".to_owned(),
        5 => "REFUSED".to_owned(),
        code => format!("code {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: u16 = 0x1234;

    /// An answer to `query(ID, name, record)` with these flags and records.
    fn answer(name: &str, record: Record, flags: u16, records: &[&[u8]]) -> Vec<u8> {
        let mut answer = Vec::new();
        for word in [ID, flags, 1, records.len() as u16, 0, 0] {
            answer.extend(word.to_be_bytes());
        }
        answer.extend(question(name, record));
        answer.extend(records.concat());
        answer
    }

    /// A record with a compressed name, type, and four bytes of data.
    fn of_type(kind: u16) -> Vec<u8> {
        let mut record = vec![0xc0, 12];
        record.extend(kind.to_be_bytes());
        record.extend([0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        record
    }

    const GOOD: u16 = 0x8180;

    #[test]
    fn the_question_as_the_rfc_writes_it() {
        let expected = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\x01\
            \x04shop\x07example\0\0\x1c\0\x01\
            \0\0\x29\x04\xd0\0\0\0\0\0\0";
        assert_eq!(query(ID, "shop.example.", Record::Aaaa), expected);
        assert_eq!(question(".", Record::Ns), b"\0\0\x02\0\x01");
    }

    #[test]
    fn names() {
        for good in [
            "example",
            "a.b-c._tcp.example.com",
            "example.com.",
            ".",
            "1",
        ] {
            assert!(is_name(good), "{good}");
        }
        let long = ["a".repeat(64), "abc.".repeat(64)];
        for bad in ["", "..", "a..b", ".a", "a b", "ä", &long[0], &long[1]] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn answers_are_judged() {
        let judged = |answer: &[u8]| judge(answer, ID, "Shop.example", Record::A);
        let (a, cname, mx) = (of_type(1), of_type(5), of_type(15));
        let good = answer("shop.EXAMPLE", Record::A, GOOD, &[&cname, &a, &a]);
        assert_eq!(judged(&good), Verdict::Records(2));

        let no = |why: &str| Verdict::SaysNo(why.to_owned());
        let other = answer("shop.example", Record::A, GOOD, &[&mx]);
        assert_eq!(judged(&other), no("dns answer without a record of type A"));
        let empty = answer("shop.example", Record::A, GOOD, &[]);
        assert_eq!(judged(&empty), no("dns answer without a record of type A"));
        for (code, word) in [
            (2, "SERVFAIL"),
            (3, "NXDOMAIN"),
            (5, "REFUSED"),
            (9, "code 9"),
        ] {
            let refused = answer("shop.example", Record::A, GOOD | code, &[]);
            assert_eq!(judged(&refused), no(&format!("dns answer {word}")));
        }
        let mut mute = answer("", Record::A, GOOD | 1, &[])[..HEADER].to_vec();
        mute[5] = 0;
        assert_eq!(judged(&mute), no("dns answer FORMERR"));
    }

    #[test]
    fn other_datagrams_are_not_ours() {
        let judged = |answer: &[u8]| judge(answer, ID, "a.b", Record::A);
        let a = of_type(1);
        let mut other_id = answer("a.b", Record::A, GOOD, &[&a]);
        other_id[0] = 0;
        for datagram in [
            other_id,
            answer("a.c", Record::A, GOOD, &[&a]),
            answer("a.b", Record::Aaaa, GOOD, &[&a]),
            query(ID, "a.b", Record::A),
            Vec::new(),
        ] {
            assert_eq!(judged(&datagram), Verdict::NotOurs, "{datagram:?}");
        }
    }

    #[test]
    fn cut_answers_are_broken_unless_the_server_says_it_cut_them() {
        let a = of_type(1);
        let whole = answer("a.b", Record::A, GOOD, &[&a, &a]);
        let cut = &whole[..whole.len() - 5];
        assert_eq!(judge(cut, ID, "a.b", Record::A), Verdict::Malformed);
        let told = answer("a.b", Record::A, GOOD | 0x0200, &[&a, &a]);
        let cut = &told[..told.len() - 5];
        assert_eq!(judge(cut, ID, "a.b", Record::A), Verdict::Records(1));
    }

    proptest! {
        /// T34: any bytes give a verdict.
        #[test]
        fn t34_any_datagram_is_judged(mut bytes: Vec<u8>, ours: bool) {
            if ours {
                let mut whole = answer("a.b", Record::A, GOOD, &[]);
                whole[7] = 9;
                whole.extend(&bytes);
                bytes = whole;
            }
            judge(&bytes, ID, "a.b", Record::A);
        }
    }
}
