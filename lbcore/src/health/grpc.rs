//! The gRPC health checking protocol (grpc.health.v1): one request message and one answer message,
//! each of one field, in protobuf and gRPC's five-byte frame.

/// The method's path.
pub const METHOD: &str = "/grpc.health.v1.Health/Check";

/// The frame before a message: a flag for compression, and the length.
const FRAME: usize = 5;

/// `HealthCheckRequest { service }` in its frame; a name of at most 127 bytes.
pub fn request(service: &str) -> Vec<u8> {
    const SERVICE_FIELD: u8 = 1 << 3 | 2;
    let name = &service.as_bytes()[..service.len().min(127)];
    let message = match name.len() {
        0 => Vec::new(),
        length => [&[SERVICE_FIELD, length as u8], name].concat(),
    };
    let mut framed = vec![0];
    framed.extend((message.len() as u32).to_be_bytes());
    framed.extend(message);
    framed
}

/// What a service says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It serves.
    Serving,
    /// It does not.
    NotServing,
    /// The server does not know the service, or how it is.
    Unknown,
}

/// The status in a framed `HealthCheckResponse`; `None` if it is none. Total: any bytes will do.
pub fn status(framed: &[u8]) -> Option<Status> {
    let (frame, message) = framed.split_at_checked(FRAME)?;
    let [0, length @ ..] = frame else { return None };
    let length: [u8; 4] = length.try_into().ok()?;
    let message = message.get(..usize::try_from(u32::from_be_bytes(length)).ok()?)?;
    const STATUS_FIELD: u64 = 1 << 3;
    let mut rest = message;
    let mut status = 0;
    while !rest.is_empty() {
        let (tag, after) = varint(rest)?;
        rest = after;
        let value;
        (value, rest) = match tag & 7 {
            0 => varint(rest)?,
            1 => (0, rest.get(8..)?),
            2 => {
                let (length, after) = varint(rest)?;
                (0, after.get(usize::try_from(length).ok()?..)?)
            }
            5 => (0, rest.get(4..)?),
            _ => return None,
        };
        if tag == STATUS_FIELD {
            status = value;
        }
    }
    Some(match status {
        1 => Status::Serving,
        2 => Status::NotServing,
        _ => Status::Unknown,
    })
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * index as u32)?;
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requests() {
        assert_eq!(request(""), [0, 0, 0, 0, 0]);
        assert_eq!(request("shop"), b"\0\0\0\0\x06\x0a\x04shop");
    }

    #[test]
    fn statuses() {
        for (framed, expected) in [
            (&b"\0\0\0\0\x02\x08\x01"[..], Some(Status::Serving)),
            (b"\0\0\0\0\x02\x08\x02", Some(Status::NotServing)),
            (b"\0\0\0\0\x02\x08\x03", Some(Status::Unknown)),
            (b"\0\0\0\0\0", Some(Status::Unknown)),
            (b"\0\0\0\0\x06\x12\x02hi\x08\x01", Some(Status::Serving)),
            (b"\0\0\0\0\x02\x08\x01rest", Some(Status::Serving)),
            (b"\x01\0\0\0\x02\x08\x01", None),
            (b"\0\0\0\0\x03\x08\x01", None),
            (b"\0\xff\xff\xff\xff\x08\x01", None),
            (b"\0\0\0\0\x02\x08\x81", None),
            (b"\0\0\0\0\x02\x0b\x01", None),
            (b"\0\0\0", None),
            (b"", None),
        ] {
            assert_eq!(status(framed), expected, "{framed:?}");
        }
    }

    proptest! {
        #[test]
        fn t34_any_answer_is_judged(bytes: Vec<u8>) {
            status(&bytes);
            let mut framed = vec![0];
            framed.extend((bytes.len() as u32).to_be_bytes());
            framed.extend(&bytes);
            status(&framed);
        }
    }
}
