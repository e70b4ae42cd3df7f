//! Actors with hand-written traits, whose code panics outside of handlers and hooks.

use std::future::{pending, ready};
use std::time::Duration;

use conclib::Terminated;
use conclib::actor::{Handler, HandlerNames, Handlers, RecipientQuery, Tick};
use conclib::prelude::*;
use conclib::reply::Limit;
use conclib::schedule::Schedule;
use conclib::supervision::Backoff;
use conclib::test::TestSystem;
use conclib_tests::scripted::{ScriptedActor, run};
use conclib_tests::{Log, TestResult, within};

/// The place of the panic.
type Place = u8;

const TICKS: Place = 0;
const TICKS_OF_ONE_THAT_STARTS_AT_ONCE: Place = 1;
const TICK: Place = 2;
const UNFRAME: Place = 3;
const LIMIT: Place = 4;
const WHICH: Place = 5;
const DISPATCH: Place = 6;
const FRAME: Place = 7;
const DECODE: Place = 8;
const NAME: Place = 9;
/// No panic: for a runtime without timers.
const NOWHERE: Place = 10;
const WRAP: Place = 11;

#[derive(ActorMessage, Serialize, Deserialize, Debug)]
struct Ping;

struct Brittle<const AT: Place> {
    log: Log,
    watches: Option<ActorRef<ScriptedActor>>,
}

impl<const AT: Place> Brittle<AT> {
    fn new(log: &Log) -> Self {
        Self {
            log: log.clone(),
            watches: None,
        }
    }

    const TABLE: &'static [Tick<Self>] = &[Tick::new(
        "Ping",
        Schedule::every(Duration::from_secs(3600)),
        || {
            reach::<AT>(TICK);
            Entry::Ping(Ping, None)
        },
    )];
}

/// Panics if the code is to panic at this place.
fn reach<const AT: Place>(place: Place) {
    assert!(AT != place, "at {place}");
}

enum Entry {
    Ping(Ping, Option<Reply<()>>),
    Frame(Box<RequestEnvelope>),
}

impl<const AT: Place> Actor for Brittle<AT> {
    const URN: Option<&'static str> = Some("brittle");

    fn ticks() -> &'static [Tick<Self>] {
        reach::<AT>(TICKS);
        reach::<AT>(TICKS_OF_ONE_THAT_STARTS_AT_ONCE);
        if AT == TICK { Self::TABLE } else { &[] }
    }
}

impl<const AT: Place> Handlers for Brittle<AT> {
    type Inbox = Entry;

    const STARTS_AT_ONCE: bool = AT == TICKS_OF_ONE_THAT_STARTS_AT_ONCE;

    fn dispatch(
        &mut self,
        inbox: &mut Option<Entry>,
        _: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        reach::<AT>(DISPATCH);
        let entry = inbox.take();
        async {
            if AT == NAME {
                pending::<()>().await;
            }
            match entry {
                Some(Entry::Ping(_, Some(reply))) => reply.finish(()),
                _ => Ok(()),
            }
        }
    }

    fn frame(envelope: Box<RequestEnvelope>) -> Entry {
        reach::<AT>(FRAME);
        Entry::Frame(envelope)
    }

    fn unframe(inbox: &mut Option<Entry>) -> Option<Box<RequestEnvelope>> {
        reach::<AT>(UNFRAME);
        match inbox.take() {
            Some(Entry::Frame(envelope)) => Some(envelope),
            other => {
                *inbox = other;
                None
            }
        }
    }

    fn decode(envelope: Box<RequestEnvelope>) -> Option<Entry> {
        reach::<AT>(DECODE);
        let (ping, reply) = envelope.open::<Ping>()?;
        Some(Entry::Ping(ping, Some(reply)))
    }

    fn which(_: &Entry) -> u16 {
        reach::<AT>(WHICH);
        0
    }

    fn handler(_: u16) -> HandlerNames {
        reach::<AT>(NAME);
        HandlerNames {
            method: "ping",
            message: Some(Ping::NAME),
        }
    }

    fn limit(entry: &Entry) -> Option<Limit<'_>> {
        reach::<AT>(LIMIT);
        match entry {
            Entry::Ping(_, reply) => reply.as_ref()?.limit(),
            Entry::Frame(_) => None,
        }
    }

    fn recipient(query: &mut RecipientQuery<'_>) {
        query.accept::<Self, Ping>();
    }

    async fn on_start(&mut self, ctx: &mut Context<Self>) -> Result<(), Failure> {
        if let Some(watched) = &self.watches {
            ctx.watch(watched);
        }
        Ok(())
    }

    async fn on_failure(&mut self, _: &mut Context<Self>, failure: &Failure) {
        self.log.add(failure.to_string());
    }
}

impl<const AT: Place> Handler<Ping> for Brittle<AT> {
    fn wrap(ping: Ping, reply: Reply<()>) -> Entry {
        Entry::Ping(ping, Some(reply))
    }

    fn unwrap(entry: Entry) -> Option<(Ping, Reply<()>)> {
        match entry {
            Entry::Ping(ping, reply) => Some((ping, reply?)),
            Entry::Frame(_) => None,
        }
    }

    fn peek(entry: &Entry) -> Option<&Ping> {
        match entry {
            Entry::Ping(ping, _) => Some(ping),
            Entry::Frame(_) => None,
        }
    }
}

impl<const AT: Place> Handler<Terminated> for Brittle<AT> {
    fn wrap(_: Terminated, _: Reply<()>) -> Entry {
        reach::<AT>(WRAP);
        Entry::Ping(Ping, None)
    }

    fn unwrap(_: Entry) -> Option<(Terminated, Reply<()>)> {
        None
    }

    fn peek(_: &Entry) -> Option<&Terminated> {
        None
    }
}

/// Sends messages, within the process and over the bus, until the actor has stopped.
async fn reach_it<const AT: Place>(
    brittle: &ActorRef<Brittle<AT>>,
    client: &ProxyClient,
) -> StopReason {
    let mut stopped = Box::pin(brittle.stopped());
    let reached = async {
        loop {
            let _ = brittle.tell(Ping).await;
            let _ = client.tell("brittle", Ping).await;
            tokio::select! {
                reason = &mut stopped => return reason,
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
        }
    };
    within(reached).await
}

async fn panics_at<const AT: Place>() -> TestResult {
    let says = format!("panicked: at {AT}");
    let system = TestSystem::new();
    let config = Config::memory();
    start_proxy(&system, &config).await?;
    let client = ProxyClient::connect(&config).await?;

    let log = Log::default();
    let brittle = within(system.spawn(Brittle::<AT>::new(&log))).await?;
    let reason = reach_it(&brittle, &client).await;
    let StopReason::Failed(failure) = &reason else {
        return Err(format!("at {AT}: {reason}").into());
    };
    assert_eq!(failure.to_string(), says);
    assert_eq!(log.entries(), std::slice::from_ref(&says));

    let log = Log::default();
    let written = log.clone();
    let spawn = system.supervise(move || ready(Brittle::<AT>::new(&written)));
    let spawn = spawn.budget(1, Duration::from_secs(3600));
    let brittle = within(spawn.backoff(Backoff::none())).await?;
    let reason = reach_it(&brittle, &client).await;
    let StopReason::Exhausted(failure) = &reason else {
        return Err(format!("at {AT}: {reason}").into());
    };
    assert_eq!(failure.to_string(), says);
    assert_eq!(log.entries(), [says.clone(), says]);

    system.expect_failure("brittle");
    within(system.finish()).await;
    Ok(())
}

#[tokio::test]
async fn panic_in_any_code_of_an_actor_is_its_failure() -> TestResult {
    panics_at::<TICKS>().await?;
    panics_at::<TICKS_OF_ONE_THAT_STARTS_AT_ONCE>().await?;
    panics_at::<TICK>().await?;
    panics_at::<UNFRAME>().await?;
    panics_at::<LIMIT>().await?;
    panics_at::<WHICH>().await?;
    panics_at::<DISPATCH>().await?;
    panics_at::<FRAME>().await?;
    panics_at::<DECODE>().await
}

#[tokio::test]
async fn snapshot_survives_a_handler_name_that_panics() -> TestResult {
    let system = ActorSystem::new();
    let brittle = system.spawn(Brittle::<NAME>::new(&Log::default())).await?;
    brittle.tell(Ping).await?;
    within(async {
        while system.snapshot().actors[0].running.is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let running = system.snapshot().actors[0].running.clone();
    assert_eq!(
        running.map(|running| running.name.into_owned()).as_deref(),
        Some("handler")
    );
    brittle.kill();
    Ok(())
}

#[test]
fn ticks_on_a_runtime_without_timers_fail_their_actor() -> TestResult {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        let system = ActorSystem::new();
        let log = Log::default();
        let brittle = system.spawn(Brittle::<TICK>::new(&log)).await?;
        let StopReason::Failed(failure) = brittle.stopped().await else {
            return Err("it has not failed".into());
        };
        assert!(
            failure.to_string().contains("timers are disabled"),
            "{failure}"
        );
        assert_eq!(log.count(), 1);
        // An actor without ticks needs no timers.
        let plain = system
            .spawn(Brittle::<NOWHERE>::new(&Log::default()))
            .await?;
        assert_eq!(plain.ask(Ping).await, Ok(()));
        Ok(())
    })
}

#[tokio::test(start_paused = true)]
async fn watcher_that_panics_on_the_news_fails_alone() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let watched = system
        .spawn(ScriptedActor::new("watched", &log))
        .urn("watched")
        .await?;
    let brittle = Brittle::<WRAP> {
        watches: Some(watched.clone()),
        ..Brittle::new(&log)
    };
    let brittle = system.spawn(brittle).await?;
    let probe = system.spawn(ScriptedActor::new("probe", &log)).await?;
    let target = watched.clone();
    probe.ask(run(move |ctx| ctx.watch(&target))).await?;

    watched.stop();
    assert!(matches!(
        within(watched.stopped()).await,
        StopReason::Requested
    ));
    let reason = within(brittle.stopped()).await;
    assert!(reason.is_failure(), "{reason}");
    let news = "probe learns of watched: stop was requested".to_owned();
    within(async {
        while !log.entries().contains(&news) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    Ok(())
}
