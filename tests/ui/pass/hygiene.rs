//! The expansions refer to nothing by a name that the user may have taken.
#![no_implicit_prelude]
#![allow(dead_code)]

use ::conclib::{handlers, Actor, ActorMessage};
use ::serde::{Deserialize, Serialize};

struct Inbox;
struct Kind;
struct Option;
struct Some;
struct None;
struct Ok;
struct Err;
struct Box;
struct Vec;
struct String;
struct Send;
struct Handler;
struct Handlers;
struct Duration;
struct Infallible;
struct PhantomData;
struct Tick;
type Result = ();
#[allow(non_camel_case_types)]
type usize = ();
#[allow(non_camel_case_types)]
type str = ();
mod core {}
mod std {}
mod serde {}

#[derive(ActorMessage, Serialize, Deserialize)]
#[serde(crate = "::serde")]
#[message(response = u32, name = "a.Double")]
struct Double(u32);

#[derive(ActorMessage)]
#[message(local)]
struct Local<T>(T);

#[derive(Actor)]
#[actor(urn = "hygiene", mailbox = 4, private)]
#[periodic(tick = Double(1), every = "1s", jitter = "1s")]
struct Unit;

#[handlers]
impl Unit {
    fn on_start(&mut self, ctx: &mut ::conclib::Context<Self>) {
        ctx.stop();
    }

    async fn on_stop(&mut self, reason: &::conclib::StopReason) {
        reason.is_failure();
    }

    fn on_failure(&mut self, _failure: &::conclib::Failure) {}

    // Methods called like those of the traits.
    #[handler]
    async fn dispatch(&mut self, message: Double) -> u32 {
        message.0
    }

    #[handler]
    fn wrap(&mut self, _: Local<u8>, reply: ::conclib::Reply<()>) {
        reply.send(());
    }

    #[handler]
    fn r#match(&mut self, envelope: ::conclib::RequestEnvelope) {
        envelope.respond(1_u32);
    }
}

// Its variants are called like associated types.
#[derive(Actor)]
enum Generic<T> {
    Inbox(T),
    Response,
}

#[handlers]
impl<T: ::core::marker::Send + 'static> Generic<T> {
    #[handler]
    fn local(&mut self, message: Local<T>) {
        *self = Self::Inbox(message.0);
    }
}

fn main() {
    let system = ::conclib::ActorSystem::new();
    ::core::mem::drop(system.spawn(Unit));
    ::core::mem::drop(system.spawn(Generic::<u8>::Response));
}
