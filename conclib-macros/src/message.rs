//! `#[derive(ActorMessage)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::{Attribute, Data, DeriveInput, Generics, LitStr, Type, parse_quote};

use crate::attr::{Crate, Errors, located_in_expansion, place, read_options, value};
use name::Name;
use retry::Retry;

mod name;
mod response;
mod retry;
mod schema;

const OPTIONS: &[&str] = &["response", "name", "local", "durable", "retry", "crate"];

pub(crate) fn derive(input: &DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    let mut message = Message::parse(input, &mut errors);
    message.validate(&mut errors);
    message.validate_durable(&mut errors);
    let name = message.name(&mut errors);
    let retry = message.retry(&mut errors);
    let expansion = message.expand(&name, retry.as_ref());
    let errors = errors.into_tokens();
    quote!(#expansion #errors)
}

/// A message and its options.
struct Message<'a> {
    input: &'a DeriveInput,
    response: Type,
    /// Its name on the wire, if it is not the type's.
    name: Option<LitStr>,
    /// The word `local`.
    local: Option<syn::Path>,
    /// The word `durable`.
    durable: Option<syn::Path>,
    /// The pauses after failed deliveries.
    retry: Option<LitStr>,
    krate: Crate,
}

impl<'a> Message<'a> {
    fn parse(input: &'a DeriveInput, errors: &mut Errors) -> Self {
        let mut message = Self {
            input,
            response: parse_quote!(()),
            name: None,
            local: None,
            durable: None,
            retry: None,
            krate: Crate::default(),
        };
        let mut seen = Vec::new();
        for attribute in input
            .attrs
            .iter()
            .filter(|attr| attr.path().is_ident("message"))
        {
            errors.keep(message.parse_options(attribute, &mut seen));
        }
        message
    }

    fn parse_options(
        &mut self,
        attribute: &Attribute,
        seen: &mut Vec<&'static str>,
    ) -> syn::Result<()> {
        read_options(attribute, OPTIONS, seen, |option, meta| {
            match option {
                "response" => self.response = value(meta, "response = Receipt")?,
                "name" => self.name = Some(value(meta, "name = \"billing.Charge\"")?),
                "local" => self.local = Some(meta.path.clone()),
                "retry" => self.retry = Some(value(meta, "retry = \"1s..5m\"")?),
                "crate" => self.krate = Crate::parse(meta)?,
                _ => self.durable = Some(meta.path.clone()),
            }
            Ok(())
        })
    }

    fn validate(&mut self, errors: &mut Errors) {
        if let Data::Union(union) = &self.input.data {
            errors.at(union.union_token, "a message is a struct or an enum");
        }
        if let (Some(_), Some(local)) = (&self.name, &self.local) {
            let problem = "a `local` message never leaves the process and has no name on the \
                           wire: remove `local` or `name`";
            errors.at(local, problem);
        }
    }

    fn validate_durable(&self, errors: &mut Errors) {
        if let (Some(durable), Some(_)) = (&self.durable, &self.local) {
            let problem = "a `local` message never leaves the process, and the bus cannot keep it: \
                           remove `local` or `durable`";
            errors.at(durable, problem);
        }
        if let (Some(retry), None) = (&self.retry, &self.durable) {
            let problem = "only a durable message is delivered again after a failure: add `durable`, or \
                           remove `retry`";
            errors.at(retry, problem);
        }
    }

    fn retry(&self, errors: &mut Errors) -> Option<Retry> {
        errors.keep(Retry::parse(self.retry.as_ref()?))
    }

    fn name(&self, errors: &mut Errors) -> Name {
        let input = self.input;
        let written = self.name.as_ref();
        written
            .and_then(|name| errors.keep(Name::parse(name, &input.generics)))
            .unwrap_or_else(|| Name::of_type(&input.ident))
    }

    fn expand(&self, name: &Name, retry: Option<&Retry>) -> TokenStream {
        let Self {
            input,
            response,
            krate,
            ..
        } = self;
        // Ours, at the user's place: a deprecated type is not used by being what it is.
        let ident = located_in_expansion(&input.ident);
        let generics = self.generics(name);
        let (impl_generics, _, where_clause) = generics.split_for_impl();
        let (_, ty_generics, _) = input.generics.split_for_impl();
        let name = name.expand(krate);
        let wire = if self.local.is_some() {
            quote!(None)
        } else {
            quote!(Some(<Self as #krate::RemoteMessage>::CODEC))
        };
        let durable = self.durable.is_some().then(|| {
            quote!(
                const DURABLE: ::core::primitive::bool = true;
            )
        });
        let retry = retry.map(|retry| retry.expand(krate));
        let schema = self.schema();
        let is_remote = self.local.is_none();
        let remote = is_remote.then(|| {
            // The error about a missing serde derive points at the type's name, or at the response.
            let codec = response::codec(krate, response, place(&ident));
            quote! {
                #[automatically_derived]
                impl #impl_generics #krate::RemoteMessage for #ident #ty_generics #where_clause {
                    const CODEC: #krate::WireCodec<Self> = #codec;
                }
            }
        });
        let check = response::check(krate, response, &input.generics, is_remote);
        quote! {
            #[automatically_derived]
            impl #impl_generics #krate::ActorMessage for #ident #ty_generics #where_clause {
                type Response = #response;
                const NAME: &'static ::core::primitive::str = #name;
                const WIRE: ::core::option::Option<#krate::WireCodec<Self>> =
                    ::core::option::Option::#wire;
                #durable
                #retry
                #schema
            }
            #remote
            #check
        }
    }

    /// The fields of a message that may cross the bus, under the name as it is written.
    fn schema(&self) -> Option<TokenStream> {
        let written = self.name.as_ref().map(LitStr::value);
        let name = written.unwrap_or_else(|| self.input.ident.unraw().to_string());
        let is_remote = self.local.is_none();
        is_remote.then(|| schema::expand(&self.krate, self.input, &name, &self.response))
    }

    /// The type's generics. If it has any, whether it can be sent or written depends on them.
    fn generics(&self, name: &Name) -> Generics {
        let mut generics = self.input.generics.clone();
        if generics.params.is_empty() {
            return generics;
        }
        let Self {
            response, krate, ..
        } = self;
        let predicates = &mut generics.make_where_clause().predicates;
        predicates.push(parse_quote!(Self: ::core::marker::Send + 'static));
        predicates.push(parse_quote!(#response: ::core::marker::Send + 'static));
        if self.local.is_none() {
            let serde = quote!(#krate::serde);
            let both = quote!(#serde::Serialize + #serde::de::DeserializeOwned);
            predicates.push(parse_quote!(Self: #both));
            predicates.push(parse_quote!(#response: #both));
        }
        for parameter in name.types() {
            predicates.push(parse_quote!(#parameter: #krate::WireName));
        }
        generics
    }
}
