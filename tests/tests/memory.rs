//! The memory of proxies and clients, in a process without other tests.
#![cfg(unix)]

use conclib_tests::bus::Bus;
use conclib_tests::messages::Double;
use conclib_tests::process::{allocated, memory};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxies_and_clients_take_little_memory() {
    const CLIENTS: usize = 300;
    let bus = Bus::redis().await;
    let before = allocated();
    let fixture = bus.fixture().await;
    let ask = Double { n: 1 };
    assert_eq!(fixture.client.ask("worker", ask).await, Ok(2));
    let first = allocated().saturating_sub(before);
    println!("{first} KiB for a system with its proxy, and a client");
    assert!(first < 1536, "{first} KiB");

    let before = memory();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let client = fixture.bus.client().await;
        assert_eq!(client.ask("worker", ask).await, Ok(2));
        clients.push(client);
    }
    let each = memory().saturating_sub(before) / CLIENTS;
    println!("{each} KiB for each client");
    assert!(each < 300, "{each} KiB");
}
