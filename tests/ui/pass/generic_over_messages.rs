//! Actors that are generic over the messages they handle.
#![deny(warnings)]
#![allow(dead_code)]

mod logger_with_the_bound_in_angle_brackets {
    use conclib::prelude::*;

    #[derive(Actor)]
    #[actor(urn = "logger", mailbox = 8)]
    pub struct Logger<M>(Vec<M>);

    #[handlers]
    impl<M: ActorMessage<Response = ()>> Logger<M> {
        #[handler]
        async fn any(&mut self, m: M) {
            self.0.push(m);
        }
    }

    #[derive(ActorMessage, Serialize, Deserialize)]
    pub struct Note(String);

    pub async fn use_it(system: &ActorSystem, client: &ProxyClient) -> Result<(), AskError> {
        let logger = system
            .spawn(Logger(vec![Note("a".to_owned())]))
            .await
            .unwrap();
        logger.ask(Note("b".to_owned())).await?;
        client.ask("logger", Note("c".to_owned())).await
    }
}

mod throttle_with_the_bound_in_where {
    use conclib::prelude::*;

    #[derive(Actor)]
    pub struct Throttle<M>
    where
        M: ActorMessage,
    {
        to: Recipient<M>,
    }

    #[handlers]
    impl<M> Throttle<M>
    where
        M: ActorMessage,
    {
        #[handler]
        async fn pass(&mut self, message: M, reply: Reply<M::Response>) -> Result<(), Failure> {
            self.to.forward(message, reply).await.ok();
            Ok(())
        }
    }
}

mod batcher_with_a_message_of_its_own {
    use std::marker::PhantomData;

    use conclib::prelude::*;

    #[derive(ActorMessage)]
    #[message(local)]
    pub struct Flush<M: 'static>(PhantomData<fn() -> M>);

    #[derive(Actor)]
    #[periodic(tick = Flush::<M>(PhantomData), every = "1s")]
    pub struct Batcher<M: ActorMessage<Response = ()>> {
        waiting: Vec<M>,
        to: Recipient<M>,
    }

    #[handlers]
    impl<M: ActorMessage<Response = ()>> Batcher<M> {
        #[handler]
        fn any(&mut self, message: M) {
            self.waiting.push(message);
        }

        #[handler]
        async fn flush(&mut self, _: Flush<M>) {
            for message in self.waiting.drain(..) {
                self.to.tell(message).await.ok();
            }
        }
    }
}

mod retrier_told_apart_by_a_bound {
    use conclib::message::RemoteMessage;
    use conclib::prelude::*;

    #[derive(ActorMessage)]
    #[message(local)]
    pub struct Again;

    #[derive(Actor)]
    pub struct Retrier<M> {
        client: ProxyClient,
        last: Option<M>,
    }

    // `Again` is not `Clone`, so it is no `M`.
    #[handlers]
    impl<M: RemoteMessage + Clone> Retrier<M> {
        #[handler]
        async fn any(
            &mut self,
            message: M,
            ctx: &mut Context<Self>,
        ) -> Result<M::Response, Failure> {
            ctx.actor_ref().try_tell(Again).ok();
            self.last = Some(message.clone());
            Ok(self.client.ask("there", message).await?)
        }

        #[handler]
        fn again(&mut self, _: Again) {
            self.last = None;
        }
    }
}

mod audit_told_apart_by_the_response {
    use conclib::prelude::*;

    #[derive(ActorMessage, Serialize, Deserialize)]
    #[message(response = usize)]
    pub struct Count;

    #[derive(Actor)]
    pub struct Audit<M>(Vec<M>);

    #[handlers]
    impl<M: ActorMessage<Response = ()>> Audit<M> {
        #[handler]
        fn any(&mut self, message: M) {
            self.0.push(message);
        }

        #[handler]
        fn count(&mut self, _: Count) -> usize {
            self.0.len()
        }
    }
}

mod alias_of_the_parameter {
    use conclib::prelude::*;

    type Plain<M> = M;

    #[derive(Actor)]
    pub struct Last<M>(Option<M>);

    #[handlers]
    impl<M: ActorMessage<Response = ()>> Last<M> {
        #[handler]
        fn any(&mut self, message: Plain<M>) {
            self.0 = Some(message);
        }
    }
}

mod message_of_a_protocol {
    use conclib::prelude::*;

    pub trait Protocol: Send + 'static {
        type Request: ActorMessage<Response = ()>;
    }

    #[derive(Actor)]
    pub struct Endpoint<P: Protocol>(Vec<P::Request>);

    #[handlers]
    impl<P: Protocol> Endpoint<P> {
        #[handler]
        fn request(&mut self, message: P::Request) {
            self.0.push(message);
        }
    }

    #[derive(Actor)]
    pub struct Qualified<P: Protocol>(Vec<P::Request>);

    #[handlers]
    impl<P: Protocol> Qualified<P> {
        #[handler]
        fn request(&mut self, message: <P as Protocol>::Request) {
            self.0.push(message);
        }
    }
}

mod message_of_the_actor_itself {
    use conclib::prelude::*;

    #[derive(ActorMessage, Serialize, Deserialize)]
    pub struct Beat;

    pub trait Speaks {
        type Message;
        const SIZE: usize;
    }

    #[derive(ActorMessage)]
    #[message(local)]
    pub struct Sized<const N: usize>;

    #[derive(Actor)]
    pub struct Parrot;

    impl Speaks for Parrot {
        type Message = Beat;
        const SIZE: usize = 3;
    }

    #[handlers]
    impl Parrot {
        #[handler]
        fn repeat(&mut self, _: <Self as Speaks>::Message) {}

        #[handler]
        fn sized(&mut self, _: Sized<{ Self::SIZE }>) {}
    }
}

mod two_parameters_and_a_constant {
    use std::collections::HashMap;
    use std::hash::Hash;

    use conclib::prelude::*;

    #[derive(ActorMessage)]
    #[message(local, response = Option<[V; N]>)]
    pub struct Put<K, V, const N: usize>(K, [V; N]);

    #[derive(ActorMessage)]
    #[message(local, response = usize)]
    pub struct Len;

    #[derive(Actor)]
    pub struct Cache<K, V, const N: usize = 2> {
        entries: HashMap<K, [V; N]>,
    }

    #[handlers]
    impl<K: Hash + Eq + Send + 'static, V: Send + 'static, const N: usize> Cache<K, V, N> {
        #[handler]
        fn put(&mut self, Put(key, values): Put<K, V, N>) -> Option<[V; N]> {
            self.entries.insert(key, values)
        }

        #[handler]
        fn len(&mut self, _: Len) -> usize {
            self.entries.len()
        }
    }
}

mod block_for_one_instance {
    use conclib::prelude::*;

    #[derive(ActorMessage, Serialize, Deserialize)]
    pub struct Add(u32);

    #[derive(Actor)]
    pub struct Sum<T>(T);

    #[handlers]
    impl Sum<u32> {
        #[handler]
        fn add(&mut self, message: Add) {
            self.0 += message.0;
        }
    }

    #[handlers]
    impl Sum<Vec<u32>> {
        #[handler]
        fn add(&mut self, message: Add) {
            self.0.push(message.0);
        }
    }
}

mod parameter_bound_by_another {
    use conclib::prelude::*;

    #[derive(ActorMessage)]
    #[message(local)]
    pub struct Give<T>(T);

    #[derive(Actor)]
    pub struct Sorter<I: Iterator<Item = T>, T>(I, Vec<T>);

    #[handlers]
    impl<I, T> Sorter<I, T>
    where
        I: Iterator<Item = T> + Send + 'static,
        T: Ord + Send + 'static,
    {
        #[handler]
        fn give(&mut self, Give(item): Give<I::Item>) {
            self.1.extend(self.0.next());
            self.1.push(item);
            self.1.sort();
        }
    }
}

fn main() {}
