//! Deadlines: asks of a handler end at its message's deadline, and expired messages are not
//! handled. Time is paused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use conclib::prelude::*;
use conclib::test::Probe;
use conclib::{Delivered, Pool, Restart};
use conclib_tests::messages::Explode;
use conclib_tests::{MS, TestResult, poll_once, within};
use tokio::time::{Instant, sleep};

/// The result and the duration of an ask within a handler.
type Ended = (Result<u32, AskError>, Duration);

fn late(delivered: Delivered) -> AskError {
    AskError::Timeout { delivered }
}

#[derive(ActorMessage, Clone)]
#[message(local, response = u32)]
struct Work(Duration);

/// Works for the given time, and counts its messages.
#[derive(Actor)]
#[actor(mailbox = 2)]
struct TimedWorker(Arc<AtomicUsize>);

#[handlers]
impl TimedWorker {
    #[handler]
    async fn work(&mut self, Work(time): Work) -> u32 {
        self.0.fetch_add(1, SeqCst);
        sleep(time).await;
        7
    }

    #[handler]
    fn errand(&mut self, _: Errand) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[derive(ActorMessage, Serialize, Deserialize)]
struct Errand;

async fn worker(system: &ActorSystem) -> (ActorRef<TimedWorker>, Arc<AtomicUsize>) {
    let begun = Arc::new(AtomicUsize::new(0));
    let worker = system.spawn(TimedWorker(begun.clone())).await;
    (worker.unwrap(), begun)
}

const LONG: Work = Work(Duration::from_secs(3600));

/// Works for a while, then asks for work, with a timeout of its own or without.
#[derive(ActorMessage, Clone)]
#[message(local, response = Ended)]
struct PassOn {
    first: Duration,
    timeout: Option<Duration>,
    work: Work,
}

/// The result, reported to the test even if the asker is gone.
#[derive(ActorMessage)]
#[message(local)]
struct Heard(Ended);

#[derive(Actor)]
struct Middle {
    to: Recipient<Work>,
    log: Recipient<Heard>,
}

#[handlers]
impl Middle {
    #[handler]
    async fn pass_on(&mut self, message: PassOn) -> Ended {
        sleep(message.first).await;
        let start = Instant::now();
        let ask = self.to.ask(message.work);
        let answer = match message.timeout {
            Some(timeout) => ask.timeout(timeout).await,
            None => ask.await,
        };
        let ended = (answer, start.elapsed());
        // The report has room, also past the deadline.
        self.log.tell(Heard(ended.clone())).await.unwrap();
        ended
    }
}

/// A `Middle` that asks a worker, and the probe of its reports.
async fn middle(
    system: &ActorSystem,
    to: Recipient<Work>,
) -> Result<(ActorRef<Middle>, Probe<Heard>), Box<dyn std::error::Error>> {
    let heard = Probe::<Heard>::spawn(system)
        .timeout(Duration::from_secs(10_000))
        .await?;
    let log = heard.recipient();
    let middle = system.spawn(Middle { to, log }).await?;
    Ok((middle, heard))
}

fn at_once(timeout: Option<Duration>, work: Work) -> PassOn {
    PassOn {
        first: Duration::ZERO,
        timeout,
        work,
    }
}

#[tokio::test(start_paused = true)]
async fn asks_of_a_handler_end_at_its_deadline() -> TestResult {
    let own = [
        (None, 100),
        (Some(3600 * 1000), 100), // cut
        (Some(40), 40),           // shorter: it wins
    ];
    for (timeout, takes) in own {
        let system = ActorSystem::new();
        let (worker, _) = worker(&system).await;
        let (middle, heard) = middle(&system, worker.recipient()).await?;
        let message = at_once(timeout.map(|ms| ms * MS), LONG);
        let asked = middle.ask(message).timeout(100 * MS).await;
        let Heard((inner, took)) = heard.expect().await;
        assert_eq!(inner, Err(late(Delivered::Accepted)), "{timeout:?}");
        assert_eq!(took, takes * MS, "{timeout:?}");
        // The timers of both fire at once.
        match asked {
            Ok((inner, _)) => assert!(takes < 100 && inner.is_err()),
            Err(error) => assert_eq!((error, takes), (late(Delivered::Accepted), 100)),
        }
        worker.kill();
    }
    Ok(())
}

/// Asks a `Middle`, as that asks a worker.
#[derive(ActorMessage)]
#[message(local, response = ())]
struct Begin(PassOn);

#[derive(Actor)]
struct Top(ActorRef<Middle>);

#[handlers]
impl Top {
    #[handler]
    async fn begin(&mut self, Begin(message): Begin) -> Result<(), Failure> {
        let (answer, _took) = self.0.ask(message).timeout(1000 * MS).await?;
        answer?;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn chain_of_asks_ends_at_the_first_deadline() -> TestResult {
    let system = ActorSystem::new();
    let (worker, begun) = worker(&system).await;
    let (middle, heard) = middle(&system, worker.recipient()).await?;
    let top = system.spawn(Top(middle)).await?;
    let message = PassOn {
        first: 30 * MS,
        timeout: None,
        work: LONG,
    };
    let start = Instant::now();
    let asked = top.ask(Begin(message)).timeout(100 * MS).await;
    assert!(asked.is_err());
    assert_eq!(start.elapsed(), 100 * MS);
    let Heard((inner, took)) = heard.expect().await;
    assert_eq!(inner, Err(late(Delivered::Accepted)));
    assert_eq!((took, start.elapsed()), (70 * MS, 100 * MS));
    assert_eq!(begun.load(SeqCst), 1);
    worker.kill();
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn ask_after_the_deadline_is_not_sent() -> TestResult {
    let system = ActorSystem::new();
    let (worker, begun) = worker(&system).await;
    let (middle, heard) = middle(&system, worker.recipient()).await?;
    let message = PassOn {
        first: 100 * MS,
        timeout: Some(MS),
        work: Work(MS),
    };
    let asked = middle.ask(message).timeout(50 * MS).await;
    assert_eq!(asked, Err(late(Delivered::Accepted)));
    let Heard(inner) = heard.expect().await;
    assert_eq!(inner, (Err(late(Delivered::No)), Duration::ZERO));
    assert_eq!(begun.load(SeqCst), 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn message_without_a_deadline_inherits_none() -> TestResult {
    let system = ActorSystem::new();
    let (worker_one, _) = worker(&system).await;
    let (worker_two, _) = worker(&system).await;
    let (one, heard) = middle(&system, worker_one.recipient()).await?;
    let (two, _heard) = middle(&system, worker_two.recipient()).await?;
    // Both run on the same thread by turns, and each asks while the other is in its handler.
    let message = |first: u32, work: u32| PassOn {
        first: first * MS,
        timeout: None,
        work: Work(work * MS),
    };
    let limited = one.ask(message(10, 1000)).timeout(50 * MS);
    let (limited, free) = tokio::join!(limited, two.ask(message(20, 1000)));
    assert!(limited.is_err());
    assert_eq!(heard.expect().await.0.1, 40 * MS);
    assert_eq!(free, Ok((Ok(7), 1000 * MS)));
    // The next message of the same actor inherits none either.
    let free = one.ask(message(0, 1000)).await?;
    assert_eq!(free.0, Ok(7));
    Ok(())
}

#[derive(Actor)]
struct Fragile(Recipient<Work>);

#[handlers]
impl Fragile {
    #[handler]
    async fn explode(&mut self, _: Explode) {
        sleep(MS).await;
        panic!("on purpose");
    }

    #[handler]
    async fn work(&mut self, message: Work) -> Result<u32, Failure> {
        Ok(self.0.ask(message).await?)
    }
}

#[tokio::test(start_paused = true)]
async fn deadline_ends_with_its_incarnation() -> TestResult {
    let system = ActorSystem::new();
    let (worker, _) = worker(&system).await;
    let to = worker.recipient();
    let fragile = system
        .supervise(move || std::future::ready(Fragile(to.clone())))
        .restart(Restart::OnFailure)
        .await?;
    let asked = fragile.ask(Explode).timeout(100 * MS).await;
    assert!(matches!(asked, Err(AskError::Failed { .. })));
    assert_eq!(fragile.ask(Work(1000 * MS)).await, Ok(7));
    Ok(())
}

/// Asks from a task of its own.
#[derive(ActorMessage)]
#[message(local, response = u32)]
struct Detach(Work);

/// Tells until it has to wait for room, and reports the result of the last tell.
#[derive(ActorMessage)]
#[message(local, response = ())]
struct Flood;

#[derive(Actor)]
struct Detached {
    to: Recipient<Work>,
    log: Recipient<Heard>,
}

#[handlers]
impl Detached {
    #[handler]
    fn detach(&mut self, Detach(work): Detach, reply: Reply<u32>) {
        let (ask, log) = (self.to.ask(work), self.log.clone());
        tokio::spawn(async move {
            let start = Instant::now();
            let answer = ask.await;
            let _nobody_need_hear = log.tell(Heard((answer, start.elapsed()))).await;
            reply.send(1);
        });
    }

    #[handler]
    async fn flood(&mut self, _: Flood) {
        let start = Instant::now();
        loop {
            if let Err(back) = self.to.tell(LONG).await {
                let (message, reason) = back.into_parts();
                assert_eq!(message.0, LONG.0);
                let heard = Heard((Err(reason), start.elapsed()));
                return self.log.tell(heard).await.unwrap();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn spawned_tasks_inherit_no_deadline() -> TestResult {
    let system = ActorSystem::new();
    let (worker, _) = worker(&system).await;
    let (_, heard) = middle(&system, worker.recipient()).await?;
    let (to, log) = (worker.recipient(), heard.recipient());
    let detached = system.spawn(Detached { to, log }).await?;
    let asked = detached
        .ask(Detach(Work(1000 * MS)))
        .timeout(100 * MS)
        .await;
    assert_eq!(asked, Err(late(Delivered::Accepted)));
    assert_eq!(heard.expect().await.0, (Ok(7), 1000 * MS));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn tell_that_waits_for_room_ends_at_the_deadline() -> TestResult {
    let system = ActorSystem::new();
    let (worker, _) = worker(&system).await;
    let (_, heard) = middle(&system, worker.recipient()).await?;
    let (to, log) = (worker.recipient(), heard.recipient());
    let detached = system.spawn(Detached { to, log }).await?;
    let asked = detached.ask(Flood).timeout(100 * MS).await;
    assert_eq!(asked, Err(late(Delivered::Accepted)));
    let ended = heard.expect().await.0;
    assert_eq!(ended, (Err(late(Delivered::No)), 100 * MS));
    worker.kill();
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn expired_message_is_not_handled() -> TestResult {
    let system = ActorSystem::new();
    let (worker, begun) = worker(&system).await;
    let first = tokio::spawn(worker.ask(Work(100 * MS)));
    tokio::task::yield_now().await;
    let second = worker.ask(Work(MS)).timeout(50 * MS).await;
    assert_eq!(
        second,
        Err(late(Delivered::No)),
        "its handler has not started"
    );
    assert_eq!(within(first).await?, Ok(7));
    let third = worker.ask(Work(100 * MS)).timeout(50 * MS).await;
    assert_eq!(
        third,
        Err(late(Delivered::Accepted)),
        "its handler has started"
    );
    assert_eq!(worker.ask(Work(MS)).await, Ok(7));
    assert_eq!(begun.load(SeqCst), 3);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn asker_dropped_before_its_deadline_takes_the_message_back() -> TestResult {
    let system = ActorSystem::new();
    let (worker, begun) = worker(&system).await;
    let first = tokio::spawn(worker.ask(Work(100 * MS)));
    tokio::task::yield_now().await;
    let with = tokio::spawn(worker.ask(Work(MS)).timeout(5000 * MS));
    let without = tokio::spawn(worker.ask(Work(MS)));
    tokio::task::yield_now().await;
    with.abort();
    without.abort();
    assert_eq!(within(first).await?, Ok(7));
    assert_eq!(worker.ask(Work(MS)).await, Ok(7));
    // A queued message without a deadline is handled.
    assert_eq!(begun.load(SeqCst), 3);
    Ok(())
}

/// Forwards its work.
#[derive(Actor)]
struct Desk(ActorRef<TimedWorker>);

#[handlers]
impl Desk {
    #[handler]
    async fn work(&mut self, message: Work, reply: Reply<u32>) -> Result<(), Failure> {
        self.0.forward(message, reply).await?;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn forwarded_message_keeps_its_deadline() -> TestResult {
    let system = ActorSystem::new();
    let (worker, begun) = worker(&system).await;
    let desk = system.spawn(Desk(worker.clone())).await?;
    let first = tokio::spawn(worker.ask(Work(100 * MS)));
    tokio::task::yield_now().await;
    let asked = desk.ask(Work(MS)).timeout(50 * MS).await;
    assert_eq!(
        asked,
        Err(late(Delivered::Accepted)),
        "the handler of the desk has started"
    );
    assert_eq!(within(first).await?, Ok(7));
    assert_eq!(worker.ask(Work(MS)).await, Ok(7));
    assert_eq!(begun.load(SeqCst), 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn pool_workers_check_the_deadline() -> TestResult {
    let system = ActorSystem::new();
    let begun = Arc::new(AtomicUsize::new(0));
    let counter = begun.clone();
    let make = move || std::future::ready(TimedWorker(counter.clone()));
    let pool = system.spawn(Pool::new(1, make)).await?;
    let first = tokio::spawn(pool.ask(Work(100 * MS)));
    tokio::task::yield_now().await;
    let second = pool.ask(Work(MS)).timeout(50 * MS).await;
    assert_eq!(second, Err(late(Delivered::No)));
    assert_eq!(within(first).await?, Ok(7));
    let third = pool.ask(Work(100 * MS)).timeout(50 * MS).await;
    assert_eq!(third, Err(late(Delivered::Accepted)));
    assert_eq!(pool.ask(Work(MS)).await, Ok(7));
    assert_eq!(begun.load(SeqCst), 3);
    Ok(())
}

#[test]
fn blocking_ask_takes_its_message_back() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let system = ActorSystem::new();
    let (worker, begun, first) = runtime.block_on(async {
        let (worker, begun) = worker(&system).await;
        let first = tokio::spawn(worker.ask(LONG));
        while begun.load(SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        (worker, begun, first)
    });
    let asked = worker.ask(Work(MS)).timeout(10 * MS).blocking();
    assert_eq!(asked, Err(late(Delivered::No)));
    assert_eq!(begun.load(SeqCst), 1);
    worker.kill();
    assert!(runtime.block_on(first).unwrap().is_err());
}

// ---- a timeout that is set on an ask under way

/// The handler of a sent message may run although its asker has timed out.
#[tokio::test(start_paused = true)]
async fn late_timeout_of_a_sent_ask_reports_that_its_handler_may_run() -> TestResult {
    let system = ActorSystem::new();
    let (worker, begun) = worker(&system).await;
    let mut ask = worker.ask(Work(1000 * MS));
    tokio::select! {
        answer = &mut ask => panic!("{answer:?}"),
        () = sleep(100 * MS) => {}
    }
    assert_eq!(begun.load(SeqCst), 1);
    assert_eq!(ask.timeout(100 * MS).await, Err(late(Delivered::Accepted)));

    // The same for a message that waits in the mailbox: it is handled.
    let mut waits = worker.ask(Work(Duration::ZERO));
    assert!(poll_once(&mut waits).await.is_pending());
    assert_eq!(
        waits.timeout(100 * MS).await,
        Err(late(Delivered::Accepted))
    );
    within(worker.ask(Work(Duration::ZERO))).await?;
    assert_eq!(begun.load(SeqCst), 3);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn late_timeout_only_shortens_the_wait() -> TestResult {
    let system = ActorSystem::new();
    let config = Config::memory();
    start_proxy(&system, &config).await?;
    let begun = Arc::new(AtomicUsize::new(0));
    let worker = system
        .spawn(TimedWorker(begun.clone()))
        .urn("worker")
        .mailbox(8)
        .await?;
    let client = ProxyClient::connect(&config).await?;
    let _busy = tokio::spawn(worker.ask(Work(3600 * 1000 * MS)).into_future());
    sleep(100 * MS).await;

    // Set to a second, then to less, or to more: a message whose handler did not start is taken back.
    for (later, expected) in [(200 * MS, 300 * MS), (5000 * MS, 1000 * MS)] {
        let start = Instant::now();
        let mut local = worker.ask(Work(Duration::ZERO)).timeout(1000 * MS);
        let mut remote = client.ask("worker", Errand).timeout(1000 * MS);
        assert!(poll_once(&mut local).await.is_pending());
        assert!(poll_once(&mut remote).await.is_pending());
        sleep(100 * MS).await;
        let (local, remote) = (local.timeout(later), remote.timeout(later));
        assert_eq!(local.await, Err(late(Delivered::No)));
        assert_eq!(start.elapsed(), expected);
        let heard = remote.await;
        assert!(matches!(heard, Err(AskError::Timeout { .. })), "{heard:?}");
        assert_eq!(start.elapsed(), expected);
    }
    assert_eq!(begun.load(SeqCst), 1);
    Ok(())
}
