//! The macros of [conclib](https://docs.rs/conclib), which re-exports them.
//!
//! Each macro is a module of the same shape: *parse* reads the user's tokens, *validate* finds
//! contradictions, *expand* writes the code. Mistakes are collected, so that one build shows them
//! all. The correct parts are expanded even so: one mistake is not followed by ten errors about
//! undefined names.

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

mod actor;
mod attr;
mod duration;
mod handlers;
mod hidden;
mod message;

/// Makes a type a message that actors handle: implements
/// [`ActorMessage`](https://docs.rs/conclib/latest/conclib/trait.ActorMessage.html), where the
/// example is.
///
/// | `#[message(…)]` | meaning | default |
/// |---|---|---|
/// | `response = Type` | the type of its response | `()` |
/// | `name = "…"` | its name on the wire; `{T}` stands for the name of a parameter | the type's identifier |
/// | `local` | it never leaves the process: serde is not needed | it may cross the bus |
/// | `durable` | the bus stores it until it is handled, at least once | at most once |
/// | `retry = "1s..5m"` | with `durable`: the first and the longest pause after failed deliveries; `"10s"`: all pauses | `Config::retry_backoff` |
/// | `crate = path` | where conclib is: see [`handlers`] | `::conclib` |
///
/// A message that may cross the bus also implements
/// [`RemoteMessage`](https://docs.rs/conclib/latest/conclib/message/trait.RemoteMessage.html); it derives
/// serde's `Serialize` and `Deserialize`, and so does its response.
///
/// A business error is part of the response (`response = Result<Receipt, Declined>`). conclib's
/// `Failure` is not: a handler that returns one fails its actor.
///
/// The name of a generic message does not depend on its parameters. An actor that handles `Set<u32>`
/// and `Set<String>` needs names that do: `name = "Set<{T}>"`, with
/// [`WireName`](https://docs.rs/conclib/latest/conclib/message/trait.WireName.html) for the names of types.
#[proc_macro_derive(ActorMessage, attributes(message))]
pub fn actor_message(input: TokenStream) -> TokenStream {
    message::derive(&parse_macro_input!(input as DeriveInput)).into()
}

/// Describes an actor: implements
/// [`Actor`](https://docs.rs/conclib/latest/conclib/trait.Actor.html), where the example is. Its
/// behaviour is in a [`handlers`] block.
///
/// | `#[actor(…)]` | meaning | default |
/// |---|---|---|
/// | `urn = "…"` | the URN of every actor of this type | the spawner's, or generated |
/// | `mailbox = 256` | the capacity of its mailbox, in messages | 1024 |
/// | `private` | hidden from other processes | visible, if there is a proxy |
/// | `shared` | in a fleet, each member may have an actor of the URN: see [`Spawn::shared`](https://docs.rs/conclib/latest/conclib/system/struct.Spawn.html#method.shared) | one member has the URN |
/// | `thread` | runs on a thread of its own, so that its handlers may block: see [`THREAD`](https://docs.rs/conclib/latest/conclib/trait.Actor.html#associatedconstant.THREAD) | runs in a task |
/// | `crate = path` | where conclib is: see [`handlers`] | `::conclib` |
///
/// A *private* actor serves its own process alone: asks from the bus fail with `ActorNotFound`, as
/// if the URN were free. A `Pool` of private workers is private itself.
///
/// Each `#[periodic(tick = Beat, every = "500ms")]` adds a message that is sent to the actor
/// regularly, at an interval or, with `cron = "0 */5 * * * *"` instead of `every`, at moments of the
/// calendar; with one or more, the actor implements
/// [`PeriodicActor`](https://docs.rs/conclib/latest/conclib/schedule/trait.PeriodicActor.html), which lists
/// the options.
#[proc_macro_derive(Actor, attributes(actor, periodic))]
pub fn actor(input: TokenStream) -> TokenStream {
    actor::derive(&parse_macro_input!(input as DeriveInput)).into()
}

/// Defines the behaviour of an actor. It is placed on one inherent `impl` block of the actor and implements
/// [`Handlers`](https://docs.rs/conclib/latest/conclib/actor/trait.Handlers.html), and
/// [`Handler<M>`](https://docs.rs/conclib/latest/conclib/actor/trait.Handler.html) for each message.
///
/// **Handlers** are the methods marked `#[handler]`, `async fn` or `fn`:
///
/// ```text
/// (&mut self, message: M [, ctx: &mut Context<Self>] [, reply: Reply<R>])
/// ```
///
/// A handler returns the message's response, or `Result` of it and a `Failure`, which fails the
/// actor. An error in the message belongs into the response type; `?` is for errors that the actor
/// cannot continue with. (With `text.parse()?` on a text from outside, a few bad requests end an actor
/// for good.) With a `Reply<R>` it returns `()` or `Result<(), Failure>`, and replies at any time.
/// A *raw handler* takes a
/// [`RequestEnvelope`](https://docs.rs/conclib/latest/conclib/struct.RequestEnvelope.html) instead
/// of a message, and gets every request from other processes that has no handler of its own.
///
/// **Hooks** are the methods with these names; they need no attribute, and take any of their
/// parameters:
///
/// | hook | parameters | returns |
/// |---|---|---|
/// | `on_start` | `&mut self, ctx: &mut Context<Self>` | `()` or `Result<(), Failure>` |
/// | `on_stop` | `&mut self, ctx: &mut Context<Self>, reason: &StopReason` | `()` |
/// | `on_failure` | `&mut self, ctx: &mut Context<Self>, failure: &Failure` | `()` |
///
/// All of them stay ordinary methods, which unit tests can call. The block may have other methods,
/// except with names `on_…`: a mistyped hook is an error.
///
/// The module `actor` of conclib shows an expansion.
///
/// # Generic actors
///
/// Bounds belong on the block, and not on its methods. A message may be a parameter, as in a logger,
/// a batcher or a retrier:
///
/// ```text
/// #[handlers]
/// impl<M: ActorMessage<Response = ()>> Batcher<M> {
///     #[handler]
///     fn any(&mut self, message: M) { … }
///
///     #[handler]
///     fn flush(&mut self, _: Flush<M>) { … }
/// }
/// ```
///
/// The actor's own messages then have the parameter too, as `Flush<M>` here. A plain `Flush` could be
/// the `M` of a batcher, which would have two handlers for it. It works only if a bound or its
/// response type excludes it from `M`.
///
/// # Conditions and other names
///
/// `#[cfg]` and `#[cfg_attr]` are allowed on handlers, hooks and their parameters, and
/// `#[cfg_attr(…, handler)]` makes a handler under a condition. The block recognises a handler by the word
/// `handler`, also at the end of a path (`#[conclib::handler]`). Methods that a macro
/// within the block makes come too late: let such a macro make the whole block.
///
/// A handler is a raw one if its first parameter's type is called `RequestEnvelope`; a message of
/// that name is imported under another. Other parameters may have other names, by `use … as …` or an
/// alias.
///
/// # Where conclib is
///
/// The expansions of the macros refer to `::conclib`. In a crate with another name for conclib, or
/// with a framework that re-exports it, each macro takes `crate = path`; a framework's own macro writes
/// `crate = $crate::conclib`:
///
/// ```text
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// #[message(crate = my_framework::conclib)]
/// struct Beat;
///
/// #[derive(Actor)]
/// #[actor(crate = my_framework::conclib)]
/// struct Heart;
///
/// #[handlers(crate = my_framework::conclib)]
/// impl Heart { … }
/// ```
///
/// A crate with just another name for it needs one line at its root instead:
/// `extern crate cl as conclib;`.
#[proc_macro_attribute]
pub fn handlers(arguments: TokenStream, item: TokenStream) -> TokenStream {
    handlers::attribute(arguments.into(), item.into()).into()
}

/// Marks a method of a [`handlers`] block as the handler of the message that it takes. The block
/// recognises it by its name, so do not rename it in an import.
///
/// The block reads and removes it, so it is never expanded. An expansion means that the block is missing,
/// which is the error then.
#[proc_macro_attribute]
pub fn handler(_: TokenStream, item: TokenStream) -> TokenStream {
    handlers::stray_handler(&item.into()).into()
}
