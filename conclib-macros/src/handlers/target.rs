//! The actor that a `#[handlers]` block is for, and its parameters.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{GenericParam, Generics, ImplGenerics, ItemImpl, Type, TypeGenerics, WhereClause};

/// The actor that the block is for.
pub(super) struct Target<'a> {
    pub(super) self_ty: &'a Type,
    /// As declared, for the types of the expansion.
    pub(super) generics: &'a Generics,
    pub(super) impl_generics: ImplGenerics<'a>,
    pub(super) ty_generics: TypeGenerics<'a>,
    pub(super) where_clause: Option<&'a WhereClause>,
}

impl<'a> Target<'a> {
    pub(super) fn new(item: &'a ItemImpl) -> Self {
        let (impl_generics, ty_generics, where_clause) = item.generics.split_for_impl();
        Self {
            self_ty: &item.self_ty,
            generics: &item.generics,
            impl_generics,
            ty_generics,
            where_clause,
        }
    }

    pub(super) fn has_parameters(&self) -> bool {
        !self.generics.params.is_empty()
    }

    /// True if one of the actor's parameters occurs in a type.
    pub(super) fn mentions(&self, ty: &Type) -> bool {
        self.generics.params.iter().any(|parameter| {
            let name = match parameter {
                GenericParam::Type(parameter) => &parameter.ident,
                GenericParam::Const(parameter) => &parameter.ident,
                GenericParam::Lifetime(parameter) => &parameter.lifetime.ident,
            };
            occurs(name, ty.to_token_stream())
        })
    }

    /// A variant that nobody can make, so that no parameter is unused.
    pub(super) fn unused_generics(&self) -> Option<TokenStream> {
        let markers: Vec<_> = self
            .generics
            .params
            .iter()
            .filter_map(|parameter| match parameter {
                GenericParam::Type(parameter) => {
                    let ident = &parameter.ident;
                    Some(quote!(::core::marker::PhantomData<#ident>))
                }
                GenericParam::Lifetime(parameter) => {
                    let lifetime = &parameter.lifetime;
                    Some(quote!(&#lifetime ()))
                }
                GenericParam::Const(_) => None,
            })
            .collect();
        (!markers.is_empty()).then(|| {
            quote! {
                __ConclibUnused(
                    ::core::marker::PhantomData<fn() -> (#(#markers,)*)>,
                    ::core::convert::Infallible,
                ),
            }
        })
    }
}

fn occurs(name: &Ident, tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == *name,
        TokenTree::Group(group) => occurs(name, group.stream()),
        _ => false,
    })
}
