//! Raw handlers, and the decoding of requests.

use super::forms::Forms;
use super::*;

#[derive(Actor, Default)]
struct Raw {
    seen: Vec<String>,
}

#[handlers]
impl Raw {
    #[handler]
    async fn note(&mut self, _: Note) {
        self.seen.push("typed".to_owned());
    }

    #[handler]
    async fn anything(
        &mut self,
        envelope: RequestEnvelope,
        _ctx: &mut Context<Self>,
    ) -> Result<(), UnexpectedMessage> {
        self.seen.push(envelope.message().to_owned());
        if envelope.matches::<Double>() {
            let message = envelope.extract::<Double>()?;
            envelope.respond(message.n * 2);
            return Ok(());
        }
        Err(envelope.unexpected())
    }
}

/// Delivers a request as the runner does.
async fn deliver<A: Actor, M: conclib::message::RemoteMessage>(
    actor: &mut A,
    message: M,
) -> Result<M::Response, AskError> {
    let (envelope, answer) = RequestEnvelope::channel(&message);
    let mut inbox = Some(A::frame(Box::new(envelope)));
    let envelope = A::unframe(&mut inbox).expect("a frame");
    assert!(inbox.is_none());
    inbox = A::decode(envelope);
    if inbox.is_some() {
        drop(actor.dispatch(&mut inbox, &mut Context::test()).await);
    }
    answer.await
}

#[tokio::test]
async fn raw_handler_gets_messages_without_a_handler() {
    let mut raw = Raw::default();
    assert_eq!(deliver(&mut raw, Double { n: 4 }).await, Ok(8));
    assert_eq!(deliver(&mut raw, Note(String::new())).await, Ok(()));
    let unknown = deliver(&mut raw, Beat).await;
    assert!(
        matches!(unknown, Err(AskError::Unhandled { .. })),
        "{unknown:?}"
    );
    assert_eq!(raw.seen, ["Double", "typed", "Beat"]);

    let (envelope, answer) = RequestEnvelope::channel(&Double { n: 1 });
    raw.anything(envelope, &mut Context::test())
        .await
        .expect("it is known");
    assert_eq!(answer.await, Ok(2));
}

#[tokio::test]
async fn requests_are_decoded_by_name() {
    let mut forms = Forms::default();
    assert_eq!(deliver(&mut forms, Double { n: 4 }).await, Ok(8));
    assert_eq!(deliver(&mut forms, Notes).await, Ok(vec![]));
    let unknown = deliver(&mut forms, Beat).await;
    assert!(
        matches!(unknown, Err(AskError::Unhandled { .. })),
        "{unknown:?}"
    );

    let malformed = deliver(
        &mut forms,
        NotDouble {
            n: "four".to_owned(),
        },
    )
    .await;
    assert!(
        matches!(malformed, Err(AskError::BadRequest { .. })),
        "{malformed:?}"
    );
}

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(name = "Double", response = u32)]
struct NotDouble {
    n: String,
}

// A local message cannot be reached from outside under any name.
#[derive(ActorMessage, Serialize, Deserialize)]
#[message(name = "Alias", response = u32)]
struct NotAlias(bool);

#[tokio::test]
async fn local_message_is_not_reached_from_outside() {
    let refused = deliver(&mut Forms::default(), NotAlias(true)).await;
    assert!(
        matches!(refused, Err(AskError::Unhandled { .. })),
        "{refused:?}"
    );
}

// The name of a generic message contains its arguments, so that one actor handles several.
#[derive(ActorMessage, Serialize, Deserialize)]
#[message(name = "Set<{T}>", response = String)]
struct Set<T>(T);

#[derive(Actor)]
struct Store;

#[handlers]
impl Store {
    #[handler]
    fn number(&mut self, message: Set<u32>) -> String {
        format!("number {}", message.0)
    }

    #[handler]
    fn text(&mut self, message: Set<String>) -> String {
        format!("text {}", message.0)
    }
}

#[tokio::test]
async fn instances_of_a_generic_message_are_told_apart() {
    assert_eq!(Set::<u32>::NAME, "Set<u32>");
    let number = deliver(&mut Store, Set(1_u32)).await;
    assert_eq!(number.as_deref(), Ok("number 1"));
    let text = deliver(&mut Store, Set("a".to_owned())).await;
    assert_eq!(text.as_deref(), Ok("text a"));
    let unknown = deliver(&mut Store, Set(true)).await;
    assert!(
        matches!(&unknown, Err(AskError::Unhandled { message, .. }) if message == "Set<bool>"),
        "{unknown:?}"
    );
}

// An actor that is generic over its message also handles it from outside.
#[derive(Actor)]
struct Logger<M>(Vec<M>);

#[handlers]
impl<M: ActorMessage<Response = ()>> Logger<M> {
    #[handler]
    fn any(&mut self, message: M) {
        self.0.push(message);
    }

    #[handler]
    fn len(&mut self, _: Len) -> usize {
        self.0.len()
    }
}

#[tokio::test]
async fn message_that_is_a_parameter_is_handled() -> TestResult {
    let mut logger = Logger(Vec::new());
    assert_eq!(deliver(&mut logger, Note("a".to_owned())).await, Ok(()));
    assert_eq!(deliver(&mut logger, Len).await, Ok(1));
    let unknown = deliver(&mut logger, Beat).await;
    assert!(
        matches!(unknown, Err(AskError::Unhandled { .. })),
        "{unknown:?}"
    );

    let system = ActorSystem::new();
    let logger = system.spawn(logger).urn("logger").await?;
    logger.ask(Note("b".to_owned())).await?;
    let notes: Recipient<Note> = system.recipient("logger")?;
    notes.ask(Note("c".to_owned())).await?;
    assert_eq!(logger.ask(Len).await?, 3);
    Ok(())
}
