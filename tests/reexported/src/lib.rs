//! A crate that knows conclib by a framework alone: `crate = framework::conclib` on each macro, also
//! where the framework's own macro writes them.

#[cfg(test)]
mod tests {
    use framework::framework::{self as my_framework, handler, handlers};
    use my_framework::conclib::prelude::{ActorRef, ActorSystem, AskError, Context, Reply};
    use my_framework::serde::{Deserialize, Serialize};
    use my_framework::tokio;

    #[derive(my_framework::ActorMessage, Serialize, Deserialize)]
    #[serde(crate = "framework::framework::serde")]
    #[message(crate = my_framework::conclib, response = Option<u32>)]
    struct Half(u32);

    #[derive(my_framework::Actor)]
    #[actor(urn = "halver", crate = my_framework::conclib)]
    struct Halver;

    #[handlers(crate = my_framework::conclib)]
    impl Halver {
        #[handler]
        fn half(&mut self, Half(n): Half, ctx: &mut Context<Self>, reply: Reply<Option<u32>>) {
            assert_eq!(ctx.urn(), "halver");
            reply.send((n % 2 == 0).then_some(n / 2));
        }
    }

    framework::counter! {
        /// Counts.
        pub struct Counter counts Next
    }

    async fn next(counter: &ActorRef<Counter>) -> Result<usize, AskError> {
        counter.ask(Next).await
    }

    #[tokio::test(crate = "framework::framework::tokio")]
    async fn framework_may_reexport_conclib() -> Result<(), Box<dyn std::error::Error>> {
        let system = ActorSystem::new();
        let halver = system.spawn(Halver).await?;
        assert_eq!(halver.ask(Half(4)).await?, Some(2));
        let counter = system.spawn(Counter::default()).await?;
        assert_eq!(next(&counter).await?, 1);
        assert_eq!(next(&counter).await?, 2);
        Ok(())
    }
}
