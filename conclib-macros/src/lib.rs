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
mod message;

/// Makes a type a message that actors handle: implements
/// [`ActorMessage`](https://docs.rs/conclib/latest/conclib/trait.ActorMessage.html), where the
/// example is.
///
/// | `#[message(…)]` | says | default |
/// |---|---|---|
/// | `response = Type` | the type of its response | `()` |
/// | `name = "…"` | its name on the wire; `{T}` stands for the name of a parameter | the type's identifier |
/// | `local` | it never leaves the process: serde is not needed | it may cross the bus |
/// | `durable` | clients send it so that the bus keeps it until it is handled, at least once | at most once |
/// | `crate = path` | where conclib is: see [`handlers`] | `::conclib` |
///
/// A message that may cross the bus also implements
/// [`RemoteMessage`](https://docs.rs/conclib/latest/conclib/trait.RemoteMessage.html); it derives
/// serde's `Serialize` and `Deserialize`, and so does its response.
///
/// A business error is part of the response (`response = Result<Receipt, Declined>`). conclib's
/// `Failure` is not: a handler that returns one fails its actor.
///
/// The name of a generic message is the same whatever stands for its parameters. For an actor that
/// handles `Set<u32>` and `Set<String>` it must say more: `name = "Set<{T}>"`, with
/// [`WireName`](https://docs.rs/conclib/latest/conclib/trait.WireName.html) for the names of types.
#[proc_macro_derive(ActorMessage, attributes(message))]
pub fn actor_message(input: TokenStream) -> TokenStream {
    message::derive(&parse_macro_input!(input as DeriveInput)).into()
}

/// Says what an actor is: implements
/// [`Actor`](https://docs.rs/conclib/latest/conclib/trait.Actor.html), where the example is. What
/// the actor does stands in a [`handlers`] block.
///
/// | `#[actor(…)]` | says | default |
/// |---|---|---|
/// | `urn = "…"` | the URN of every actor of this type | the spawner's, or generated |
/// | `mailbox = 256` | how many messages may wait | 1024 |
/// | `private` | other processes do not find it | they do, if there is a proxy |
/// | `crate = path` | where conclib is: see [`handlers`] | `::conclib` |
///
/// A *private* actor serves its own process alone: asks from the bus fail with `ActorNotFound`, as
/// if the URN were free. A `Pool` of private workers is private itself.
///
/// Each `#[periodic(tick = Beat, every = "500ms")]` adds a message that the actor is sent
/// regularly, at an interval or, with `cron = "0 */5 * * * *"` instead of `every`, at moments of the
/// calendar; with one or more, the actor implements
/// [`PeriodicActor`](https://docs.rs/conclib/latest/conclib/trait.PeriodicActor.html), which lists
/// the options.
#[proc_macro_derive(Actor, attributes(actor, periodic))]
pub fn actor(input: TokenStream) -> TokenStream {
    actor::derive(&parse_macro_input!(input as DeriveInput)).into()
}

/// Says what an actor does. It is placed on one inherent `impl` block of the actor and implements
/// [`Handlers`](https://docs.rs/conclib/latest/conclib/trait.Handlers.html), and
/// [`Handler<M>`](https://docs.rs/conclib/latest/conclib/trait.Handler.html) for each message.
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
/// of a message, and gets everything from other processes that has no handler of its own.
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
/// Everything stays in the block as ordinary methods, to be called in unit tests. Other methods
/// may stand beside them, unless they are called `on_…`: a mistyped hook is an error.
///
/// The module `actor` of conclib shows an expansion.
///
/// # Generic actors
///
/// Bounds stand on the block, and not on its methods. A message may be a parameter, as in a logger,
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
/// A message of the actor's own has the parameter then, as `Flush<M>` here. A plain `Flush` could be
/// the `M` of some batcher, which would have two handlers for it; it will do where a bound or the
/// response says that it is no `M`.
///
/// # Conditions and other names
///
/// `#[cfg]` and `#[cfg_attr]` may stand on handlers, hooks and their parameters, and
/// `#[cfg_attr(…, handler)]` makes a handler under a condition. The block knows a handler by the word
/// `handler`, also at the end of a path (`#[conclib::handler]`). Methods that a macro
/// within the block makes come too late: let such a macro make the whole block.
///
/// A handler is a raw one if its first parameter's type is called `RequestEnvelope`; a message of
/// that name is imported under another. Other parameters may have other names, by `use … as …` or an
/// alias.
///
/// # Where conclib is
///
/// The expansions of the macros say `::conclib`. In a crate that knows conclib by another name, or
/// through a framework that re-exports it, each of them is told so; a framework's own macro says
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
/// A crate that only knows it by another name needs one line at its root instead:
/// `extern crate cl as conclib;`.
#[proc_macro_attribute]
pub fn handlers(arguments: TokenStream, item: TokenStream) -> TokenStream {
    handlers::attribute(arguments.into(), item.into()).into()
}

/// Marks a method of a [`handlers`] block as the handler of the message that it takes. The block
/// knows it by its name, so it keeps that name when it is imported.
///
/// The block reads and removes it, so that it is never expanded; an expansion means that the block is
/// missing, and the error says so.
#[proc_macro_attribute]
pub fn handler(_: TokenStream, item: TokenStream) -> TokenStream {
    handlers::stray_handler(&item.into()).into()
}
