//! What the macros share: collecting mistakes, reading options, checking names.

use std::fmt::Display;
use std::time::Duration;

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::meta::ParseNestedMeta;
use syn::parse::{Parse, ParseBuffer};
use syn::{Attribute, GenericArgument, LitStr, PathArguments, PathSegment, Token, Type};

/// The mistakes found so far.
#[derive(Default)]
pub(crate) struct Errors(Option<syn::Error>);

impl Errors {
    /// Adds a mistake that the user made at `tokens`.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, problem: impl Display) {
        self.push(syn::Error::new_spanned(tokens, problem));
    }

    pub(crate) fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// The value, or `None` and one mistake more.
    pub(crate) fn keep<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// Tokens that report them.
    pub(crate) fn into_tokens(self) -> TokenStream {
        self.0
            .map_or_else(TokenStream::new, syn::Error::into_compile_error)
    }
}

/// Reads the options of `#[attribute(option = value, …)]`: knows their names, and that each is
/// given once. `seen` is shared by all attributes of the same name on one item.
pub(crate) fn read_options(
    attribute: &Attribute,
    known: &[&'static str],
    seen: &mut Vec<&'static str>,
    mut read: impl FnMut(&'static str, &ParseNestedMeta<'_>) -> syn::Result<()>,
) -> syn::Result<()> {
    attribute.parse_nested_meta(|meta| {
        let Some(name) = known.iter().copied().find(|name| meta.path.is_ident(name)) else {
            let path = &meta.path;
            let problem = format!(
                "unknown option `{}`; the options are {}",
                quote!(#path),
                listed(known)
            );
            return Err(syn::Error::new_spanned(path, problem));
        };
        if seen.contains(&name) {
            return Err(syn::Error::new_spanned(
                &meta.path,
                format!("`{name}` is given twice"),
            ));
        }
        seen.push(name);
        read(name, &meta)
    })
}

/// The value of `option = value`; the example shows how it is written.
pub(crate) fn value<T: Parse>(meta: &ParseNestedMeta<'_>, example: &str) -> syn::Result<T> {
    meta.value()
        .and_then(ParseBuffer::parse)
        .map_err(|error| syn::Error::new(error.span(), format!("write for example `{example}`")))
}

/// An option that is there or not: nothing may follow it.
pub(crate) fn flag(meta: &ParseNestedMeta<'_>, name: &str) -> syn::Result<bool> {
    if meta.input.is_empty() || meta.input.peek(Token![,]) {
        return Ok(true);
    }
    let problem = format!("`{name}` has no value: write `{name}`, or leave it out");
    let rest = meta.input.cursor();
    let rest = rest.token_stream();
    let wrong: TokenStream = rest
        .into_iter()
        .take_while(|token| !is_comma(token))
        .collect();
    // The rest of the attribute says nothing about this mistake.
    meta.input.parse::<TokenStream>()?;
    Err(syn::Error::new_spanned(wrong, problem))
}

fn is_comma(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(mark) if mark.as_char() == ',')
}

/// "`a`, `b` and `c`".
pub(crate) fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [name] => format!("`{name}`"),
        [before @ .., last] => {
            let before: Vec<_> = before.iter().map(|name| format!("`{name}`")).collect();
            format!("{} and `{last}`", before.join(", "))
        }
    }
}

/// Why a text cannot be a URN or a message's name: the rule of `Urn::new`, or part of it.
pub(crate) fn problem_of_name(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("it is empty".to_owned());
    }
    let odd = text.chars().find(|c| c.is_whitespace() || c.is_control())?;
    Some(format!("it contains {odd:?}"))
}

/// The duration in a literal such as `"1m 30s"`.
pub(crate) fn duration(literal: &LitStr) -> syn::Result<Duration> {
    humantime::parse_duration(&literal.value()).map_err(|error| {
        let problem = format!("not a duration: {error}; write for example \"500ms\" or \"1m 30s\"");
        syn::Error::new_spanned(literal, problem)
    })
}

/// Checks the cron expression in a literal, as `Schedule::cron` does when a program runs.
pub(crate) fn cron(literal: &LitStr) -> syn::Result<()> {
    let wrong = |problem: &str| {
        let problem = problem.trim_end_matches('.');
        let problem =
            format!("not a cron schedule: {problem}; write for example \"0 */5 * * * *\"");
        syn::Error::new_spanned(literal, problem)
    };
    literal
        .value()
        .parse::<croner::Cron>()
        .map_err(|error| wrong(&error.to_string()))?
        .find_next_occurrence(&chrono::DateTime::UNIX_EPOCH, false)
        .map_err(|_| wrong("no such moment ever comes"))?;
    Ok(())
}

/// The last part of a type's path: `Reply<R>` of `conclib::Reply<R>`.
pub(crate) fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(path) => path.path.segments.last(),
        Type::Group(group) => last_segment(&group.elem),
        Type::Paren(paren) => last_segment(&paren.elem),
        _ => None,
    }
}

/// True if the last part of a type's path is `name`.
pub(crate) fn is_named(ty: &Type, name: &str) -> bool {
    last_segment(ty).is_some_and(|segment| segment.ident == name)
}

/// The types between the angle brackets at the end of a type's path: `T` and `E` of
/// `Result<T, E>`.
pub(crate) fn type_arguments(ty: &Type) -> impl Iterator<Item = &Type> {
    let arguments = match last_segment(ty).map(|segment| &segment.arguments) {
        Some(PathArguments::AngleBracketed(arguments)) => Some(&arguments.args),
        _ => None,
    };
    arguments
        .into_iter()
        .flatten()
        .filter_map(|argument| match argument {
            GenericArgument::Type(ty) => Some(ty),
            _ => None,
        })
}

/// How a type is written, for error texts.
pub(crate) fn written(tokens: impl ToTokens) -> String {
    let text = tokens.to_token_stream().to_string();
    let mut tight = text
        .replace(" :: ", "::")
        .replace(" < ", "<")
        .replace(" , ", ", ");
    for (loose, close) in [(" >", ">"), (":: <", "::<"), ("& ", "&"), ("( )", "()")] {
        tight = tight.replace(loose, close);
    }
    tight
}

/// The place of the tokens in the user's code, for tokens that are ours: errors point there, names
/// resolve as in the rest of the expansion, also if the user's code comes from a macro itself.
pub(crate) fn place(tokens: impl ToTokens) -> Span {
    let tokens = tokens.to_token_stream();
    let mut spans = tokens.into_iter().map(|token| token.span());
    let first = spans.next().unwrap_or_else(Span::call_site);
    let whole = spans
        .last()
        .and_then(|last| first.join(last))
        .unwrap_or(first);
    Span::call_site().located_at(whole)
}
