//! Recipients as references, and errors in `?`.

use conclib::WeakRecipient;
use conclib::prelude::*;
use conclib_tests::messages::{Double, Note, note};
use conclib_tests::{Log, TestResult, within};

use super::spawn_worker;

#[tokio::test(start_paused = true)]
async fn recipients_are_equal_if_they_lead_to_the_same_actor() -> TestResult {
    let system = ActorSystem::new();
    let worker = spawn_worker(&system, &Log::default()).await?;
    let other = spawn_worker(&system, &Log::default()).urn("other").await?;
    let recipient: Recipient<Double> = worker.recipient();
    assert_eq!(recipient, system.recipient("worker")?);
    assert_ne!(recipient, other.recipient());

    assert!(!recipient.is_stopped());
    worker.kill();
    assert!(matches!(
        within(recipient.stopped()).await,
        StopReason::Killed
    ));
    assert!(recipient.is_stopped() && !other.is_stopped());
    assert_eq!(recipient, worker.recipient()); // still
    let next = within(spawn_worker(&system, &Log::default())).await?;
    assert_ne!(recipient, next.recipient()); // at the same URN
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn weak_recipient_keeps_no_actor_alive() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let worker = spawn_worker(&system, &log).while_referenced().await?;
    let weak: WeakRecipient<Note> = worker.recipient().downgrade();
    let strong = weak.upgrade().ok_or("it lives")?;
    assert_eq!(strong, worker.recipient());
    drop(worker);
    strong.ask(note("a recipient counts")).await?;
    let stopped = {
        let system = system.clone();
        drop(strong);
        async move {
            while !system.is_empty() {
                tokio::task::yield_now().await;
            }
        }
    };
    within(stopped).await;
    assert!(weak.upgrade().is_none() && weak.clone().upgrade().is_none());
    assert_eq!(format!("{weak:?}"), "WeakRecipient(None)");
    assert_eq!(log.entries(), ["a recipient counts"]);
    Ok(())
}

/// `Send`, but not `Sync`.
#[derive(ActorMessage)]
#[message(local)]
struct Single(std::cell::Cell<u32>);

#[derive(Actor)]
struct Shelf;

#[handlers]
impl Shelf {
    #[handler]
    fn single(&mut self, _: Single) {}
}

/// Tells the shelf a `Single`, and fails if that does not work.
#[derive(Actor)]
struct Carrier {
    to: Recipient<Single>,
}

#[handlers]
impl Carrier {
    #[handler]
    async fn double(&mut self, Double { n }: Double) -> Result<u32, Failure> {
        self.to.tell(Single(n.into())).await?;
        self.to.try_tell(Single(n.into()))?;
        Ok(2 * n)
    }
}

#[tokio::test]
async fn tell_errors_of_messages_without_sync_convert_to_failures() -> TestResult {
    let system = ActorSystem::new();
    let shelf = system.spawn(Shelf).await?;
    let to = shelf.recipient();
    let carrier = system.spawn(Carrier { to: to.clone() }).await?;
    assert_eq!(carrier.ask(Double { n: 2 }).await, Ok(4));
    shelf.stop();
    let back = to.tell(Single(7.into())).await.unwrap_err();
    assert_eq!(back.into_message().0.get(), 7);
    Ok(())
}

/// The one conversion that an error of a web server needs.
#[derive(Debug, PartialEq)]
struct WebError(AskError);

impl From<AskError> for WebError {
    fn from(error: AskError) -> Self {
        Self(error)
    }
}

#[tokio::test]
async fn remote_tells_and_asks_share_one_error() -> TestResult {
    async fn handler(client: &ProxyClient) -> Result<(), WebError> {
        client.tell("absent", note("told")).await?;
        client.ask("absent", note("asked")).await?;
        Ok(())
    }
    let client = ProxyClient::connect(&Config::memory()).await?;
    assert_eq!(handler(&client).await, Err(WebError(AskError::NoResponder)));
    Ok(())
}
