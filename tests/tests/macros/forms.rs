//! Each form of handler.

use super::*;

type Outcome = Result<u32, Failure>;

#[derive(ActorMessage)]
#[message(local, response = u32)]
struct Alias(bool);

#[derive(ActorMessage)]
#[message(local, response = Result<u32, String>)]
struct Parse(&'static str);

#[derive(ActorMessage)]
#[message(local, response = u32)]
struct Later;

#[derive(ActorMessage)]
#[message(local, response = u32)]
struct LaterWithContext;

#[derive(ActorMessage)]
#[message(local)]
struct Release(Result<u32, String>);

#[derive(ActorMessage)]
#[message(local, response = String)]
struct Urn;

#[derive(Actor, Default)]
#[actor(urn = "forms")]
pub(crate) struct Forms {
    notes: Vec<String>,
    waiting: Vec<Reply<u32>>,
}

#[handlers]
impl Forms {
    /// An ordinary doc comment.
    #[handler]
    async fn double(&mut self, message: Double) -> u32 {
        tokio::task::yield_now().await;
        message.n * 2
    }

    #[handler]
    fn note(&mut self, Note(text): Note) {
        self.notes.push(text);
    }

    #[handler]
    async fn notes(&self, _: Notes) -> Vec<String> {
        tokio::task::yield_now().await;
        self.notes.clone()
    }

    #[handler]
    fn thread(&mut self, _message: Where) -> std::thread::ThreadId {
        std::thread::current().id()
    }

    #[handler]
    async fn urn(&mut self, _: Urn, ctx: &mut Context<Self>) -> String {
        ctx.urn().to_string()
    }

    #[handler]
    fn alias(&mut self, Alias(fail): Alias) -> Outcome {
        if fail {
            Err(Failure::msg("as asked"))
        } else {
            Ok(7)
        }
    }

    #[handler]
    async fn parse(&mut self, Parse(text): Parse) -> Result<Result<u32, String>, Failure> {
        Ok(text.parse().map_err(|_| format!("{text} is no number")))
    }

    #[handler]
    async fn later(&mut self, _: Later, reply: Reply<u32>) {
        self.waiting.push(reply);
    }

    #[handler]
    fn later_with_context(
        &mut self,
        _: LaterWithContext,
        reply: Reply<u32>,
        ctx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        if ctx.is_stopping() {
            return Err(Failure::msg("too late"));
        }
        self.waiting.push(reply);
        Ok(())
    }

    #[handler]
    async fn release(&mut self, message: Release, _ctx: &mut Context<Self>) -> Result<(), Failure> {
        let value = message.0.map_err(Failure::msg)?;
        self.release_all(value);
        Ok(())
    }

    // An ordinary method beside the handlers.
    fn release_all(&mut self, value: u32) {
        for reply in self.waiting.drain(..) {
            reply.send(value);
        }
    }
}

#[tokio::test]
async fn each_form_of_handler_is_called() -> TestResult {
    let system = ActorSystem::new();
    let forms = system.spawn(Forms::default()).await?;

    assert_eq!(forms.ask(Double { n: 21 }).await?, 42);
    forms.tell(Note("a".to_owned())).await?;
    forms.ask(Note("b".to_owned())).await?;
    assert_eq!(forms.ask(Notes).await?, ["a", "b"]);
    assert_eq!(forms.ask(Where).await?, std::thread::current().id());
    assert_eq!(forms.ask(Urn).await?, "forms");
    assert_eq!(forms.ask(Alias(false)).await?, 7);
    assert_eq!(forms.ask(Parse("8")).await?, Ok(8));
    assert_eq!(
        forms.ask(Parse("x")).await?,
        Err("x is no number".to_owned())
    );
    Ok(())
}

#[tokio::test]
async fn reply_is_kept_and_answered_later() -> TestResult {
    let system = ActorSystem::new();
    let forms = system.spawn(Forms::default()).await?;

    let first = tokio::spawn(forms.ask(Later));
    let second = tokio::spawn(forms.ask(LaterWithContext));
    tokio::task::yield_now().await;
    forms.tell(Later).await?; // needs no answer
    forms.tell(Release(Ok(5))).await?;
    assert_eq!(first.await??, 5);
    assert_eq!(second.await??, 5);
    Ok(())
}

#[tokio::test]
async fn failure_answers_failed_and_ends_the_actor() -> TestResult {
    let system = ActorSystem::new();
    let forms = system.spawn(Forms::default()).await?;
    assert!(matches!(
        forms.ask(Alias(true)).await,
        Err(AskError::Failed { .. })
    ));
    let StopReason::Failed(failure) = forms.stopped().await else {
        panic!("the actor failed");
    };
    assert_eq!(failure.to_string(), "as asked");

    // A kept reply that is dropped with the state of a failed actor is an answer, too.
    let forms = system.spawn(Forms::default()).await?;
    let later = tokio::spawn(forms.ask(Later));
    tokio::task::yield_now().await;
    forms.tell(Release(Err("no".to_owned()))).await?;
    assert_eq!(later.await?, Err(AskError::NoReply));
    Ok(())
}

#[tokio::test]
async fn handlers_are_ordinary_methods() -> TestResult {
    let mut forms = Forms::default();
    assert_eq!(forms.double(Double { n: 2 }).await, 4);
    forms.note(Note("n".to_owned()));
    assert_eq!(forms.notes(Notes).await, ["n"]);
    assert!(forms.alias(Alias(true)).is_err());

    let mut ctx = Context::test();
    assert_eq!(forms.urn(Urn, &mut ctx).await, ctx.urn().as_str());

    let (reply, answer) = Reply::channel();
    forms.later(Later, reply).await;
    let (reply, dropped) = Reply::channel();
    assert!(
        forms
            .later_with_context(LaterWithContext, reply, &mut ctx)
            .is_ok()
    );
    drop(forms.waiting.pop());
    assert!(forms.release(Release(Ok(3)), &mut ctx).await.is_ok());
    assert_eq!(answer.await, Ok(3));
    assert_eq!(dropped.await, Err(AskError::NoReply));
    Ok(())
}

#[tokio::test]
async fn actor_is_found_by_its_messages() -> TestResult {
    let system = ActorSystem::new();
    system.spawn(Forms::default()).await?;
    let double: Recipient<Double> = system.recipient("forms")?;
    assert_eq!(double.ask(Double { n: 1 }).await?, 2);
    let unknown = system.recipient::<Beat>("forms");
    assert!(matches!(unknown, Err(LookupError::Unhandled { .. })));
    Ok(())
}
