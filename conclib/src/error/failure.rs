//! The failure of an actor.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::panics;

/// The failure of an actor: an error that a handler or a hook returned, or a panic.
///
/// Any error converts into a `Failure`, so `?` works in handlers. Like `anyhow::Error`, a `Failure`
/// is therefore not an [`Error`] itself; it converts into a `Box<dyn Error>`, as in a `main` that returns one.
/// Its `Display` shows the error and its sources, the outermost first.
///
/// A text is no error: where there is none to convert, return `Err(Failure::msg("the disk is full"))`.
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
///
/// fn start() -> Result<u32, Box<dyn std::error::Error>> {
///     Ok(parse("x")?)
/// }
///
/// assert!(start().unwrap_err().is::<std::num::ParseIntError>());
/// ```
#[derive(Clone)]
pub struct Failure(Arc<Cause>);

#[derive(Debug)]
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

    /// The first `E` among the error that the failure was made from and the sources of that error.
    ///
    /// So the failure of a parent whose child [escalated](crate::system::Spawn::escalate) leads to the
    /// error of the child as well.
    ///
    /// ```
    /// use conclib::Failure;
    /// use std::num::ParseIntError;
    ///
    /// let failure = Failure::from("x".parse::<u32>().unwrap_err());
    /// assert!(failure.downcast_ref::<ParseIntError>().is_some());
    /// assert!(failure.downcast_ref::<std::io::Error>().is_none());
    /// ```
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        let first = self.source();
        let mut chain = std::iter::successors(first, |&error| error.source());
        chain.find_map(|error| error.downcast_ref())
    }

    /// The error that the failure was made from; `None` for a text or a panic.
    pub fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.0 {
            Cause::Error(error) => Some(&**error),
            Cause::Message(_) | Cause::Panic(_) => None,
        }
    }

    /// The failure as an error: the one that it was made from, or one with the text or the panic.
    ///
    /// For code that takes errors, such as error reporters, and for the
    /// [`source`](Error::source) of another error. Unlike the text of the failure, the text of this
    /// error does not include its sources.
    ///
    /// ```
    /// use conclib::Failure;
    /// use std::error::Error;
    ///
    /// fn report(error: &dyn Error) -> String { error.to_string() }
    ///
    /// assert_eq!(report(Failure::msg("the disk is full").as_error()), "the disk is full");
    /// ```
    pub fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
        match &*self.0 {
            Cause::Error(error) => &**error,
            cause => cause,
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Arc::new(Cause::Error(Box::new(error))))
    }
}

/// So that `?` takes a failure to a `main` that returns a `Box<dyn Error>`. The error is the one that
/// the failure was made from, to be downcast, unless a clone of the failure is left: then it is one with the
/// same text and sources.
impl From<Failure> for Box<dyn Error + Send + Sync> {
    fn from(failure: Failure) -> Self {
        match Arc::try_unwrap(failure.0) {
            Ok(Cause::Error(error)) => error,
            Ok(cause) => Box::new(FailureError(Failure(Arc::new(cause)))),
            Err(shared) => Box::new(FailureError(Failure(shared))),
        }
    }
}

/// As for `Box<dyn Error + Send + Sync>`.
impl From<Failure> for Box<dyn Error> {
    fn from(failure: Failure) -> Self {
        Box::<dyn Error + Send + Sync>::from(failure)
    }
}

/// A failure as an error: a `Failure` cannot be one, since it converts from all errors.
struct FailureError(Failure);

impl Error for FailureError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.as_error().source()
    }
}

/// Without the sources, as for every error.
impl fmt::Display for FailureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0.as_error(), f)
    }
}

impl fmt::Debug for FailureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Does not panic even if the `Display` of the error does: failures are displayed while actors end.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Cause::Error(error) => f.write_str(&with_causes(&**error)),
            cause => cause.fmt(f),
        }
    }
}

/// Without the sources of an error.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => error.fmt(f),
            Self::Message(text) => f.write_str(text),
            Self::Panic(text) => write!(f, "panicked: {text}"),
        }
    }
}

/// Used for texts and panics only: an error stands for itself.
impl Error for Cause {}

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
    let (mut text, mut cause) = text_and_source(error);
    while let Some(error) = cause {
        let (next, source) = text_and_source(error);
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = source;
    }
    text
}

/// The text of an error alone, and its source. An error whose code panics has no source.
fn text_and_source<'a>(
    error: &'a (dyn Error + 'static),
) -> (String, Option<&'a (dyn Error + 'static)>) {
    match panics::catch(|| (error.to_string(), error.source())) {
        Ok(text_and_source) => text_and_source,
        Err(panic) => (format!("an error whose text {panic}"), None),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot start")]
    struct Start(#[source] io::Error);

    #[test]
    fn failure_is_an_error_where_one_is_wanted() {
        let failure = || Failure::from(Start(io::Error::other("disk full")));
        let error: Box<dyn Error> = failure().into();
        assert!(error.is::<Start>());
        // A clone shares the error, which cannot be taken out.
        let kept = failure();
        let error: Box<dyn Error + Send + Sync> = kept.clone().into();
        assert_eq!(error.to_string(), "cannot start");
        assert_eq!(error.source().unwrap().to_string(), "disk full");
        assert_eq!(format!("{error:?}"), format!("{kept:?}"));
        let error: Box<dyn Error> = Failure::msg("the disk is full").into();
        assert_eq!(error.to_string(), "the disk is full");
        assert_eq!(format!("{error:?}"), "Failure(\"the disk is full\")");
    }
}
