//! The bound of an answer in bytes.

use serde::Serialize;

use crate::message::encode;

/// Cuts the entries of an answer to so many of them, and to those whose encoding fits into `max_bytes`: one at least.
/// Returns the number of those that were cut off.
pub(super) fn cut_page<T: Serialize>(
    entries: &mut Vec<T>,
    limit: usize,
    max_bytes: usize,
) -> usize {
    let mut bytes = 0_usize;
    let fitting = entries.iter().take(limit).take_while(|entry| {
        let size = encode(entry).map_or(usize::MAX, |encoded| encoded.len());
        bytes = bytes.saturating_add(size);
        bytes <= max_bytes
    });
    let kept = fitting.count().max(1);
    let omitted = entries.len().saturating_sub(kept);
    entries.truncate(kept);
    omitted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_cut_by_number_and_by_bytes() {
        let cut = |sizes: &[usize], limit, max_bytes| {
            let mut entries: Vec<_> = sizes.iter().map(|size| "x".repeat(*size)).collect();
            let omitted = cut_page(&mut entries, limit, max_bytes);
            (entries.len(), omitted)
        };
        assert_eq!(cut(&[], 3, 10), (0, 0));
        assert_eq!(cut(&[1; 5], 3, 1_000), (3, 2));
        // A text has a byte or two more.
        assert_eq!(cut(&[98, 98, 98], 3, 250), (2, 1));
        assert_eq!(cut(&[300, 1], 3, 250), (1, 1));
    }
}
