//! The actor that a `#[handlers]` block is for, and its parameters.

use proc_macro2::{Ident, Spacing, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{
    Error, GenericParam, Generics, ImplGenerics, ItemImpl, Type, TypeGenerics, TypeParam,
    TypeParamBound, WhereClause,
};

use crate::attr::{
    Crate, last_segment, located_at, mentions, name_of, occurs, place, short_lifetime,
};

/// The actor that the block is for.
pub(super) struct Target<'a> {
    pub(super) krate: &'a Crate,
    pub(super) self_ty: &'a Type,
    /// The block's generics for types of the expansion: there, `Self` is another type.
    pub(super) generics: Generics,
    block_generics: &'a Generics,
    pub(super) impl_generics: ImplGenerics<'a>,
    pub(super) ty_generics: TypeGenerics<'a>,
    pub(super) where_clause: Option<&'a WhereClause>,
}

impl<'a> Target<'a> {
    pub(super) fn new(item: &'a ItemImpl, krate: &'a Crate) -> syn::Result<Self> {
        check_lifetimes(item)?;
        check_parameters(&item.generics)?;
        let (impl_generics, ty_generics, where_clause) = item.generics.split_for_impl();
        let mut generics = item.generics.clone();
        for parameter in &mut generics.params {
            *parameter = syn::parse2(without_self(parameter.to_token_stream(), &item.self_ty))?;
        }
        if let Some(clause) = &mut generics.where_clause {
            *clause = syn::parse2(without_self(clause.to_token_stream(), &item.self_ty))?;
        }
        Ok(Self {
            krate,
            self_ty: &item.self_ty,
            generics,
            block_generics: &item.generics,
            impl_generics,
            ty_generics,
            where_clause,
        })
    }

    pub(super) fn has_parameters(&self) -> bool {
        !self.block_generics.params.is_empty()
    }

    /// True if one of the actor's parameters occurs in a type.
    pub(super) fn mentions(&self, ty: &Type) -> bool {
        mentions(self.block_generics, ty)
    }

    /// The actor's parameter that the type is, if it is one.
    pub(super) fn type_parameter(&self, ty: &Type) -> Option<&TypeParam> {
        let Type::Path(path) = ty else { return None };
        let mut parameters = self.generics.type_params();
        parameters.find(|parameter| path.qself.is_none() && path.path.is_ident(&parameter.ident))
    }

    /// True if the type is an associated type of one of the actor's parameters, as in `T::Message`:
    /// it may be any type.
    pub(super) fn is_projection(&self, ty: &Type) -> bool {
        let Type::Path(path) = ty else { return false };
        if path.qself.is_some() {
            return self.mentions(ty);
        }
        let mut parameters = self.block_generics.type_params();
        path.path.segments.len() > 1
            && parameters.any(|parameter| path.path.segments[0].ident == parameter.ident)
    }

    /// The actor in the headers of the expansion, at its place in the user's code.
    pub(super) fn actor(&self) -> TokenStream {
        if !self.can_be_aliased() {
            return self.self_ty.to_token_stream();
        }
        let place = place(self.self_ty);
        let arguments = located_at(&self.ty_generics, place);
        quote_spanned!(place=> __ConclibActor #arguments)
    }

    /// The actor under another name. An inherent method that is called like one of a trait's is
    /// worth a lint, which takes the two types for different ones.
    pub(super) fn alias(&self) -> Option<TokenStream> {
        let parameters = self
            .block_generics
            .params
            .iter()
            .map(|parameter| match parameter {
                GenericParam::Lifetime(parameter) => parameter.lifetime.to_token_stream(),
                GenericParam::Type(parameter) => parameter.ident.to_token_stream(),
                GenericParam::Const(parameter) => {
                    let (ident, ty) = (&parameter.ident, &parameter.ty);
                    quote!(const #ident: #ty)
                }
            });
        let self_ty = self.self_ty;
        self.can_be_aliased()
            .then(|| quote!(type __ConclibActor<#(#parameters),*> = #self_ty;))
    }

    /// An alias knows no bounds, and has only parameters that occur.
    fn can_be_aliased(&self) -> bool {
        let self_ty = self.self_ty.to_token_stream();
        let mut parameters = self.block_generics.params.iter().map(name_of);
        let is_path = last_segment(self.self_ty).is_some();
        is_path
            && parameters.all(|name| occurs(name, self_ty.clone()))
            && !self.has_projection(self_ty)
    }

    /// True for tokens with `T::Item` or `<T as …>` in them.
    fn has_projection(&self, tokens: TokenStream) -> bool {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            let found = match token {
                TokenTree::Ident(ident) => {
                    let mut parameters = self.block_generics.params.iter().map(name_of);
                    ident == "as"
                        || starts_path_separator(tokens.peek())
                            && parameters.any(|name| ident == *name)
                }
                TokenTree::Group(group) => self.has_projection(group.stream()),
                _ => false,
            };
            if found {
                return true;
            }
        }
        false
    }

    /// A variant without values, so that no parameter is unused.
    pub(super) fn unused_generics(&self) -> Option<TokenStream> {
        let markers: Vec<_> = self
            .block_generics
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

/// An actor belongs to its system, which outlives every borrow.
fn check_lifetimes(item: &ItemImpl) -> syn::Result<()> {
    let declared = item.generics.lifetimes().next();
    let declared = declared.map(|parameter| parameter.lifetime.to_token_stream());
    let elided = || short_lifetime(item.self_ty.to_token_stream(), &|name| name == "_");
    let Some(short) = declared.or_else(elided) else {
        return Ok(());
    };
    let problem = "an actor borrows nothing, since it outlives the call that spawns it: write the \
                   block for `'static`, or let the actor own what it holds";
    Err(Error::new_spanned(short, problem))
}

/// The same of its parameters, where it can be seen: another bound may say that they are `'static`.
fn check_parameters(generics: &Generics) -> syn::Result<()> {
    let clause = generics.where_clause.to_token_stream();
    let may_be_bound = |name: &Ident| {
        occurs(name, clause.clone()) || occurs(&format_ident!("Self"), clause.clone())
    };
    let says_nothing = |bound: &TypeParamBound| match bound {
        TypeParamBound::Trait(bound) => ["Send", "Sync", "Sized"]
            .iter()
            .any(|name| bound.path.is_ident(name)),
        _ => false,
    };
    for parameter in generics.type_params() {
        let (name, bounds) = (&parameter.ident, &parameter.bounds);
        if bounds.iter().all(says_nothing) && !may_be_bound(name) {
            let problem = format!(
                "an actor outlives the call that spawns it, on any thread: \
                 write `{name}: Send + 'static`"
            );
            return Err(Error::new_spanned(parameter, problem));
        }
    }
    Ok(())
}

/// True for the first half of `::`.
fn starts_path_separator(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Punct(mark)) if mark.as_char() == ':' && mark.spacing() == Spacing::Joint)
}

/// The tokens with `Self` written out, for places where it would mean another type.
pub(super) fn without_self(tokens: TokenStream, self_ty: &Type) -> TokenStream {
    let mut written_out = TokenStream::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let opens_path = starts_path_separator(tokens.peek());
        written_out.extend(match token {
            TokenTree::Ident(ident) if ident == "Self" && opens_path => quote!(<#self_ty>),
            TokenTree::Ident(ident) if ident == "Self" => quote!(#self_ty),
            TokenTree::Group(group) => {
                let stream = without_self(group.stream(), self_ty);
                let mut group_without = proc_macro2::Group::new(group.delimiter(), stream);
                group_without.set_span(group.span());
                group_without.into_token_stream()
            }
            token => token.into_token_stream(),
        });
    }
    written_out
}
