//! Replies, from the actor system to a client.

use super::*;

pub(super) async fn publish_counts_its_receivers(bus: &dyn TestBus) {
    let server = server(bus).await;
    let frame = Bytes::from_static(b"frame");
    assert_eq!(
        server.publish(id(1), frame.clone().into()).await.unwrap(),
        Some(0)
    );
    let (client, mut replies) = client(bus).await;
    assert_eq!(
        server.publish(id(1), frame.clone().into()).await.unwrap(),
        Some(1)
    );
    assert_eq!(
        server.publish(id(2), Bytes::new().into()).await.unwrap(),
        Some(0)
    );
    assert_eq!(reply(&mut replies).await, Some(frame));
    drop(client);
    assert_eq!(reply(&mut replies).await, None);
}

pub(super) async fn reply_right_after_opening_arrives(bus: &dyn TestBus) {
    let server = server(bus).await;
    for number in 0..200 {
        let (client, mut replies) = open_client(&bus.config(), id(number), 1).await.unwrap();
        let frame = Bytes::from(vec![number]);
        assert_eq!(
            server
                .publish(id(number), frame.clone().into())
                .await
                .unwrap(),
            Some(1)
        );
        assert_eq!(reply(&mut replies).await, Some(frame));
        client.close().await;
    }
}

pub(super) async fn ten_megabytes_of_replies_arrive(bus: &dyn TestBus) {
    let server = server(bus).await;
    let (_client, mut replies) = client(bus).await;
    let frame = |number: u8| Bytes::from(vec![number; 256 * 1024]);
    let send = async {
        for number in 0..40 {
            assert_eq!(
                server.publish(id(1), frame(number).into()).await.unwrap(),
                Some(1)
            );
        }
    };
    let receive = async {
        for number in 0..40 {
            assert!(reply(&mut replies).await.unwrap() == frame(number));
        }
    };
    tokio::join!(send, receive);
}

pub(super) async fn bytes_arrive_unchanged(bus: &dyn TestBus) {
    let server = server(bus).await;
    let (client, mut replies) = client(bus).await;
    let epoch = granted(&*server).await;
    let all: Vec<u8> = (0..=255).collect();
    let frames: Vec<Bytes> = vec![
        all.into(),
        Bytes::new(),
        "1".into(),
        "-1.5".into(),
        "nil".into(),
        "OK\r\n+OK\r\n".into(),
        "größer 🦀".into(),
        vec![0xff, 0xfe, 0x00].into(),
        vec![0; 300_000].into(),
    ];
    let sent = frames.iter().cloned().map(Frame::from).collect();
    client.enqueue(epoch, sent).await.unwrap();
    assert_eq!(pop_within(&*server, epoch, 99, LONG).await.unwrap(), frames);
    for frame in frames {
        client
            .enqueue(epoch, vec![frame.clone().into()])
            .await
            .unwrap();
        assert_eq!(pop(&*server, epoch, 99).await, std::slice::from_ref(&frame));
        server.publish(id(1), frame.clone().into()).await.unwrap();
        assert_eq!(reply(&mut replies).await, Some(frame));
    }
}

pub(super) async fn replies_beyond_the_capacity_are_dropped(bus: &dyn TestBus) {
    let server = server(bus).await;
    let (_client, mut replies) = open_client(&bus.config(), id(1), 4).await.unwrap();
    for number in 0..100 {
        let receivers = server
            .publish(id(1), Bytes::from(vec![number]).into())
            .await
            .unwrap();
        assert_eq!(receivers, Some(1));
    }
    sleep(2 * SHORT).await;
    for number in 0..4 {
        assert_eq!(reply(&mut replies).await, Some(Bytes::from(vec![number])));
    }
    assert!(replies.try_recv().is_err());
    server
        .publish(id(1), Bytes::from_static(b"next").into())
        .await
        .unwrap();
    assert_eq!(reply(&mut replies).await, Some(Bytes::from_static(b"next")));
}

pub(super) async fn closing_a_client_ends_its_replies(bus: &dyn TestBus) {
    let (client, mut replies) = client(bus).await;
    client.close().await;
    assert_eq!(reply(&mut replies).await, None);
    let refused = [
        client.enqueue(Epoch(1), frames(&["a"])).await.err(),
        client.lease().await.err(),
    ];
    assert!(
        refused
            .iter()
            .all(|error| matches!(error, Some(TransportError::NotDone(_))))
    );
    client.close().await;
}
