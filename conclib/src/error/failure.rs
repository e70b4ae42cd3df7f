//! The failure of an actor.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::panics;

/// The failure of an actor: an error that a handler or a hook returned, or a panic.
///
/// Any error converts into a `Failure`, so `?` works in handlers. Like `anyhow::Error`, a `Failure`
/// is therefore not an [`Error`] itself. Its `Display` shows the error and its sources, the
/// outermost first.
///
/// A failure ends the actor, or the incarnation of a supervised actor. So do not return one for a
/// bad
/// *message*: with `text.parse()?` on input from outside, one bad request ends an actor, and four
/// within 5 s end a supervised actor for good. Make such errors part of the response type instead,
/// as in `#[message(response = Result<u32, Declined>)]`, and keep `?` for errors that the actor
/// cannot continue after.
///
/// ```
/// use conclib::Failure;
///
/// fn parse(text: &str) -> Result<u32, Failure> {
///     Ok(text.parse::<u32>()?)
/// }
///
/// assert_eq!(parse("x").unwrap_err().to_string(), "invalid digit found in string");
/// assert_eq!(Failure::msg("the disk is full").to_string(), "the disk is full");
/// ```
#[derive(Clone)]
pub struct Failure(Arc<Cause>);

enum Cause {
    Error(Box<dyn Error + Send + Sync>),
    Message(String),
    Panic(String),
}

impl Failure {
    /// A failure with this text and without a source.
    pub fn msg(message: impl Into<String>) -> Self {
        Self(Arc::new(Cause::Message(message.into())))
    }

    /// The failure for a panic, from the payload that [`std::panic::catch_unwind`] returned.
    pub(crate) fn from_panic(payload: &(dyn std::any::Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&'static str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a text".to_owned());
        Self(Arc::new(Cause::Panic(text)))
    }

    /// True if the actor panicked.
    pub fn is_panic(&self) -> bool {
        self.panic_text().is_some()
    }

    /// The text of the panic, if the actor panicked.
    pub(super) fn panic_text(&self) -> Option<&str> {
        match &*self.0 {
            Cause::Panic(text) => Some(text),
            Cause::Error(_) | Cause::Message(_) => None,
        }
    }

    /// The error that the failure was made from, if that is an `E`.
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.source()?.downcast_ref::<E>()
    }

    /// The error that the failure was made from; `None` for a text or a panic.
    pub fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.0 {
            Cause::Error(error) => Some(&**error),
            Cause::Message(_) | Cause::Panic(_) => None,
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Arc::new(Cause::Error(Box::new(error))))
    }
}

/// Does not panic even if the `Display` of the error does: failures are displayed while actors end.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Cause::Error(error) => match panics::catch(|| with_causes(&**error)) {
                Ok(text) => f.write_str(&text),
                Err(panic) => write!(f, "an error whose text {panic}"),
            },
            Cause::Message(text) => f.write_str(text),
            Cause::Panic(text) => write!(f, "panicked: {text}"),
        }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Cause::Error(error) => f.debug_tuple("Failure").field(error).finish(),
            _ => f.debug_tuple("Failure").field(&self.to_string()).finish(),
        }
    }
}

/// The text of an error and of its sources, each once: many errors repeat the text of their source.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
