//! Strict lints: the expansions cause no warnings, and force nothing
//! on the user. Compiling is the test, with rustc and with clippy.
#![deny(
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::same_name_method,
    missing_docs,
    missing_debug_implementations,
    missing_copy_implementations,
    rust_2018_idioms,
    single_use_lifetimes,
    unreachable_pub,
    unused,
    unused_lifetimes,
    unused_qualifications,
    warnings
)]

use conclib::prelude::*;

/// A message.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
#[message(response = u32)]
pub struct Double {
    /// To be doubled.
    pub n: u32,
}

#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
struct Beat;

#[derive(ActorMessage)]
#[message(local)]
struct Put<T>(T);

/// A public actor.
#[derive(Actor, Debug, Clone, Copy)]
#[actor(urn = "public")]
#[periodic(tick = Beat, every = "1s")]
pub struct Public;

#[handlers]
impl Public {
    async fn on_start(&mut self, ctx: &mut Context<Self>) -> Result<(), Failure> {
        ctx.actor_ref().tell(Beat).await?;
        Ok(())
    }

    async fn on_stop(&mut self, _ctx: &mut Context<Self>, _reason: &StopReason) {}

    /// A public handler.
    #[handler]
    pub async fn double(&mut self, message: Double) -> u32 {
        message.n * 2
    }

    #[handler]
    fn beat(&mut self, _: Beat) {}

    #[handler]
    async fn raw(&mut self, envelope: RequestEnvelope) -> Result<(), UnexpectedMessage> {
        Err(envelope.unexpected())
    }
}

#[derive(Actor, Debug)]
struct Private<T> {
    value: Option<T>,
}

#[handlers]
impl<T: Send + 'static> Private<T> {
    #[handler]
    async fn put(&mut self, Put(value): Put<T>) -> Result<(), Failure> {
        self.value = Some(value);
        Ok(())
    }

    #[handler]
    async fn double(&mut self, message: Double, reply: Reply<u32>) {
        reply.send(message.n);
    }
}

#[tokio::test]
async fn strict_lints_find_nothing() {
    let system = ActorSystem::new();
    assert!(system.spawn(Public).await.is_ok());
    let private = system.spawn(Private { value: Some(1) }).await;
    assert!(private.is_ok_and(|private| private.urn() != "public"));
}
