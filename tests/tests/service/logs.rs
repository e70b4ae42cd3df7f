//! The lines of the log at the turns of a node.

use std::time::Duration;

use conclib::bus::{ProxyEnd, acquire_lease};
use conclib::prelude::*;
use conclib::service::Service;
use conclib_tests::bus::Bus;
use conclib_tests::{eventually, logs, poll_once, within};

/// The lines with this text since the capture began, from the text on.
fn lines(text: &str) -> Vec<String> {
    let log = logs::logged();
    let found = log
        .lines()
        .filter_map(|line| line.find(text).map(|at| &line[at..]));
    found.map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn standing_by_names_the_holder() {
    let config = Config::memory();
    let named = config.clone().instance("worker-0");
    for (holding, instance) in [(&config, ""), (&named, " instance=worker-0")] {
        logs::capture();
        let (holder, waiting) = (ActorSystem::new(), ActorSystem::new());
        let proxy = start_proxy(&holder, holding).await;
        let epoch = proxy.unwrap().epoch().unwrap();
        let mut turn = Box::pin(acquire_lease(&waiting, &config));
        eventually("it stands by", async || {
            assert!(poll_once(&mut turn).await.is_pending());
            !lines("standing by").is_empty()
        })
        .await;
        let held = format!("standing by node=main holder_epoch={epoch}{instance}");
        assert_eq!(lines("standing by"), [held]);
        holder.shutdown().await;
        let lease = turn.await.unwrap();
        let granted = format!("has the lease now node=main epoch={}", lease.token());
        assert_eq!(lines("has the lease now"), [granted]);
        assert_eq!(lines("took the place"), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn replacement_has_one_line_on_each_side() {
    logs::capture();
    let config = Config::memory().instance("worker-0");
    let (older, younger) = (ActorSystem::new(), ActorSystem::new());
    let proxy = start_proxy(&older, &config).await.unwrap();
    let former = proxy.epoch().unwrap();
    let lease = acquire_lease(&younger, &config).await.unwrap();
    let epoch = lease.token();
    lease.serve().await.unwrap();
    assert_eq!(proxy.stopped().await, ProxyEnd::Replaced);
    let taken = "took the place of the former process of this instance node=main instance=worker-0";
    let taken = format!("{taken} epoch={epoch} former_epoch={former}");
    assert_eq!(lines("took the place"), [taken]);
    let replaced = "a younger process of this instance serves the node: the proxy stops";
    let replaced = format!("{replaced} node=main instance=worker-0");
    assert_eq!(lines("a younger process"), [replaced]);
    assert_eq!(lines("the lease is lost"), [""; 0]);
    assert_eq!(lines("standing by"), [""; 0]);
}

#[tokio::test]
async fn lease_that_nothing_has_taken_is_lost_and_taken_again() {
    logs::capture();
    let bus = Bus::redis().await;
    let system = ActorSystem::new();
    start_proxy(&system, &bus.config).await.unwrap();
    bus.command(&["DEL", "conclib:{n:main}:lease"]).await;
    eventually("it has the lease again", async || {
        lines("the proxy has the lease again").len() == 1
    })
    .await;
    assert_eq!(lines("the lease is lost").len(), 1, "{}", logs::logged());
    assert!(within(system.shutdown()).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn service_logs_the_reason_of_its_end_and_then_its_end() {
    logs::capture();
    let end = Service::new(Config::memory())
        .run(async |system| {
            tokio::spawn(async move { system.shutdown().await });
            Ok(())
        })
        .await;
    assert_eq!(end.exit_code(), 0);
    let ended = ["the service has ended node=main exit_code=0 cause=it was asked to stop"];
    assert_eq!(lines("the service has ended"), ended);
    let stops = ["the service stops node=main reason=a shutdown by the program"];
    assert_eq!(lines("the service stops"), stops);
}

#[derive(ActorMessage)]
#[message(local)]
struct Flush;

/// Ticks wherever it runs, and does not say that it is to.
#[derive(Actor)]
#[periodic(tick = Flush, every = "1h")]
struct Unasked;

#[handlers]
impl Unasked {
    #[handler]
    fn flush(&mut self, _: Flush) {}
}

#[derive(Actor)]
#[periodic(tick = Flush, every = "1h", each_member)]
struct InEachMember;

#[handlers]
impl InEachMember {
    #[handler]
    fn flush(&mut self, _: Flush) {}
}

#[tokio::test(start_paused = true)]
async fn ticks_in_each_member_of_a_fleet_are_warned_of_once_unless_they_are_meant() {
    for (is_fleet, joins_first) in [(false, true), (true, false), (true, true)] {
        let config = Config::memory();
        let config = if is_fleet { config.fleet() } else { config };
        logs::capture();
        let system = ActorSystem::new();
        if joins_first {
            start_proxy(&system, &config).await.unwrap();
        }
        for _ in 0..2 {
            system.spawn(Unasked).await.unwrap();
            system.spawn(InEachMember).await.unwrap();
        }
        if !joins_first {
            start_proxy(&system, &config).await.unwrap();
        }
        let warnings = lines("an actor with ticks is in a fleet");
        assert_eq!(warnings.len(), usize::from(is_fleet), "{warnings:?}");
        let are_meant = |warning: &String| warning.contains("Unasked");
        assert!(warnings.iter().all(are_meant), "{warnings:?}");
    }
}

#[test]
fn node_beside_a_fleet_is_warned_of() {
    logs::capture();
    let _ = Config::memory().fleet().node("eu-1"); // deliberate
    assert_eq!(logs::logged(), "");
    let _ = Config::memory().node("eu-1").fleet();
    let logged = logs::logged();
    assert!(
        logged.contains("leave `CONCLIB_NODE` unset") && logged.contains("node=eu-1"),
        "{logged}"
    );
}

#[derive(Actor)]
#[actor(urn = "clerk")]
struct Clerk;

#[handlers]
impl Clerk {}

#[tokio::test(start_paused = true)]
async fn name_that_others_share_is_an_error_of_the_one_that_has_listed_it() {
    for lists_first in [true, false] {
        logs::capture();
        let config = Config::memory().fleet();
        let [sharing, listing] = [ActorSystem::new(), ActorSystem::new()];
        sharing.spawn(Clerk).shared().await.unwrap();
        listing.spawn(Clerk).await.unwrap();
        let systems = if lists_first {
            [&listing, &sharing]
        } else {
            [&sharing, &listing]
        };
        for system in systems {
            start_proxy(system, &config).await.unwrap();
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        let found = lines("another member shares a name that this one has listed");
        assert!(
            found.len() == 1 && found[0].contains("write `.shared()`"),
            "{found:?}"
        );
    }
}

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = String)]
struct WhichRequest;

#[derive(Actor)]
#[actor(urn = "registrar")]
struct Registrar;

#[handlers]
impl Registrar {
    #[handler]
    fn which(&mut self, _: WhichRequest, ctx: &mut Context<Self>) -> String {
        ctx.request_id().unwrap().to_string()
    }
}

#[tokio::test(start_paused = true)]
async fn request_that_waits_for_its_member_is_followed_by_its_ids() {
    logs::capture();
    let config = Config::memory().fleet();
    let members = [ActorSystem::new(), ActorSystem::new()];
    members[1].spawn(Registrar).await.unwrap();
    for member in &members {
        start_proxy(member, &config).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let client = ProxyClient::connect(&config).await.unwrap();
    let handled = client.ask("registrar", WhichRequest).await.unwrap();
    let value = |text: &str, field: &str| {
        let line = lines(text).remove(0);
        let (_, rest) = line.split_once(&format!(" {field}=")).unwrap();
        rest[..16].to_owned()
    };
    let sent = value("sending a request", "request");
    let next = "a request goes on under another id";
    assert_eq!(
        (value(next, "request"), value(next, "next_request")),
        (sent, handled)
    );
}
