//! Scheduling messages of an actor to itself.

use std::time::Duration;

use tokio::time::Instant;

use crate::actor::context::Context;
use crate::actor::{Handler, Handlers, Timer};
use crate::message::ActorMessage;
use crate::reply::Reply;
use crate::time::schedule::{Schedule, later};

impl<A: Handlers> Context<A> {
    /// Sends this actor a message after a time. The message takes no room in the mailbox.
    ///
    /// ```
    /// use conclib::actor::Timer;
    /// use conclib::prelude::*;
    /// use std::time::Duration;
    ///
    /// #[derive(ActorMessage)]
    /// #[message(local)]
    /// struct IdleTooLong;
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// struct Touch;
    ///
    /// #[derive(Actor, Default)]
    /// struct Session { timer: Option<Timer> }
    ///
    /// #[handlers]
    /// impl Session {
    ///     #[handler]
    ///     fn touch(&mut self, _: Touch, ctx: &mut Context<Self>) {
    ///         self.timer.take().map(|timer| ctx.cancel(timer));
    ///         self.timer = Some(ctx.after(Duration::from_secs(30), IdleTooLong));
    ///     }
    ///
    ///     #[handler]
    ///     fn idle(&mut self, _: IdleTooLong, ctx: &mut Context<Self>) { ctx.stop(); }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let system = ActorSystem::new();
    /// let session = system.spawn(Session::default()).await?;
    /// session.tell(Touch).await?;
    /// session.stopped().await;
    /// # Ok(()) }
    /// ```
    pub fn after<M: ActorMessage>(&mut self, time: Duration, message: M) -> Timer
    where
        A: Handler<M>,
    {
        let at = later(Instant::now(), time);
        let message = A::wrap(message, Reply::for_tell());
        self.resources().timers.after(at, message)
    }

    /// Sends this actor messages at a regular interval, or on another [`Schedule`]. At most one message
    /// of a timer is pending, as with the ticks of a [`PeriodicActor`](crate::schedule::PeriodicActor).
    ///
    /// ```
    /// use conclib::prelude::*;
    /// use conclib::schedule::{First, Schedule};
    /// use std::time::Duration;
    ///
    /// #[derive(ActorMessage)]
    /// #[message(local)]
    /// struct Beat { n: u32 }
    ///
    /// #[derive(Actor)]
    /// struct Heart;
    ///
    /// #[handlers]
    /// impl Heart {
    ///     fn on_start(&mut self, ctx: &mut Context<Self>) {
    ///         let mut n = 0;
    ///         ctx.every(Duration::from_millis(500), move || { n += 1; Beat { n } });
    ///     }
    ///
    ///     #[handler]
    ///     fn beat(&mut self, message: Beat, ctx: &mut Context<Self>) {
    ///         if message.n == 3 { ctx.stop(); }
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let system = ActorSystem::new();
    /// let heart = system.spawn(Heart).await?;
    /// heart.stopped().await;
    /// # Ok(()) }
    /// ```
    pub fn every<M: ActorMessage>(
        &mut self,
        schedule: impl Into<Schedule>,
        mut message: impl FnMut() -> M + Send + 'static,
    ) -> Timer
    where
        A: Handler<M>,
    {
        let message = Box::new(move || A::wrap(message(), Reply::for_tell()));
        self.resources().timers.every(schedule.into(), message)
    }

    /// Cancels a timer. Returns false if it has already fired for the last time, or was cancelled.
    pub fn cancel(&mut self, timer: Timer) -> bool {
        match self.resources_mut() {
            Some(resources) => resources.timers.cancel(timer),
            None => false,
        }
    }
}
