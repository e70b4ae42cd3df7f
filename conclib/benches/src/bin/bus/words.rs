//! The words after a command, one after another.

use std::str::FromStr;

use crate::Problem;

/// The rest of a command line.
pub(crate) struct Words<'a> {
    /// The words that are not taken yet.
    rest: std::slice::Iter<'a, String>,
}

impl<'a> Words<'a> {
    pub(crate) fn new(words: &'a [String]) -> Self {
        Self { rest: words.iter() }
    }

    /// The next one, if there is one.
    pub(crate) fn next(&mut self) -> Option<&'a str> {
        self.rest.next().map(String::as_str)
    }

    /// The next word, which must be there and have the expected form.
    pub(crate) fn take<T: FromStr>(&mut self, what: &str) -> Result<T, Problem> {
        let word = self.next().ok_or_else(|| format!("{what} is missing"))?;
        word.parse()
            .map_err(|_| format!("`{word}` is no {what}").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_in_turn() {
        let line = ["7".to_owned(), "x".to_owned()];
        let mut words = Words::new(&line);
        assert_eq!(words.take::<u16>("port").ok(), Some(7));
        let wrong = words.take::<u16>("port").map_err(|error| error.to_string());
        assert_eq!(wrong, Err("`x` is no port".to_owned()));
        let missing = words.take::<u16>("port").map_err(|error| error.to_string());
        assert_eq!(missing, Err("port is missing".to_owned()));
    }
}
