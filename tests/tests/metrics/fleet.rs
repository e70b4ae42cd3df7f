//! The figures of a fleet, as its members and its clients see them.

use conclib::bus::Proxy;
use conclib::prelude::*;
use conclib_tests::{eventually, within};

use crate::{Count, Passer};

struct FleetMember {
    system: ActorSystem,
    proxy: Proxy,
}

impl FleetMember {
    async fn start(config: &Config) -> Self {
        let system = ActorSystem::new();
        let proxy = start_proxy(&system, config).await.unwrap();
        Self { system, proxy }
    }

    async fn eventually(&self, what: &str, is: impl Fn(conclib::metrics::FleetStats) -> bool) {
        eventually(what, async || is(self.proxy.stats().fleet.unwrap())).await;
    }
}

#[tokio::test(start_paused = true)]
async fn members_names_moves_and_bounces_are_counted() {
    let config = Config::memory().fleet();
    let (a, b) = (
        FleetMember::start(&config).await,
        FleetMember::start(&config).await,
    );
    for member in [&a, &b] {
        member
            .eventually("both are seen", |fleet| fleet.members.serving == 2)
            .await;
    }
    let first = a.system.spawn(Passer).urn("passer").await.unwrap();
    a.eventually("the name is listed", |fleet| fleet.listed == 1)
        .await;
    let client = ProxyClient::connect(&config).await.unwrap();
    assert_eq!(client.ask("passer", Count(1)).await, Ok(1));
    let members = client.stats().members.unwrap();
    assert_eq!((members.serving, members.left), (2, 0));

    let next = b.system.spawn(Passer).urn("passer").into_future();
    let next = tokio::spawn(next);
    b.eventually("it stands by", |fleet| fleet.standing_by == 1)
        .await;
    first.stop();
    first.stopped().await;
    let _next = within(next).await.unwrap().unwrap();
    b.eventually("the name has moved", |fleet| {
        fleet.moves == 1 && fleet.listed == 1
    })
    .await;

    // The client still knows the former place, where an actor of that name stands by now.
    let _standing = tokio::spawn(a.system.spawn(Passer).urn("passer").into_future());
    a.eventually("it stands by", |fleet| fleet.standing_by == 1)
        .await;
    assert_eq!(client.ask("passer", Count(2)).await, Ok(2));
    let (bounces, stats) = (a.proxy.stats().fleet.unwrap().bounces, client.stats());
    assert_eq!((bounces, stats.rerouted), (1, 1));

    b.system.shutdown().await;
    a.eventually("one has left", |fleet| {
        fleet.members.left == 1 && fleet.members.serving == 1
    })
    .await;
}
