//! A crate that knows conclib by another name: `crate = cl` on each macro.

#[cfg(test)]
mod tests {
    use cl::message::WireName;
    use cl::prelude::*;

    #[derive(ActorMessage, Serialize, Deserialize)]
    #[message(crate = cl, response = u32)]
    struct Double(u32);

    #[derive(ActorMessage)]
    #[message(local, crate = ::cl, response = Result<T, u8>)]
    struct Echo<T>(T);

    #[derive(ActorMessage, Serialize, Deserialize)]
    #[message(crate = cl, name = "Set<{T}>")]
    struct Set<T: WireName>(T);

    #[derive(Actor)]
    #[actor(urn = "doubler", crate = cl)]
    #[periodic(tick = Double(1), every = "1h", first = "after")]
    #[periodic(tick = Set::<u8>(1), cron = "0 0 * * * *")]
    struct Doubler {
        sets: usize,
    }

    #[handlers(crate = cl)]
    impl Doubler {
        async fn on_start(&mut self, ctx: &mut Context<Self>) -> Result<(), Failure> {
            ctx.actor_ref().tell(Set(1)).await?;
            Ok(())
        }

        fn on_stop(&mut self, _ctx: &mut Context<Self>, _reason: &StopReason) {}

        fn on_failure(&mut self, _failure: &Failure) {}

        #[handler]
        async fn double(&mut self, Double(n): Double, reply: Reply<u32>) {
            reply.send(n * 2);
        }

        #[cl::handler]
        fn set(&mut self, _: Set<u8>, _ctx: &mut Context<Self>) {
            self.sets += 1;
        }

        #[handler]
        fn raw(&mut self, envelope: RequestEnvelope) -> Result<(), UnexpectedMessage> {
            Err(envelope.unexpected())
        }
    }

    #[derive(Actor)]
    #[actor(crate = cl)]
    #[periodic(tick = Double(1), every = "1h", first = "after")]
    struct Generic<M>(Vec<M>);

    #[handlers(crate = cl)]
    impl<M: ActorMessage<Response = ()>> Generic<M> {
        #[handler]
        fn any(&mut self, message: M) {
            self.0.push(message);
        }

        #[handler]
        fn double(&mut self, message: Double) -> u32 {
            message.0
        }

        #[handler]
        async fn echo(&mut self, Echo(value): Echo<M>) -> Result<M, u8> {
            Ok(value)
        }
    }

    #[tokio::test]
    async fn a_crate_may_know_conclib_by_another_name() -> Result<(), Box<dyn std::error::Error>> {
        let system = ActorSystem::new();
        let doubler = system.spawn(Doubler { sets: 0 }).await?;
        assert_eq!(doubler.ask(Double(21)).await?, 42);
        let generic = system.spawn(Generic(vec![Set(true)])).await?;
        generic.ask(Set(false)).await?;
        assert!(generic.ask(Echo(Set(true))).await?.is_ok_and(|set| set.0));
        Ok(())
    }
}
