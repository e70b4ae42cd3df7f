//! Items beside the handlers: for type inference, for messages that may be the same one, and
//! for the import of `handler`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{GenericParam, Type, TypeParam, WherePredicate};

use super::super::Block;
use super::super::method::Handler;
use super::super::target::Target;
use crate::attr::{located_in_expansion, mentions, place, written};

impl Block {
    /// So that type inference does not guess the message of an actor with one handler: with two
    /// `Handler<M>` or more, a wrong argument is an error about its own type. Beside a message that may be
    /// any type they are left out, since it may be theirs.
    pub(super) fn expand_no_message(&self, target: &Target<'_>) -> Option<TokenStream> {
        let mut handlers = self.handlers.iter();
        if handlers.any(|handler| target.is_projection(&handler.message)) {
            return None;
        }
        let krate = target.krate;
        let actor = target.actor();
        let message = quote!(#krate::NoMessage<#actor>);
        let first = expand_uninhabited(&message, target);
        let mut handlers = self.handlers.iter();
        if handlers.any(|handler| handler.cfgs.is_empty()) {
            return Some(first);
        }
        // The only handler may lack its `#[handler]`: its message is a wrong argument too.
        let second = expand_uninhabited(&quote!(#krate::NoMessage<#message>), target);
        Some(quote!(#first #second))
    }

    /// An actor that is generic over one message and handles another has two handlers for it if both
    /// are the same. rustc says so, and this says what to write.
    pub(super) fn expand_overlaps(&self, target: &Target<'_>) -> TokenStream {
        let checks = self.handlers.iter().flat_map(|generic| {
            let others = self.handlers.iter();
            others.filter_map(|other| expand_overlap(generic, other, target))
        });
        checks.collect()
    }

    /// The block reads `#[handler]` and takes it away: this uses the user's import of
    /// it. The name is also defined here, since there may be no import.
    pub(super) fn expand_use(&self) -> Option<TokenStream> {
        let name = located_in_expansion(self.imported.as_ref()?);
        Some(quote! {
            mod #name {}
            use #name as _;
        })
    }
}

/// A handler of a message without values.
fn expand_uninhabited(message: &TokenStream, target: &Target<'_>) -> TokenStream {
    let Target {
        krate,
        impl_generics,
        ty_generics,
        where_clause,
        ..
    } = target;
    let actor = target.actor();
    quote! {
        #[doc(hidden)]
        #[automatically_derived]
        impl #impl_generics #krate::Handler<#message> for #actor #where_clause {
            fn wrap(
                __message: #message,
                _: #krate::Reply<()>,
            ) -> __ConclibInbox #ty_generics {
                match __message {}
            }

            fn unwrap(
                _: __ConclibInbox #ty_generics,
            ) -> ::core::option::Option<(#message, #krate::Reply<()>)> {
                ::core::option::Option::None
            }

            fn peek(
                _: &__ConclibInbox #ty_generics,
            ) -> ::core::option::Option<&#message> {
                ::core::option::Option::None
            }
        }
    }
}

fn expand_overlap(generic: &Handler, other: &Handler, target: &Target<'_>) -> Option<TokenStream> {
    let (parameter, message) = (&generic.message, &other.message);
    if target.mentions(message) {
        return None;
    }
    let parameter = target.type_parameter(parameter)?;
    let bounds = bounds_of(parameter, target)?;
    let krate = target.krate;
    let (name, message_name) = (&parameter.ident, written(message));
    let problem = format!(
        "`{message_name}` may be the message `{name}` as well, and then has two handlers: give it \
         the parameter (`struct {message_name}<{name}>(PhantomData<fn() -> {name}>)`, handled as \
         `{message_name}<{name}>`), or bound `{name}` by a trait that `{message_name}` does not \
         implement"
    );
    let (cfgs, other_cfgs) = (&generic.cfgs, &other.cfgs);
    let place = place(message);
    let at = krate.at(place);
    let check = quote_spanned! {place=>
        #at::messages_differ(<__ConclibAny<#message>>::MAY_BE, #problem)
    };
    Some(quote! {
        #(#cfgs)*
        #(#other_cfgs)*
        const _: () = {
            struct __ConclibAny<T>(::core::marker::PhantomData<T>);
            trait __ConclibOther {
                const MAY_BE: ::core::primitive::bool = false;
            }
            impl<T> __ConclibOther for __ConclibAny<T> {}
            impl<#name> __ConclibAny<#name> where #(#bounds),* {
                const MAY_BE: ::core::primitive::bool = true;
            }
            #check
        };
    })
}

/// The bounds of a parameter, if it depends on no other.
fn bounds_of(parameter: &TypeParam, target: &Target<'_>) -> Option<Vec<WherePredicate>> {
    let mut bounds: Vec<WherePredicate> = Vec::new();
    let name = &parameter.ident;
    if !parameter.bounds.is_empty() {
        let inline = &parameter.bounds;
        bounds.push(syn::parse_quote!(#name: #inline));
    }
    let mut others = target.generics.clone();
    others.params = others
        .params
        .into_iter()
        .filter(|other| !matches!(other, GenericParam::Type(other) if other.ident == *name))
        .collect();
    for predicate in target
        .generics
        .where_clause
        .iter()
        .flat_map(|clause| &clause.predicates)
    {
        let WherePredicate::Type(bound) = predicate else {
            continue;
        };
        let is_bound_of_parameter =
            matches!(&bound.bounded_ty, Type::Path(path) if path.path.is_ident(name));
        if is_bound_of_parameter {
            bounds.push(predicate.clone());
        }
    }
    let depends = bounds.iter().any(|bound| mentions(&others, bound));
    (!depends).then_some(bounds)
}
