//! Names of the type arguments of generic messages.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use crate::message::ActorMessage;

/// A type whose name may be part of the name of a generic message on the wire, as in
/// `#[message(name = "Set<{T}>")]`.
///
/// Numbers, `bool`, `char`, `String`, `()`, every message, and `Option`, `Vec`, maps and sets of
/// types with a name have one. For a type of yours it is one line:
///
/// ```
/// use conclib::message::WireName;
/// use conclib::prelude::*;
///
/// #[derive(Serialize, Deserialize)]
/// struct Color { rgb: u32 }
///
/// impl WireName for Color {
///     const WIRE_NAME: &'static str = "Color";
/// }
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// #[message(name = "Set<{T}>")]
/// struct Set<T> { to: T }
///
/// assert_eq!(Set::<Color>::NAME, "Set<Color>");
/// assert_eq!(Set::<Vec<u32>>::NAME, "Set<Vec<u32>>");
/// ```
///
/// Other processes know the message by this name. It is not derived from the type's path, so that the
/// type may be renamed or moved without a change for them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no name for the wire",
    label = "does not implement `WireName`",
    note = "write `impl conclib::message::WireName for {Self} {{ const WIRE_NAME: &'static str = \"…\"; }}`"
)]
pub trait WireName {
    /// The name. The names of messages contain no spaces, and have at most 255 bytes.
    const WIRE_NAME: &'static str;
}

#[diagnostic::do_not_recommend]
impl<M: ActorMessage> WireName for M {
    const WIRE_NAME: &'static str = M::NAME;
}

macro_rules! names {
    ($($ty:ty = $name:literal),* $(,)?) => {
        $(impl WireName for $ty {
            const WIRE_NAME: &'static str = $name;
        })*
    };
}

names! {
    u8 = "u8", u16 = "u16", u32 = "u32", u64 = "u64", u128 = "u128", usize = "usize",
    i8 = "i8", i16 = "i16", i32 = "i32", i64 = "i64", i128 = "i128", isize = "isize",
    f32 = "f32", f64 = "f64", bool = "bool", char = "char", String = "String", () = "()",
}

macro_rules! names_with_arguments {
    ($($ty:ident<$first:ident $(, $next:ident)?> $(with $hasher:ident)?),* $(,)?) => {
        $(impl<$first: WireName $(, $next: WireName)? $(, $hasher)?> WireName
            for $ty<$first $(, $next)? $(, $hasher)?>
        {
            const WIRE_NAME: &'static str = ComposedName::as_str(const {
                &ComposedName::new()
                    .text(concat!(stringify!($ty), "<"))
                    .text($first::WIRE_NAME)
                    $(.text(",").text($next::WIRE_NAME))?
                    .text(">")
            });
        })*
    };
}

names_with_arguments! {
    Option<T>, Result<T, E>, Vec<T>, VecDeque<T>,
    BTreeSet<T>, HashSet<T> with S, BTreeMap<K, V>, HashMap<K, V> with S,
}

/// A name composed of others at compile time, for the macros' expansions.
#[derive(Debug)]
pub struct ComposedName {
    bytes: [u8; Self::MAX_BYTES],
    len: usize,
}

impl ComposedName {
    /// The longest name on the wire.
    const MAX_BYTES: usize = 255;

    /// An empty name.
    #[expect(
        clippy::new_without_default,
        reason = "it is made at compile time only"
    )]
    pub const fn new() -> Self {
        Self {
            bytes: [0; Self::MAX_BYTES],
            len: 0,
        }
    }

    /// The name with a text at its end.
    ///
    /// # Panics
    ///
    /// At compile time, if it is longer than 255 bytes.
    #[must_use]
    pub const fn text(mut self, text: &str) -> Self {
        let mut rest = text.as_bytes();
        while let [byte, more @ ..] = rest {
            assert!(
                self.len < Self::MAX_BYTES,
                "a message's name on the wire has at most 255 bytes: write a shorter `name = \"…\"`"
            );
            self.bytes[self.len] = *byte;
            self.len += 1;
            rest = more;
        }
        self
    }

    /// The name with an integer at its end.
    #[must_use]
    pub const fn number(mut self, number: i128) -> Self {
        if number < 0 {
            self = self.text("-");
        }
        let number = number.unsigned_abs();
        let mut power = 1;
        while number / power >= 10 {
            power *= 10;
        }
        while power > 0 {
            let digit = (number / power % 10) as usize;
            let (_, from_digit) = "0123456789".split_at(digit);
            self = self.text(from_digit.split_at(1).0);
            power /= 10;
        }
        self
    }

    /// The name.
    ///
    /// # Panics
    ///
    /// Never: it consists of whole texts.
    pub const fn as_str(&self) -> &str {
        match std::str::from_utf8(self.bytes.split_at(self.len).0) {
            Ok(text) => text,
            Err(_) => panic!("a name consists of whole texts"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 7, 10, 255, -1, -128, 1_000_000, i128::MIN, i128::MAX] {
            assert_eq!(
                ComposedName::new().number(number).as_str(),
                number.to_string()
            );
        }
    }

    #[test]
    fn collections_are_named_after_their_contents() {
        assert_eq!(<Option<u32>>::WIRE_NAME, "Option<u32>");
        assert_eq!(
            <HashMap<String, Vec<()>>>::WIRE_NAME,
            "HashMap<String,Vec<()>>"
        );
    }
}
