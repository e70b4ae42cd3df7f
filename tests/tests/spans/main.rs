//! Spans of handled messages, and the ids of requests, as a real subscriber shows them.
#![cfg(unix)]

mod log;

use conclib::pool::Pool;
use conclib::prelude::*;
use conclib_tests::bus::Bus;
use conclib_tests::messages::Pass;
use conclib_tests::{Log, TestResult, eventually, gate, poll_once, within};
use fred::interfaces::{ClientLike, PubsubInterface};
use fred::types::Builder;
use fred::types::config::Config as FredConfig;
use futures_util::future::join_all;
use tokio::task::{JoinHandle, yield_now};
use tracing::{Instrument, info, info_span};

use log::{URNS, field, has_no_span, line, lines, subscribe};

/// Logs the text in several steps, with waits between them.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone)]
#[message(response = String)]
struct Steps(String);

/// Logs the text once, and its task logs it too.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone)]
struct Single(String);

/// Panics, or fails.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone)]
#[message(response = ())]
enum Break {
    ByPanic,
    ByFailure,
}

#[derive(Actor)]
struct Logger(Log);

#[handlers]
impl Logger {
    #[handler]
    async fn steps(&mut self, Steps(text): Steps, ctx: &mut Context<Self>) -> String {
        info!("{text} begins");
        for _ in 0..20 {
            yield_now().await;
            info!("{text} continues");
        }
        async { info!("{text} within") }
            .instrument(info_span!("own"))
            .await;
        info!("{text} ends");
        ctx.request_id()
            .map_or_else(String::new, |id| id.to_string())
    }

    #[handler]
    async fn single(&mut self, Single(text): Single) {
        let in_task = text.clone();
        let task: JoinHandle<()> = tokio::spawn(async move {
            info!("{in_task} in a task");
            yield_now().await;
            info!("{in_task} later in a task");
        });
        info!("{text} here");
        task.await.unwrap();
        self.0.add(text);
    }

    #[handler]
    async fn pass(&mut self, Pass(gate): Pass) {
        gate.pass().await;
    }

    #[handler]
    async fn break_(&mut self, how: Break) -> Result<(), Failure> {
        yield_now().await;
        match how {
            Break::ByPanic => panic!("on purpose"),
            Break::ByFailure => Err(Failure::msg("on purpose")),
        }
    }

    fn on_stop(&mut self, ctx: &mut Context<Self>) {
        info!("the hook of {}", ctx.urn());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn logs_of_a_handler_name_its_request_on_every_thread() -> TestResult {
    const ACTORS: usize = 8;
    const ROUNDS: usize = 20;
    subscribe();
    let bus = Bus::memory();
    let (system, _proxy) = bus.system().await;
    let client = bus.client().await;
    for n in 0..ACTORS {
        let logger = Logger(Log::default());
        system.spawn(logger).urn(format!("stepper-{n}")).await?;
    }
    for round in 0..ROUNDS {
        let asks = (0..ACTORS).map(|n| {
            let text = format!("<round {round} of {n}>");
            let ask = client.ask(format!("stepper-{n}"), Steps(text.clone()));
            async move { (n, text, ask.await.unwrap()) }
        });
        for (n, text, request) in within(join_all(asks)).await {
            assert_eq!(request.len(), 16);
            let span =
                format!("handle{{urn=stepper-{n} message_name=\"Steps\" request={request}}}:");
            let all = lines(&[&text]);
            assert_eq!(all.len(), 23);
            assert!(all.iter().all(|line| line.contains(&span)), "{all:#?}");
            assert!(
                all.iter().all(|line| line.matches("handle{").count() == 1),
                "{all:#?}"
            );
            line(&[&text, &format!("request={request}}}:own: ")]);
        }
    }
    for n in 0..ACTORS {
        let urn = format!("stepper-{n}");
        eventually("no span", async || has_no_span(&urn)).await;
    }
    Ok(())
}

#[tokio::test]
async fn span_ends_with_its_message_and_is_not_inherited_by_tasks() -> TestResult {
    subscribe();
    let log = Log::default();
    let system = ActorSystem::new();
    let logger = system.spawn(Logger(log.clone())).urn("once").await?;
    logger.tell(Single("<first>".to_owned())).await?;
    logger.ask(Steps("<second>".to_owned())).await?;
    logger.stop();
    logger.stopped().await;

    let here = line(&["<first> here"]);
    assert!(
        here.contains("handle{urn=once message_name=\"Single\"}: "),
        "{here}"
    );
    for texts in [
        ["<first> in a task"],
        ["<first> later in a task"],
        ["the hook of once"],
    ] {
        let line = line(&texts);
        assert!(!line.contains("handle{"), "{line}");
    }
    for line in lines(&["<second>"]) {
        assert!(
            line.contains("handle{urn=once message_name=\"Steps\"}:"),
            "{line}"
        );
    }
    assert!(has_no_span("once"));
    Ok(())
}

#[tokio::test]
async fn log_of_a_failure_names_the_message_and_the_next_incarnation_has_no_span() -> TestResult {
    subscribe();
    let bus = Bus::memory();
    let (system, _proxy) = bus.system().await;
    let client = bus.client().await;
    for (urn, how, text) in [
        ("panics", Break::ByPanic, "on purpose"),
        ("fails", Break::ByFailure, "on purpose"),
    ] {
        let logger = system
            .supervise(|| async { Logger(Log::default()) })
            .urn(urn);
        let logger = logger.await?;
        let failed = client.ask(urn, how).await;
        assert!(matches!(failed, Err(AskError::Failed { .. })), "{failed:?}");
        let own = format!("handle{{urn={urn} ");
        let failure = line(&[&own, "actor failed", text]);
        assert_eq!(field(&failure, "message_name"), Some("Break"));
        let asked = line(&[
            "a request failed",
            "conclib::request",
            &format!("urn=\"{urn}\""),
        ]);
        assert_eq!(field(&asked, "request"), field(&failure, "request"));

        let text = format!("<after {urn}>");
        logger.ask(Steps(text.clone())).await?;
        for line in lines(&[&text]) {
            assert!(line.contains("message_name=\"Steps\"}:"), "{line}");
            assert_eq!(line.matches("handle{").count(), 1, "{line}");
        }
        logger.stop();
        logger.stopped().await;
        assert!(has_no_span(urn));
    }
    Ok(())
}

#[tokio::test]
async fn pool_and_worker_have_a_span_each() -> TestResult {
    subscribe();
    let system = ActorSystem::new();
    let pool = Pool::new(1, || async { Logger(Log::default()) });
    let pool = system.spawn(pool).urn("spanned-pool").await?;
    pool.resize(1).await?;
    pool.ask(Steps("<pooled>".to_owned())).await?;
    let begins = line(&["<pooled> begins"]);
    assert!(
        begins.contains("handle{urn=spanned-pool/1 message_name=\"Steps\"}:"),
        "{begins}"
    );
    let spans = URNS.lock().unwrap().clone();
    let of_pool = spans.iter().filter(|(urn, _)| urn == "spanned-pool");
    let names: Vec<_> = of_pool.map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["\"resize\"", "\"Steps\""]);
    Ok(())
}

#[tokio::test]
async fn kill_closes_the_span() -> TestResult {
    subscribe();
    let system = ActorSystem::new();
    let logger = system.spawn(Logger(Log::default())).urn("killed").await?;
    let (gate, mut handle) = gate();
    logger.tell(Pass(gate)).await?;
    within(handle.reached()).await;
    assert!(!has_no_span("killed"));
    logger.kill();
    logger.stopped().await;
    assert!(has_no_span("killed"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ends_log_the_same_id_and_never_the_clients_own() -> TestResult {
    subscribe();
    let bus = Bus::redis().await;
    let (system, _proxy) = bus.system().await;
    let logger = system.spawn(Logger(Log::default())).urn("identified");
    let logger = logger.await?;
    let client = bus.client().await;
    let ask = client.ask("identified", Steps("<identified>".to_owned()));
    let request = ask.await?;
    let sent = line(&[
        "sending a request",
        "urn=\"identified\"",
        "message_name=\"Steps\"",
    ]);
    assert_eq!(field(&sent, "request"), Some(&*request));
    let handled = line(&["<identified> begins"]);
    assert_eq!(field(&handled, "request"), Some(&*request));

    // A durable message has an id as well.
    let tell = client
        .tell("identified", Single("<stored>".to_owned()))
        .durable();
    tell.await?;
    eventually("handled", async || lines(&["<stored> here"]).len() == 1).await;
    let sent = line(&[
        "sending a request",
        "urn=\"identified\"",
        "message_name=\"Single\"",
    ]);
    let handled = line(&["<stored> here"]);
    assert_eq!(field(&sent, "request"), field(&handled, "request"));

    // A refused request, and one that is given up.
    assert!(client.ask("missing", Steps(String::new())).await.is_err());
    let sent = line(&["sending a request", "urn=\"missing\""]);
    let failed = line(&["a request failed", "urn=\"missing\""]);
    let id = field(&sent, "request").unwrap();
    assert_eq!(field(&failed, "request"), Some(id));
    line(&["refused a request", id]);
    let (gate, handle) = gate(); // closed: no answer comes before the ask is dropped
    logger.tell(Pass(gate)).await?;
    let mut dropped = Box::pin(client.ask("identified", Steps("<dropped>".to_owned())));
    assert!(poll_once(&mut dropped).await.is_pending());
    drop((dropped, handle));
    line(&["a request was given up", "urn=\"identified\""]);

    // The client's own id is the name of its reply channel.
    let own = client_id(&bus.url()).await;
    let bytes: Vec<u8> = (0..32)
        .step_by(2)
        .map(|at| u8::from_str_radix(&own[at..at + 2], 16).unwrap())
        .collect();
    let debug = format!("{bytes:?}");
    let upper = own.to_uppercase();
    for form in [
        &own,
        &upper,
        &own[8..24].to_owned(),
        &base64(&bytes),
        &debug[1..debug.len() - 1].to_owned(),
    ] {
        assert_eq!(lines(&[form]), Vec::<String>::new());
    }
    Ok(())
}

/// The id of the only client of a Redis, in hexadecimal digits.
async fn client_id(url: &str) -> String {
    let redis = Builder::from_config(FredConfig::from_url(url).unwrap());
    let redis = redis.build().unwrap();
    redis.init().await.unwrap();
    let channels: Vec<String> = redis.pubsub_channels("*").await.unwrap();
    let own = channels.iter().find_map(|channel| {
        let (_, id) = channel.split_once("{c:")?;
        Some(id.split_once('}')?.0.to_owned())
    });
    own.expect("a client is subscribed to its channel")
}

/// The first 15 bytes in base64, which end between two of its groups.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = bytes.chunks_exact(3).map(|group| {
        let number = group
            .iter()
            .fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
        [18, 12, 6, 0].map(|shift| char::from(DIGITS[number >> shift & 63]))
    });
    groups.flatten().collect()
}
