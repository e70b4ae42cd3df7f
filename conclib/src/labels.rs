//! Enums without fields whose variants are labels of metrics.

/// Declares an enum whose variants have names, for labels and serde. Beside the variants it has `Other`, for a name that
/// is read back and that this version does not know.
macro_rules! label_enum {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident {
            $( $(#[$variant_attribute:meta])* $variant:ident = $text:literal, )+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $( $(#[$variant_attribute])* $variant, )+
            /// One of another version of conclib that this version does not know: only in counters that were read
            /// back with serde.
            Other,
        }

        impl $name {
            /// The same as `all`.
            pub(crate) const ALL: [Self; [$($text),+].len()] = [$(Self::$variant),+];

            /// All that this version knows, in their order.
            pub fn all() -> impl ExactSizeIterator<Item = Self> {
                Self::ALL.into_iter()
            }

            /// The name, as in a label.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => $text, )+
                    Self::Other => "other",
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = <::std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                let known = Self::ALL.into_iter().find(|label| label.as_str() == name);
                Ok(known.unwrap_or(Self::Other))
            }
        }
    };
}

pub(crate) use label_enum;

#[cfg(test)]
#[expect(unreachable_pub, reason = "the macro is for public enums")]
mod tests {
    label_enum! {
        /// Colours.
        pub enum Colour {
            /// As blood.
            Red = "red",
            /// As grass.
            DarkGreen = "dark_green",
        }
    }

    #[test]
    fn labels_are_read_back_and_unknown_ones_are_other() {
        for (place, colour) in Colour::ALL.into_iter().enumerate() {
            assert_eq!(colour as usize, place);
            let written = rmp_serde::to_vec(&colour).unwrap();
            assert_eq!(rmp_serde::from_slice::<Colour>(&written).unwrap(), colour);
            let text: String = rmp_serde::from_slice(&written).unwrap();
            assert_eq!(text, colour.to_string());
        }
        assert!(Colour::all().eq([Colour::Red, Colour::DarkGreen]));
        assert_eq!(Colour::DarkGreen.to_string(), "dark_green");
        let unknown = rmp_serde::to_vec("blue").unwrap();
        let unknown: Colour = rmp_serde::from_slice(&unknown).unwrap();
        assert_eq!(unknown, Colour::Other);
    }
}
