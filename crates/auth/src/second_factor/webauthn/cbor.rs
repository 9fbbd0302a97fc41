//! As much CBOR as authenticators write: the canonical form of CTAP2, in which every length is known
//! beforehand (RFC 8949; CTAP 2.2, section 8).

/// How deep values may lie in each other. CTAP2 allows four; an attestation statement may be one deeper
/// inside its object.
const DEPTH_MAX: u8 = 6;

/// A value. Arrays, tags and simple values are passed over: nothing that is needed is made of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// An integer, positive or negative.
    Integer(i64),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Text.
    Text(&'a str),
    /// A map, of which this is the encoding of its entries and their number.
    Map(Map<'a>),
    /// Something else.
    Other,
}

/// The entries of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Map<'a> {
    entries: &'a [u8],
    count: u64,
}

/// The bytes are not such a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl<'a> Map<'a> {
    /// Whether nothing is in it.
    pub(super) fn is_empty(self) -> bool {
        self.count == 0
    }

    /// The value under that key, if there is exactly one.
    pub(super) fn get(self, key: &Value<'_>) -> Option<Value<'a>> {
        let mut rest = self.entries;
        let mut found = None;
        for _ in 0..self.count {
            let (entry_key, after_key) = read(rest).ok()?;
            let (value, after_value) = read(after_key).ok()?;
            if entry_key == *key && found.replace(value).is_some() {
                return None;
            }
            rest = after_value;
        }
        found
    }

    /// The bytes under that key.
    pub(super) fn bytes(self, key: &Value<'_>) -> Option<&'a [u8]> {
        match self.get(key)? {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The integer under that key.
    pub(super) fn integer(self, key: &Value<'_>) -> Option<i64> {
        match self.get(key)? {
            Value::Integer(integer) => Some(integer),
            _ => None,
        }
    }
}

/// Reads one value; answers it and what follows it.
pub(super) fn read(bytes: &[u8]) -> Result<(Value<'_>, &[u8]), Malformed> {
    read_at(bytes, 0)
}

fn read_at(bytes: &[u8], depth: u8) -> Result<(Value<'_>, &[u8]), Malformed> {
    if depth > DEPTH_MAX {
        return Err(Malformed);
    }
    let (major, argument, rest) = head(bytes)?;
    match major {
        0 => Ok((Value::Integer(i64::try_from(argument).map_err(|_| Malformed)?), rest)),
        1 => Ok((Value::Integer(-1 - i64::try_from(argument).map_err(|_| Malformed)?), rest)),
        2 => split(rest, argument).map(|(bytes, rest)| (Value::Bytes(bytes), rest)),
        3 => {
            let (bytes, rest) = split(rest, argument)?;
            Ok((Value::Text(std::str::from_utf8(bytes).map_err(|_| Malformed)?), rest))
        }
        4 => Ok((Value::Other, skip(rest, argument, depth)?)),
        5 => {
            let after = skip(rest, argument.checked_mul(2).ok_or(Malformed)?, depth)?;
            let entries = &rest[..rest.len() - after.len()];
            Ok((Value::Map(Map { entries, count: argument }), after))
        }
        6 => Ok((Value::Other, skip(rest, 1, depth)?)),
        _ => Ok((Value::Other, rest)),
    }
}

/// Passes over so many values. A number that the bytes cannot hold ends with the bytes.
fn skip(mut bytes: &[u8], count: u64, depth: u8) -> Result<&[u8], Malformed> {
    for _ in 0..count {
        (_, bytes) = read_at(bytes, depth + 1)?;
    }
    Ok(bytes)
}

/// The major type, its argument, and what follows.
fn head(bytes: &[u8]) -> Result<(u8, u64, &[u8]), Malformed> {
    let (first, rest) = bytes.split_first().ok_or(Malformed)?;
    let (major, info) = (first >> 5, first & 0x1F);
    let len = match info {
        0..=23 => return Ok((major, u64::from(info), rest)),
        24..=27 => 1 << (info - 24),
        // 28 to 30 are not used; 31 is a length told later, which the canonical form does not have.
        _ => return Err(Malformed),
    };
    let (argument, rest) = split(rest, len)?;
    Ok((major, argument.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)), rest))
}

fn split(bytes: &[u8], len: u64) -> Result<(&[u8], &[u8]), Malformed> {
    usize::try_from(len).ok().and_then(|len| bytes.split_at_checked(len)).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(hex: &str) -> Result<Value<'static>, Malformed> {
        let bytes = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap());
        let bytes: &'static [u8] = Vec::leak(bytes.collect());
        read(bytes).map(|(value, rest)| {
            assert!(rest.is_empty());
            value
        })
    }

    #[test]
    fn examples_of_rfc_8949() {
        for (hex, value) in [
            ("00", Value::Integer(0)),
            ("17", Value::Integer(23)),
            ("1818", Value::Integer(24)),
            ("1903e8", Value::Integer(1000)),
            ("1b000000e8d4a51000", Value::Integer(1_000_000_000_000)),
            ("20", Value::Integer(-1)),
            ("3903e7", Value::Integer(-1000)),
            ("4401020304", Value::Bytes(&[1, 2, 3, 4])),
            ("6449455446", Value::Text("IETF")),
            ("f5", Value::Other),
            ("f93c00", Value::Other),
            ("c11a514b67b0", Value::Other),
            ("83010203", Value::Other),
        ] {
            assert_eq!(whole(hex), Ok(value), "{hex}");
        }
        let Ok(Value::Map(map)) = whole("a201020304") else { panic!("a map") };
        assert_eq!((map.integer(&Value::Integer(1)), map.integer(&Value::Integer(3))), (Some(2), Some(4)));
        assert_eq!(map.get(&Value::Integer(2)), None);
    }

    #[test]
    fn what_is_not_canonical_or_not_whole_is_refused() {
        // Lengths told later, unused codes, integers out of range, ends too early.
        for hex in [
            "5f42010243030405ff",
            "9fff",
            "bfff",
            "1c",
            "1bffffffffffffffff",
            "42",
            "a101",
            "62ff",
            "",
            "61ff",
        ] {
            assert_eq!(whole(hex), Err(Malformed), "{hex}");
        }
        assert_eq!(read(&[0x81; 100]), Err(Malformed), "too deep");
        // A map of 2^64 - 1 entries, and bytes of as many.
        assert_eq!(whole("bbffffffffffffffff"), Err(Malformed));
        assert_eq!(whole("5bffffffffffffffff"), Err(Malformed));
    }

    #[test]
    fn a_key_that_comes_twice_is_no_key() {
        let Ok(Value::Map(map)) = whole("a201020103") else { panic!("a map") };
        assert_eq!(map.get(&Value::Integer(1)), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok((Value::Map(map), _)) = read(&bytes) {
                map.get(&Value::Integer(1));
            }
        }
    }
}
