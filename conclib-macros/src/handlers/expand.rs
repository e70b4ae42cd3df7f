//! What `#[handlers]` writes: the inbox, `Handlers`, and a `Handler<M>` for each message.
//!
//! The module `actor` of conclib shows an expansion. All names in it are ours or start at a crate:
//! it stands in the user's module, where `Option` may be anything.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ItemImpl;
use syn::ext::IdentExt;

use super::Block;
use super::method::{Answer, Handler, Hook, HookKind, RawHandler};
use super::target::Target;
use crate::attr::place;

impl Block {
    pub(super) fn expand(&self, item: &ItemImpl) -> TokenStream {
        let target = Target::new(item);
        let inbox = self.expand_inbox(&target);
        let handlers = self.expand_handlers(&target);
        let handler_impls = self
            .handlers
            .iter()
            .map(|handler| handler.expand_impl(&target));
        let no_message = expand_no_message(&target);
        let wire_names = self.expand_wire_names(&target);
        quote! {
            #[doc(hidden)]
            #[allow(
                ambiguous_associated_items,
                clippy::all,
                clippy::nursery,
                clippy::pedantic,
                dead_code,
                deprecated,
                missing_copy_implementations,
                missing_debug_implementations,
                missing_docs,
                non_camel_case_types,
                private_interfaces,
                single_use_lifetimes,
                unreachable_pub,
                unused_lifetimes,
                unused_qualifications,
                unused_variables,
            )]
            const _: () = {
                #inbox
                #handlers
                #(#handler_impls)*
                #no_message
                #wire_names
            };
        }
    }

    /// The type of what waits in the mailbox: a variant per message.
    fn expand_inbox(&self, target: &Target<'_>) -> TokenStream {
        let Target {
            generics,
            ty_generics,
            ..
        } = target;
        let where_clause = &generics.where_clause;
        let variants = self.handlers.iter().map(|handler| {
            let Handler {
                cfgs,
                name,
                message,
                ..
            } = handler;
            let reply = handler.reply_type();
            quote!(#(#cfgs)* #name(#message, #reply))
        });
        let unused = target.unused_generics();
        quote! {
            #[doc(hidden)]
            pub struct __ConclibInbox #generics (__ConclibKind #ty_generics) #where_clause;

            enum __ConclibKind #generics #where_clause {
                #(#variants,)*
                __ConclibFrame(::std::boxed::Box<::conclib::RequestEnvelope>),
                #unused
            }
        }
    }

    fn expand_handlers(&self, target: &Target<'_>) -> TokenStream {
        let Target {
            impl_generics,
            ty_generics,
            self_ty,
            where_clause,
            ..
        } = target;
        let dispatch = self.expand_dispatch();
        let decode = self.expand_decode(target);
        let offers = self.handlers.iter().map(|handler| {
            let Handler { cfgs, message, .. } = handler;
            quote!(#(#cfgs)* wanted.offer::<Self, #message>();)
        });
        let hooks = self.hooks.iter().map(Hook::expand);
        // One that may be compiled out counts as there.
        let starts_at_once = !self.hooks.iter().any(Hook::is_start);
        let limit = self.expand_limit(target);
        let numbers = self.expand_numbers(target);
        quote! {
            #[doc(hidden)]
            #[automatically_derived]
            impl #impl_generics ::conclib::Handlers for #self_ty #where_clause {
                type Inbox = __ConclibInbox #ty_generics;

                const STARTS_AT_ONCE: ::core::primitive::bool = #starts_at_once;

                #dispatch

                fn frame(
                    envelope: ::std::boxed::Box<::conclib::RequestEnvelope>,
                ) -> __ConclibInbox #ty_generics {
                    __ConclibInbox(__ConclibKind::__ConclibFrame(envelope))
                }

                fn unframe(
                    inbox: &mut ::core::option::Option<__ConclibInbox #ty_generics>,
                ) -> ::core::option::Option<::std::boxed::Box<::conclib::RequestEnvelope>> {
                    // Looked at before it is taken: most are messages, and stay where they are.
                    let ::core::option::Option::Some(__ConclibInbox(
                        __ConclibKind::__ConclibFrame(_),
                    )) = inbox
                    else {
                        return ::core::option::Option::None;
                    };
                    match inbox.take() {
                        ::core::option::Option::Some(__ConclibInbox(
                            __ConclibKind::__ConclibFrame(envelope),
                        )) => ::core::option::Option::Some(envelope),
                        _ => ::core::option::Option::None,
                    }
                }

                #decode

                #limit

                #numbers

                fn recipient(wanted: &mut ::conclib::Wanted<'_>) {
                    #(#offers)*
                }

                #(#hooks)*
            }
        }
    }

    fn expand_dispatch(&self) -> TokenStream {
        let arms = self.handlers.iter().map(Handler::expand_arm);
        let raw_arms = self.raw.iter().map(RawHandler::expand_arm);
        quote! {
            async fn dispatch(
                &mut self,
                inbox: &mut ::core::option::Option<<Self as ::conclib::Handlers>::Inbox>,
                ctx: &mut ::conclib::Context<Self>,
            ) -> ::core::result::Result<(), ::conclib::Failure> {
                // A message moves from `inbox` straight into its handler, so that the future has
                // room for it once.
                match inbox {
                    #(#arms)*
                    #(#raw_arms)*
                    _ => {
                        *inbox = ::core::option::Option::None;
                        ::core::result::Result::Ok(())
                    }
                }
            }
        }
    }

    fn expand_decode(&self, target: &Target<'_>) -> TokenStream {
        let ty_generics = &target.ty_generics;
        let typed = self.handlers.iter().map(|handler| {
            let Handler {
                cfgs,
                name,
                message,
                ..
            } = handler;
            quote! {
                #(#cfgs)*
                if envelope.matches::<#message>() {
                    return match envelope.open::<#message>() {
                        ::core::option::Option::Some((message, reply)) => {
                            ::core::option::Option::Some(__ConclibInbox(
                                __ConclibKind::#name(message, reply),
                            ))
                        }
                        ::core::option::Option::None => ::core::option::Option::None,
                    };
                }
            }
        });
        let raw = self.raw.iter().map(|raw| {
            let cfgs = &raw.cfgs;
            quote! {
                #(#cfgs)*
                return ::core::option::Option::Some(__ConclibInbox(
                    __ConclibKind::__ConclibFrame(envelope),
                ));
            }
        });
        let checked = target
            .has_parameters()
            .then(|| quote!(<__ConclibInbox #ty_generics>::__CONCLIB_WIRE_NAMES;));
        quote! {
            #[allow(unreachable_code)]
            fn decode(
                envelope: ::std::boxed::Box<::conclib::RequestEnvelope>,
            ) -> ::core::option::Option<__ConclibInbox #ty_generics> {
                #checked
                #(#typed)*
                #(#raw)*
                envelope.refuse_unhandled();
                ::core::option::Option::None
            }
        }
    }
}

impl Block {
    fn expand_limit(&self, target: &Target<'_>) -> TokenStream {
        let ty_generics = &target.ty_generics;
        let limits = self.handlers.iter().map(|Handler { cfgs, name, .. }| {
            quote!(#(#cfgs)* __ConclibKind::#name(_, reply) => reply.limit(),)
        });
        quote! {
            fn limit(
                inbox: &__ConclibInbox #ty_generics,
            ) -> ::core::option::Option<::conclib::Limit<'_>> {
                match &inbox.0 {
                    #(#limits)*
                    _ => ::core::option::Option::None,
                }
            }
        }
    }

    /// What a snapshot calls the handlers: by a number, since it is written for each message.
    fn expand_numbers(&self, target: &Target<'_>) -> TokenStream {
        let ty_generics = &target.ty_generics;
        let numbered = || self.handlers.iter().zip(0_u16..);
        let numbers = numbered().map(|(Handler { cfgs, name, .. }, number)| {
            quote!(#(#cfgs)* __ConclibKind::#name(..) => #number,)
        });
        let names = numbered().map(|(Handler { name, .. }, number)| {
            let name = name.unraw().to_string();
            quote!(#number => #name,)
        });
        let raw = self
            .raw
            .first()
            .map_or_else(String::new, |raw| raw.name.unraw().to_string());
        quote! {
            fn which(inbox: &__ConclibInbox #ty_generics) -> ::core::primitive::u16 {
                match &inbox.0 {
                    #(#numbers)*
                    _ => ::core::primitive::u16::MAX - 1,
                }
            }

            fn handler_name(number: ::core::primitive::u16) -> &'static ::core::primitive::str {
                match number {
                    #(#names)*
                    _ => #raw,
                }
            }
        }
    }
}

impl Handler {
    /// What answers it. An error about what is no message points at the parameter's type.
    fn reply_type(&self) -> TokenStream {
        let message = &self.message;
        quote_spanned! {place(message)=>
            ::conclib::Reply<<#message as ::conclib::ActorMessage>::Response>
        }
    }

    fn expand_arm(&self) -> TokenStream {
        let Self { cfgs, name, .. } = self;
        let call = self.call.expand();
        // Only those that see their context can look whether they are cancelled.
        let (begin, end) = if self.call.takes_context() {
            (
                quote!(::conclib::__private::begin(ctx, &reply);),
                quote!(::conclib::__private::end(ctx);),
            )
        } else {
            Default::default()
        };
        let answer = match self.answer {
            Answer::Return => quote_spanned!(self.call.output=> reply.finish(outcome)),
            Answer::Reply => {
                quote_spanned!(self.call.output=> ::conclib::__private::replied(outcome))
            }
        };
        quote! {
            #(#cfgs)*
            ::core::option::Option::Some(__ConclibInbox(__ConclibKind::#name(..))) => {
                let ::core::option::Option::Some(__ConclibInbox(
                    __ConclibKind::#name(message, reply),
                )) = inbox.take()
                else {
                    return ::core::result::Result::Ok(());
                };
                #begin
                let outcome = #call;
                #end
                #answer
            }
        }
    }

    fn expand_impl(&self, target: &Target<'_>) -> TokenStream {
        let Self {
            cfgs,
            name,
            message,
            ..
        } = self;
        let Target {
            impl_generics,
            ty_generics,
            self_ty,
            where_clause,
            ..
        } = target;
        let reply = self.reply_type();
        let handler = quote_spanned!(place(message)=> ::conclib::Handler<#message>);
        quote! {
            #(#cfgs)*
            #[automatically_derived]
            impl #impl_generics #handler for #self_ty #where_clause {
                fn wrap(message: #message, reply: #reply) -> __ConclibInbox #ty_generics {
                    __ConclibInbox(__ConclibKind::#name(message, reply))
                }

                fn unwrap(
                    inbox: __ConclibInbox #ty_generics,
                ) -> ::core::option::Option<(#message, #reply)> {
                    match inbox.0 {
                        __ConclibKind::#name(message, reply) => {
                            ::core::option::Option::Some((message, reply))
                        }
                        _ => ::core::option::Option::None,
                    }
                }

                fn peek(
                    inbox: &__ConclibInbox #ty_generics,
                ) -> ::core::option::Option<&#message> {
                    match &inbox.0 {
                        __ConclibKind::#name(message, _) => {
                            ::core::option::Option::Some(message)
                        }
                        _ => ::core::option::Option::None,
                    }
                }
            }
        }
    }
}

impl RawHandler {
    fn expand_arm(&self) -> TokenStream {
        let cfgs = &self.cfgs;
        let call = self.call.expand();
        let (begin, end) = if self.call.takes_context() {
            (
                quote!(::conclib::__private::begin_raw(ctx, &raw);),
                quote!(::conclib::__private::end(ctx);),
            )
        } else {
            Default::default()
        };
        let finish = quote_spanned!(self.call.output=> raw.finish(outcome));
        quote! {
            #(#cfgs)*
            ::core::option::Option::Some(__ConclibInbox(__ConclibKind::__ConclibFrame(_))) => {
                let ::core::option::Option::Some(envelope) =
                    <Self as ::conclib::Handlers>::unframe(inbox)
                else {
                    return ::core::result::Result::Ok(());
                };
                let raw = ::conclib::RawCall::begin(&envelope);
                #begin
                let outcome = #call;
                #end
                #finish
            }
        }
    }
}

impl Hook {
    fn is_start(&self) -> bool {
        matches!(self.kind, HookKind::Start)
    }

    fn expand(&self) -> TokenStream {
        let cfgs = &self.cfgs;
        let call = self.call.expand();
        let started = quote_spanned!(self.call.output=> ::conclib::__private::started(outcome));
        let method = match self.kind {
            HookKind::Start => quote! {
                async fn on_start(
                    &mut self,
                    ctx: &mut ::conclib::Context<Self>,
                ) -> ::core::result::Result<(), ::conclib::Failure> {
                    let outcome = #call;
                    #started
                }
            },
            HookKind::Stop => quote! {
                async fn on_stop(
                    &mut self,
                    ctx: &mut ::conclib::Context<Self>,
                    reason: &::conclib::StopReason,
                ) {
                    #call
                }
            },
            HookKind::Failure => quote! {
                async fn on_failure(
                    &mut self,
                    ctx: &mut ::conclib::Context<Self>,
                    failure: &::conclib::Failure,
                ) {
                    #call
                }
            },
        };
        quote!(#(#cfgs)* #method)
    }
}

/// So that type inference does not guess the message of an actor with one handler.
fn expand_no_message(target: &Target<'_>) -> TokenStream {
    let Target {
        impl_generics,
        ty_generics,
        self_ty,
        where_clause,
        ..
    } = target;
    quote! {
        #[doc(hidden)]
        #[automatically_derived]
        impl #impl_generics ::conclib::Handler<::conclib::NoMessage> for #self_ty #where_clause {
            fn wrap(
                message: ::conclib::NoMessage,
                _: ::conclib::Reply<()>,
            ) -> __ConclibInbox #ty_generics {
                match message {}
            }

            fn unwrap(
                _: __ConclibInbox #ty_generics,
            ) -> ::core::option::Option<(::conclib::NoMessage, ::conclib::Reply<()>)> {
                ::core::option::Option::None
            }

            fn peek(
                _: &__ConclibInbox #ty_generics,
            ) -> ::core::option::Option<&::conclib::NoMessage> {
                ::core::option::Option::None
            }
        }
    }
}
