//! Causes of failures in errors: of handlers that return an error or panic, with a reply
//! of their own or without, in this process and over the bus; and answers that panic on drop.

use conclib::prelude::*;
use conclib_tests::{Gate, PanicsOnDrop, TestResult, gate, poll_once, within};

/// The end of a handler without its reply.
#[derive(ActorMessage, Serialize, Deserialize, Clone, Copy, Debug)]
#[message(response = u32)]
enum Work {
    ReturnError,
    Panic,
    /// Asks the next desk to return an error, and returns that.
    AskNext,
}

#[derive(ActorMessage, Serialize, Deserialize, Clone, Copy, Debug)]
#[message(response = u32)]
enum Reported {
    ReturnError,
    Panic,
    /// Answers, and returns an error.
    AnswerAndFail,
    Forget,
}

/// Drops the reply, waits, and returns an error.
#[derive(ActorMessage)]
#[message(local, response = u32)]
struct ForgetAndWait(Gate);

/// Keeps the reply.
#[derive(ActorMessage)]
#[message(local, response = u32)]
struct Keep;

/// Drops the replies that were kept.
#[derive(ActorMessage, Clone, Copy)]
#[message(local)]
struct Clear;

#[derive(Actor, Default)]
#[actor(urn = "desk")]
struct Desk {
    next: Option<Recipient<Work>>,
    kept: Vec<Reply<u32>>,
}

#[handlers]
impl Desk {
    #[handler]
    async fn work(&mut self, work: Work) -> Result<u32, Failure> {
        match (work, &self.next) {
            (Work::ReturnError, _) => Err(Failure::msg("the disk is full")),
            (Work::AskNext, Some(next)) => Ok(next.ask(Work::ReturnError).await?),
            (Work::Panic | Work::AskNext, _) => panic!("on purpose"),
        }
    }

    #[handler]
    async fn reported(&mut self, how: Reported, reply: Reply<u32>) -> Result<(), Failure> {
        match how {
            Reported::ReturnError => Err(Failure::msg("the disk is full")),
            Reported::Panic => panic!("on purpose"),
            Reported::AnswerAndFail => {
                reply.send(7);
                Err(Failure::msg("too late for the asker"))
            }
            Reported::Forget => Ok(()),
        }
    }

    #[handler]
    async fn forget_and_wait(
        &mut self,
        ForgetAndWait(gate): ForgetAndWait,
        reply: Reply<u32>,
    ) -> Result<(), Failure> {
        drop(reply);
        gate.pass().await;
        Err(Failure::msg("long afterwards"))
    }

    #[handler]
    fn keep(&mut self, _: Keep, reply: Reply<u32>) {
        self.kept.push(reply);
    }

    #[handler]
    fn clear(&mut self, _: Clear) {
        self.kept.clear();
    }
}

/// The cause in the error of a failed actor's asker.
fn told<T: std::fmt::Debug>(asked: Result<T, AskError>) -> String {
    match asked {
        Err(error @ AskError::Failed { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

const FULL: &str = "the actor `desk` failed while handling the message: the disk is full";
const PANICKED: &str = "the actor `desk` failed while handling the message: panicked: on purpose";

#[tokio::test]
async fn error_names_the_failed_actor_and_the_cause() -> TestResult {
    for (how, expected) in [(Work::ReturnError, FULL), (Work::Panic, PANICKED)] {
        let system = ActorSystem::new();
        let desk = system.spawn(Desk::default()).await?;
        assert_eq!(told(within(desk.ask(how)).await), expected);
    }
    Ok(())
}

#[tokio::test]
async fn cause_of_a_failure_crosses_actors() -> TestResult {
    let system = ActorSystem::new();
    let back = system.spawn(Desk::default()).urn("back").await?;
    let next = Some(back.recipient());
    let kept = Vec::new();
    let front = system.spawn(Desk { next, kept }).urn("front").await?;
    assert_eq!(
        told(within(front.ask(Work::AskNext)).await),
        "the actor `front` failed while handling the message: \
         the actor `back` failed while handling the message: the disk is full"
    );
    let end = within(front.stopped()).await;
    let failure = end.failure().expect("it has failed");
    let source = failure.downcast_ref::<AskError>();
    let Some(AskError::Failed { cause: Some(cause) }) = source else {
        panic!("{source:?}")
    };
    assert_eq!(
        (cause.urn().as_str(), cause.text()),
        ("back", "the disk is full")
    );
    Ok(())
}

#[tokio::test]
async fn handler_that_owns_its_reply_fails_like_others() -> TestResult {
    for (how, expected) in [(Reported::ReturnError, FULL), (Reported::Panic, PANICKED)] {
        let system = ActorSystem::new();
        let desk = system.spawn(Desk::default()).await?;
        assert_eq!(told(within(desk.ask(how)).await), expected);
    }
    let system = ActorSystem::new();
    let desk = system.spawn(Desk::default()).await?;
    assert_eq!(desk.ask(Reported::Forget).await, Err(AskError::NoReply));
    assert_eq!(desk.ask(Reported::AnswerAndFail).await, Ok(7));
    assert!(within(desk.stopped()).await.is_failure());
    Ok(())
}

#[tokio::test]
async fn dropped_reply_is_reported_before_the_handler_ends() -> TestResult {
    let system = ActorSystem::new();
    let desk = system.spawn(Desk::default()).await?;
    let (hold, mut keeper) = gate();
    let asked = tokio::spawn(desk.ask(ForgetAndWait(hold)).into_future());
    keeper.reached().await;
    assert_eq!(within(asked).await?, Err(AskError::NoReply));
    keeper.open();
    assert!(within(desk.stopped()).await.is_failure());
    Ok(())
}

/// Both messages come in one batch, and so are handled in one poll.
#[tokio::test]
async fn failure_is_not_attributed_to_the_message_before() -> TestResult {
    let system = ActorSystem::new();
    let desk = system.spawn(Desk::default()).await?;
    let mut kept = desk.ask(Keep);
    assert!(poll_once(&mut kept).await.is_pending());
    let mut forgotten = desk.ask(Reported::Forget);
    assert!(poll_once(&mut forgotten).await.is_pending());
    desk.tell(Clear).await?;
    let mut failing = desk.ask(Work::ReturnError);
    assert!(poll_once(&mut failing).await.is_pending());
    assert_eq!(told(within(failing).await), FULL);
    assert_eq!(forgotten.await, Err(AskError::NoReply));
    assert_eq!(kept.await, Err(AskError::NoReply));
    Ok(())
}

#[tokio::test]
async fn clients_get_the_cause_only_if_the_config_allows_it() -> TestResult {
    for exposes in [false, true] {
        let config = Config::memory().expose_failures(exposes);
        for how in [Reported::ReturnError, Reported::Panic] {
            let system = ActorSystem::new();
            start_proxy(&system, &config).await?;
            system.spawn(Desk::default()).await?;
            let client = ProxyClient::connect(&config).await?;
            let result = told(within(client.ask("desk", how)).await);
            let cause = match how {
                Reported::Panic => PANICKED,
                _ => FULL,
            };
            let expected = if exposes {
                cause
            } else {
                "the actor failed while handling the message"
            };
            assert_eq!(result, expected);
            system.shutdown().await;
        }
    }
    Ok(())
}

#[tokio::test]
async fn texts_of_failures_are_bounded() -> TestResult {
    #[derive(ActorMessage)]
    #[message(local)]
    struct FailWith(String);

    #[derive(Actor)]
    struct Verbose;

    #[handlers]
    impl Verbose {
        #[handler]
        fn fail(&mut self, FailWith(text): FailWith) -> Result<(), Failure> {
            Err(Failure::msg(text))
        }
    }

    let system = ActorSystem::new();
    let verbose = system.spawn(Verbose).await?;
    let asked = verbose.ask(FailWith("ä".repeat(100_000))).await;
    let Err(AskError::Failed { cause: Some(cause) }) = asked else {
        panic!("{asked:?}")
    };
    assert_eq!(cause.text().len(), 1024);
    Ok(())
}

// ---- answers whose drop panics

#[derive(ActorMessage)]
#[message(local, response = Option<PanicsOnDrop>)]
enum Make {
    Bomb,
    Nothing,
}

/// Answers with a value that panics on drop, once the gate is open.
#[derive(ActorMessage)]
#[message(local, response = PanicsOnDrop)]
struct MakeLater(Gate);

#[derive(Actor)]
struct Maker;

#[handlers]
impl Maker {
    #[handler]
    fn make(&mut self, message: Make) -> Option<PanicsOnDrop> {
        match message {
            Make::Bomb => Some(PanicsOnDrop),
            Make::Nothing => None,
        }
    }

    #[handler]
    async fn make_later(&mut self, MakeLater(gate): MakeLater) -> PanicsOnDrop {
        gate.pass().await;
        PanicsOnDrop
    }
}

#[tokio::test]
async fn answer_that_panics_on_drop_ends_no_actor() -> TestResult {
    let system = ActorSystem::new();
    let maker = system.spawn(Maker).await?;

    // No asker: a tell.
    maker.tell(Make::Bomb).await?;
    // An asker that was dropped.
    let (hold, mut keeper) = gate();
    let mut asked = maker.ask(MakeLater(hold));
    assert!(poll_once(&mut asked).await.is_pending());
    keeper.reached().await;
    drop(asked);
    keeper.open();
    // An asker that is dropped with its answer.
    let mut asked = maker.ask(Make::Bomb);
    assert!(poll_once(&mut asked).await.is_pending());
    assert!(matches!(within(maker.ask(Make::Nothing)).await, Ok(None)));
    drop(asked);

    assert!(!maker.is_stopped());
    let snapshot = system.snapshot();
    assert_eq!(snapshot.actors[0].failures, 0, "{snapshot}");
    Ok(())
}
