//! `#[derive(ActorMessage)]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Attribute, Data, DeriveInput, Generics, LitStr, Type, parse_quote};

use crate::attr::{
    Errors, is_named, place, problem_of_name, read_options, type_arguments, value, written,
};

const OPTIONS: &[&str] = &["response", "name", "local", "durable"];

/// The longest name on the wire: a longer one is not sent.
const MAX_NAME_BYTES: usize = 255;

pub(crate) fn derive(input: &DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    let mut message = Message::parse(input, &mut errors);
    message.validate(&mut errors);
    message.validate_durable(&mut errors);
    let expansion = message.expand();
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
}

impl<'a> Message<'a> {
    fn parse(input: &'a DeriveInput, errors: &mut Errors) -> Self {
        let mut message = Self {
            input,
            response: parse_quote!(()),
            name: None,
            local: None,
            durable: None,
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
                _ => self.durable = Some(meta.path.clone()),
            }
            Ok(())
        })
    }

    fn validate(&mut self, errors: &mut Errors) {
        if let Data::Union(union) = &self.input.data {
            errors.at(union.union_token, "a message is a struct or an enum");
        }
        if let Some(response) = without_failure(&self.response) {
            let response = response.clone();
            let problem = format!(
                "a `Failure` fails the actor and is not a response: write `response = {0}`, and \
                 let the handler return `Result<{0}, Failure>`",
                written(&response)
            );
            errors.at(&self.response, problem);
            self.response = response;
        }
        if let Some(name) = &self.name {
            let text = name.value();
            let too_long = (text.len() > MAX_NAME_BYTES)
                .then(|| format!("{} bytes are more than {MAX_NAME_BYTES}", text.len()));
            if let Some(problem) = problem_of_name(&text).or(too_long) {
                errors.at(
                    name,
                    format!(
                        "not a name for the wire: {problem}; write for example \"billing.Charge\""
                    ),
                );
            }
            if let Some(local) = &self.local {
                let problem = "a `local` message never leaves the process and has no name on the \
                               wire: remove `local` or `name`";
                errors.at(local, problem);
            }
        }
    }

    fn validate_durable(&self, errors: &mut Errors) {
        if let (Some(durable), Some(_)) = (&self.durable, &self.local) {
            let problem = "a `local` message never leaves the process, and the bus cannot keep it: \
                           remove `local` or `durable`";
            errors.at(durable, problem);
        }
    }

    fn expand(&self) -> TokenStream {
        let ident = &self.input.ident;
        let response = &self.response;
        let generics = self.generics();
        let (impl_generics, _, where_clause) = generics.split_for_impl();
        let (_, ty_generics, _) = self.input.generics.split_for_impl();
        let name = match &self.name {
            Some(name) => name.value(),
            None => ident.unraw().to_string(),
        };
        let wire = if self.local.is_some() {
            quote!(None)
        } else {
            quote!(Some(<Self as ::conclib::RemoteMessage>::CODEC))
        };
        let durable = self.durable.is_some().then(|| {
            quote!(
                const DURABLE: ::core::primitive::bool = true;
            )
        });
        // The error about a missing serde derive points at the type's name, or at the response.
        let codec = quote_spanned!(place(ident)=> ::conclib::__private::codec::<Self, #response>());
        let remote = self.local.is_none().then(|| {
            quote! {
                #[automatically_derived]
                impl #impl_generics ::conclib::RemoteMessage for #ident #ty_generics #where_clause {
                    const CODEC: ::conclib::WireCodec<Self> = #codec;
                }
            }
        });
        quote! {
            #[automatically_derived]
            impl #impl_generics ::conclib::ActorMessage for #ident #ty_generics #where_clause {
                type Response = #response;
                const NAME: &'static ::core::primitive::str = #name;
                const WIRE: ::core::option::Option<::conclib::WireCodec<Self>> =
                    ::core::option::Option::#wire;
                #durable
            }
            #remote
        }
    }

    /// The type's generics. If it has any, whether it can be sent or written depends on them.
    fn generics(&self) -> Generics {
        let mut generics = self.input.generics.clone();
        if generics.params.is_empty() {
            return generics;
        }
        let response = &self.response;
        let predicates = &mut generics.make_where_clause().predicates;
        predicates.push(parse_quote!(Self: ::core::marker::Send + 'static));
        predicates.push(parse_quote!(#response: ::core::marker::Send + 'static));
        if self.local.is_none() {
            let serde = quote!(::conclib::__private::serde);
            let both = quote!(#serde::Serialize + #serde::de::DeserializeOwned);
            predicates.push(parse_quote!(Self: #both));
            predicates.push(parse_quote!(#response: #both));
        }
        generics
    }
}

/// `T`, if the type is `Result<T, Failure>`.
fn without_failure(ty: &Type) -> Option<&Type> {
    let mut arguments = type_arguments(ty);
    let (value, error) = (arguments.next()?, arguments.next()?);
    (is_named(ty, "Result") && is_named(error, "Failure")).then_some(value)
}
