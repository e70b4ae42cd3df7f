//! The expansion of `#[handlers]`: the inbox, `Handlers`, and a `Handler<M>` for each message.
//!
//! The module `actor` of conclib shows an expansion. All names in it are its own or start at a crate,
//! and methods are called by their path: it stands in the user's module, where `Option` may be
//! anything, and a trait may give every type a method `take`.
//!
//! It has no `#[allow]`, which a user's `forbid` would turn into an error. Lints pass over it since
//! its definitions have the place of the user's tokens, but are the macro's own.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::Attribute;
use syn::ext::IdentExt;

use super::Block;
use super::method::{Handler, Hook, RawHandler};
use super::target::Target;
use crate::attr::place;

mod guards;
mod methods;

impl Block {
    /// The expansion beside the block. `attributes` hold for it as for the block.
    pub(super) fn expand(&self, target: &Target<'_>, attributes: &[Attribute]) -> TokenStream {
        let alias = target.alias();
        let inbox = self.expand_inbox(target);
        let handlers = self.expand_handlers(target);
        let handler_impls = self
            .handlers
            .iter()
            .map(|handler| handler.expand_impl(target));
        let no_message = self.expand_no_message(target);
        let wire_names = self.expand_wire_names(target);
        let overlaps = self.expand_overlaps(target);
        let used = self.expand_use();
        quote! {
            #[doc(hidden)]
            #(#attributes)*
            const _: () = {
                #alias
                #inbox
                #handlers
                #(#handler_impls)*
                #no_message
                #wire_names
                #overlaps
                #used
            };
        }
    }

    /// The type of the mailbox's entries: a variant per message.
    fn expand_inbox(&self, target: &Target<'_>) -> TokenStream {
        let Target {
            krate,
            generics,
            ty_generics,
            ..
        } = target;
        let where_clause = &generics.where_clause;
        let variants = self.handlers.iter().map(|handler| {
            let Handler {
                cfgs,
                variant,
                message,
                ..
            } = handler;
            let reply = handler.reply_type(krate);
            quote!(#(#cfgs)* #variant(#message, #reply))
        });
        let unused = target.unused_generics();
        quote! {
            #[doc(hidden)]
            pub struct __ConclibInbox #generics (__ConclibKind #ty_generics) #where_clause;

            enum __ConclibKind #generics #where_clause {
                #(#variants,)*
                __ConclibFrame(::std::boxed::Box<#krate::RequestEnvelope>),
                #unused
            }
        }
    }

    fn expand_handlers(&self, target: &Target<'_>) -> TokenStream {
        let Target {
            krate,
            impl_generics,
            ty_generics,
            where_clause,
            ..
        } = target;
        let actor = target.actor();
        let dispatch = self.expand_dispatch(target);
        let frames = expand_frames(target);
        let decode = self.expand_decode(target);
        let offers = self.handlers.iter().map(|handler| {
            let Handler { cfgs, message, .. } = handler;
            quote!(#(#cfgs)* #krate::RecipientQuery::accept::<Self, #message>(__query);)
        });
        let hooks = self.hooks.iter().map(|hook| hook.expand(krate));
        // A raw handler that may be compiled out counts as there.
        let starts_at_once = !self.hooks.iter().any(Hook::is_start);
        let limit = self.expand_limit(target);
        let numbers = self.expand_numbers(target);
        quote! {
            #[doc(hidden)]
            #[automatically_derived]
            impl #impl_generics #krate::Handlers for #actor #where_clause {
                type Inbox = __ConclibInbox #ty_generics;

                const STARTS_AT_ONCE: ::core::primitive::bool = #starts_at_once;

                #dispatch

                #frames

                #decode

                #limit

                #numbers

                fn recipient(__query: &mut #krate::RecipientQuery<'_>) {
                    #(#offers)*
                }

                #(#hooks)*
            }
        }
    }

    fn expand_dispatch(&self, target: &Target<'_>) -> TokenStream {
        let krate = target.krate;
        let arms = self
            .handlers
            .iter()
            .map(|handler| handler.expand_arm(krate));
        let raw_arms = self.raw.iter().map(|raw| raw.expand_arm(krate));
        quote! {
            async fn dispatch(
                &mut self,
                __inbox: &mut ::core::option::Option<<Self as #krate::Handlers>::Inbox>,
                __ctx: &mut #krate::Context<Self>,
            ) -> ::core::result::Result<(), #krate::Failure> {
                // A message moves from the inbox straight into its handler, so that the future has
                // room for it once.
                match __inbox {
                    #(#arms)*
                    #(#raw_arms)*
                    _ => {
                        *__inbox = ::core::option::Option::None;
                        ::core::result::Result::Ok(())
                    }
                }
            }
        }
    }

    fn expand_decode(&self, target: &Target<'_>) -> TokenStream {
        let Target {
            krate, ty_generics, ..
        } = target;
        let typed = self.handlers.iter().map(|handler| {
            let Handler {
                cfgs,
                variant,
                message,
                ..
            } = handler;
            quote! {
                #(#cfgs)*
                if #krate::RequestEnvelope::matches::<#message>(&__envelope) {
                    return match #krate::RequestEnvelope::open::<#message>(*__envelope) {
                        ::core::option::Option::Some((__message, __reply)) => {
                            ::core::option::Option::Some(__ConclibInbox(
                                __ConclibKind::#variant(__message, __reply),
                            ))
                        }
                        ::core::option::Option::None => ::core::option::Option::None,
                    };
                }
            }
        });
        let rest = self.expand_rest(krate);
        let checked = target
            .has_parameters()
            .then(|| quote!(<__ConclibInbox #ty_generics>::__CONCLIB_WIRE_NAMES;));
        quote! {
            fn decode(
                __envelope: ::std::boxed::Box<#krate::RequestEnvelope>,
            ) -> ::core::option::Option<__ConclibInbox #ty_generics> {
                #checked
                #(#typed)*
                #rest
            }
        }
    }

    /// Hands a request that no typed handler takes to the raw handler, if there is one.
    fn expand_rest(&self, krate: &crate::attr::Crate) -> TokenStream {
        let raw = quote! {
            ::core::option::Option::Some(__ConclibInbox(__ConclibKind::__ConclibFrame(__envelope)))
        };
        let refuse = quote! {
            #krate::RequestEnvelope::refuse_unhandled(*__envelope);
            ::core::option::Option::None
        };
        if self.raw.iter().any(|raw| raw.cfgs.is_empty()) {
            return raw;
        }
        let conditions = self.raw.iter().map(RawHandler::condition);
        let condition = quote!(any(#(#conditions),*));
        quote! {
            #[cfg(#condition)]
            {
                #raw
            }
            #[cfg(not(#condition))]
            {
                #refuse
            }
        }
    }

    fn expand_limit(&self, target: &Target<'_>) -> TokenStream {
        let Target {
            krate, ty_generics, ..
        } = target;
        let limits = self.handlers.iter().map(|handler| {
            let Handler { cfgs, variant, .. } = handler;
            quote! {
                #(#cfgs)*
                __ConclibKind::#variant(_, __reply) => #krate::Reply::limit(__reply),
            }
        });
        quote! {
            fn limit(
                __inbox: &__ConclibInbox #ty_generics,
            ) -> ::core::option::Option<#krate::Limit<'_>> {
                match &__inbox.0 {
                    #(#limits)*
                    _ => ::core::option::Option::None,
                }
            }
        }
    }

    /// The handlers' names for snapshots. They are looked up by a number, since that is stored for each
    /// message.
    fn expand_numbers(&self, target: &Target<'_>) -> TokenStream {
        let Target {
            krate, ty_generics, ..
        } = target;
        let numbered = || self.handlers.iter().zip(0_u16..);
        let numbers = numbered().map(|(Handler { cfgs, variant, .. }, number)| {
            quote!(#(#cfgs)* __ConclibKind::#variant(..) => #number,)
        });
        let names = numbered().map(|(handler, number)| {
            let Handler {
                cfgs,
                variant,
                message,
                ..
            } = handler;
            let method = variant.unraw().to_string();
            // At this place the compiler has reported already that the type is no message.
            let place = place(message);
            let at = krate.at(place);
            let name = quote_spanned!(place=> <#message as #at::ActorMessage>::NAME);
            quote! {
                #(#cfgs)*
                #number => #krate::HandlerNames {
                    method: #method,
                    message: ::core::option::Option::Some(#name),
                },
            }
        });
        let raw = self
            .raw
            .first()
            .map_or_else(String::new, |raw| raw.name.unraw().to_string());
        let count = u16::try_from(self.handlers.len()).unwrap_or(u16::MAX);
        quote! {
            const HANDLERS: ::core::primitive::u16 = #count;

            fn which(__inbox: &__ConclibInbox #ty_generics) -> ::core::primitive::u16 {
                match &__inbox.0 {
                    #(#numbers)*
                    _ => ::core::primitive::u16::MAX - 1,
                }
            }

            fn handler(__number: ::core::primitive::u16) -> #krate::HandlerNames {
                match __number {
                    #(#names)*
                    _ => #krate::HandlerNames {
                        method: #raw,
                        message: ::core::option::Option::None,
                    },
                }
            }
        }
    }
}

/// Conversions into a frame, and out of it.
fn expand_frames(target: &Target<'_>) -> TokenStream {
    let Target {
        krate, ty_generics, ..
    } = target;
    quote! {
        fn frame(
            __envelope: ::std::boxed::Box<#krate::RequestEnvelope>,
        ) -> __ConclibInbox #ty_generics {
            __ConclibInbox(__ConclibKind::__ConclibFrame(__envelope))
        }

        fn unframe(
            __inbox: &mut ::core::option::Option<__ConclibInbox #ty_generics>,
        ) -> ::core::option::Option<::std::boxed::Box<#krate::RequestEnvelope>> {
            // Checked by reference first: most entries are messages, and stay where they are.
            let ::core::option::Option::Some(__ConclibInbox(
                __ConclibKind::__ConclibFrame(_),
            )) = __inbox
            else {
                return ::core::option::Option::None;
            };
            match ::core::option::Option::take(__inbox) {
                ::core::option::Option::Some(__ConclibInbox(
                    __ConclibKind::__ConclibFrame(__envelope),
                )) => ::core::option::Option::Some(__envelope),
                _ => ::core::option::Option::None,
            }
        }
    }
}
