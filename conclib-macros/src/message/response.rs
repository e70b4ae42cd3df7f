//! The response of a message. A handler's `Failure` is no response: the type decides whether one is
//! meant, and its last word only chooses how the error reads.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Generics, Type};

use crate::attr::{Crate, is_named, located_at, mentions, place, type_arguments, written};

/// `T` and `E`, if the type is written as `Result<T, E>`.
fn parts_of_result(response: &Type) -> Option<(&Type, &Type)> {
    let mut arguments = type_arguments(response);
    let parts = (arguments.next()?, arguments.next()?);
    is_named(response, "Result").then_some(parts)
}

/// `T`, if the type is written as `Result<T, Failure>`.
fn beside_failure(response: &Type) -> Option<&Type> {
    let (value, error) = parts_of_result(response)?;
    is_named(error, "Failure").then_some(value)
}

/// The call that makes the codec. An error about the response points at it.
pub(super) fn codec(krate: &Crate, response: &Type, place: proc_macro2::Span) -> TokenStream {
    let krate = krate.at(place);
    if let Some(value) = beside_failure(response) {
        quote_spanned! {place=>
            #krate::codec_unless_failure::<Self, #response, #value>()
        }
    } else {
        quote_spanned!(place=> #krate::codec::<Self, #response>())
    }
}

/// The check that a response is no `Result` of conclib's `Failure`, where the codec does not make
/// it in its own words.
pub(super) fn check(
    krate: &Crate,
    response: &Type,
    generics: &Generics,
    has_codec: bool,
) -> Option<TokenStream> {
    let value = beside_failure(response);
    if has_codec && generics.params.is_empty() && value.is_some() {
        return None;
    }
    // Parameters cannot be named there, and the value does not matter.
    let checked = match parts_of_result(response) {
        Some((_, error)) if !mentions(generics, error) => {
            quote!(::core::result::Result<(), #error>)
        }
        None if !mentions(generics, response) => quote!(#response),
        _ => return None,
    };
    let value = value.map_or_else(|| "T".to_owned(), written);
    let problem = format!(
        "a `Failure` fails the actor and is not a response: write `response = {value}`, and let \
         the handler return `Result<{value}, Failure>`"
    );
    let place = place(response);
    let krate = krate.at(place);
    let checked = located_at(checked, place);
    Some(quote_spanned! {place=>
        const _: () = {
            use #krate::AnyResponse as _;
            #krate::response_is_no_failure(
                <#krate::ResponseKind<#checked>>::IS_FAILURE,
                #problem,
            )
        };
    })
}
