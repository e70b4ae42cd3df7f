//! Bounds on the block, lifetimes in messages, and types that only a bound knows.
#![deny(warnings)]
#![allow(dead_code)]

mod bounds_on_self {
    use conclib::prelude::*;

    pub trait Label {
        type Text;
        const SIZE: usize = 1;
    }

    #[derive(ActorMessage, Serialize, Deserialize)]
    pub struct Beat;

    #[derive(Actor)]
    pub struct Plain;

    impl Label for Plain {
        type Text = String;
    }

    #[handlers]
    impl Plain
    where
        Self: Label,
        <Self as Label>::Text: Send,
    {
        fn on_start(&mut self) {}

        #[handler]
        fn beat(&mut self, _: Beat) {}
    }

    #[derive(Actor)]
    pub struct Generic<T>(T);

    impl<T> Label for Generic<T> {
        type Text = T;
    }

    #[derive(ActorMessage)]
    #[message(local)]
    pub struct Put<T>(T);

    #[handlers]
    impl<T: Send + 'static> Generic<T>
    where
        Self: Label<Text = T>,
        <Self as Label>::Text: Send,
        Option<Self>: Sized,
        for<'a> &'a Self: Sized,
    {
        #[handler]
        fn beat(&mut self, _: Beat) {}

        #[handler]
        fn put(&mut self, Put(value): Put<<Self as Label>::Text>) {
            self.0 = value;
        }
    }
}

mod bounds_on_methods_of_one_type {
    use conclib::prelude::*;

    #[derive(ActorMessage, Serialize, Deserialize, Clone)]
    pub struct Beat;

    #[derive(Actor, Clone)]
    pub struct Heart;

    #[handlers]
    impl Heart {
        #[handler]
        fn beat(&mut self, _: Beat)
        where
            Self: Clone,
            Beat: Clone,
        {
        }
    }
}

mod lifetimes_that_are_long_enough {
    use std::borrow::Cow;

    use conclib::prelude::*;

    #[derive(ActorMessage)]
    #[message(local)]
    pub struct Local<'a>(&'a str)
    where
        'a: 'static;

    #[derive(ActorMessage)]
    #[message(local)]
    pub struct Run<F: 'static>(F);

    #[derive(ActorMessage)]
    #[message(local, response = Cow<'static, str>)]
    pub struct Name;

    #[derive(Actor)]
    pub struct Runner;

    #[handlers]
    impl Runner {
        #[handler]
        fn local(&mut self, message: Local<'static>) {
            assert!(!message.0.is_empty());
        }

        #[handler]
        fn pointer(&mut self, Run(run): Run<fn(&str) -> u8>) {
            run("a");
        }

        #[handler]
        fn boxed(&mut self, Run(run): Run<Box<dyn for<'a> FnOnce(&'a str) -> &'a str + Send>>) {
            run("a");
        }

        #[handler]
        async fn name<'a>(&'a mut self, _: Name, _ctx: &'a mut Context<Self>) -> Cow<'static, str> {
            Cow::Borrowed("runner")
        }
    }

    #[derive(Actor)]
    pub struct Borrower<'a>(&'a str);

    #[handlers]
    impl Borrower<'static> {
        #[handler]
        fn local(&mut self, message: Local<'static>) {
            self.0 = message.0;
        }
    }
}

mod unsized_and_unused_parameters {
    use std::marker::PhantomData;

    use conclib::prelude::*;

    #[derive(ActorMessage)]
    #[message(local, response = usize)]
    pub struct Ask<A: ?Sized + 'static>(PhantomData<fn() -> A>);

    #[derive(Actor)]
    pub struct Silent<T: ?Sized, const N: usize>(PhantomData<fn() -> Box<T>>);

    #[handlers]
    impl<T: ?Sized + 'static, const N: usize> Silent<T, N> {
        #[handler]
        fn ask(&mut self, _: Ask<Self>) -> usize {
            N
        }
    }
}

mod closures_as_parameters {
    use conclib::prelude::*;

    #[derive(ActorMessage, Serialize, Deserialize)]
    #[message(response = u32)]
    pub struct Apply(u32);

    #[derive(Actor)]
    pub struct Applier<F>(F)
    where
        F: FnMut(u32) -> u32;

    #[handlers]
    impl<F> Applier<F>
    where
        F: FnMut(u32) -> u32 + Send + 'static,
    {
        #[handler]
        fn apply(&mut self, message: Apply) -> u32 {
            (self.0)(message.0)
        }
    }

    pub async fn use_it(system: &ActorSystem) -> Result<u32, AskError> {
        let mut last = 0;
        let applier = system.spawn(Applier(move |n| std::mem::replace(&mut last, n)));
        applier.await.unwrap().ask(Apply(1)).await
    }
}

mod actors_and_messages_of_other_modules {
    pub mod messages {
        use conclib::prelude::*;

        #[derive(ActorMessage, Serialize, Deserialize)]
        #[message(response = super::answers::Sum)]
        pub struct Add {
            pub a: u8,
        }
    }

    pub mod answers {
        #[derive(serde::Serialize, serde::Deserialize)]
        pub struct Sum(pub u8);
    }

    pub mod actors {
        #[derive(conclib::Actor)]
        #[periodic(tick = super::messages::Add { a: 1 }, every = "1s")]
        pub struct Adder(pub(super) u8);
    }

    #[conclib::handlers]
    impl actors::Adder {
        #[handler]
        pub(super) async fn add(
            self: &mut Self,
            messages::Add { a }: messages::Add,
        ) -> answers::Sum {
            self.0 += a;
            answers::Sum(self.0)
        }
    }
}

mod bounds_that_users_write {
    use conclib::actor::Handler;
    use conclib::message::RemoteMessage;
    use conclib::prelude::*;

    #[derive(ActorMessage, Serialize, Deserialize)]
    pub struct Beat;

    pub async fn beat<A: Handler<Beat>>(actor: &ActorRef<A>) -> Result<(), AskError> {
        actor.ask(Beat).await
    }

    pub async fn any<M, A>(actor: &ActorRef<A>, message: M) -> Result<M::Response, AskError>
    where
        M: RemoteMessage,
        A: Handler<M> + Handler<Beat>,
    {
        actor.try_tell(Beat).ok();
        actor.ask(message).await
    }
}

fn main() {}
