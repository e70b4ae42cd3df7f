//! `#[handlers]`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{Attribute, Generics, ImplItem, ImplItemFn, Item, ItemImpl, Type, Visibility};

use crate::attr::{Crate, Errors, read_arguments, written};
use conditions::{Mark, MethodForm, forms, take_marks};
use method::{Handler, Hook, HookKind, RawHandler};
use target::Target;

mod call;
mod conditions;
mod expand;
mod method;
mod target;
mod wire_names;

const OPTIONS: &[&str] = &["crate"];

pub(crate) fn attribute(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let mut krate = Crate::default();
    errors.keep(read_arguments(arguments, OPTIONS, |_, meta| {
        krate = Crate::parse(meta)?;
        Ok(())
    }));
    let expansion = match syn::parse2(item) {
        Ok(Item::Impl(mut item)) => match &item.trait_ {
            None => {
                let mut block = Block::parse(&mut item, &mut errors);
                block.validate(&mut errors);
                let expansion = errors.keep(Target::new(&item, &krate)).map(|target| {
                    let lints = lints_of(&item);
                    block.expand(&target, &lints)
                });
                quote!(#item #expansion)
            }
            Some((path, _)) => {
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
                   write `#[handlers]` above the `impl` of the actor. The block finds its handlers \
                   by the word: write `#[handler]` if this is another name for it, and let a macro \
                   that makes handlers make the whole block";
    errors.push(syn::Error::new(Span::call_site(), problem));
    let errors = errors.into_tokens();
    quote!(#errors #item)
}

/// The actor's handlers and hooks, read from its `impl` block.
#[derive(Default)]
struct Block {
    handlers: Vec<Handler>,
    raw: Vec<RawHandler>,
    hooks: Vec<Hook>,
    /// The `handler` of a `#[handler]` without a path.
    imported: Option<Ident>,
}

impl Block {
    /// Reads the methods, and makes the block an ordinary one.
    fn parse(item: &mut ItemImpl, errors: &mut Errors) -> Self {
        let mut block = Self::default();
        for member in &mut item.items {
            let ImplItem::Fn(method) = member else {
                continue;
            };
            let marks = take_marks(method);
            let hook = HookKind::of(&method.sig);
            if let ([], None) = (marks.as_slice(), hook) {
                errors
                    .keep(method::check_helper(&method.sig))
                    .unwrap_or_default();
                continue;
            }
            if let ([mark, ..], Some(_)) = (marks.as_slice(), hook) {
                let problem = "this is a hook, not a handler: \
                               remove `#[handler]`, or give the method another name";
                errors.at(&mark.meta, problem);
                continue;
            }
            if let [mark, more @ ..] = marks.as_slice() {
                method::check_marks(mark, more, errors);
                block.remember_import(mark);
            }
            let Some(forms) = errors.keep(forms(method, marks.first())) else {
                continue;
            };
            for form in &forms {
                let read = block.read(form, hook, &item.self_ty, &item.generics);
                if let Err(error) = read {
                    errors.push_if(&form.cfgs, error);
                }
            }
            exempt_from_lints(method);
        }
        block
    }

    fn read(
        &mut self,
        form: &MethodForm,
        hook: Option<HookKind>,
        self_ty: &Type,
        generics: &Generics,
    ) -> syn::Result<()> {
        if let Some(kind) = hook {
            self.hooks.push(Hook::parse(kind, form, generics)?);
        } else if method::is_raw(&form.sig) {
            self.raw.push(RawHandler::parse(form, generics)?);
        } else {
            let handler = Handler::parse(form, self_ty, generics)?;
            self.handlers.push(handler);
        }
        Ok(())
    }

    fn remember_import(&mut self, mark: &Mark) {
        if let Some(handler) = mark.path().get_ident() {
            self.imported.get_or_insert_with(|| handler.clone());
        }
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
            seen.push((message, handler.variant.to_string()));
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

/// Silences lints about the signature of a method, since conclib prescribes it: its first words become
/// the macro's own, and lints skip code that a macro wrote. (An `#[allow]` would be an error where the
/// user forbids the lint.)
fn exempt_from_lints(method: &mut ImplItemFn) {
    let ours = |span: Span| Span::call_site().located_at(span);
    match &mut method.vis {
        Visibility::Public(word) => word.span = ours(word.span),
        Visibility::Restricted(restricted) => {
            restricted.pub_token.span = ours(restricted.pub_token.span);
        }
        Visibility::Inherited => {}
    }
    if let Some(word) = &mut method.sig.asyncness {
        word.span = ours(word.span);
    }
    method.sig.fn_token.span = ours(method.sig.fn_token.span);
}

/// The lint levels of the block's methods, for the expansion, which names the same types.
fn lints_of(item: &ItemImpl) -> Vec<Attribute> {
    let methods = item.items.iter().filter_map(|member| match member {
        ImplItem::Fn(method) => Some(&method.attrs),
        _ => None,
    });
    let attributes = item.attrs.iter().chain(methods.flatten());
    attributes
        .filter_map(|attribute| {
            let path = attribute.path();
            let list = attribute.meta.require_list().ok()?;
            let lints = &list.tokens;
            (path.is_ident("allow") || path.is_ident("expect"))
                .then(|| syn::parse_quote!(#[allow(#lints)]))
        })
        .collect()
}

/// Removes conclib's attributes from a block that cannot be expanded, so that no second error calls
/// them unknown.
fn strip_attributes(item: &mut ItemImpl) {
    for member in &mut item.items {
        if let ImplItem::Fn(method) = member {
            take_marks(method);
        }
    }
}

/// The place for an error about an item that is no `impl` block: its name.
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
