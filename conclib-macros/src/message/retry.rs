//! The pauses of a durable message after failed deliveries: `retry = "1s..5m"`.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::quote;
use syn::LitStr;

use crate::attr::{Crate, duration_tokens};
use crate::duration::parse_duration;

/// The longest pause.
const MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The first and the longest pause.
pub(super) struct Retry {
    first: Duration,
    longest: Duration,
}

impl Retry {
    /// Reads one duration, or two with `..` between them.
    pub(super) fn parse(literal: &LitStr) -> syn::Result<Self> {
        let text = literal.value();
        let (first, longest) = text.split_once("..").unwrap_or((&text, &text));
        let pause = |text: &str| {
            parse_duration(text).map_err(|problem| {
                let problem = format!(
                    "not a pause: {problem}; write for example \"10s\", or \"1s..5m\" for the first \
                     and the longest one"
                );
                syn::Error::new_spanned(literal, problem)
            })
        };
        let (first, longest) = (pause(first)?, pause(longest)?);
        let problem = if first > longest {
            "the first pause is longer than the longest one: write for example \"1s..5m\""
        } else if longest > MAX {
            "a pause is 24 h at most"
        } else {
            return Ok(Self { first, longest });
        };
        Err(syn::Error::new_spanned(literal, problem))
    }

    /// The constant of `ActorMessage`.
    pub(super) fn expand(&self, krate: &Crate) -> TokenStream {
        let (first, longest) = (duration_tokens(self.first), duration_tokens(self.longest));
        quote! {
            const RETRY: ::core::option::Option<#krate::Backoff> = ::core::option::Option::Some(
                #krate::Backoff::starting_at(#first).up_to(#longest)
            );
        }
    }
}
