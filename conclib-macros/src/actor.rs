//! `#[derive(Actor)]`, with `#[periodic(…)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, DeriveInput, Generics, LitInt, LitStr, Path, parse_quote};

use crate::attr::{
    Crate, Errors, flag, located_in_expansion, problem_of_name, read_options, value,
};
use periodic::Periodic;

mod periodic;

const OPTIONS: &[&str] = &["urn", "mailbox", "private", "shared", "thread", "crate"];

/// The longest URN, as in `conclib::Urn::MAX_LEN`.
const MAX_URN_BYTES: usize = 255;

pub(crate) fn derive(input: &DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    let mut actor = Actor::parse(input, &mut errors);
    actor.validate(&mut errors);
    let expansion = actor.expand();
    let errors = errors.into_tokens();
    quote!(#expansion #errors)
}

/// An actor, its options and its ticks.
struct Actor<'a> {
    input: &'a DeriveInput,
    urn: Option<LitStr>,
    mailbox: Option<LitInt>,
    /// Other processes do not find it.
    private: bool,
    /// It shares its name with actors of other processes, as the option says.
    shared: Option<Path>,
    /// It runs on a thread of its own.
    thread: bool,
    krate: Crate,
    ticks: Vec<Periodic>,
}

impl<'a> Actor<'a> {
    fn parse(input: &'a DeriveInput, errors: &mut Errors) -> Self {
        let mut actor = Self {
            input,
            urn: None,
            mailbox: None,
            private: false,
            shared: None,
            thread: false,
            krate: Crate::default(),
            ticks: Vec::new(),
        };
        let mut seen = Vec::new();
        for attribute in &input.attrs {
            if attribute.path().is_ident("actor") {
                errors.keep(actor.parse_options(attribute, &mut seen));
            } else if attribute.path().is_ident("periodic") {
                actor.ticks.extend(errors.keep(Periodic::parse(attribute)));
            }
        }
        actor
    }

    fn parse_options(
        &mut self,
        attribute: &Attribute,
        seen: &mut Vec<&'static str>,
    ) -> syn::Result<()> {
        read_options(attribute, OPTIONS, seen, |option, meta| {
            match option {
                "urn" => self.urn = Some(value(meta, "urn = \"user/42\"")?),
                "mailbox" => self.mailbox = Some(value(meta, "mailbox = 256")?),
                "crate" => self.krate = Crate::parse(meta)?,
                "thread" => self.thread = flag(meta, "thread")?,
                "shared" => self.shared = flag(meta, "shared")?.then(|| meta.path.clone()),
                _ => self.private = flag(meta, "private")?,
            }
            Ok(())
        })
    }

    fn validate(&mut self, errors: &mut Errors) {
        if let Some(urn) = &self.urn {
            let text = urn.value();
            let too_long = (text.len() > MAX_URN_BYTES)
                .then(|| format!("{} bytes are more than {MAX_URN_BYTES}", text.len()));
            if let Some(problem) = problem_of_name(&text).or(too_long) {
                errors.at(
                    urn,
                    format!("not a URN: {problem}; write for example \"user/42\""),
                );
                self.urn = None;
            }
        }
        if let Some(mailbox) = &self.mailbox {
            let problem = match mailbox.base10_parse::<usize>() {
                Ok(0) => Some("a mailbox has room for 1 message at least".to_owned()),
                Ok(_) => None,
                Err(error) => Some(format!("not a number of messages: {error}")),
            };
            if let Some(problem) = problem {
                errors.at(mailbox, problem);
                self.mailbox = None;
            }
        }
        if self.private
            && let Some(shared) = self.shared.take()
        {
            errors.at(
                shared,
                "a `private` actor is hidden from other processes, and shares no name with them: \
                 leave one of the two out",
            );
        }
        self.ticks
            .retain(|tick| errors.keep(tick.validate()).is_some());
    }

    fn expand(&self) -> TokenStream {
        let Self { input, krate, .. } = self;
        // Ours, at the user's place: a deprecated type is not used by being what it is.
        let ident = located_in_expansion(&input.ident);
        let generics = self.generics();
        let (impl_generics, _, where_clause) = generics.split_for_impl();
        let (_, ty_generics, _) = input.generics.split_for_impl();
        let urn = self.urn.as_ref().map(|urn| {
            quote! {
                const URN: ::core::option::Option<&'static ::core::primitive::str> =
                    ::core::option::Option::Some(#urn);
            }
        });
        let mailbox = self
            .mailbox
            .as_ref()
            .map(|mailbox| quote!(const MAILBOX: ::core::primitive::usize = #mailbox;));
        let private = self.private.then(|| {
            quote!(
                const PRIVATE: ::core::primitive::bool = true;
            )
        });
        let shared = self.shared.as_ref().map(|_| {
            quote!(
                const SHARED: ::core::primitive::bool = true;
            )
        });
        let thread = self.thread.then(|| {
            quote!(
                const THREAD: ::core::primitive::bool = true;
            )
        });
        let ticks_fn = (!self.ticks.is_empty()).then(|| {
            quote! {
                fn ticks() -> &'static [#krate::Tick<Self>] {
                    <Self as #krate::PeriodicActor>::TICKS
                }
            }
        });
        let ticks = self.ticks.iter().map(|tick| tick.expand(krate));
        let periodic = (!self.ticks.is_empty()).then(|| {
            quote! {
                #[automatically_derived]
                impl #impl_generics #krate::PeriodicActor for #ident #ty_generics #where_clause {
                    const TICKS: &'static [#krate::Tick<Self>] = &[#(#ticks),*];
                }
            }
        });
        quote! {
            #[automatically_derived]
            impl #impl_generics #krate::Actor for #ident #ty_generics #where_clause {
                #urn
                #mailbox
                #private
                #shared
                #thread
                #ticks_fn
            }
            #periodic
        }
    }

    /// The type's generics. If it has any, the bounds of its handlers are on their `impl`, and
    /// need not be repeated on the type.
    fn generics(&self) -> Generics {
        let krate = &self.krate;
        let mut generics = self.input.generics.clone();
        if generics.params.is_empty() {
            return generics;
        }
        let predicates = &mut generics.make_where_clause().predicates;
        predicates.push(parse_quote!(Self: #krate::Handlers));
        for tick in &self.ticks {
            let message = tick.message_type();
            predicates.push(parse_quote!(Self: #krate::Handler<#message>));
        }
        generics
    }
}
