//! What peers send that makes no sense: counted, and logged once per kind, so that a broken peer
//! does not fill the log.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use tracing::warn;

#[derive(Default)]
pub(crate) struct Noise {
    /// How often each kind was heard.
    heard: Mutex<BTreeMap<&'static str, u64>>,
}

impl Noise {
    /// Counts it, and logs the first of its kind.
    pub(crate) fn hear(&self, kind: &'static str, detail: &dyn Display) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let count = heard.entry(kind).or_default();
        *count += 1;
        let first = *count == 1;
        drop(heard);
        if first {
            let detail = printable(&detail.to_string());
            warn!(%detail, "the bus brought {kind}; more of these are counted and not logged");
        }
    }
}

/// A peer's text for the log: a line break in it must not look like another entry, nor may it move
/// the cursor of a terminal.
fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn a_peers_text_stays_within_its_entry() {
        let text = printable("no `a\nWARN all is well\u{1b}[2J`, grüße");
        assert_eq!(text, "no `a\u{fffd}WARN all is well\u{fffd}[2J`, grüße");
    }
}
