//! Payloads, and the check of their return.

/// A number takes this many bytes at each end.
const NUMBER: usize = size_of::<u64>();

/// The smallest payload: the number twice.
pub(crate) const SMALLEST: usize = 2 * NUMBER;

/// A payload of `size` bytes with its number at both ends.
pub(crate) fn make(number: u64, size: usize) -> Vec<u8> {
    let mut payload = vec![0x5a; size.max(SMALLEST)];
    let end = payload.len() - NUMBER;
    payload[..NUMBER].copy_from_slice(&number.to_le_bytes());
    payload[end..].copy_from_slice(&number.to_le_bytes());
    payload
}

/// True if this is the payload of that number and size.
pub(crate) fn is(reply: &[u8], number: u64, size: usize) -> bool {
    reply.len() == size.max(SMALLEST)
        && reply.starts_with(&number.to_le_bytes())
        && reply.ends_with(&number.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_known_by_its_number_and_size() {
        let payload = make(7 << 32 | 5, 64);
        assert!(is(&payload, 7 << 32 | 5, 64));
        assert!(!is(&payload, 7 << 32 | 6, 64));
        assert!(!is(&payload, 7 << 32 | 5, 65));
        assert!(!is(&payload[1..], 7 << 32 | 5, 64));
        assert!(is(&make(3, 0), 3, 0), "the smallest one");
    }

    #[test]
    fn a_cut_or_changed_end_shows() {
        let mut payload = make(9, 64);
        payload[63] ^= 1;
        assert!(!is(&payload, 9, 64));
    }
}
