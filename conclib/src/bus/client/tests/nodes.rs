//! A client of several nodes.

use std::task::{Context as TaskContext, Waker};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::MS;
use crate::prelude::*;

#[derive(Actor)]
#[actor(urn = "desk")]
struct Clerk {
    node: &'static str,
    cancelled: mpsc::UnboundedSender<&'static str>,
}

#[derive(ActorMessage, serde::Serialize, serde::Deserialize)]
#[message(response = String)]
struct GetNode;

#[derive(ActorMessage, serde::Serialize, serde::Deserialize)]
struct WaitForCancel;

#[handlers]
impl Clerk {
    #[handler]
    fn node(&mut self, _: GetNode) -> String {
        self.node.to_owned()
    }

    #[handler]
    async fn wait(&mut self, _: WaitForCancel, ctx: &mut Context<Self>) {
        ctx.cancelled().await;
        self.cancelled.send(self.node).unwrap();
    }
}

/// Two nodes of one bus, and the nodes whose handlers were cancelled.
async fn serve(config: &Config) -> ([ActorSystem; 2], mpsc::UnboundedReceiver<&'static str>) {
    let systems = [ActorSystem::new(), ActorSystem::new()];
    let (cancelled, receiver) = mpsc::unbounded_channel();
    for (system, node) in systems.iter().zip(["main", "eu-1"]) {
        let cancelled = cancelled.clone();
        system.spawn(Clerk { node, cancelled }).await.unwrap();
        let config = config.clone().node(node);
        start_proxy(system, &config).await.unwrap();
    }
    (systems, receiver)
}

#[tokio::test(start_paused = true)]
async fn node_is_asked_over_a_link_of_its_own() {
    let config = Config::memory();
    let (_systems, mut cancelled) = serve(&config).await;
    let client = ProxyClient::connect(&config).await.unwrap();
    let other = client.node("eu-1");
    assert_eq!(other.responder().await, Ok(()));
    let asks = (0..100)
        .map(|_| async { tokio::join!(client.ask("desk", GetNode), other.ask("desk", GetNode)) });
    for answers in join_all(asks).await {
        assert_eq!(answers, (Ok("main".to_owned()), Ok("eu-1".to_owned())));
    }
    // A node's cancels go to that node.
    let mut cx = TaskContext::from_waker(Waker::noop());
    for (client, node) in [(&other, "eu-1"), (&client, "main")] {
        let mut ask = Box::pin(client.ask("desk", WaitForCancel));
        assert!(ask.as_mut().poll(&mut cx).is_pending());
        sleep(MS).await;
        drop(ask);
        assert_eq!(cancelled.recv().await, Some(node));
    }
    assert_eq!(client.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn link_that_is_not_used_is_forgotten() {
    const IDLE: Duration = Duration::from_secs(21);
    let config = Config::memory();
    let (_systems, _cancelled) = serve(&config).await;
    let client = ProxyClient::connect(&config).await.unwrap();
    let links = || client.shared().links.len();
    assert!(client.node("main").ask("desk", GetNode).await.is_ok());
    assert_eq!(links(), 0, "the node of the config has its link");
    let kept = client.node("eu-1");
    assert!(kept.ask("desk", GetNode).await.is_ok());
    assert_eq!(
        client.node("eu-2").ask("desk", GetNode).await,
        Err(AskError::NoResponder)
    );
    assert_eq!(links(), 2);
    sleep(IDLE).await;
    assert_eq!(links(), 1);
    drop(kept);
    sleep(IDLE).await;
    assert_eq!(links(), 0);
    assert!(client.node("eu-1").ask("desk", GetNode).await.is_ok());
    // The links end with the client.
    let shared = client.shared().clone();
    client.shutdown().await;
    drop(client);
    shared.drivers.wait().await;
}

#[tokio::test(start_paused = true)]
async fn node_that_cannot_be_is_a_bad_request() {
    let config = Config::memory();
    let client = ProxyClient::connect(&config).await.unwrap();
    let reason = |outcome: Result<String, AskError>| match outcome {
        Err(AskError::BadRequest { reason }) => reason,
        other => panic!("{other:?}"),
    };
    let invalid = client.node("two words").ask("desk", GetNode).await;
    assert!(reason(invalid).starts_with("the node is wrong"));
    let durable = client.node("eu-1").ask("desk", GetNode).durable().await;
    assert!(reason(durable).contains("node of the config"));
}
