//! Requests of those who inspect and operate a process.

use super::*;
use crate::bus::keys::Right;
use crate::bus::transport::OperatorTransport;

async fn operator(bus: &dyn TestBus) -> (Arc<dyn OperatorTransport>, Receiver<Bytes>) {
    let (sender, receiver) = channel(64);
    let opened = open::open_operator(&bus.config(), id(9), Arc::new(sender)).await;
    (opened.unwrap(), receiver)
}

async fn send(
    bus: &dyn TestBus,
    to: &dyn OperatorTransport,
    epoch: Epoch,
    right: Right,
    text: &str,
) {
    let keys = bus.config().keys();
    let sent = to.send(&keys, epoch, right, frames(&[text])).await;
    assert_eq!(sent.unwrap().map(|lease| lease.epoch), Some(epoch));
}

/// The right of the popped frames, if they are of an operator, and their texts.
async fn pop_from(
    server: &dyn ServerTransport,
    epoch: Epoch,
    lists: Lists,
    block: Duration,
) -> (Option<Right>, Vec<Bytes>) {
    let popped = server.pop(epoch, lists, 9, block).await.unwrap();
    assert_eq!(popped.owner, Ok(Some(epoch)));
    match popped.operator {
        Some(taken) => {
            assert!(taken.cut.is_empty());
            (Some(taken.right), taken.frames)
        }
        None => (None, popped.frames),
    }
}

pub(super) async fn lists_of_operators_come_before_the_inbox(bus: &dyn TestBus) {
    let server = server(bus).await;
    let (client, _replies) = client(bus).await;
    let (operator, _answers) = operator(bus).await;
    let epoch = granted(&*server).await;
    client.enqueue(epoch, frames(&["ask"])).await.unwrap();
    send(bus, &*operator, epoch, Right::Inspect, "look").await;
    send(bus, &*operator, epoch, Right::Inspect, "look again").await;
    send(bus, &*operator, epoch, Right::Admin, "act").await;
    let (all, inbox) = (Lists::All, Lists::Inbox);
    for (lists, right, texts) in [
        (all, Some(Right::Admin), &["act"][..]),
        (all, Some(Right::Inspect), &["look", "look again"]),
        (all, None, &["ask"]),
    ] {
        let popped = pop_from(&*server, epoch, lists, LONG).await;
        assert_eq!(popped, (right, batch(texts)));
    }
    // A pop of the inbox alone leaves the others.
    send(bus, &*operator, epoch, Right::Inspect, "look").await;
    let popped = pop_from(&*server, epoch, inbox, Duration::ZERO).await;
    assert_eq!(popped, (None, Vec::new()));
    let popped = pop_from(&*server, epoch, all, LONG).await;
    assert_eq!(popped, (Some(Right::Inspect), batch(&["look"])));
}

pub(super) async fn rest_of_a_list_is_popped_along_with_the_inbox(bus: &dyn TestBus) {
    let server = server(bus).await;
    let (client, _replies) = client(bus).await;
    let (operator, _answers) = operator(bus).await;
    let epoch = granted(&*server).await;
    for text in ["1", "2", "3"] {
        send(bus, &*operator, epoch, Right::Inspect, text).await;
    }
    let first = server.pop(epoch, Lists::All, 1, LONG).await.unwrap();
    let taken = first.operator.unwrap();
    assert!(first.frames.is_empty() && taken.may_have_more);
    assert_eq!(taken.frames, batch(&["1"]));
    client.enqueue(epoch, frames(&["a", "b"])).await.unwrap();
    for (rest, requests) in [(Some(&["2", "3"][..]), "a"), (None, "b")] {
        // The count is that of requests alone.
        let lists = Lists::Rest(taken.right);
        let popped = server.pop(epoch, lists, 1, Duration::ZERO).await.unwrap();
        assert_eq!(popped.frames, batch(&[requests]));
        assert_eq!(popped.owner, Ok(Some(epoch)));
        assert!(
            popped
                .operator
                .as_ref()
                .is_none_or(|taken| !taken.may_have_more)
        );
        let frames = popped.operator.map(|taken| taken.frames);
        assert_eq!(frames, rest.map(batch));
    }
}

pub(super) async fn waiting_pop_hears_of_an_operator(bus: &dyn TestBus) {
    let server = server(bus).await;
    let (operator, mut answers) = operator(bus).await;
    let epoch = granted(&*server).await;
    let sent = async {
        sleep(SHORT).await;
        send(bus, &*operator, epoch, Right::Inspect, "look").await;
    };
    let start = Instant::now();
    let (popped, ()) = tokio::join!(pop_from(&*server, epoch, Lists::All, LONG), sent);
    assert_eq!(popped, (Some(Right::Inspect), batch(&["look"])));
    assert!(start.elapsed() < LONG / 2);
    let answer = Bytes::from_static(b"answer");
    server.publish(id(9), answer.clone().into()).await.unwrap();
    assert_eq!(reply(&mut answers).await, Some(answer));
}

pub(super) async fn operator_sees_the_lease(bus: &dyn TestBus) {
    let server = server(bus).await;
    let (operator, _answers) = operator(bus).await;
    let keys = bus.config().keys();
    let (seen, now) = operator.lease(&keys).await.unwrap();
    assert!(seen.is_none() && is_near(now));
    let sent = operator.send(&keys, Epoch(7), Right::Inspect, frames(&["look"]));
    assert_eq!(sent.await.unwrap(), None);
    let epoch = granted(&*server).await;
    assert_eq!(operator.lease(&keys).await.unwrap().0, Some(lease(epoch)));
    assert_eq!(operator.members().await.unwrap().all, []);
    operator.close().await;
    let sent = operator.send(&keys, epoch, Right::Inspect, frames(&["look"]));
    assert!(matches!(sent.await, Err(TransportError::NotDone(_))));
}
