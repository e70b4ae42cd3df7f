//! A check that a MessagePack value is as long as its length fields say.
//!
//! An array states its length before its elements, and a decoder allocates for them: up to a mebibyte
//! for each nested array, if ten bytes claim four billion elements. So the lengths are checked first.
//! It takes a few nanoseconds, and allocates nothing.

/// True if the input holds every element of the value's arrays, maps and strings.
pub(super) fn is_complete(bytes: &[u8]) -> bool {
    skim(bytes).is_some()
}

/// Walks over one value. It needs no stack: the number of missing elements is enough.
fn skim(mut rest: &[u8]) -> Option<()> {
    let mut missing = 1_usize;
    while missing > 0 {
        let (&marker, tail) = rest.split_first()?;
        let Element {
            header,
            payload,
            children,
        } = Element::new(marker, tail)?;
        rest = tail.get(header..)?.get(payload..)?;
        missing = (missing - 1).checked_add(children)?;
        // Each element takes at least a byte.
        if missing > rest.len() {
            return None;
        }
    }
    Some(())
}

/// The parts of a value after its first byte.
struct Element {
    /// The length field, in bytes.
    header: usize,
    /// The content that is not made of values, in bytes.
    payload: usize,
    /// The number of values that it consists of.
    children: usize,
}

impl Element {
    fn new(marker: u8, tail: &[u8]) -> Option<Self> {
        let low = |mask: u8| usize::from(marker & mask);
        let length = |header: usize| {
            let digits = tail.get(..header)?;
            let read = |length: usize, &digit: &u8| (length << 8) | usize::from(digit);
            Some(digits.iter().fold(0, read))
        };
        let (header, payload, children) = match marker {
            0x00..=0x7f | 0xc0..=0xc3 | 0xe0..=0xff => (0, 0, 0),
            0x80..=0x8f => (0, 0, 2 * low(0x0f)),
            0x90..=0x9f => (0, 0, low(0x0f)),
            0xa0..=0xbf => (0, low(0x1f), 0),
            // Bytes, strings, and extensions with their type.
            0xc4 | 0xd9 => (1, length(1)?, 0),
            0xc5 | 0xda => (2, length(2)?, 0),
            0xc6 | 0xdb => (4, length(4)?, 0),
            0xc7 => (1, length(1)? + 1, 0),
            0xc8 => (2, length(2)? + 1, 0),
            0xc9 => (4, length(4)?.checked_add(1)?, 0),
            // Numbers, and extensions of a fixed length.
            0xcc | 0xd0 => (0, 1, 0),
            0xcd | 0xd1 | 0xd4 => (0, 2, 0),
            0xd5 => (0, 3, 0),
            0xca | 0xce | 0xd2 => (0, 4, 0),
            0xd6 => (0, 5, 0),
            0xcb | 0xcf | 0xd3 => (0, 8, 0),
            0xd7 => (0, 9, 0),
            0xd8 => (0, 17, 0),
            0xdc => (2, 0, length(2)?),
            0xdd => (4, 0, length(4)?),
            0xde => (2, 0, length(2)?.checked_mul(2)?),
            0xdf => (4, 0, length(4)?.checked_mul(2)?),
        };
        Some(Self {
            header,
            payload,
            children,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::message::{decode, encode};

    /// One of each kind of value.
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Rich {
        unsigned: (u8, u16, u32, u64),
        signed: (i8, i16, i32, i64),
        real: (f32, f64),
        nothing: Option<()>,
        truth: bool,
        texts: Vec<String>,
        bytes: Vec<serde_bytes::ByteBuf>,
        map: BTreeMap<u32, Vec<u32>>,
    }

    fn rich(size: usize) -> Rich {
        let text = |length: usize| "x".repeat(length);
        Rich {
            unsigned: (200, 60_000, 4_000_000_000, u64::MAX),
            signed: (-100, -30_000, -2_000_000_000, i64::MIN),
            real: (0.5, 0.25),
            nothing: None,
            truth: true,
            texts: vec![text(3), text(200), text(size)],
            bytes: vec![vec![1; 3].into(), vec![2; 300].into(), vec![3; size].into()],
            map: (0..20).map(|n| (n, vec![n; size / 20])).collect(),
        }
    }

    #[test]
    fn written_values_are_complete_and_cut_ones_are_not() {
        for size in [0, 100, 400, 70_000] {
            let bytes = encode(&rich(size)).unwrap();
            assert!(is_complete(&bytes));
            assert_eq!(decode::<Rich>(&bytes).unwrap(), rich(size));
            for cut in (0..bytes.len()).step_by(1 + bytes.len() / 200) {
                assert!(!is_complete(&bytes[..cut]), "{cut} of {}", bytes.len());
            }
        }
        let long = encode(&vec![1_u32; 70_000]).unwrap();
        assert!(is_complete(&long) && !is_complete(&long[..long.len() - 1]));
        for extension in [
            &[0xd4, 1, 0][..],
            &[0xd5, 1, 0, 0],
            &[0xc7, 2, 1, 0, 0],
            &[0xc8, 0, 1, 1, 0],
            &[0xc9, 0, 0, 0, 0, 1],
        ] {
            assert!(is_complete(extension), "{extension:?}");
            assert!(!is_complete(&extension[..extension.len() - 1]));
        }
    }

    #[test]
    fn arrays_that_claim_billions_are_not_read() {
        let many = [0xdd, 0xff, 0xff, 0xff, 0xff].repeat(100);
        assert!(!is_complete(&many));
        assert!(decode::<Vec<Vec<u64>>>(&many).is_err());
        let map = [0xdf, 0xff, 0xff, 0xff, 0xff];
        assert!(!is_complete(&map));
    }
}
