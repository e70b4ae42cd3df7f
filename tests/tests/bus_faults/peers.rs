//! Peers that vanish.

use conclib_tests::bus::Bus;
use conclib_tests::eventually;
use conclib_tests::messages::{Double, Release};
use conclib_tests::process::Program;

use crate::raw::Peer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_client_process_does_not_delay_others() {
    let fixture = Bus::redis().await.fixture().await;
    let peer = Peer::connect(&fixture.bus.config).await;
    let url = fixture.bus.url();
    let program = env!("CARGO_BIN_EXE_asking_process");
    let mut clients: Vec<_> = (0..3).map(|_| Program::start(program, &[&url])).collect();
    for client in &mut clients {
        assert_eq!(client.line("asked ").await, "Err(NoReply)");
    }
    assert_eq!(peer.channels().await.len(), 4);
    for client in &mut clients[1..] {
        client.kill().await;
    }
    eventually("Redis knows it", async || peer.channels().await.len() == 2).await;
    // Abandoned requests do not delay others.
    assert_eq!(fixture.client.ask("holder", Release { n: 8 }).await, Ok(3));
    assert_eq!(clients[0].line("Ok").await, "(8)");
    assert!(clients[0].ended().await);
    for n in 0..100 {
        assert_eq!(fixture.client.ask("worker", Double { n }).await, Ok(n * 2));
    }
    assert!(fixture.system.shutdown().await.is_clean());
}
