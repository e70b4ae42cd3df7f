//! The check that no two messages of an actor have the same name on the wire.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::Type;

use super::Block;
use super::method::Handler;
use super::target::Target;
use crate::attr::{last_segment, place, type_arguments, written};

impl Block {
    /// At once where the types are known, otherwise when code is generated for an actor with all
    /// its parameters.
    pub(super) fn expand_wire_names(&self, target: &Target<'_>) -> TokenStream {
        let mut known = Vec::new();
        let mut generic = Vec::new();
        for (index, second) in self.handlers.iter().enumerate() {
            for first in &self.handlers[..index] {
                let check = expand_wire_names_differ(first, second, target);
                let is_generic = [first, second]
                    .iter()
                    .any(|handler| target.mentions(&handler.message));
                if is_generic { &mut generic } else { &mut known }.push(check);
            }
        }
        let (impl_generics, ty_generics, where_clause) = target.generics.split_for_impl();
        let generic = target.has_parameters().then(|| {
            quote! {
                impl #impl_generics __ConclibInbox #ty_generics #where_clause {
                    const __CONCLIB_WIRE_NAMES: () = { #(#generic)* };
                }
            }
        });
        quote! {
            const _: () = { #(#known)* };
            #generic
        }
    }
}

fn expand_wire_names_differ(first: &Handler, second: &Handler, target: &Target<'_>) -> TokenStream {
    let remedy = remedy(&first.message, &second.message);
    let (first_cfgs, first) = (&first.cfgs, &first.message);
    let (second_cfgs, second) = (&second.cfgs, &second.message);
    let problem = format!(
        "two messages of `{}` have the same name on the wire: `{}` and `{}`; write {remedy}",
        written(target.self_ty),
        written(first),
        written(second),
    );
    let place = place(second);
    let krate = target.krate.at(place);
    let check = quote_spanned! {place=>
        #krate::wire_names_differ::<#first, #second>(#problem)
    };
    quote!(#(#first_cfgs)* #(#second_cfgs)* #check;)
}

/// The advice that makes the names differ. `Set<u32>` and `Set<String>` are one type as declared.
fn remedy(first: &Type, second: &Type) -> String {
    match (last_segment(first), last_segment(second)) {
        (Some(first), Some(other))
            if first.ident == other.ident && type_arguments(second).next().is_some() =>
        {
            let generic = &first.ident;
            format!(
                "`#[message(name = \"{generic}<{{T}}>\")]` on `{generic}`, with the names of its \
                 parameters in braces"
            )
        }
        _ => "`#[message(name = \"…\")]` on one of them".to_owned(),
    }
}
