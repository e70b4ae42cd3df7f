//! Characters that a reader does not see.
//!
//! conclib and its macros have a copy each, since a proc-macro crate exports only macros. A test
//! compares the two.

/// True for whitespace, control characters, and characters without a shape of their own. With them,
/// names that look the same are different, and a line of a log is not read in the order in which it was
/// written.
///
/// The last are Unicode's format characters (category Cf of version 16), and the fillers and
/// selectors that are ignored where they are not supported (`Default_Ignorable_Code_Point`).
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_copies_are_the_same() {
        let read = |path: &str| {
            let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../");
            std::fs::read_to_string(format!("{root}{path}"))
        };
        // A package that is tested on its own has one of them.
        let copies = (
            read("conclib/src/urn/hidden.rs"),
            read("conclib-macros/src/hidden.rs"),
        );
        if let (Ok(own), Ok(other)) = copies {
            assert_eq!(own, other);
        }
    }

    #[test]
    fn hidden_characters_are_recognised() {
        let hidden =
            "\t \u{85}\u{a0}\u{ad}\u{200b}\u{200d}\u{202e}\u{2028}\u{2066}\u{feff}\u{e0041}";
        assert!(hidden.chars().all(is_hidden));
        // With combining marks, and letters that are written from right to left.
        let shown = "az09:/-_.~äß漢字ひらがな한국어हिन्दी\u{301}אבערב🦀";
        assert!(!shown.chars().any(is_hidden));
    }
}
