//! The same program twice, by accident without the switch of fleets.

use conclib::ProxyClient;
use conclib_tests::{eventually, logs};

use crate::fixture::Fleet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_process_without_the_switch_is_told_of_it() {
    let fleet = Fleet::start(0, &[]).await;
    let config = fleet.bus.config.clone();
    let mut first = fleet.start_program(&config, "a", &["alone"]);
    first.line("ready").await;
    let mut second = fleet.start_program(&config, "b", &["alone"]);
    let error = second.line("refused ").await;
    println!("the second process: {error}");
    assert!(
        error.starts_with("another actor system serves this node"),
        "{error}"
    );
    assert!(error.contains("CONCLIB_FLEET=1"), "{error}");
    assert!(!second.ended().await);
}

#[tokio::test]
async fn client_without_the_switch_is_told_of_the_fleet() {
    let fleet = Fleet::start(2, &["shared:doubler"]).await;
    logs::capture();
    let client = ProxyClient::connect(&fleet.bus.config).await.unwrap();
    let text = "this client asks one node, and the namespace has a fleet: set `CONCLIB_FLEET=1`";
    eventually("the client is told of the fleet", async || {
        assert!(client.responder().await.is_err());
        logs::logged().contains(text)
    })
    .await;
}
