//! The expansion of each method: an arm of `dispatch`, a `Handler<M>`, a hook.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};

use super::super::method::{Answer, Handler, Hook, HookKind, RawHandler};
use super::super::target::Target;
use crate::attr::{Crate, located_at, place};

impl Handler {
    /// The response of its message. An error about a type that is no message points at the parameter.
    pub(super) fn reply_type(&self, krate: &Crate) -> TokenStream {
        let message = &self.message;
        let place = place(message);
        let krate = krate.at(place);
        quote_spanned! {place=>
            #krate::Reply<<#message as #krate::ActorMessage>::Response>
        }
    }

    pub(super) fn expand_arm(&self, krate: &Crate) -> TokenStream {
        let Self { cfgs, variant, .. } = self;
        let call = self.call.expand(krate);
        // Only handlers with a context can ask whether they are cancelled.
        let (begin, end) = if self.call.takes_context() {
            (
                quote!(#krate::begin(__ctx, &__reply);),
                quote!(#krate::end(__ctx);),
            )
        } else {
            Default::default()
        };
        let at = krate.at(self.call.output);
        let answer = match self.answer {
            Answer::Return => {
                quote_spanned!(self.call.output=> #at::Reply::finish(__reply, __outcome))
            }
            Answer::Reply => {
                quote_spanned!(self.call.output=> #at::replied(__outcome))
            }
        };
        quote! {
            #(#cfgs)*
            ::core::option::Option::Some(__ConclibInbox(__ConclibKind::#variant(..))) => {
                let ::core::option::Option::Some(__ConclibInbox(
                    __ConclibKind::#variant(__message, __reply),
                )) = ::core::option::Option::take(__inbox)
                else {
                    return ::core::result::Result::Ok(());
                };
                #begin
                let __outcome = #call;
                #end
                #answer
            }
        }
    }

    pub(super) fn expand_impl(&self, target: &Target<'_>) -> TokenStream {
        let Self {
            cfgs,
            variant,
            message,
            ..
        } = self;
        let Target {
            krate,
            impl_generics,
            ty_generics,
            where_clause,
            ..
        } = target;
        let reply = self.reply_type(krate);
        // An error about two handlers of one message points at the message.
        let place = place(message);
        let at = krate.at(place);
        let impl_generics = located_at(impl_generics, place);
        let actor = located_at(target.actor(), place);
        let body = quote! {
            fn wrap(__message: #message, __reply: #reply) -> __ConclibInbox #ty_generics {
                __ConclibInbox(__ConclibKind::#variant(__message, __reply))
            }

            fn unwrap(
                __inbox: __ConclibInbox #ty_generics,
            ) -> ::core::option::Option<(#message, #reply)> {
                match __inbox.0 {
                    __ConclibKind::#variant(__message, __reply) => {
                        ::core::option::Option::Some((__message, __reply))
                    }
                    _ => ::core::option::Option::None,
                }
            }

            fn peek(
                __inbox: &__ConclibInbox #ty_generics,
            ) -> ::core::option::Option<&#message> {
                match &__inbox.0 {
                    __ConclibKind::#variant(__message, _) => {
                        ::core::option::Option::Some(__message)
                    }
                    _ => ::core::option::Option::None,
                }
            }
        };
        let item = quote_spanned! {place=>
            impl #impl_generics #at::Handler<#message> for #actor #where_clause { #body }
        };
        quote! {
            #(#cfgs)*
            #[automatically_derived]
            #item
        }
    }
}

impl RawHandler {
    /// The condition under which it is there, as `#[cfg]` takes it.
    pub(super) fn condition(&self) -> TokenStream {
        let conditions = self
            .cfgs
            .iter()
            .filter_map(|cfg| cfg.meta.require_list().ok());
        let conditions = conditions.map(|list| &list.tokens);
        quote!(all(#(#conditions),*))
    }

    pub(super) fn expand_arm(&self, krate: &Crate) -> TokenStream {
        let cfgs = &self.cfgs;
        let call = self.call.expand(krate);
        let (begin, end) = if self.call.takes_context() {
            (
                quote!(#krate::begin_raw(__ctx, &__raw);),
                quote!(#krate::end(__ctx);),
            )
        } else {
            Default::default()
        };
        let at = krate.at(self.call.output);
        let finish = quote_spanned!(self.call.output=> #at::RawCall::finish(__raw, __outcome));
        quote! {
            #(#cfgs)*
            ::core::option::Option::Some(__ConclibInbox(__ConclibKind::__ConclibFrame(_))) => {
                let ::core::option::Option::Some(__envelope) =
                    <Self as #krate::Handlers>::unframe(__inbox)
                else {
                    return ::core::result::Result::Ok(());
                };
                let __raw = #krate::RawCall::begin(&__envelope);
                #begin
                let __outcome = #call;
                #end
                #finish
            }
        }
    }
}

impl Hook {
    pub(super) fn is_start(&self) -> bool {
        matches!(self.kind, HookKind::Start)
    }

    pub(super) fn expand(&self, krate: &Crate) -> TokenStream {
        let cfgs = &self.cfgs;
        let call = self.call.expand(krate);
        let at = krate.at(self.call.output);
        let started = quote_spanned!(self.call.output=> #at::started(__outcome));
        let method = match self.kind {
            HookKind::Start => quote! {
                async fn on_start(
                    &mut self,
                    __ctx: &mut #krate::Context<Self>,
                ) -> ::core::result::Result<(), #krate::Failure> {
                    let __outcome = #call;
                    #started
                }
            },
            HookKind::Stop => quote! {
                async fn on_stop(
                    &mut self,
                    __ctx: &mut #krate::Context<Self>,
                    __reason: &#krate::StopReason,
                ) {
                    #call
                }
            },
            HookKind::Failure => quote! {
                async fn on_failure(
                    &mut self,
                    __ctx: &mut #krate::Context<Self>,
                    __failure: &#krate::Failure,
                ) {
                    #call
                }
            },
        };
        quote!(#(#cfgs)* #method)
    }
}
