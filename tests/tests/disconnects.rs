//! HTTP clients that disconnect while actors work for them: a real web server over a real Redis.
#![cfg(unix)]

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use conclib::prelude::*;
use conclib_tests::bus::Bus;
use conclib_tests::{Log, eventually, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = String)]
struct Report;

/// Works until it is cancelled.
#[derive(Actor)]
#[actor(urn = "reporter")]
struct Reporter(Log);

#[handlers]
impl Reporter {
    #[handler]
    async fn report(&mut self, _: Report, ctx: &mut Context<Self>) -> String {
        self.0.add("begun");
        ctx.cancelled().await;
        self.0.add("cancelled");
        "never delivered".to_owned()
    }
}

async fn report(State(client): State<ProxyClient>) -> Result<String, AskError> {
    client.ask("reporter", Report).await
}

/// Starts a web server that asks actors; returns its address.
async fn web(client: ProxyClient) -> SocketAddr {
    let app = Router::new()
        .route("/report", get(report))
        .with_state(client);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// An HTTP request in flight; dropping it disconnects the client.
async fn request(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "GET /report HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handler_is_cancelled_when_the_http_client_disconnects() {
    let bus = Bus::redis().await;
    let (system, _proxy) = bus.system().await;
    let log = Log::default();
    system.spawn(Reporter(log.clone())).await.unwrap();
    let client = bus.client().await;
    let address = web(client.clone()).await;
    let entries = async |count: usize| {
        eventually("they are there", async || log.count() == count).await;
    };

    let first = request(address).await;
    entries(1).await;
    // Behind it wait a client that disconnects, and one that stays.
    let gone = request(address).await;
    eventually("two are sent", async || client.in_flight() == 2).await;
    let mut stays = request(address).await;
    eventually("three are sent", async || client.in_flight() == 3).await;
    drop(gone);
    eventually("one has gone", async || client.in_flight() == 2).await;
    drop(first);
    entries(3).await; // the request of the one that stays; the other one's never starts
    assert_eq!(log.entries(), ["begun", "cancelled", "begun"]);

    system.actor::<Reporter>("reporter").unwrap().kill();
    let mut answer = [0; 24];
    within(stays.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 502 Bad Gateway");
    assert_eq!(log.count(), 3);
    assert!(system.shutdown().await.is_clean());
}
