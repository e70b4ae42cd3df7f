//! Conditions under which a method, a parameter or `#[handler]` is there.
//!
//! An attribute macro sees the block before `#[cfg]` and `#[cfg_attr]` have been decided. So
//! conditional code is expanded under the same condition, and a method whose parameters are
//! conditional is read once for each set of them.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::punctuated::Punctuated;
use syn::{Attribute, Error, FnArg, ImplItemFn, Meta, Path, Signature, Token, parse_quote};

/// More conditional parameters than this are not read: each doubles the number of forms.
const MAX_CONDITIONAL: usize = 4;

/// `#[handler]` on a method.
pub(super) struct Mark {
    /// As written: `#[handler]`, `conclib::handler`.
    pub(super) meta: Meta,
    /// The condition under which it is there.
    pub(super) cfg: Option<Attribute>,
}

impl Mark {
    pub(super) fn path(&self) -> &Path {
        self.meta.path()
    }
}

/// Takes `#[handler]` away from a method, by whatever path, also out of a `#[cfg_attr]`.
pub(super) fn take_marks(method: &mut ImplItemFn) -> Vec<Mark> {
    let mut marks = Vec::new();
    let attributes = std::mem::take(&mut method.attrs);
    method.attrs = attributes
        .into_iter()
        .filter_map(|attribute| {
            let kept = without_marks(&attribute.meta, None, &mut marks)?;
            Some(Attribute {
                meta: kept,
                ..attribute
            })
        })
        .collect();
    marks
}

fn without_marks(
    meta: &Meta,
    condition: Option<&TokenStream>,
    marks: &mut Vec<Mark>,
) -> Option<Meta> {
    let is_mark = meta
        .path()
        .segments
        .last()
        .is_some_and(|segment| segment.ident == "handler");
    if is_mark {
        marks.push(Mark {
            meta: meta.clone(),
            cfg: condition.map(|condition| parse_quote!(#[cfg(#condition)])),
        });
        return None;
    }
    let Some((predicate, inner)) = conditional(meta) else {
        return Some(meta.clone());
    };
    let here = both(condition, predicate.to_token_stream());
    let found = marks.len();
    let kept: Vec<_> = inner
        .iter()
        .filter_map(|inner| without_marks(inner, Some(&here), marks))
        .collect();
    if marks.len() == found {
        return Some(meta.clone());
    }
    (!kept.is_empty()).then(|| parse_quote!(cfg_attr(#predicate, #(#kept),*)))
}

/// The conditions of `#[cfg(…)]` and `#[cfg_attr(…, cfg(…))]` among the attributes, as `#[cfg]`.
pub(super) fn cfgs(attributes: &[Attribute]) -> Vec<Attribute> {
    let mut cfgs = Vec::new();
    for attribute in attributes {
        add_cfgs(&attribute.meta, None, &mut cfgs);
    }
    cfgs
}

fn add_cfgs(meta: &Meta, condition: Option<&TokenStream>, cfgs: &mut Vec<Attribute>) {
    if meta.path().is_ident("cfg")
        && let Meta::List(list) = meta
    {
        let predicate = &list.tokens;
        cfgs.push(match condition {
            None => parse_quote!(#[cfg(#predicate)]),
            Some(condition) => parse_quote!(#[cfg(any(not(#condition), #predicate))]),
        });
    } else if let Some((predicate, inner)) = conditional(meta) {
        let here = both(condition, predicate.to_token_stream());
        for inner in &inner {
            add_cfgs(inner, Some(&here), cfgs);
        }
    }
}

/// The condition of a `cfg_attr`, and what it adds.
fn conditional(meta: &Meta) -> Option<(Meta, Vec<Meta>)> {
    if !meta.path().is_ident("cfg_attr") {
        return None;
    }
    let list = meta.require_list().ok()?;
    let parts = list
        .parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
        .ok()?;
    let mut parts = parts.into_iter();
    Some((parts.next()?, parts.collect()))
}

fn both(outer: Option<&TokenStream>, inner: TokenStream) -> TokenStream {
    match outer {
        None => inner,
        Some(outer) => quote!(all(#outer, #inner)),
    }
}

/// A form of a method: with the parameters that it has under some conditions.
pub(super) struct MethodForm {
    pub(super) cfgs: Vec<Attribute>,
    pub(super) sig: Signature,
}

/// Each form that a method can have, depending on which of its parameters are there.
pub(super) fn forms(method: &ImplItemFn, mark: Option<&Mark>) -> syn::Result<Vec<MethodForm>> {
    let mut shared = cfgs(&method.attrs);
    shared.extend(mark.and_then(|mark| mark.cfg.clone()));
    let conditions: Vec<_> = method.sig.inputs.iter().map(condition_of).collect();
    let conditional = conditions.iter().flatten().count();
    if conditional > MAX_CONDITIONAL {
        let problem = format!("more than {MAX_CONDITIONAL} parameters are conditional");
        return Err(Error::new_spanned(&method.sig.inputs, problem));
    }
    let forms = (0..1_usize << conditional).map(|present| {
        let mut form = MethodForm {
            cfgs: shared.clone(),
            sig: method.sig.clone(),
        };
        let mut number = 0;
        let kept = method
            .sig
            .inputs
            .iter()
            .zip(&conditions)
            .filter(|(_, condition)| {
                let Some(condition) = condition else {
                    return true;
                };
                let is_present = present >> number & 1 == 1;
                number += 1;
                form.cfgs.push(if is_present {
                    parse_quote!(#[cfg(#condition)])
                } else {
                    parse_quote!(#[cfg(not(#condition))])
                });
                is_present
            });
        form.sig.inputs = kept.map(|(input, _)| input.clone()).collect();
        form
    });
    Ok(forms.collect())
}

/// The condition of a parameter, if it has any.
fn condition_of(input: &FnArg) -> Option<TokenStream> {
    let FnArg::Typed(parameter) = input else {
        return None;
    };
    let cfgs = cfgs(&parameter.attrs);
    let predicates = cfgs.iter().filter_map(|cfg| cfg.meta.require_list().ok());
    let predicates: Vec<_> = predicates.map(|list| &list.tokens).collect();
    (!predicates.is_empty()).then(|| quote!(all(#(#predicates),*)))
}
