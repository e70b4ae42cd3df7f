//! Attributes of messages: set by a sender, read by typed handlers, and passed on when asked for.
#![cfg(unix)]

use std::future::Future;

use conclib::actor::Ask;
use conclib::envelope::Attributes;
use conclib::pool::Pool;
use conclib::prelude::*;
use conclib_tests::bus::Bus;
use conclib_tests::process::Program;
use conclib_tests::tenants::{Back, Front, LogTenant, StoredTenant, Tenant};
use conclib_tests::{Log, MS, TestResult, eventually, for_each_bus, poll_once, within};

/// Forwards to another actor of its system.
#[derive(Actor)]
#[actor(urn = "forwarder")]
struct Forwarder(Recipient<Tenant>, Recipient<LogTenant>);

#[handlers]
impl Forwarder {
    #[handler]
    async fn tenant(&mut self, message: Tenant, reply: Reply<String>) -> Result<(), Failure> {
        Ok(self.0.forward(message, reply).await?)
    }

    #[handler]
    async fn log_tenant(&mut self, message: LogTenant, reply: Reply<()>) -> Result<(), Failure> {
        Ok(self.1.forward(message, reply).await?)
    }
}

async fn run<F: Future<Output = TestResult>>(bus: Bus, case: impl FnOnce(Bus) -> F) {
    within(case(bus)).await.unwrap();
}

for_each_bus! {
    across_the_bus {
        second_actor_of_another_system_sees_the_tenant
        tells_and_durable_messages_have_attributes
        pools_and_forwards_keep_attributes
    }
}

mod across_the_bus {
    use super::*;

    pub(crate) async fn second_actor_of_another_system_sees_the_tenant(bus: Bus) -> TestResult {
        let (first, second) = (bus.config.clone(), bus.config.clone().node("second"));
        let back = ActorSystem::new();
        back.spawn(Back(Log::default())).await?;
        conclib::start_proxy(&back, &second).await?;
        let system = ActorSystem::new();
        for (urn, inherits) in [("front", true), ("forgetful", false)] {
            let other = ProxyClient::connect(&second).await?;
            system.spawn(Front { other, inherits }).urn(urn).await?;
        }
        conclib::start_proxy(&system, &first).await?;

        let web = ProxyClient::connect(&first).await?;
        let ask = |urn| web.ask(urn, Tenant).attribute("tenant", "7");
        assert_eq!(ask("front").await?, "7");
        assert_eq!(ask("forgetful").await?, "none");
        assert_eq!(web.ask("front", Tenant).await?, "none");
        Ok(())
    }

    pub(crate) async fn tells_and_durable_messages_have_attributes(bus: Bus) -> TestResult {
        let log = Log::default();
        let (system, _proxy) = bus.system().await;
        system.spawn(Back(log.clone())).await?;
        let client = bus.client().await;
        let tenant = Attributes::from([("tenant", "7"), ("trace", "x")]);

        client.tell("back", LogTenant).attributes(&tenant).await?;
        let stored = client.tell("back", LogTenant).attributes(&tenant);
        stored.durable().await?;
        eventually("two tells", async || log.count() == 2).await;
        assert_eq!(log.entries(), ["7", "7"]);
        let stored = client.ask("back", StoredTenant).attributes(&tenant);
        assert_eq!(stored.await?, "7");
        assert_eq!(client.ask("back", Tenant).await?, "none");
        Ok(())
    }

    pub(crate) async fn pools_and_forwards_keep_attributes(bus: Bus) -> TestResult {
        let log = Log::default();
        let (system, _proxy) = bus.system().await;
        let back = system.spawn(Back(log.clone())).await?;
        let (to, told) = (back.recipient(), back.recipient());
        let worker = move || {
            let worker = Forwarder(to.clone(), told.clone());
            async move { worker }
        };
        let pool = system.spawn(Pool::new(2, worker)).urn("pool").await?;
        let client = bus.client().await;
        assert_eq!(
            client.ask("pool", Tenant).attribute("tenant", "7").await?,
            "7"
        );
        let tell = client.tell("pool", LogTenant).attribute("tenant", "8");
        tell.await?;
        eventually("a tell", async || log.count() == 1).await;

        assert_eq!(pool.ask(Tenant).attribute("tenant", "9").await?, "9");
        pool.tell(LogTenant).attribute("tenant", "10").await?;
        assert_eq!(pool.ask(Tenant).await?, "none");
        eventually("two tells", async || log.count() == 2).await;
        assert_eq!(log.entries(), ["8", "10"]);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenant_passes_from_process_to_process() -> TestResult {
    let bus = Bus::redis().await;
    let binary = env!("CARGO_BIN_EXE_tenant_process");
    let mut second = Program::start(binary, &[&bus.url(), "second"]);
    second.line("ready").await;
    let mut first = Program::start(binary, &[&bus.url(), "main", "second"]);
    first.line("ready").await;

    let web = bus.client().await;
    assert_eq!(
        web.ask("front", Tenant).attribute("tenant", "7").await?,
        "7"
    );
    assert_eq!(web.ask("front", Tenant).await?, "none");
    for process in [&mut first, &mut second] {
        process.signal("TERM").await;
        assert!(process.ended().await);
    }
    Ok(())
}

#[tokio::test]
async fn attributes_end_with_their_message() -> TestResult {
    let log = Log::default();
    let system = ActorSystem::new();
    let back = system.spawn(Back(log.clone())).await?;
    back.tell(LogTenant).attribute("tenant", "7").await?;
    back.tell(LogTenant).await?;
    assert_eq!(back.ask(Tenant).attribute("tenant", "8").await?, "8");
    assert_eq!(back.ask(Tenant).await?, "none");
    // The last one before the hook has attributes, and the hook has none.
    back.tell(LogTenant).attribute("tenant", "9").await?;
    back.stop();
    back.stopped().await;
    assert_eq!(log.entries(), ["7", "none", "9", "none"]);
    Ok(())
}

#[tokio::test]
async fn later_attribute_of_the_same_name_counts() -> TestResult {
    let system = ActorSystem::new();
    let back = system.spawn(Back(Log::default())).await?;
    let inherited = Attributes::from([("tenant", "7"), ("trace", "x")]);
    let ask = back.ask(Tenant).attributes(&inherited);
    assert_eq!(ask.attribute("tenant", "8").await?, "8");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn messages_with_too_many_attributes_are_not_sent() -> TestResult {
    let log = Log::default();
    let system = ActorSystem::new();
    let back = system.spawn(Back(log.clone())).await?;
    let many = |count: usize| (0..count).map(|n| (n.to_string(), "x"));
    let large = [("tenant", "x".repeat(Attributes::MAX_BYTES))];

    let ask: Ask<Tenant> = back.ask(Tenant).attributes(many(Attributes::MAX_LEN));
    assert_eq!(ask.await?, "none");
    let refused = back.ask(Tenant).attributes(many(Attributes::MAX_LEN + 1));
    let Err(AskError::BadRequest { reason }) = refused.timeout(MS).await else {
        panic!("sent");
    };
    assert_eq!(reason, "65 attributes are more than 64");
    let (size, limit) = (Attributes::MAX_BYTES + 6, Attributes::MAX_BYTES);
    let refused = back.ask(Tenant).attributes(large.clone()).await;
    assert_eq!(refused, Err(AskError::TooLarge { size, limit }));
    let refused = back.tell(LogTenant).attributes(large).attribute("a", "b");
    let back_again = refused.await.unwrap_err();
    assert_eq!(back_again.reason(), &AskError::TooLarge { size, limit });
    assert_eq!(back_again.into_message(), LogTenant);
    assert_eq!(log.count(), 0);
    Ok(())
}

#[tokio::test]
async fn ask_under_way_takes_no_more_attributes() -> TestResult {
    let system = ActorSystem::new();
    let back = system.spawn(Back(Log::default())).await?;
    let mut ask = back.ask(Tenant).attribute("tenant", "7");
    assert!(poll_once(&mut ask).await.is_pending());
    assert_eq!(ask.attribute("tenant", "8").await?, "7");
    Ok(())
}
