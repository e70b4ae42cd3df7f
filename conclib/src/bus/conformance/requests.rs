//! Requests, from the clients to the actor system.

use super::*;

pub(super) async fn batches_keep_their_order(bus: &dyn TestBus) {
    let server = server(bus).await;
    let epoch = granted(&*server).await;
    let clients = [
        open_client(&bus.config(), id(1), 64).await.unwrap(),
        open_client(&bus.config(), id(2), 64).await.unwrap(),
    ];
    let send = |number: usize| {
        let client = clients[number].0.clone();
        async move {
            for round in 0..50 {
                let frames = (0..10).map(|i| Bytes::from(format!("{number} {round} {i}")).into());
                client.enqueue(epoch, frames.collect()).await.unwrap();
            }
        }
    };
    tokio::join!(send(0), send(1));

    let popped = pop(&*server, epoch, 5000).await;
    assert_eq!(popped.len(), 1000);
    let mut rounds = [0, 0];
    for whole in popped.chunks(10) {
        let number = usize::from(whole[0][0] - b'0');
        for (i, frame) in whole.iter().enumerate() {
            assert_eq!(*frame, format!("{number} {} {i}", rounds[number]));
        }
        rounds[number] += 1;
    }
    assert_eq!(rounds, [50, 50]);
}

pub(super) async fn batch_reports_length_lease_and_time(bus: &dyn TestBus) {
    let server = server(bus).await;
    let (client, _replies) = client(bus).await;
    let epoch = granted(&*server).await;
    let holder = Some(lease(epoch));
    for length in [2, 4] {
        let enqueued = client.enqueue(epoch, frames(&["a", "b"])).await.unwrap();
        let Enqueued {
            lease,
            length: reported,
            now,
        } = enqueued;
        assert_eq!((&lease, reported), (&holder, length));
        assert!(now.is_none_or(is_near));
    }
    let empty = client.enqueue(epoch, Vec::new()).await;
    assert!(matches!(empty, Err(TransportError::NotDone(_))));
}

pub(super) async fn batch_without_a_lease_is_reported(bus: &dyn TestBus) {
    let (client, _replies) = client(bus).await;
    let enqueued = client.enqueue(Epoch(7), frames(&["a"])).await.unwrap();
    assert_eq!((enqueued.lease, enqueued.length), (None, 1));
    let (lease, now) = client.lease().await.unwrap();
    assert_eq!(lease, None);
    assert!(now >= enqueued.now.unwrap());
}

pub(super) async fn pop_takes_no_more_than_its_count(bus: &dyn TestBus) {
    let server = server(bus).await;
    let (client, _replies) = client(bus).await;
    let epoch = granted(&*server).await;
    client
        .enqueue(epoch, frames(&["a", "b", "c", "d", "e", "f"]))
        .await
        .unwrap();
    assert_eq!(
        pop_within(&*server, epoch, 2, LONG).await.unwrap(),
        batch(&["a", "b"])
    );
    assert_eq!(
        pop_within(&*server, epoch, 1, LONG).await.unwrap(),
        batch(&["c"])
    );
    assert_eq!(pop(&*server, epoch, 1).await, batch(&["d"]));
    assert_eq!(
        pop_within(&*server, epoch, 512, LONG).await.unwrap(),
        batch(&["e", "f"])
    );
    assert!(pop(&*server, epoch, 512).await.is_empty());
}

pub(super) async fn pop_waits_for_the_first(bus: &dyn TestBus) {
    let server = server(bus).await;
    let (client, _replies) = client(bus).await;
    let epoch = granted(&*server).await;
    for round in 0..3 {
        let popped = pop_within(&*server, epoch, 9, LONG);
        let sent = async {
            sleep(SHORT * round).await;
            client.enqueue(epoch, frames(&["a", "b"])).await.unwrap();
        };
        let start = Instant::now();
        let (popped, ()) = tokio::join!(popped, sent);
        assert_eq!(popped.unwrap(), batch(&["a", "b"]));
        assert!(start.elapsed() < LONG / 2);
    }
}

pub(super) async fn pop_times_out_empty(bus: &dyn TestBus) {
    let server = server(bus).await;
    let epoch = granted(&*server).await;
    for _ in 0..2 {
        let start = Instant::now();
        assert!(
            pop_within(&*server, epoch, 9, 3 * SHORT)
                .await
                .unwrap()
                .is_empty()
        );
        assert!(start.elapsed() >= 3 * SHORT);
        let start = Instant::now();
        assert!(
            pop_within(&*server, epoch, 9, Duration::from_nanos(1))
                .await
                .unwrap()
                .is_empty()
        );
        assert!(
            pop_within(&*server, Epoch(epoch.0 + 1), 9, Duration::from_millis(1))
                .await
                .unwrap()
                .is_empty()
        );
        assert!(pop(&*server, epoch, 9).await.is_empty());
        assert!(start.elapsed() < LONG / 2);
    }
}

pub(super) async fn pops_take_turns(bus: &dyn TestBus) {
    let server = server(bus).await;
    let (client, _replies) = client(bus).await;
    let epoch = granted(&*server).await;
    let sent = async {
        sleep(SHORT).await;
        client
            .enqueue(epoch, frames(&["a", "b", "c"]))
            .await
            .unwrap();
    };
    let (first, second, ()) = tokio::join!(
        biased;
        pop_within(&*server, epoch, 2, LONG),
        pop_within(&*server, epoch, 2, LONG),
        sent,
    );
    assert_eq!(first.unwrap(), batch(&["a", "b"]));
    assert_eq!(second.unwrap(), batch(&["c"]));
}

pub(super) async fn closed_server_refuses_calls(bus: &dyn TestBus) {
    let server = server(bus).await;
    let epoch = granted(&*server).await;
    let start = WallInstant::now();
    server.close().await;
    let refused = [
        server.acquire(&claim()).await.err(),
        server.renew(epoch, LEASE).await.err(),
        close(&*server, epoch, "wake").await.err(),
        server.release(epoch).await.err(),
        pop_within(&*server, epoch, 1, LONG).await.err(),
        server.publish(id(1), Bytes::new().into()).await.err(),
    ];
    assert!(
        refused
            .iter()
            .all(|error| matches!(error, Some(TransportError::NotDone(_))))
    );
    assert!(start.elapsed() < LONG / 2);
}
