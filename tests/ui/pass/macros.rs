//! Actors and messages that a macro of the user's makes.
#![deny(warnings)]
#![allow(dead_code)]

mod whole_actor {
    use conclib::prelude::*;

    macro_rules! counter {
        (
            $(#[$attribute:meta])*
            $visibility:vis struct $actor:ident($start:expr) at $urn:literal;
            $($message:ty => $method:ident($value:ident) -> $response:ty $body:block)*
        ) => {
            $(#[$attribute])*
            #[derive(Actor)]
            #[actor(urn = $urn)]
            $visibility struct $actor(u64);

            impl Default for $actor {
                fn default() -> Self {
                    Self($start)
                }
            }

            #[handlers]
            impl $actor {
                fn on_start(&mut self, ctx: &mut Context<Self>) {
                    assert!(!ctx.is_stopping());
                }

                $(
                    #[handler]
                    async fn $method(&mut self, $value: $message) -> $response $body
                )*
            }
        };
    }

    #[derive(ActorMessage, Serialize, Deserialize)]
    #[message(response = u64)]
    pub struct Add(u64);

    #[derive(ActorMessage, Serialize, Deserialize)]
    pub struct Beat;

    counter! {
        /// One counter.
        #[derive(Debug)]
        pub struct One(1) at "one";
        Add => add(message) -> u64 { message.0 }
        Beat => beat(_message) -> () {}
    }

    counter! {
        pub(crate) struct Two(2) at "two";
        super::whole_actor::Add => add(message) -> Result<u64, Failure> { Ok(message.0) }
    }

    counter! {
        struct None(0) at "none";
    }
}

mod messages_of_a_list {
    use conclib::prelude::*;

    macro_rules! messages {
        ($($name:ident $({ $($field:ident: $ty:ty),* })? -> $response:ty,)*) => {
            $(
                #[derive(ActorMessage, Serialize, Deserialize)]
                #[message(response = $response, name = "list.X")]
                pub struct $name { $($(pub $field: $ty),*)? }
            )*
        };
    }

    messages! {
        Empty -> (),
        Full { a: u8, b: Vec<String> } -> Option<u8>,
        Failing -> Result<u8, String>,
    }

    pub fn check() {
        assert_eq!(Full::NAME, "list.X");
    }
}

mod handlers_of_several_types {
    use conclib::prelude::*;

    #[derive(ActorMessage)]
    #[message(local, response = T)]
    pub struct Echo<T>(T);

    macro_rules! echo {
        ($actor:ident: $($method:ident($ty:ty)),*) => {
            #[derive(Actor)]
            pub struct $actor;

            #[conclib::handlers]
            impl $actor {
                $(
                    #[conclib::handler]
                    pub fn $method(&mut self, Echo(value): Echo<$ty>, reply: Reply<$ty>) {
                        reply.send(value);
                    }
                )*
            }
        };
    }

    echo!(Echoes: byte(u8), text(String), nested(Option<Vec<u8>>));
}

mod attribute_made_by_a_macro {
    use conclib::prelude::*;

    #[derive(ActorMessage, Serialize, Deserialize)]
    pub struct Beat;

    macro_rules! block {
        ($(#[$mark:meta] $method:ident,)*) => {
            #[derive(Actor)]
            pub struct Heart;

            #[handlers]
            impl Heart {
                $(#[$mark] fn $method(&mut self, _: Beat) {})*
            }
        };
    }

    block!(
        #[handler]
        beat,
    );
}

mod macro_within_macro {
    macro_rules! outer {
        ($name:ident, $message:ident) => {
            macro_rules! inner {
                ($ty:ident) => {
                    #[derive(conclib::ActorMessage)]
                    #[message(local)]
                    pub struct $message;

                    #[derive(conclib::Actor)]
                    #[periodic(tick = $message, every = "1s")]
                    pub struct $ty;

                    #[conclib::handlers]
                    impl $ty {
                        #[handler]
                        fn beat(&mut self, message: $message, ctx: &mut conclib::Context<Self>) {
                            let $message = message;
                            ctx.stop();
                        }
                    }
                };
            }
            inner!($name);
        };
    }

    outer!(Heart, Beat);
}

pub fn main() {
    messages_of_a_list::check();
}
