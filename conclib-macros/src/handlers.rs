//! `#[handlers]`.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Attribute, ImplItem, ImplItemFn, Item, ItemImpl, parse_quote};

use crate::attr::{Errors, written};
use method::{Handler, Hook, HookKind, RawHandler};

mod call;
mod expand;
mod method;
mod target;
mod wire_names;

pub(crate) fn attribute(arguments: &TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    if !arguments.is_empty() {
        errors.at(arguments, "`#[handlers]` takes no arguments");
    }
    let expansion = match syn::parse2(item) {
        Ok(Item::Impl(mut item)) => match &item.trait_ {
            None => {
                let mut block = Block::parse(&mut item, &mut errors);
                block.validate(&mut errors);
                let expansion = block.expand(&item);
                quote!(#item #expansion)
            }
            Some((_, path, _)) => {
                let problem = format!(
                    "`#[handlers]` goes on an `impl` block of the actor itself: \
                     write `impl {} {{ … }}`",
                    written(&item.self_ty)
                );
                errors.at(path, problem);
                strip_attributes(&mut item);
                item.into_token_stream()
            }
        },
        Ok(item) => {
            let problem =
                "`#[handlers]` goes on an `impl` block: write `#[handlers] impl MyActor { … }`";
            errors.push(syn::Error::new(span_of(&item), problem));
            item.into_token_stream()
        }
        Err(error) => {
            errors.push(error);
            TokenStream::new()
        }
    };
    let errors = errors.into_tokens();
    quote!(#expansion #errors)
}

/// `#[handler]` that no `#[handlers]` block has read.
pub(crate) fn stray_handler(item: &TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let problem = "a handler stands in a `#[handlers]` block: \
                   write `#[handlers]` above the `impl` of the actor";
    errors.push(syn::Error::new(proc_macro2::Span::call_site(), problem));
    let errors = errors.into_tokens();
    quote!(#errors #item)
}

/// What an `impl` block says about its actor.
#[derive(Default)]
struct Block {
    handlers: Vec<Handler>,
    raw: Vec<RawHandler>,
    hooks: Vec<Hook>,
}

impl Block {
    /// Reads the methods, and makes the block an ordinary one.
    fn parse(item: &mut ItemImpl, errors: &mut Errors) -> Self {
        let mut block = Self::default();
        let self_ty = item.self_ty.clone();
        for member in &mut item.items {
            let ImplItem::Fn(method) = member else {
                continue;
            };
            let attributes = take_handler_attributes(method);
            let hook = HookKind::of(method);
            match (attributes.as_slice(), hook) {
                ([], None) => errors
                    .keep(method::check_helper(method))
                    .unwrap_or_default(),
                ([], Some(kind)) => {
                    block.hooks.extend(errors.keep(Hook::parse(kind, method)));
                    allow_lints(method);
                }
                ([attribute, ..], Some(_)) => {
                    let problem = "this is a hook, not a handler: \
                                   remove `#[handler]`, or give the method another name";
                    errors.at(attribute, problem);
                }
                ([attribute, more @ ..], None) => {
                    method::check_attributes(attribute, more, errors);
                    let handler = if method::is_raw(method) {
                        let raw = RawHandler::parse(method);
                        errors.keep(raw.map(|raw| block.raw.push(raw)))
                    } else {
                        let handler = Handler::parse(method, &self_ty);
                        errors.keep(handler.map(|handler| block.handlers.push(handler)))
                    };
                    if handler.is_some() {
                        allow_lints(method);
                    }
                }
            }
        }
        block
    }

    fn validate(&mut self, errors: &mut Errors) {
        let mut seen: Vec<(String, String)> = Vec::new();
        self.handlers.retain(|handler| {
            // Methods for different configurations may share a message; rustc sees to the rest.
            if !handler.cfgs.is_empty() {
                return true;
            }
            let message = written(&handler.message);
            if let Some((_, first)) = seen.iter().find(|(other, _)| *other == message) {
                let problem = format!("`{message}` has a handler already: `{first}`");
                errors.at(&handler.message, problem);
                return false;
            }
            seen.push((message, handler.name.to_string()));
            true
        });
        let mut unconditional = false;
        self.raw.retain(|raw| {
            if !raw.cfgs.is_empty() {
                return true;
            }
            if unconditional {
                let problem = "an actor has one raw handler at most: \
                               tell the messages apart with `envelope.matches::<M>()`";
                errors.at(&raw.name, problem);
                return false;
            }
            unconditional = true;
            true
        });
    }
}

/// Takes `#[handler]` away from a method.
fn take_handler_attributes(method: &mut ImplItemFn) -> Vec<Attribute> {
    let (taken, kept) = method
        .attrs
        .drain(..)
        .partition(|attribute| attribute.path().is_ident("handler"));
    method.attrs = kept;
    taken
}

/// What the framework asks of a method's signature is no fault of the method.
fn allow_lints(method: &mut ImplItemFn) {
    method.attrs.push(parse_quote! {
        #[allow(
            clippy::missing_const_for_fn,
            clippy::needless_pass_by_ref_mut,
            clippy::needless_pass_by_value,
            clippy::unnecessary_wraps,
            clippy::unused_async,
            clippy::unused_self,
        )]
    });
}

/// For a block that cannot be expanded: no second error about an unknown attribute.
fn strip_attributes(item: &mut ItemImpl) {
    for member in &mut item.items {
        if let ImplItem::Fn(method) = member {
            take_handler_attributes(method);
        }
    }
}

/// Where to point at an item that is no `impl` block: at its name.
fn span_of(item: &Item) -> proc_macro2::Span {
    match item {
        Item::Enum(item) => item.ident.span(),
        Item::Fn(item) => item.sig.ident.span(),
        Item::Mod(item) => item.ident.span(),
        Item::Struct(item) => item.ident.span(),
        Item::Trait(item) => item.ident.span(),
        _ => proc_macro2::Span::call_site(),
    }
}
