//! Types, traits and methods that are called like conclib's.
#![deny(warnings)]
#![allow(dead_code, non_camel_case_types, non_upper_case_globals)]

mod failure_of_the_users_own {
    use conclib::prelude::*;

    mod payments {
        #[derive(serde::Serialize, serde::Deserialize)]
        pub enum Failure {
            Declined,
        }
    }

    #[derive(ActorMessage, Serialize, Deserialize)]
    #[message(response = Result<u32, payments::Failure>)]
    pub struct Charge;

    #[derive(ActorMessage)]
    #[message(local, response = Result<u32, payments::Failure>)]
    pub struct Refund;

    #[derive(ActorMessage, Serialize, Deserialize)]
    #[message(response = Result<T, payments::Failure>)]
    pub struct Quote<T>(T);

    #[derive(Actor)]
    pub struct Desk;

    #[handlers]
    impl Desk {
        #[handler]
        fn charge(&mut self, _: Charge) -> Result<u32, payments::Failure> {
            Err(payments::Failure::Declined)
        }

        #[handler]
        fn refund(&mut self, _: Refund) -> Result<Result<u32, payments::Failure>, Failure> {
            Ok(Ok(1))
        }

        #[handler]
        fn quote(&mut self, message: Quote<u8>) -> Result<u8, payments::Failure> {
            Ok(message.0)
        }
    }
}

mod result_of_the_users_own {
    use conclib::prelude::*;

    pub type Result<T> = std::result::Result<T, std::fmt::Error>;

    #[derive(ActorMessage)]
    #[message(local, response = Result<u32>)]
    pub struct Charge;

    #[derive(Actor)]
    pub struct Desk;

    #[handlers]
    impl Desk {
        #[handler]
        fn charge(&mut self, _: Charge) -> Result<u32> {
            Ok(1)
        }
    }
}

mod messages_called_like_parameters {
    use conclib::prelude::*;

    mod chat {
        use conclib::prelude::*;

        #[derive(ActorMessage, Serialize, Deserialize)]
        #[message(name = "chat.Reply<{T}>")]
        pub struct Reply<T>(pub T);

        #[derive(ActorMessage, Serialize, Deserialize)]
        pub struct Context<T>(pub T);

        #[derive(ActorMessage, Serialize, Deserialize)]
        pub struct StopReason;

        #[derive(ActorMessage, Serialize, Deserialize)]
        pub struct Failure;

        #[derive(ActorMessage, Serialize, Deserialize)]
        pub struct RequestEnvelope;
    }

    use chat::RequestEnvelope as Letter;

    #[derive(Actor)]
    pub struct Chat;

    #[handlers]
    impl Chat {
        #[handler]
        fn replied(&mut self, message: chat::Reply<u32>) {
            assert_eq!(message.0, 1);
        }

        #[handler]
        fn replied_and_answered(&mut self, _: chat::Reply<String>, reply: Reply<()>) {
            reply.send(());
        }

        #[handler]
        fn context(&mut self, _: chat::Context<u8>, _ctx: &mut Context<Self>) {}

        #[handler]
        fn reason(&mut self, _: chat::StopReason) {}

        #[handler]
        fn failure(&mut self, _: chat::Failure) -> Result<(), Failure> {
            Ok(())
        }

        #[handler]
        fn letter(&mut self, _: Letter) {}

        #[handler]
        fn raw(&mut self, _: RequestEnvelope) {}
    }
}

mod parameters_under_other_names {
    use conclib::prelude::*;
    use conclib::{Context as Ctx, Failure as Broken, Reply as Answer, StopReason as Why};

    type Doubled = conclib::Reply<u32>;

    #[derive(ActorMessage, Serialize, Deserialize)]
    #[message(response = u32)]
    pub struct Double(u32);

    #[derive(ActorMessage, Serialize, Deserialize)]
    #[message(response = u32)]
    pub struct Half(u32);

    #[derive(Actor)]
    pub struct Doubler;

    #[handlers]
    impl Doubler {
        fn on_start(&mut self, ctx: &mut Ctx<Self>) -> Result<(), Broken> {
            ctx.stop();
            Ok(())
        }

        fn on_stop(&mut self, ctx: &mut Ctx<Self>, why: &Why) {
            drop((ctx.urn().to_string(), why.is_failure()));
        }

        fn on_failure(&mut self, broken: &Broken) {
            drop(broken.to_string());
        }

        #[handler]
        fn double(&mut self, Double(n): Double, answer: Answer<u32>, ctx: &mut Ctx<Doubler>) {
            ctx.stop();
            answer.send(n * 2);
        }

        #[handler]
        async fn half(&mut self, Half(n): Half, answer: Doubled) {
            answer.send(n / 2);
        }
    }
}

mod traits_that_give_every_type_a_method {
    use conclib::prelude::*;

    pub trait Everything: Sized {
        fn open(self) {}
        fn matches(&self) {}
        fn limit(&self) {}
        fn take(self) {}
        fn finish(self) {}
        fn offer(&mut self) {}
        fn take_over(self) {}
        fn refuse_unhandled(self) {}
        fn into_result(self) {}
        fn is_some(&self) {}
        fn on_start(&mut self) {}
        fn on_stop(&mut self) {}
        fn wrap(self) {}
        fn double(&mut self, _: u8) {}
    }

    impl<T> Everything for T {}

    #[derive(ActorMessage, Serialize, Deserialize)]
    #[message(response = u32)]
    pub struct Double(u32);

    #[derive(ActorMessage, Serialize, Deserialize)]
    pub struct Beat;

    #[derive(Actor)]
    #[periodic(tick = Beat, every = "1s")]
    pub struct Doubler;

    #[handlers]
    impl Doubler {
        async fn on_start(&mut self, ctx: &mut Context<Self>) {
            ctx.stop();
        }

        fn on_stop(&mut self) {}

        #[handler]
        fn double(&mut self, message: Double, reply: Reply<u32>) {
            reply.send(message.0);
        }

        #[handler]
        async fn beat(&mut self, _: Beat, _ctx: &mut Context<Self>) {}

        #[handler]
        fn raw(&mut self, envelope: RequestEnvelope) -> Result<(), UnexpectedMessage> {
            Err(envelope.unexpected())
        }
    }
}

mod items_called_like_variables {
    use conclib::prelude::*;

    const message: u8 = 1;
    static ctx: u8 = 2;
    struct reply;
    const inbox: Option<u8> = None;
    const outcome: u8 = 3;
    static envelope: u8 = 4;
    const raw: u8 = 5;
    static wanted: u8 = 6;

    #[derive(ActorMessage, Serialize, Deserialize)]
    pub struct Beat;

    #[derive(Actor)]
    pub struct Heart;

    #[handlers]
    impl Heart {
        fn on_start(&mut self, _: &mut Context<Self>) {}

        #[handler]
        fn beat(&mut self, _: Beat, _: &mut Context<Self>) {}

        #[handler]
        fn rest(&mut self, _: RequestEnvelope, _: &mut Context<Self>) {}
    }
}

mod raw_names {
    use conclib::prelude::*;

    #[derive(ActorMessage, Serialize, Deserialize)]
    #[message(response = u32)]
    pub struct r#Match {
        r#type: u32,
    }

    #[derive(ActorMessage, Serialize, Deserialize)]
    pub struct r#Loop;

    #[derive(ActorMessage, Serialize, Deserialize)]
    pub struct r#Yield(u8);

    #[derive(Actor)]
    #[actor(urn = "raw")]
    #[periodic(tick = r#Loop, every = "1s")]
    #[periodic(tick = r#Match { r#type: 1 }, every = "1s")]
    #[periodic(tick = self::r#Yield(1), cron = "0 * * * * *")]
    pub struct r#Async;

    #[handlers]
    impl r#Async {
        #[handler]
        async fn r#match(&mut self, r#match: r#Match) -> u32 {
            r#match.r#type
        }

        #[handler]
        fn r#loop(&mut self, _: r#Loop) {}

        #[handler]
        fn r#yield(&mut self, _: r#Yield) {}
    }
}

mod handlers_called_like_methods_of_the_traits {
    use conclib::prelude::*;

    #[derive(ActorMessage)]
    #[message(local)]
    pub struct Beat<const N: u8>;

    #[derive(Actor)]
    pub struct Heart;

    #[handlers]
    impl Heart {
        #[handler]
        fn dispatch(&mut self, _: Beat<1>) {}
        #[handler]
        fn frame(&mut self, _: Beat<2>) {}
        #[handler]
        fn limit(&mut self, _: Beat<3>) {}
        #[handler]
        fn recipient(&mut self, _: Beat<4>) {}
        #[handler]
        async fn wrap(&mut self, _: Beat<5>) {}
        #[handler]
        async fn unwrap(&mut self, _: Beat<6>) {}
        #[handler]
        async fn ticks(&mut self, _: Beat<7>) {}
        #[handler]
        async fn größe(&mut self, _: Beat<8>) {}
    }
}

mod names_with_arguments {
    use conclib::message::WireName;
    use conclib::prelude::*;

    #[derive(Serialize, Deserialize)]
    pub struct Color;

    impl WireName for Color {
        const WIRE_NAME: &'static str = "Color";
    }

    #[derive(ActorMessage, Serialize, Deserialize)]
    #[message(name = "Set<{T}>")]
    pub struct Set<T>(T);

    #[derive(ActorMessage, Serialize, Deserialize)]
    #[message(name = "grid.{N}x{M}")]
    pub struct Grid<const N: usize, const M: i8>(u8);

    #[derive(Actor)]
    pub struct Store;

    #[handlers]
    impl Store {
        #[handler]
        fn number(&mut self, _: Set<u32>) {}

        #[handler]
        fn text(&mut self, _: Set<String>) {}

        #[handler]
        fn color(&mut self, _: Set<Color>) {}

        #[handler]
        fn message(&mut self, _: Set<Set<Vec<u8>>>) {}

        #[handler]
        fn small(&mut self, _: Grid<2, -1>) {}

        #[handler]
        fn large(&mut self, _: Grid<200, 100>) {}
    }

    #[derive(Actor)]
    pub struct GenericStore<T>(T);

    #[handlers]
    impl<T> GenericStore<T>
    where
        T: WireName + Serialize + serde::de::DeserializeOwned + Send + 'static,
    {
        #[handler]
        fn one(&mut self, _: Set<T>) {}

        #[handler]
        fn many(&mut self, _: Set<Vec<T>>) {}
    }

    pub fn check() {
        assert_eq!(Set::<Set<Vec<u8>>>::NAME, "Set<Set<Vec<u8>>>");
        assert_eq!(Grid::<2, -1>::NAME, "grid.2x-1");
        drop(ActorSystem::new().spawn(GenericStore(1_u8)));
    }
}

pub fn main() {
    names_with_arguments::check();
}
