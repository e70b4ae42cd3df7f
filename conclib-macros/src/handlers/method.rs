//! One method of a `#[handlers]` block: a handler, a raw handler, or a hook.

use proc_macro2::{Ident, Span};
use quote::{ToTokens, quote};
use syn::{
    Attribute, Error, FnArg, GenericParam, Generics, Meta, PatType, Path, ReceiverKind, ReturnType,
    Safety, Signature, Type,
};

use super::call::{Argument, Call, extra_arguments};
use super::conditions::{Mark, MethodForm};
use super::target::without_self;
use crate::attr::{
    Errors, is_named, listed, located_in_expansion, mentions, occurs, place, short_lifetime,
    type_arguments, written,
};

const HANDLER: &str = "(&mut self, message: M, ctx: &mut Context<Self>, reply: Reply<R>)";

/// A method that handles one message type.
pub(super) struct Handler {
    pub(super) call: Call,
    pub(super) cfgs: Vec<Attribute>,
    /// The variant of the inbox, called like the method.
    pub(super) variant: Ident,
    pub(super) message: Type,
    pub(super) answer: Answer,
}

/// The way in which a handler replies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// With its return value.
    Return,
    /// With its parameter `Reply<R>`.
    Reply,
}

/// A method that takes requests without a handler of their own.
pub(super) struct RawHandler {
    pub(super) call: Call,
    pub(super) cfgs: Vec<Attribute>,
    pub(super) name: Ident,
}

/// A method that runs when the actor starts, stops or fails.
pub(super) struct Hook {
    pub(super) call: Call,
    pub(super) cfgs: Vec<Attribute>,
    pub(super) kind: HookKind,
}

impl Handler {
    pub(super) fn parse(
        form: &MethodForm,
        self_ty: &Type,
        generics: &Generics,
    ) -> syn::Result<Self> {
        let sig = &form.sig;
        check_signature(sig, "handler")?;
        check_bounds(sig, generics)?;
        let mut parameters = typed_parameters(sig);
        let Some(message) = parameters.next() else {
            let problem = format!(
                "a handler takes a message: \
                 write `fn {}{HANDLER}`, where `ctx` and `reply` may be left out",
                sig.ident
            );
            return Err(Error::new_spanned(&sig.ident, problem));
        };
        check_message_type(sig, &message.ty)?;
        check_lifetimes(sig, &message.ty)?;
        let mut arguments = vec![(Argument::Message, place(&message.ty))];
        let known = [Argument::Context, Argument::Reply];
        arguments.extend(extra_arguments(parameters, &known, "a handler", HANDLER)?);
        let variant = located_in_expansion(&sig.ident);
        let takes_reply = arguments
            .iter()
            .any(|(argument, _)| *argument == Argument::Reply);
        Ok(Self {
            call: Call::new(sig, arguments),
            cfgs: form.cfgs.clone(),
            variant,
            message: syn::parse2(without_self(message.ty.to_token_stream(), self_ty))?,
            answer: if takes_reply {
                Answer::Reply
            } else {
                Answer::Return
            },
        })
    }
}

impl RawHandler {
    pub(super) fn parse(form: &MethodForm, generics: &Generics) -> syn::Result<Self> {
        const RAW: &str = "(&mut self, envelope: RequestEnvelope, ctx: &mut Context<Self>)";
        let sig = &form.sig;
        check_signature(sig, "handler")?;
        check_bounds(sig, generics)?;
        let mut parameters = typed_parameters(sig);
        let envelope = parameters
            .next()
            .map_or_else(Span::call_site, |envelope| place(&envelope.ty));
        let mut arguments = vec![(Argument::Envelope, envelope)];
        arguments.extend(extra_arguments(
            parameters,
            &[Argument::Context],
            "a raw handler",
            RAW,
        )?);
        Ok(Self {
            call: Call::new(sig, arguments),
            cfgs: form.cfgs.clone(),
            name: sig.ident.clone(),
        })
    }
}

impl Hook {
    pub(super) fn parse(
        kind: HookKind,
        form: &MethodForm,
        generics: &Generics,
    ) -> syn::Result<Self> {
        let sig = &form.sig;
        check_signature(sig, "hook")?;
        check_bounds(sig, generics)?;
        let what = format!("`{}`", kind.name());
        let arguments = extra_arguments(
            typed_parameters(sig),
            kind.parameters(),
            &what,
            kind.signature(),
        )?;
        let returns_nothing = match &sig.output {
            ReturnType::Default => true,
            ReturnType::Type(_, ty) => {
                matches!(&**ty, Type::Tuple(tuple) if tuple.elems.is_empty())
            }
        };
        if kind != HookKind::Start && !returns_nothing {
            let problem = format!(
                "`{}` must return nothing: the actor has ended, and the value would be dropped",
                sig.ident
            );
            return Err(Error::new_spanned(&sig.output, problem));
        }
        Ok(Self {
            call: Call::new(sig, arguments),
            cfgs: form.cfgs.clone(),
            kind,
        })
    }
}

/// The hooks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum HookKind {
    Start,
    Stop,
    Failure,
}

impl HookKind {
    const ALL: [Self; 3] = [Self::Start, Self::Stop, Self::Failure];

    /// A hook is known by its name.
    pub(super) fn of(sig: &Signature) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| sig.ident == kind.name())
    }

    fn name(self) -> &'static str {
        match self {
            Self::Start => "on_start",
            Self::Stop => "on_stop",
            Self::Failure => "on_failure",
        }
    }

    fn parameters(self) -> &'static [Argument] {
        match self {
            Self::Start => &[Argument::Context],
            Self::Stop => &[Argument::Context, Argument::Reason],
            Self::Failure => &[Argument::Context, Argument::Failure],
        }
    }

    fn signature(self) -> &'static str {
        match self {
            Self::Start => "(&mut self, ctx: &mut Context<Self>)",
            Self::Stop => "(&mut self, ctx: &mut Context<Self>, reason: &StopReason)",
            Self::Failure => "(&mut self, ctx: &mut Context<Self>, failure: &Failure)",
        }
    }
}

/// True if the method is marked as a handler and takes an envelope instead of a message.
pub(super) fn is_raw(sig: &Signature) -> bool {
    typed_parameters(sig)
        .next()
        .is_some_and(|parameter| is_named(&parameter.ty, "RequestEnvelope"))
}

/// Rejects a mistyped hook; every other method without a mark is the user's own.
pub(super) fn check_helper(sig: &Signature) -> syn::Result<()> {
    let name = &sig.ident;
    if !name.to_string().starts_with("on_") {
        return Ok(());
    }
    let problem = format!(
        "`{name}` is no hook; the hooks are {}. \
         A handler is marked `#[handler]`, and another method needs another name",
        listed(&HookKind::ALL.map(HookKind::name))
    );
    Err(Error::new_spanned(name, problem))
}

/// `#[handler]` is given once, and alone.
pub(super) fn check_marks(mark: &Mark, more: &[Mark], errors: &mut Errors) {
    match &mark.meta {
        Meta::Path(_) => {}
        Meta::List(list) => errors.at(list, "`#[handler]` takes no arguments"),
        Meta::NameValue(value) => errors.at(value, "`#[handler]` takes no arguments"),
    }
    if let Some(second) = more.first() {
        errors.at(&second.meta, "`#[handler]` is given twice");
    }
}

/// Rules for both handlers and hooks.
fn check_signature(sig: &Signature, what: &str) -> syn::Result<()> {
    let receiver = sig.receiver().ok_or_else(|| {
        let problem = format!("a {what} is a method: its first parameter is `&mut self`");
        Error::new_spanned(&sig.ident, problem)
    })?;
    let by_reference = match &receiver.kind {
        ReceiverKind::Reference(..) => true,
        ReceiverKind::Typed(_, ty) => {
            matches!(&**ty, Type::Reference(reference) if is_named(&reference.elem, "Self"))
        }
        _ => false,
    };
    if !by_reference {
        let problem = format!("a {what} borrows its actor: write `&mut self`");
        return Err(Error::new_spanned(receiver, problem));
    }
    if let Safety::Unsafe(keyword) = &sig.safety {
        return Err(Error::new_spanned(
            keyword,
            format!("a {what} cannot be `unsafe`"),
        ));
    }
    if let Some(abi) = &sig.abi {
        return Err(Error::new_spanned(
            abi,
            format!("a {what} cannot be `extern`"),
        ));
    }
    for parameter in &sig.generics.params {
        if !matches!(parameter, GenericParam::Lifetime(_)) {
            let problem = format!("a {what} cannot be generic; the `impl` block may be");
            return Err(Error::new_spanned(parameter, problem));
        }
    }
    if let ReturnType::Type(_, ty) = &sig.output
        && matches!(**ty, Type::ImplTrait(_))
    {
        let problem =
            format!("a {what} says what type it returns; if it is a future, write `async fn`");
        return Err(Error::new_spanned(ty, problem));
    }
    Ok(())
}

/// Rejects bounds on a handler or hook: its caller knows only those of the block.
fn check_bounds(sig: &Signature, generics: &Generics) -> syn::Result<()> {
    let predicates = sig.generics.where_clause.iter();
    for predicate in predicates.flat_map(|clause| &clause.predicates) {
        let names_self = occurs(&Ident::new("Self", Span::call_site()), quote!(#predicate));
        let is_generic = !generics.params.is_empty();
        if mentions(generics, predicate) || (names_self && is_generic) {
            let problem = format!(
                "the actor handles its messages whatever its parameters are: \
                 write `where {}` on the `impl` block",
                written(predicate)
            );
            return Err(Error::new_spanned(predicate, problem));
        }
    }
    Ok(())
}

fn check_message_type(sig: &Signature, ty: &Type) -> syn::Result<()> {
    const FIRST: &str = "the message comes first, before `ctx` and `reply`";
    let problem = match ty {
        Type::ImplTrait(_) => {
            "a handler takes one type of message: write a type that derives `ActorMessage`"
                .to_owned()
        }
        Type::Reference(_) if Argument::called(ty).is_some() => FIRST.to_owned(),
        Type::Reference(reference) => {
            let message = written(&reference.elem);
            format!("a handler owns its message: write `{message}`, without `&`")
        }
        ty if type_arguments(ty).any(|inner| is_named(inner, "RequestEnvelope")) => {
            "a raw handler owns its envelope: write `RequestEnvelope`".to_owned()
        }
        ty if is_conclibs_reply(sig, ty) => {
            let reply = written(ty);
            format!("{FIRST}; a message of that name is written with its module: `chat::{reply}`")
        }
        _ => return Ok(()),
    };
    Err(Error::new_spanned(ty, problem))
}

/// True if a `Reply<R>` in the place of the message is a reply: written without the module of a
/// message, and not beside another reply.
fn is_conclibs_reply(sig: &Signature, ty: &Type) -> bool {
    let written_alone = |path: &Path| match path.segments.first() {
        Some(first) => path.segments.len() == 1 || first.ident == "conclib",
        None => false,
    };
    let Type::Path(reply) = ty else { return false };
    let is_reply = |ty: &Type| Argument::called(ty) == Some(Argument::Reply);
    let other_replies = typed_parameters(sig)
        .skip(1)
        .filter(|other| is_reply(&other.ty));
    is_reply(ty)
        && type_arguments(ty).next().is_some()
        && written_alone(&reply.path)
        && other_replies.count() == 0
}

/// A message waits in the mailbox while the call that sent it returns.
fn check_lifetimes(sig: &Signature, ty: &Type) -> syn::Result<()> {
    let of_the_call = |name: &Ident| {
        let mut own = sig.generics.lifetimes();
        name == "_" || own.any(|own| own.lifetime.ident == *name)
    };
    let Some(short) = short_lifetime(ty.to_token_stream(), &of_the_call) else {
        return Ok(());
    };
    let problem = "a message borrows nothing, since it waits in the mailbox: write `'static`, or \
                   let it own what it holds";
    Err(Error::new_spanned(short, problem))
}

fn typed_parameters(sig: &Signature) -> impl Iterator<Item = &PatType> {
    sig.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(parameter) => Some(parameter),
        FnArg::Receiver(_) => None,
    })
}
