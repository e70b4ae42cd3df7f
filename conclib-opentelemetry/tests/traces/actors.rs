//! The actors of the tests, and their messages.

use conclib::prelude::*;
use opentelemetry::Context as TraceContextOf;
use opentelemetry::baggage::BaggageExt;

/// Answered with the names of the attributes that the handler sees.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone)]
#[message(response = Vec<String>)]
pub(crate) struct Look;

/// Answered with a value of the baggage.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone)]
#[message(response = Option<String>)]
pub(crate) struct ReadBaggage(pub(crate) String);

/// A tell.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone)]
pub(crate) struct Note;

/// Fails the actor.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone)]
pub(crate) struct Break;

/// No handler has it.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone)]
pub(crate) struct Unknown;

/// Never answered.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone)]
pub(crate) struct Hang;

/// Has `front` ask `desk`, within the process.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone)]
#[message(response = Vec<String>)]
pub(crate) struct AskDesk;

/// Has `front` ask `desk` across the bus, with the attributes of its own message.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone)]
#[message(response = Vec<String>)]
pub(crate) struct AskAcross;

/// Has `front` tell `desk` something, within the process.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone)]
pub(crate) struct TellDesk;

/// Has `front` forward the message to `desk`.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone)]
#[message(response = Vec<String>)]
pub(crate) struct Forward;

#[derive(Actor, Debug)]
pub(crate) struct Desk;

fn names(ctx: &Context<impl Actor>) -> Vec<String> {
    let names = ctx.attributes().iter().map(|(name, _)| name.to_owned());
    names.collect()
}

#[handlers]
impl Desk {
    #[handler]
    fn look(&mut self, _: Look, ctx: &mut Context<Self>) -> Vec<String> {
        names(ctx)
    }

    #[handler]
    fn forwarded(&mut self, _: Forward, ctx: &mut Context<Self>) -> Vec<String> {
        names(ctx)
    }

    #[handler]
    fn baggage(&mut self, ReadBaggage(name): ReadBaggage) -> Option<String> {
        let context = TraceContextOf::current();
        context.baggage().get(name).map(ToString::to_string)
    }

    #[handler]
    fn note(&mut self, _: Note) {}

    #[handler]
    async fn hang(&mut self, _: Hang) {
        std::future::pending::<()>().await;
    }

    #[handler]
    fn fail(&mut self, _: Break) -> Result<(), Failure> {
        Err(Failure::msg("on purpose"))
    }
}

#[derive(Actor, Debug)]
pub(crate) struct Front {
    pub(crate) desk: ActorRef<Desk>,
    pub(crate) client: ProxyClient,
}

#[handlers]
impl Front {
    #[handler]
    async fn ask_desk(&mut self, _: AskDesk) -> Result<Vec<String>, Failure> {
        Ok(self.desk.ask(Look).await?)
    }

    #[handler]
    async fn ask_across(
        &mut self,
        _: AskAcross,
        ctx: &mut Context<Self>,
    ) -> Result<Vec<String>, Failure> {
        let ask = self.client.ask("desk", Look);
        Ok(ask.attributes(ctx.attributes()).await?)
    }

    #[handler]
    async fn tell_desk(&mut self, _: TellDesk) -> Result<(), Failure> {
        Ok(self.desk.tell(Note).await?)
    }

    #[handler]
    async fn forward(
        &mut self,
        message: Forward,
        reply: Reply<Vec<String>>,
    ) -> Result<(), Failure> {
        Ok(self.desk.forward(message, reply).await?)
    }
}
