//! `#[handler]` by every path, and under conditions.
#![deny(warnings)]
#![allow(clippy::non_minimal_cfg, dead_code, unexpected_cfgs)]

mod handler_and_handlers_imported {
    use conclib::{handler, handlers, Actor, ActorMessage};
    use serde::{Deserialize, Serialize};

    #[derive(ActorMessage, Serialize, Deserialize)]
    pub struct Beat;

    #[derive(Actor)]
    pub struct Heart;

    #[handlers]
    impl Heart {
        #[handler]
        fn beat(&mut self, _: Beat) {}
    }
}

mod handler_not_imported {
    use conclib::{handlers, Actor, ActorMessage};
    use serde::{Deserialize, Serialize};

    #[derive(ActorMessage, Serialize, Deserialize)]
    pub struct Beat;

    #[derive(Actor)]
    pub struct Heart;

    #[handlers]
    impl Heart {
        #[handler]
        fn beat(&mut self, _: Beat) {}
    }
}

mod handler_by_its_path {
    #[derive(conclib::ActorMessage)]
    #[message(local)]
    pub struct One;

    #[derive(conclib::ActorMessage)]
    #[message(local)]
    pub struct Two;

    #[derive(conclib::ActorMessage)]
    #[message(local)]
    pub struct Three;

    #[derive(conclib::Actor)]
    pub struct Heart;

    #[conclib::handlers]
    impl Heart {
        #[conclib::handler]
        fn one(&mut self, _: One) {}

        #[::conclib::handler]
        fn two(&mut self, _: Two) {}

        #[conclib::prelude::handler]
        fn three(&mut self, _: Three) {}
    }
}

mod crate_imported_under_another_name {
    use conclib as framework;

    #[derive(framework::ActorMessage)]
    #[message(local)]
    pub struct Beat;

    #[derive(framework::Actor)]
    pub struct Heart;

    #[framework::handlers]
    impl Heart {
        #[framework::handler]
        fn beat(&mut self, _: Beat) {}
    }
}

mod macros_imported_under_other_names {
    use conclib::{handlers as plays, Actor as Star, ActorMessage as Message};

    #[derive(Message)]
    #[message(local)]
    pub struct Beat;

    #[derive(Star)]
    pub struct Heart;

    #[plays]
    impl Heart {
        #[handler]
        fn beat(&mut self, _: Beat) {}
    }
}

mod handler_under_a_condition {
    use conclib::prelude::*;

    #[derive(ActorMessage, Serialize, Deserialize)]
    #[message(response = u32)]
    pub struct Count;

    #[derive(ActorMessage, Serialize, Deserialize)]
    pub struct Beat;

    #[derive(Actor)]
    pub struct Heart;

    #[handlers]
    impl Heart {
        #[cfg_attr(all(), handler)]
        fn beat(&mut self, _: Beat) {}

        #[cfg_attr(all(), conclib::handler, must_use)]
        fn count(&mut self, _: Count) -> u32 {
            1
        }

        // Not a handler, and so an ordinary method.
        #[cfg_attr(any(), handler)]
        fn absent_mark(&mut self, _: &str, _: u8) {}

        #[cfg_attr(all(), cfg(any()))]
        #[handler]
        fn absent(&mut self, _: DoesNotExist) {}

        #[cfg_attr(all(), cfg_attr(all(), cfg(any()), handler))]
        fn absent_twice(&mut self, _: DoesNotExist) {}

        #[cfg_attr(any(), cfg(any()))]
        fn on_start(&mut self) {}
    }

    pub async fn use_it(heart: ActorRef<Heart>) -> Result<u32, AskError> {
        heart.ask(Beat).await?;
        heart.ask(Count).await
    }
}

mod parameters_under_a_condition {
    use conclib::prelude::*;

    #[derive(ActorMessage, Serialize, Deserialize)]
    pub struct Beat;

    #[derive(ActorMessage, Serialize, Deserialize)]
    pub struct Stop;

    #[derive(ActorMessage, Serialize, Deserialize)]
    pub struct Other;

    #[derive(Actor)]
    pub struct Heart;

    #[handlers]
    impl Heart {
        fn on_stop(
            &mut self,
            #[cfg(any())] ctx: &mut Context<Self>,
            #[cfg_attr(all(), cfg(all()))] _reason: &StopReason,
        ) {
        }

        #[handler]
        fn beat(
            &mut self,
            _: Beat,
            #[cfg(all())] ctx: &mut Context<Self>,
            #[cfg(any())] reply: Reply<()>,
        ) {
            ctx.stop();
        }

        #[handler]
        fn stop(
            &mut self,
            #[cfg(any())] _: DoesNotExist,
            #[cfg(not(any()))] _: Stop,
            #[cfg_attr(any(), cfg(any()))] _ctx: &mut Context<Self>,
        ) {
        }

        #[handler]
        fn other_or_raw(
            &mut self,
            #[cfg(feature = "raw")] _: RequestEnvelope,
            #[cfg(not(feature = "raw"))] _: Other,
        ) {
        }
    }

    pub async fn use_it(heart: ActorRef<Heart>) -> Result<(), AskError> {
        heart.ask(Stop).await?;
        heart.ask(Other).await?;
        heart.ask(Beat).await
    }
}

mod raw_handler_under_a_condition {
    use conclib::prelude::*;

    #[derive(Actor)]
    pub struct Raw;

    #[handlers]
    impl Raw {
        #[cfg(unix)]
        #[handler]
        fn anything(&mut self, envelope: RequestEnvelope) {
            drop(envelope);
        }

        #[cfg(not(unix))]
        #[handler]
        fn anything(&mut self, envelope: RequestEnvelope, _ctx: &mut Context<Self>) {
            drop(envelope);
        }
    }
}

mod everything_within_a_function {
    pub fn run() {
        use conclib::{handler, handlers, Actor, ActorMessage};

        #[derive(ActorMessage)]
        #[message(local)]
        struct Beat;

        #[derive(Actor)]
        struct Heart;

        #[handlers]
        impl Heart {
            #[handler]
            fn beat(&mut self, _: Beat) {}
        }

        drop(conclib::ActorSystem::new().spawn(Heart));
    }
}

mod methods_made_by_a_macro_beside_handlers {
    use conclib::prelude::*;

    macro_rules! getter {
        ($name:ident: $ty:ty) => {
            pub fn $name(&self) -> $ty {
                self.$name
            }
        };
    }

    #[derive(ActorMessage, Serialize, Deserialize)]
    pub struct Beat;

    #[derive(Actor)]
    pub struct Heart {
        beats: u64,
    }

    #[handlers]
    impl Heart {
        pub const RATE: u64 = 60;

        getter!(beats: u64);

        #[handler]
        fn beat(&mut self, _: Beat) {
            self.beats += 1;
        }
    }
}

mod allowed_lints_hold_for_the_expansion {
    use conclib::prelude::*;

    #[deprecated]
    #[derive(ActorMessage)]
    #[message(local)]
    pub struct Old;

    #[deprecated]
    #[derive(ActorMessage)]
    #[message(local)]
    pub struct Older;

    #[derive(Actor)]
    pub struct Heart;

    #[handlers]
    impl Heart {
        #[allow(deprecated)]
        #[handler]
        fn old(&mut self, _: Old) {}

        #[expect(deprecated)]
        #[handler]
        fn older(&mut self, _: Older) {}
    }
}

fn main() {}
