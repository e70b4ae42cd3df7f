//! Calls of the methods of a `#[handlers]` block: their parameters, and their order.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;
use syn::{Error, PatType, ReturnType, Signature, Type};

use crate::attr::{Crate, is_named, located_in_expansion, place};

/// The call of a method.
pub(super) struct Call {
    name: Ident,
    is_async: bool,
    /// The arguments after `self`, each with the place of its parameter.
    arguments: Vec<(Argument, Span)>,
    /// The place of the return type, for errors about the returned value.
    pub(super) output: Span,
}

/// The parameters that a method may have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Argument {
    Message,
    Context,
    Reply,
    Envelope,
    Reason,
    Failure,
}

impl Call {
    pub(super) fn new(sig: &Signature, arguments: Vec<(Argument, Span)>) -> Self {
        Self {
            name: sig.ident.clone(),
            is_async: sig.asyncness.is_some(),
            arguments,
            output: match &sig.output {
                ReturnType::Default => place(&sig.ident),
                ReturnType::Type(_, ty) => place(ty),
            },
        }
    }

    pub(super) fn takes_context(&self) -> bool {
        let mut arguments = self.arguments.iter();
        arguments.any(|(argument, _)| *argument == Argument::Context)
    }

    /// The call, awaited if the method is async. As a path and not as a method: it finds the
    /// inherent one, whatever traits are in scope.
    pub(super) fn expand(&self, krate: &Crate) -> TokenStream {
        let name = &self.name;
        let arguments = self
            .arguments
            .iter()
            .map(|(argument, place)| argument.expand(krate, *place));
        let place = place(name);
        let method = located_in_expansion(name);
        let call = quote_spanned!(place=> Self::#method(self, #(#arguments),*));
        if self.is_async {
            let krate = krate.at(place);
            quote_spanned!(place=> #krate::send(#call).await)
        } else {
            call
        }
    }
}

impl Argument {
    /// The parameter that a type stands for, by its name, if that is one of conclib's.
    pub(super) fn called(ty: &Type) -> Option<Self> {
        match ty {
            Type::Reference(reference) => match &*reference.elem {
                ty if is_named(ty, "Context") && reference.mutability.is_some() => {
                    Some(Self::Context)
                }
                ty if is_named(ty, "Context") => None,
                ty if is_named(ty, "StopReason") => Some(Self::Reason),
                ty if is_named(ty, "Failure") => Some(Self::Failure),
                _ => None,
            },
            Type::Group(group) => Self::called(&group.elem),
            ty if is_named(ty, "Reply") || is_named(ty, "ReplyTo") => Some(Self::Reply),
            _ => None,
        }
    }

    /// The parameter among the `known` ones that a type stands for: by its name, or else, since it may
    /// be an alias, by its form. The compiler checks its type.
    fn of(ty: &Type, known: &[Self]) -> Option<Self> {
        let by_form = |form: &[Self]| known.iter().copied().find(|known| form.contains(known));
        let is_context = |ty: &Type| is_named(ty, "Context");
        match (Self::called(ty), ty) {
            (Some(called), _) => known.contains(&called).then_some(called),
            (None, Type::Group(group)) => Self::of(&group.elem, known),
            (None, Type::Reference(reference)) if reference.mutability.is_some() => {
                by_form(&[Self::Context])
            }
            (None, Type::Reference(reference)) if !is_context(&reference.elem) => {
                by_form(&[Self::Reason, Self::Failure])
            }
            (None, Type::Path(_)) => by_form(&[Self::Reply]),
            _ => None,
        }
    }

    fn expand(self, krate: &Crate, place: Span) -> TokenStream {
        let krate = krate.at(place);
        match self {
            Self::Message => quote_spanned!(place=> __message),
            Self::Context => quote_spanned!(place=> __ctx),
            Self::Reply => quote_spanned!(place=> #krate::reply(__reply)),
            Self::Envelope => quote_spanned!(place=> #krate::envelope(*__envelope)),
            Self::Reason => quote_spanned!(place=> __reason),
            Self::Failure => quote_spanned!(place=> __failure),
        }
    }
}

/// The parameters after the message: each of the `known` at most once, in any order.
pub(super) fn extra_arguments<'a>(
    parameters: impl Iterator<Item = &'a PatType>,
    known: &[Argument],
    what: &str,
    signature: &str,
) -> syn::Result<Vec<(Argument, Span)>> {
    let mut arguments: Vec<(Argument, Span)> = Vec::new();
    for parameter in parameters {
        let argument = Argument::of(&parameter.ty, known)
            .filter(|argument| arguments.iter().all(|(other, _)| other != argument));
        let Some(argument) = argument else {
            let problem = format!("{what} takes at most `{signature}`");
            return Err(Error::new_spanned(parameter, problem));
        };
        arguments.push((argument, place(&parameter.ty)));
    }
    Ok(arguments)
}
