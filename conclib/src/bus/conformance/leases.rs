//! Who serves.

use super::*;

pub(super) async fn a_lease_has_one_holder(bus: &dyn TestBus) {
    let (ours, theirs) = (server(bus).await, server(bus).await);
    let Acquired::Granted { epoch, now } = ours.acquire(&lease()).await.unwrap() else {
        panic!("nobody holds it");
    };
    assert!(is_near(now) && epoch.0 >= now.0);

    let holder = Lease { epoch, ..lease() };
    let held = Acquired::Held {
        holder: holder.clone(),
    };
    assert_eq!(theirs.acquire(&lease()).await.unwrap(), held);
    let (client, _replies) = client(bus).await;
    let (seen, now) = client.lease().await.unwrap();
    assert_eq!(seen, Some(holder));
    assert!(is_near(now));

    ours.release(epoch, Bytes::new()).await.unwrap();
    assert_eq!(client.lease().await.unwrap().0, None);
    assert!(granted(&*theirs).await > epoch);
}

pub(super) async fn a_lease_expires_and_epochs_rise(bus: &dyn TestBus) {
    let (first, second) = (server(bus).await, server(bus).await);
    let before = granted(&*first).await;
    bus.age_lease(SHORT).await;
    sleep(2 * SHORT).await;
    let after = granted(&*second).await;
    assert!(after > before);
    assert_eq!(first.renew(before).await.unwrap(), None);
    assert!(second.renew(after).await.unwrap().is_some());

    // Faster than the clock.
    let mut last = after;
    for _ in 0..20 {
        second.release(last, Bytes::new()).await.unwrap();
        let next = granted(&*second).await;
        assert!(next > last);
        last = next;
    }
}

pub(super) async fn a_renewal_prolongs_the_lease(bus: &dyn TestBus) {
    let (ours, theirs) = (server(bus).await, server(bus).await);
    let epoch = granted(&*ours).await;
    bus.age_lease(4 * SHORT).await;
    assert!(is_near(ours.renew(epoch).await.unwrap().unwrap()));
    sleep(6 * SHORT).await;
    assert!(matches!(
        theirs.acquire(&lease()).await.unwrap(),
        Acquired::Held { .. }
    ));
    for _ in 0..3 {
        assert!(ours.renew(epoch).await.unwrap().is_some());
        bus.age_lease(4 * SHORT).await;
    }
    assert!(ours.renew(epoch).await.unwrap().is_some());
}

pub(super) async fn only_the_holder_renews_and_releases(bus: &dyn TestBus) {
    let (ours, theirs) = (server(bus).await, server(bus).await);
    let epoch = granted(&*ours).await;
    for stranger in [Epoch(epoch.0 - 1), Epoch(epoch.0 + 1), Epoch(1), Epoch(0)] {
        assert_eq!(theirs.renew(stranger).await.unwrap(), None);
        let released = theirs.release(stranger, Bytes::from_static(b"wake")).await;
        assert_eq!(released, Ok(false));
    }
    assert!(ours.renew(epoch).await.unwrap().is_some());
    assert!(pop(&*ours, epoch, 1).await.is_empty());

    let released = ours.release(epoch, Bytes::from_static(b"wake")).await;
    assert_eq!(released, Ok(true));
    assert_eq!(ours.renew(epoch).await.unwrap(), None);
    let released = ours.release(epoch, Bytes::from_static(b"again")).await;
    assert_eq!(released, Ok(false));
    assert_eq!(pop(&*ours, epoch, 9).await, batch(&["wake"]));
}

pub(super) async fn an_earlier_inbox_lives_until_the_first_renewal(bus: &dyn TestBus) {
    let server = server(bus).await;
    let (client, _replies) = client(bus).await;
    let before = granted(&*server).await;
    client.enqueue(before, batch(&["left"])).await.unwrap();
    bus.age_lease(SHORT).await;
    sleep(2 * SHORT).await;
    let after = granted(&*server).await;
    // The one before may be answering what is left.
    assert_eq!(pop(&*server, before, 9).await, batch(&["left"]));

    // A client that has not heard of it yet.
    let late = client.enqueue(before, batch(&["late"])).await.unwrap();
    assert_eq!(late.lease.unwrap().epoch, after);
    server.renew(after).await.unwrap();
    assert!(pop(&*server, before, 9).await.is_empty());
    assert!(pop(&*server, after, 9).await.is_empty());
}

pub(super) async fn a_pop_says_whose_lease_it_was(bus: &dyn TestBus) {
    let server = server(bus).await;
    let (client, _replies) = client(bus).await;
    let epoch = granted(&*server).await;
    client.enqueue(epoch, batch(&["a"])).await.unwrap();
    let frames = batch(&["a"]);
    let owner = Ok(Some(epoch));
    let popped = server.pop(epoch, 9, LONG).await;
    assert_eq!(popped, Ok(Popped { frames, owner }));
    server
        .release(epoch, Bytes::from_static(b"wake"))
        .await
        .unwrap();
    let (frames, owner) = (batch(&["wake"]), Ok(None));
    let popped = server.pop(epoch, 9, LONG).await;
    assert_eq!(popped, Ok(Popped { frames, owner }));
    let next = granted(&*server).await;
    let (frames, owner) = (Vec::new(), Ok(Some(next)));
    let popped = server.pop(epoch, 9, Duration::ZERO).await;
    assert_eq!(popped, Ok(Popped { frames, owner }));
}

pub(super) async fn a_release_wakes_a_blocked_pop(bus: &dyn TestBus) {
    let server = server(bus).await;
    let epoch = granted(&*server).await;
    let released = async {
        sleep(SHORT).await;
        server
            .release(epoch, Bytes::from_static(b"wake"))
            .await
            .unwrap();
    };
    let start = Instant::now();
    let (popped, ()) = tokio::join!(pop_within(&*server, epoch, 9, LONG), released);
    assert_eq!(popped.unwrap(), batch(&["wake"]));
    assert!(start.elapsed() < LONG / 2);

    // What was sent before it heard of that is still there to be answered.
    let (client, _replies) = client(bus).await;
    let late = client.enqueue(epoch, batch(&["late"])).await.unwrap();
    assert_eq!(late.lease, None);
    assert_eq!(pop(&*server, epoch, 9).await, batch(&["late"]));
}

pub(super) async fn namespaces_and_nodes_do_not_meet(bus: &dyn TestBus) {
    let configs = [
        bus.config(),
        bus.config().namespace("other"),
        bus.config().node("other"),
    ];
    let mut ends = Vec::new();
    for config in &configs {
        let server = open_server(config, &Arc::default()).await.unwrap();
        let client = open_client(config, id(1), 8).await.unwrap();
        let epoch = granted(&*server).await;
        ends.push((server, client, epoch));
    }
    for (number, (_, (client, _), epoch)) in ends.iter().enumerate() {
        client
            .enqueue(*epoch, vec![Bytes::from(number.to_string())])
            .await
            .unwrap();
    }
    for (number, (server, (client, _), epoch)) in ends.iter().enumerate() {
        assert_eq!(client.lease().await.unwrap().0.unwrap().epoch, *epoch);
        assert_eq!(
            pop(&**server, *epoch, 9).await,
            [Bytes::from(number.to_string())]
        );
    }
}
