//! How the methods of a `#[handlers]` block are called: what they take, and in which order.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;
use syn::{Error, PatType, ReturnType, Signature, Type};

use crate::attr::{is_named, place, type_arguments};

/// How a method is called.
pub(super) struct Call {
    name: Ident,
    is_async: bool,
    /// The arguments after `self`, each with the place of its parameter.
    arguments: Vec<(Argument, Span)>,
    /// The place of the return type, for errors about what is returned.
    pub(super) output: Span,
}

/// What a parameter takes.
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
    pub(super) fn expand(&self) -> TokenStream {
        let name = &self.name;
        let arguments = self
            .arguments
            .iter()
            .map(|(argument, place)| argument.expand(*place));
        let place = place(name);
        let mut method = name.clone();
        method.set_span(place);
        let call = quote_spanned!(place=> Self::#method(self, #(#arguments),*));
        if self.is_async {
            quote_spanned!(place=> ::conclib::__private::send(#call).await)
        } else {
            call
        }
    }
}

impl Argument {
    /// What a parameter of this type takes, apart from messages.
    pub(super) fn of(ty: &Type) -> Option<Self> {
        match ty {
            Type::Reference(reference) => match &*reference.elem {
                ty if is_named(ty, "Context") && reference.mutability.is_some() => {
                    Some(Self::Context)
                }
                ty if is_named(ty, "StopReason") => Some(Self::Reason),
                ty if is_named(ty, "Failure") => Some(Self::Failure),
                _ => None,
            },
            Type::Group(group) => Self::of(&group.elem),
            // A message may be called `Reply` as well; ours says of what.
            ty if is_named(ty, "Reply") && type_arguments(ty).next().is_some() => Some(Self::Reply),
            _ => None,
        }
    }

    fn expand(self, place: Span) -> TokenStream {
        match self {
            Self::Message => quote_spanned!(place=> message),
            Self::Context => quote_spanned!(place=> ctx),
            Self::Reply => quote_spanned!(place=> reply.take_over()),
            Self::Envelope => quote_spanned!(place=> *envelope),
            Self::Reason => quote_spanned!(place=> reason),
            Self::Failure => quote_spanned!(place=> failure),
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
        let argument = Argument::of(&parameter.ty).filter(|argument| {
            known.contains(argument) && arguments.iter().all(|(other, _)| other != argument)
        });
        let Some(argument) = argument else {
            let problem = format!("{what} takes at most `{signature}`");
            return Err(Error::new_spanned(parameter, problem));
        };
        arguments.push((argument, place(&parameter.ty)));
    }
    Ok(arguments)
}
