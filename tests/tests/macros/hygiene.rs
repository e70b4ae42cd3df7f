//! Colliding names, the size of a dispatch, an actor from a user's macro.

use super::*;

mod chat {
    use conclib::prelude::*;

    #[derive(ActorMessage, Serialize, Deserialize)]
    #[message(response = usize)]
    pub(crate) struct Reply(pub(crate) String);

    #[derive(ActorMessage, Serialize, Deserialize)]
    #[message(response = usize)]
    pub(crate) struct Context(pub(crate) String);
}

#[derive(Actor)]
struct Chat;

#[handlers]
impl Chat {
    #[handler]
    fn reply(&mut self, message: chat::Reply, reply: Reply<usize>) {
        reply.send(message.0.len());
    }

    #[handler]
    fn context(&mut self, message: chat::Context) -> usize {
        message.0.len()
    }
}

#[tokio::test]
async fn message_may_be_called_like_a_parameter() -> TestResult {
    let system = ActorSystem::new();
    let chat = system.spawn(Chat).await?;
    assert_eq!(chat.ask(chat::Reply("yes".to_owned())).await?, 3);
    assert_eq!(chat.ask(chat::Context("no".to_owned())).await?, 2);
    Ok(())
}

#[derive(ActorMessage)]
#[message(local, response = u64)]
struct Big([u64; 512]);

#[derive(ActorMessage)]
#[message(local, response = u64)]
struct Bigger([u64; 512]);

#[derive(Actor)]
struct Sum;

#[handlers]
impl Sum {
    #[handler]
    async fn big(&mut self, message: Big) -> u64 {
        let sum = message.0.iter().sum();
        tokio::task::yield_now().await;
        sum
    }

    #[handler]
    fn bigger(&mut self, message: Bigger) -> u64 {
        message.0.iter().sum()
    }
}

#[tokio::test]
async fn dispatch_has_room_for_a_message_once() {
    let mut ctx = Context::test();
    let handler = size_of_val(&Sum.big(Big([1; 512])));
    let dispatch = size_of_val(&Sum.dispatch(&mut None, &mut ctx));
    assert!(
        dispatch <= handler + 128,
        "{dispatch} bytes around {handler}"
    );
}

macro_rules! adder {
    ($actor:ident, $method:ident, $message:ident) => {
        #[derive(ActorMessage, Serialize, Deserialize)]
        #[message(response = u32)]
        struct $message(u32);

        #[derive(Actor)]
        #[periodic(tick = $message(1), every = "1h", first = "after")]
        struct $actor(u32);

        #[handlers]
        impl $actor {
            fn on_start(&mut self, ctx: &mut Context<Self>) {
                self.0 += u32::from(!ctx.is_stopping());
            }

            #[handler]
            async fn $method(&mut self, message: $message) -> u32 {
                self.0 += message.0;
                self.0
            }

            #[handler]
            fn fixed(&mut self, message: Len, reply: Reply<usize>) {
                let Len = message;
                reply.send(1);
            }
        }
    };
}

adder!(Adder, add, Add);

#[tokio::test]
async fn macro_may_write_an_actor() -> TestResult {
    let system = ActorSystem::new();
    let adder = system.spawn(Adder(2)).await?;
    assert_eq!(adder.ask(Add(3)).await?, 6);
    assert_eq!(adder.ask(Len).await?, 1);
    Ok(())
}
