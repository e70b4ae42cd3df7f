//! The fields of a message as a line, for people and to compare versions: `Double { n: u32 } -> u64`.

use proc_macro2::{Delimiter, Punct, Spacing, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::punctuated::Punctuated;
use syn::{Attribute, Data, DeriveInput, Expr, ExprLit, Field, Fields, Lit, Meta, Token, Type};

use crate::attr::Crate;

/// The constant of a message.
pub(super) fn expand(
    krate: &Crate,
    input: &DeriveInput,
    name: &str,
    response: &Type,
) -> TokenStream {
    let line = line(input, name, response);
    quote! {
        const SCHEMA: ::core::option::Option<#krate::MessageSchema> =
            ::core::option::Option::Some(#krate::MessageSchema::new(#line));
    }
}

fn line(input: &DeriveInput, name: &str, response: &Type) -> String {
    let attributes = SerdeAttributes::of(&input.attrs);
    let declaration = match &input.data {
        Data::Struct(data) => format!("{name}{}", fields(&data.fields)),
        Data::Enum(data) => {
            let variants = data.variants.iter().filter_map(|variant| {
                let fields = fields(&variant.fields);
                let attributes = SerdeAttributes::of(&variant.attrs);
                attributes.describe(&variant.ident.unraw().to_string(), &fields)
            });
            let variants: Vec<_> = variants.collect();
            format!("enum {name} {{ {} }}", variants.join(", "))
        }
        Data::Union(_) => name.to_owned(), // an error of its own
    };
    format!(
        "{}{declaration} -> {}",
        attributes.rest,
        canonical(response)
    )
}

/// Fields in their brackets, behind the name of what they belong to.
fn fields(fields: &Fields) -> String {
    let described: Vec<_> = fields.iter().filter_map(field).collect();
    let described = described.join(", ");
    match fields {
        Fields::Named(_) if described.is_empty() => " {}".to_owned(),
        Fields::Named(_) => format!(" {{ {described} }}"),
        Fields::Unnamed(_) => format!("({described})"),
        Fields::Unit => String::new(),
    }
}

fn field(field: &Field) -> Option<String> {
    let attributes = SerdeAttributes::of(&field.attrs);
    let ty = canonical(&field.ty);
    match &field.ident {
        Some(ident) => attributes.describe(&ident.unraw().to_string(), &format!(": {ty}")),
        None => attributes.describe(&ty, ""),
    }
}

/// The attributes of serde at a type, a variant or a field.
#[derive(Default)]
struct SerdeAttributes {
    rename: Option<String>,
    has_default: bool,
    is_skipped: bool,
    /// All others, as written, with a space behind each.
    rest: String,
}

impl SerdeAttributes {
    fn of(attributes: &[Attribute]) -> Self {
        let mut found = Self::default();
        let serde = attributes
            .iter()
            .filter(|attribute| attribute.path().is_ident("serde"));
        for attribute in serde {
            let parse = Punctuated::<Meta, Token![,]>::parse_terminated;
            // One that is not read so is serde's error.
            for meta in attribute.parse_args_with(parse).into_iter().flatten() {
                found.add(&meta);
            }
        }
        found
    }

    fn add(&mut self, meta: &Meta) {
        let name = meta.path().to_token_stream().to_string();
        match (&*name, meta) {
            // They do not change what is written.
            ("crate" | "bound", _) => {}
            ("default", _) => self.has_default = true,
            ("skip", _) => self.is_skipped = true,
            ("rename", Meta::NameValue(value)) if text(&value.value).is_some() => {
                self.rename = text(&value.value);
            }
            _ => {
                self.rest.push_str("#[serde(");
                self.rest.push_str(&canonical(meta));
                self.rest.push_str(")] ");
            }
        }
    }

    /// A name with what follows it; `None` for a field or variant that is never written.
    fn describe(self, name: &str, after: &str) -> Option<String> {
        let name = self.rename.as_deref().unwrap_or(name);
        let mark = if self.has_default { "?" } else { "" };
        let rest = &self.rest;
        (!self.is_skipped).then(|| format!("{rest}{name}{mark}{after}"))
    }
}

/// Tokens with spaces by rules of our own: those of a compiler may change, and lines are compared.
fn canonical(tokens: impl ToTokens) -> String {
    let mut text = String::new();
    write(tokens.to_token_stream(), &mut text);
    text
}

fn write(tokens: TokenStream, text: &mut String) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::None => ("", ""),
                };
                if open == "[" && text.ends_with(is_word) {
                    text.push(' '); // as in `&mut [u8]`
                }
                text.push_str(open);
                write(group.stream(), text);
                text.push_str(close);
            }
            TokenTree::Punct(mark) => write_mark(&mark, text),
            word => {
                if text.ends_with(is_word) {
                    text.push(' ');
                }
                text.push_str(&word.to_string());
            }
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '"'
}

fn write_mark(mark: &Punct, text: &mut String) {
    let is_alone = mark.spacing() == Spacing::Alone && !text.ends_with(':');
    match mark.as_char() {
        ',' => text.push_str(", "),
        ';' => text.push_str("; "),
        '=' => text.push_str(" = "),
        '+' => text.push_str(" + "),
        '-' => text.push_str(" -"),
        '>' if text.ends_with('-') => text.push_str("> "),
        ':' if is_alone => text.push_str(": "),
        mark => text.push(mark),
    }
}

fn text(value: &Expr) -> Option<String> {
    match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => Some(text.value()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[track_caller]
    fn assert_line(input: &DeriveInput, response: &Type, expected: &str) {
        let name = input.ident.to_string();
        assert_eq!(line(input, &name, response), expected);
    }

    #[test]
    fn structs_are_described_as_they_are_written() {
        assert_line(
            &parse_quote!(
                struct Nap;
            ),
            &parse_quote!(()),
            "Nap -> ()",
        );
        assert_line(
            &parse_quote!(
                struct Halve(u32, #[serde(default)] Option<Vec<u8>>);
            ),
            &parse_quote!(Result<u32, Odd>),
            "Halve(u32, Option<Vec<u8>>?) -> Result<u32, Odd>",
        );
        assert_line(
            &parse_quote! {
                #[serde(rename_all = "camelCase", crate = "other::serde")]
                #[message(response = u64)]
                struct Order {
                    #[serde(rename = "no")]
                    number: u32,
                    #[serde(default = "many")]
                    r#type: BTreeMap<String, [u8; 4]>,
                    #[serde(skip)]
                    cache: Cache,
                    #[serde(flatten)]
                    rest: std::collections::HashMap<String, Value>,
                }
            },
            &parse_quote!(u64),
            "#[serde(rename_all = \"camelCase\")] Order { no: u32, type?: BTreeMap<String, [u8; 4]>, \
             #[serde(flatten)] rest: std::collections::HashMap<String, Value> } -> u64",
        );
    }

    #[test]
    fn types_are_written_with_spaces_of_our_own() {
        for (ty, expected) in [
            ("a :: b :: Map < K , Vec < u8 > >", "a::b::Map<K, Vec<u8>>"),
            (
                "Box<dyn  Fn(&'static str)->u32+Send>",
                "Box<dyn Fn(&'static str) -> u32 + Send>",
            ),
            ("([u8;4],(),&'a mut [ T ])", "([u8; 4], (), &'a mut [T])"),
            ("<T as Of<Item=u8>>::Out", "<T as Of<Item = u8>>::Out"),
        ] {
            let ty: Type = syn::parse_str(ty).unwrap();
            assert_eq!(canonical(ty), expected);
        }
    }

    #[test]
    fn enums_are_described_with_their_variants() {
        assert_line(
            &parse_quote! {
                #[serde(tag = "kind")]
                enum Command {
                    Start,
                    #[serde(rename = "set")]
                    Put { to: u32 },
                    Add(i64),
                    #[serde(skip)]
                    Internal,
                }
            },
            &parse_quote!(()),
            "#[serde(tag = \"kind\")] enum Command { Start, set { to: u32 }, Add(i64) } -> ()",
        );
    }
}
