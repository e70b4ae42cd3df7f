//! A message's name on the wire: the type's identifier, or a text that may name the type's
//! parameters in braces.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::ext::IdentExt;
use syn::{ConstParam, Error, GenericParam, Generics, LitStr, Type};

use crate::attr::{Crate, is_named, listed, problem_of_name};

/// The longest name on the wire: a longer one is not sent.
const MAX_NAME_BYTES: usize = 255;

const INTEGERS: &[&str] = &[
    "u8", "u16", "u32", "u64", "usize", "i8", "i16", "i32", "i64", "i128", "isize",
];

/// The parts of a name, in order.
pub(super) struct Name(Vec<Part>);

enum Part {
    Text(String),
    /// The name of the type that stands for a parameter.
    Type(Ident),
    /// The value of a const parameter.
    Const(Ident),
}

impl Name {
    pub(super) fn of_type(ident: &Ident) -> Self {
        Self(vec![Part::Text(ident.unraw().to_string())])
    }

    /// Reads the value of `name = "…"`.
    pub(super) fn parse(literal: &LitStr, generics: &Generics) -> syn::Result<Self> {
        let text = literal.value();
        check(literal, &text)?;
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, parameter, after)) = next_parameter(rest) {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(parameter_part(literal, parameter, generics)?);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// The type parameters that it names.
    pub(super) fn types(&self) -> impl Iterator<Item = &Ident> {
        self.0.iter().filter_map(|part| match part {
            Part::Type(ident) => Some(ident),
            Part::Text(_) | Part::Const(_) => None,
        })
    }

    pub(super) fn expand(&self, krate: &Crate) -> TokenStream {
        if let [Part::Text(text)] = self.0.as_slice() {
            return quote!(#text);
        }
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => quote!(.text(#text)),
            Part::Type(ident) => quote!(.text(<#ident as #krate::WireName>::WIRE_NAME)),
            Part::Const(ident) => quote!(.number(#ident as ::core::primitive::i128)),
        });
        quote! {
            #krate::ComposedName::as_str(
                const { &#krate::ComposedName::new() #(#parts)* }
            )
        }
    }
}

fn check(literal: &LitStr, text: &str) -> syn::Result<()> {
    let too_long = (text.len() > MAX_NAME_BYTES)
        .then(|| format!("{} bytes are more than {MAX_NAME_BYTES}", text.len()));
    let Some(problem) = problem_of_name(text).or(too_long) else {
        return Ok(());
    };
    let problem =
        format!("not a name for the wire: {problem}; write for example \"billing.Charge\"");
    Err(Error::new_spanned(literal, problem))
}

/// The text before, in and after the first pair of braces.
fn next_parameter(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('{')?;
    let (parameter, after) = rest.split_once('}')?;
    Some((before, parameter, after))
}

fn parameter_part(literal: &LitStr, name: &str, generics: &Generics) -> syn::Result<Part> {
    let mut names = Vec::new();
    for parameter in &generics.params {
        let (ident, constant) = match parameter {
            GenericParam::Type(parameter) => (&parameter.ident, None),
            GenericParam::Const(parameter) => (&parameter.ident, Some(parameter)),
            GenericParam::Lifetime(_) => continue,
        };
        if *ident != name {
            names.push(format!("{{{ident}}}"));
            continue;
        }
        return match constant {
            None => Ok(Part::Type(ident.clone())),
            Some(constant) => const_part(literal, constant),
        };
    }
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let known = if names.is_empty() {
        "the type has no parameters".to_owned()
    } else {
        format!("write {}", listed(&names))
    };
    let problem = format!("`{{{name}}}` names no parameter of the type: {known}");
    Err(Error::new_spanned(literal, problem))
}

fn const_part(literal: &LitStr, parameter: &ConstParam) -> syn::Result<Part> {
    let is_integer = |ty: &Type| INTEGERS.iter().any(|name| is_named(ty, name));
    if is_integer(&parameter.ty) {
        return Ok(Part::Const(parameter.ident.clone()));
    }
    let problem = format!(
        "`{{{}}}` is no integer: of the const parameters only integers can be part of a name",
        parameter.ident
    );
    Err(Error::new_spanned(literal, problem))
}
