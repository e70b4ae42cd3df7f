//! Shared by the macros: collecting mistakes, reading options, checking names, reading types.

use std::fmt::Display;
use std::time::Duration;

use proc_macro2::{Delimiter, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::meta::ParseNestedMeta;
use syn::parse::{Parse, ParseBuffer, Parser};
use syn::{
    Attribute, GenericArgument, GenericParam, Generics, LitStr, Path, PathArguments, PathSegment,
    Token, Type,
};

use crate::duration::parse_duration;
use crate::hidden::is_hidden;

/// The mistakes found so far.
#[derive(Default)]
pub(crate) struct Errors {
    found: Option<syn::Error>,
    /// Mistakes that count only under a condition.
    conditional: TokenStream,
}

impl Errors {
    /// Adds a mistake that the user made at `tokens`.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, problem: impl Display) {
        self.push(syn::Error::new_spanned(tokens, problem));
    }

    pub(crate) fn push(&mut self, error: syn::Error) {
        match &mut self.found {
            Some(errors) => errors.combine(error),
            None => self.found = Some(error),
        }
    }

    /// Adds a mistake that counts only under the conditions, written as `#[cfg(…)]`.
    pub(crate) fn push_if(&mut self, cfgs: &[Attribute], error: syn::Error) {
        if cfgs.is_empty() {
            return self.push(error);
        }
        for error in error {
            let error = error.into_compile_error();
            self.conditional.extend(quote!(#(#cfgs)* #error));
        }
    }

    /// The value, or `None` and one mistake more.
    pub(crate) fn keep<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// Tokens that report them.
    pub(crate) fn into_tokens(self) -> TokenStream {
        let found = self.found.map(syn::Error::into_compile_error);
        let conditional = self.conditional;
        quote!(#found #conditional)
    }
}

/// The path of the names that expansions use: the hidden module `__private` of `::conclib`, or of the
/// path that `crate = …` gives.
pub(crate) struct Crate(TokenStream);

impl Default for Crate {
    fn default() -> Self {
        Self(quote!(::conclib::__private))
    }
}

impl Crate {
    /// Reads the value of `crate = path`.
    pub(crate) fn parse(meta: &ParseNestedMeta<'_>) -> syn::Result<Self> {
        const EXAMPLE: &str = "crate = my_framework::conclib";
        let example = |error: syn::Error| {
            syn::Error::new(error.span(), format!("write for example `{EXAMPLE}`"))
        };
        let input = meta.value().map_err(example)?;
        if input.peek(LitStr) {
            let problem = format!("write the path without quotes, for example `{EXAMPLE}`");
            return Err(input.error(problem));
        }
        let path = Path::parse_mod_style(input).map_err(example)?;
        Ok(Self(quote!(#path::__private)))
    }

    /// The path for tokens at a place in the user's code: errors about them point there.
    pub(crate) fn at(&self, place: Span) -> TokenStream {
        located_at(&self.0, place)
    }
}

impl ToTokens for Crate {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.0.to_tokens(tokens);
    }
}

/// Moves tokens to another place; names in them resolve as before.
pub(crate) fn located_at(tokens: impl ToTokens, place: Span) -> TokenStream {
    let moved = tokens.into_token_stream().into_iter().map(|mut token| {
        if let TokenTree::Group(group) = &token {
            let stream = located_at(group.stream(), place);
            token = proc_macro2::Group::new(group.delimiter(), stream).into();
        }
        token.set_span(token.span().located_at(place));
        token
    });
    moved.collect()
}

/// Reads the options of `#[attribute(option = value, …)]`: knows their names, and that each is
/// given once. `seen` is shared by all attributes of the same name on one item.
pub(crate) fn read_options(
    attribute: &Attribute,
    known: &[&'static str],
    seen: &mut Vec<&'static str>,
    read: impl FnMut(&'static str, &ParseNestedMeta<'_>) -> syn::Result<()>,
) -> syn::Result<()> {
    attribute.parse_nested_meta(option_reader(known, seen, read))
}

/// The same for `arguments` of an attribute macro.
pub(crate) fn read_arguments(
    arguments: TokenStream,
    known: &[&'static str],
    read: impl FnMut(&'static str, &ParseNestedMeta<'_>) -> syn::Result<()>,
) -> syn::Result<()> {
    let mut seen = Vec::new();
    syn::meta::parser(option_reader(known, &mut seen, read)).parse2(arguments)
}

fn option_reader(
    known: &[&'static str],
    seen: &mut Vec<&'static str>,
    mut read: impl FnMut(&'static str, &ParseNestedMeta<'_>) -> syn::Result<()>,
) -> impl FnMut(ParseNestedMeta<'_>) -> syn::Result<()> {
    move |meta| {
        let Some(name) = known.iter().copied().find(|name| meta.path.is_ident(name)) else {
            let path = &meta.path;
            let are = if known.len() == 1 {
                "option is"
            } else {
                "options are"
            };
            let problem = format!(
                "unknown option `{}`; the {are} {}",
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
    }
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

/// Problem that keeps a text from being a URN or a message's name: the rule of `Urn::new`, without its
/// limit.
pub(crate) fn problem_of_name(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("it is empty".to_owned());
    }
    let odd = text.chars().find(|c| is_hidden(*c))?;
    Some(format!("it contains {odd:?}"))
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

/// True if the name occurs among the tokens.
pub(crate) fn occurs(name: &Ident, tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == *name,
        TokenTree::Group(group) => occurs(name, group.stream()),
        _ => false,
    })
}

/// True if one of the parameters occurs among the tokens.
pub(crate) fn mentions(generics: &Generics, tokens: impl ToTokens) -> bool {
    let tokens = tokens.into_token_stream();
    let mut names = generics.params.iter().map(name_of);
    names.any(|name| occurs(name, tokens.clone()))
}

/// The name of a parameter.
pub(crate) fn name_of(parameter: &GenericParam) -> &Ident {
    match parameter {
        GenericParam::Type(parameter) => &parameter.ident,
        GenericParam::Const(parameter) => &parameter.ident,
        GenericParam::Lifetime(parameter) => &parameter.lifetime.ident,
    }
}

/// A lifetime in a type that `is_short`, or that of a `&` without one. Parentheses are skipped: they may
/// hold the signature of a function, which has lifetimes of its own.
pub(crate) fn short_lifetime(
    tokens: TokenStream,
    is_short: &dyn Fn(&Ident) -> bool,
) -> Option<TokenStream> {
    let starts_lifetime =
        |token: &TokenTree| matches!(token, TokenTree::Punct(mark) if mark.as_char() == '\'');
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let found = match token {
            token if starts_lifetime(&token) => match tokens.next() {
                Some(TokenTree::Ident(name)) if is_short(&name) => Some(quote!(#token #name)),
                _ => None,
            },
            TokenTree::Punct(mark) if mark.as_char() == '&' => {
                let is_elided = !tokens.peek().is_some_and(starts_lifetime);
                is_elided.then(|| quote!(#mark))
            }
            TokenTree::Group(group) if group.delimiter() != Delimiter::Parenthesis => {
                short_lifetime(group.stream(), is_short)
            }
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// A type as users write it, for error texts.
pub(crate) fn written(tokens: impl ToTokens) -> String {
    let text = tokens.to_token_stream().to_string();
    let mut tight = text
        .replace(" :: ", "::")
        .replace(" < ", "<")
        .replace(" , ", ", ");
    for (loose, close) in [
        (" >", ">"),
        (":: <", "::<"),
        ("& ", "&"),
        ("( )", "()"),
        (" : ", ": "),
    ] {
        tight = tight.replace(loose, close);
    }
    tight
}

/// A name of the user's as the macro's own, so that lints about the user's code skip it.
pub(crate) fn located_in_expansion(name: &Ident) -> Ident {
    let mut name = name.clone();
    name.set_span(place(&name));
    name
}

/// The place of the tokens in the user's code, for tokens of the expansion: errors point there, names
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

/// The duration in a literal such as `"1m 30s"`.
pub(crate) fn duration(literal: &LitStr) -> syn::Result<Duration> {
    parse_duration(&literal.value()).map_err(|problem| {
        let problem =
            format!("not a duration: {problem}; write for example \"500ms\" or \"1m 30s\"");
        syn::Error::new_spanned(literal, problem)
    })
}

/// An expression of this duration.
pub(crate) fn duration_tokens(duration: Duration) -> TokenStream {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    quote!(::core::time::Duration::new(#seconds, #nanos))
}
