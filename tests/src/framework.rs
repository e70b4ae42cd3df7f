//! A framework built on conclib, whose users do not depend on conclib themselves.

pub use conclib::{Actor, ActorMessage, handler, handlers};
pub use {conclib, serde, tokio};

/// Makes a counting actor, for a crate that does not depend on conclib.
#[macro_export]
macro_rules! counter {
    ($(#[$attribute:meta])* $visibility:vis struct $actor:ident counts $message:ident) => {
        $(#[$attribute])*
        #[derive($crate::framework::ActorMessage)]
        #[message(local, response = usize, crate = $crate::framework::conclib)]
        $visibility struct $message;

        $(#[$attribute])*
        #[derive($crate::framework::Actor, Default)]
        #[actor(crate = $crate::framework::conclib)]
        #[periodic(tick = $message, every = "1h", first = "after")]
        $visibility struct $actor(usize);

        #[$crate::framework::handlers(crate = $crate::framework::conclib)]
        impl $actor {
            fn on_start(&mut self, ctx: &mut $crate::framework::conclib::Context<Self>) {
                assert!(!ctx.is_stopping());
            }

            #[$crate::framework::handler]
            fn count(&mut self, _: $message) -> usize {
                self.0 += 1;
                self.0
            }
        }
    };
}
