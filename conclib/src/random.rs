//! Random identifiers: unique without coordination, and unpredictable.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

/// Random bytes of one identifier.
const BYTES: usize = 16;

const PREFIX: &[u8; 9] = b"urn:uuid:";

thread_local! {
    static GENERATOR: Generator = Generator { key: RandomState::new(), count: Cell::new(0) };
}

/// The identifiers of one thread: a keyed hash of a counter. The key is 128 bits of the operating
/// system, and the hash is the one that protects a `HashMap` against chosen keys: `SipHash`, a
/// pseudorandom function (Aumasson and Bernstein, 2012). That takes less than half of the time that
/// the system's own random bytes take, many at a time.
struct Generator {
    key: RandomState,
    count: Cell<u64>,
}

impl Generator {
    fn next(&self) -> [u8; BYTES] {
        let count = self.count.get();
        self.count.set(count.wrapping_add(1));
        let half = |half: u64| u128::from(self.key.hash_one((count, half)));
        (half(0) << 64 | half(1)).to_be_bytes()
    }
}

/// The number of a process, or of a system within one, in the identifiers that it generates.
pub(crate) type Process = [u8; PROCESS_BYTES];

const PROCESS_BYTES: usize = 6;

/// Draws the number of a process.
pub(crate) fn process() -> Process {
    let mut process = Process::default();
    process.copy_from_slice(&GENERATOR.with(Generator::next)[..PROCESS_BYTES]);
    process
}

/// A UUID (RFC 9562).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Uuid([u8; BYTES]);

impl Uuid {
    /// Draws a new one of version 4: 122 random bits.
    pub(crate) fn random() -> Self {
        let mut bytes = GENERATOR.with(Generator::next);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// Draws a new one of version 8, whose form is free: the number of a process, and 74 random bits.
    pub(crate) fn random_of(process: Process) -> Self {
        let mut bytes = GENERATOR.with(Generator::next);
        bytes[..process.len()].copy_from_slice(&process);
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// The process that is named in it, if it is of version 8.
    #[cfg_attr(
        not(feature = "bus"),
        allow(dead_code, reason = "only clients of a fleet look for a process")
    )]
    pub(crate) fn process(self) -> Option<Process> {
        let (process, rest) = self.0.split_first_chunk()?;
        (rest.first()? & 0xf0 == 0x80).then_some(*process)
    }

    /// The UUID that [`UuidText::as_urn`] shows as this text.
    pub(crate) fn from_urn(text: &str) -> Option<Self> {
        let digits = text.as_bytes().strip_prefix(PREFIX)?;
        let mut digits = digits.iter().filter(|byte| **byte != b'-');
        let mut digit = || char::from(*digits.next()?).to_digit(16);
        let mut bytes = [0; BYTES];
        for byte in &mut bytes {
            *byte = u8::try_from(digit()? << 4 | digit()?).ok()?;
        }
        let uuid = Self(bytes);
        (uuid.text().as_urn() == text).then_some(uuid) // else the digits or groups have another form
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn text(self) -> UuidText {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";

        let mut text = [b'-'; 45];
        text[..PREFIX.len()].copy_from_slice(PREFIX);
        let mut at = PREFIX.len();
        for (index, byte) in self.0.into_iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                at += 1;
            }
            text[at] = DIGITS[usize::from(byte >> 4)];
            text[at + 1] = DIGITS[usize::from(byte & 0x0f)];
            at += 2;
        }
        UuidText(text)
    }
}

/// The text of a UUID.
pub(crate) struct UuidText([u8; 45]);

impl UuidText {
    /// `urn:uuid:`, and its digits.
    pub(crate) fn as_urn(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits are ASCII")
    }

    /// Its digits, in five groups.
    pub(crate) fn as_str(&self) -> &str {
        &self.as_urn()[PREFIX.len()..]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn digits_stand_in_five_groups() {
        let uuid = Uuid([
            0, 1, 2, 3, 0x40, 5, 0x46, 7, 0x88, 9, 10, 11, 12, 0xfd, 254, 255,
        ]);
        let text = uuid.text();
        assert_eq!(text.as_str(), "00010203-4005-4607-8809-0a0b0cfdfeff");
        assert_eq!(
            text.as_urn(),
            "urn:uuid:00010203-4005-4607-8809-0a0b0cfdfeff"
        );
        assert!(Uuid::from_urn(text.as_urn()) == Some(uuid));
    }

    #[test]
    fn only_the_form_that_is_written_is_read() {
        for text in [
            "urn:uuid:00010203-4005-4607-8809-0A0B0CFDFEFF",
            "urn:uuid:0001-02034005-4607-8809-0a0b0cfdfeff",
            "urn:uuid:00010203-4005-4607-8809-0a0b0cfdfeff-",
            "urn:uuid:00010203-4005-4607-8809-0a0b0cfdfef",
            "urn:uuid:0001020340054607-8809-0a0b0cfdfeff0",
            "00010203-4005-4607-8809-0a0b0cfdfeff",
            "urn:uuid:00010203-4005-4607-8809-0a0b0cfdfe\u{e9}",
            "urn:uuid:",
            "",
        ] {
            assert!(Uuid::from_urn(text).is_none(), "{text}");
        }
    }

    #[test]
    fn process_is_known_from_its_uuids() {
        let process = process();
        let (own, random) = (Uuid::random_of(process), Uuid::random());
        assert_eq!((own.process(), random.process()), (Some(process), None));
        assert!(own != Uuid::random_of(process));
        assert!("89ab".contains(&own.text().as_str()[19..20]));
        assert!(Uuid::from_urn(own.text().as_urn()) == Some(own));
    }

    #[test]
    fn random_uuids_are_unique_and_of_version_4() {
        let make = || (0..1000).map(|_| Uuid::random().text().as_str().to_owned());
        let elsewhere = std::thread::spawn(move || make().collect::<Vec<_>>());
        let mut seen: HashSet<_> = make().collect();
        seen.extend(elsewhere.join().unwrap());
        assert_eq!(seen.len(), 2000);
        for uuid in seen {
            assert_eq!(&uuid[14..15], "4", "{uuid}");
            assert!("89ab".contains(&uuid[19..20]), "{uuid}");
        }
    }
}
