//! Leases: taken, renewed, released, expired.

use super::*;

pub(super) async fn lease_has_one_holder(bus: &dyn TestBus) {
    let (first, second) = (server(bus).await, server(bus).await);
    let LeaseGrant { epoch, now, former } = grant(&*first, &claim()).await;
    assert!(is_near(now) && epoch.0 >= now.0);
    assert_eq!(former, None);

    let held = held_by(lease(epoch), "");
    assert_eq!(second.acquire(&claim()).await.unwrap(), held);
    let (client, _replies) = client(bus).await;
    let (seen, now) = client.lease().await.unwrap();
    assert_eq!(seen, Some(lease(epoch)));
    assert!(is_near(now));

    first.release(epoch).await.unwrap();
    assert_eq!(client.lease().await.unwrap().0, None);
    assert!(granted(&*second).await > epoch);
}

fn held_by(lease: LeaseRecord, instance: &str) -> Acquired {
    Acquired::Held(LeaseHolder {
        lease,
        instance: instance.to_owned(),
        is_successor: false,
    })
}

pub(super) async fn lease_is_shown_to_clients_when_its_owner_serves(bus: &dyn TestBus) {
    let (first, second) = (server(bus).await, server(bus).await);
    let (client, _replies) = client(bus).await;
    let held = LeaseClaim {
        serves: false,
        ..claim()
    };
    let epoch = grant(&*first, &held).await.epoch;
    assert_eq!(client.lease().await.unwrap().0, None);
    let sent = client.enqueue(epoch, frames(&["early"])).await.unwrap();
    assert_eq!(sent.lease, None);
    let holder = LeaseRecord {
        serves: false,
        ..lease(epoch)
    };
    assert_eq!(second.acquire(&claim()).await.unwrap(), held_by(holder, ""));
    assert!(first.renew(epoch, LEASE).await.unwrap().is_some());
    // A failover may have lost that it serves: clients are told so, and nothing is executed.
    let popped = first
        .pop(epoch, Lists::All, 9, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!((popped.frames, popped.owner), (batch(&["early"]), Ok(None)));

    assert_eq!(first.open(Epoch(epoch.0 + 1), &claim()).await, Ok(false));
    assert_eq!(second.open(epoch, &claim()).await, Ok(false));
    assert_eq!(first.open(epoch, &claim()).await, Ok(true));
    assert_eq!(client.lease().await.unwrap().0, Some(lease(epoch)));
    let popped = first
        .pop(epoch, Lists::All, 9, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(popped.owner, Ok(Some(epoch)));
    assert!(first.renew(epoch, LEASE).await.unwrap().is_some());
    assert_eq!(first.release(epoch).await, Ok(true));
    assert_eq!(first.open(epoch, &claim()).await, Ok(false));
}

pub(super) async fn closed_lease_is_held_and_hidden_from_clients(bus: &dyn TestBus) {
    let (first, second) = (server(bus).await, server(bus).await);
    let (client, _replies) = client(bus).await;
    let epoch = granted(&*first).await;
    client.enqueue(epoch, frames(&["early"])).await.unwrap();
    bus.age_lease(4 * SHORT).await;
    assert_eq!(close(&*first, epoch, "wake").await, Ok(true));
    let late = client.enqueue(epoch, frames(&["late"])).await.unwrap();
    assert_eq!(late.lease, None);
    assert_eq!(client.lease().await.unwrap().0, None);
    assert_eq!(
        first.owner().await,
        Ok(Some(epoch)),
        "it is the owner's, whether it serves or not"
    );
    let popped = first
        .pop(epoch, Lists::All, 9, Duration::ZERO)
        .await
        .unwrap();
    let in_order = batch(&["early", "wake", "late"]);
    assert_eq!((popped.frames, popped.owner), (in_order, Ok(None)));

    // It was prolonged, and can be renewed: no other system has it before it is released.
    sleep(6 * SHORT).await;
    let holder = LeaseRecord {
        serves: false,
        ..lease(epoch)
    };
    let held = held_by(holder, "");
    assert_eq!(second.acquire(&claim()).await.unwrap(), held);
    assert!(first.renew(epoch, LEASE).await.unwrap().is_some());
    assert_eq!(first.release(epoch).await, Ok(true));
    assert_eq!(close(&*first, epoch, "again").await, Ok(false));
    assert!(pop(&*first, epoch, 9).await.is_empty());
    let grant = grant(&*second, &claim()).await;
    assert!(grant.former.is_some_and(|former| former.was_released));
}

pub(super) async fn younger_process_of_an_instance_takes_the_lease(bus: &dyn TestBus) {
    let instance = |name: &str| LeaseClaim {
        instance: name.to_owned(),
        ..claim()
    };
    let (older, other) = (server(bus).await, server(bus).await);
    let before = grant(&*older, &instance("a")).await.epoch;
    let held = other.acquire(&instance("b")).await.unwrap();
    assert_eq!(held, held_by(lease(before), "a"));

    // Its first attempt tells it its age: it may be late, and its process gone.
    let younger = server(bus).await;
    let held = younger.acquire(&instance("a")).await.unwrap();
    assert_eq!(held, held_by(lease(before), "a"));
    let taken = grant(&*younger, &instance("a")).await;
    assert!(taken.epoch > before);
    let former = taken.former.unwrap();
    assert_eq!((former.epoch, former.is_own), (before, false));
    assert_eq!(older.renew(before, LEASE).await.unwrap(), None);
    let popped = older
        .pop(before, Lists::All, 9, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(popped.owner, Ok(Some(taken.epoch)));

    // The older one never takes it back, nor does one that came before the younger.
    for server in [&older, &other] {
        let Acquired::Held(holder) = server.acquire(&instance("a")).await.unwrap() else {
            panic!("an older process took the lease");
        };
        assert!(holder.is_successor);
    }
    assert!(younger.renew(taken.epoch, LEASE).await.unwrap().is_some());

    // Nor does the older one in a later turn, by another connection; the younger one takes it from there.
    let later_turn = LeaseClaim {
        age: Some(before),
        ..instance("a")
    };
    let older = server(bus).await;
    let held = older.acquire(&later_turn).await.unwrap();
    assert!(matches!(held, Acquired::Held(holder) if holder.is_successor));
    assert_eq!(younger.release(taken.epoch).await, Ok(true));
    let again = grant(&*older, &later_turn).await;
    assert!(grant(&*younger, &instance("a")).await.epoch > again.epoch);
}

pub(super) async fn grant_names_the_former_term(bus: &dyn TestBus) {
    let (first, second) = (server(bus).await, server(bus).await);
    let former = |epoch, is_own, was_released| {
        Some(FormerTerm {
            epoch,
            is_own,
            was_released,
        })
    };
    let one = grant(&*first, &claim()).await;
    first.release(one.epoch).await.unwrap();
    let two = grant(&*first, &claim()).await;
    assert_eq!(two.former, former(one.epoch, true, true));
    first.release(two.epoch).await.unwrap();
    let three = grant(&*second, &claim()).await;
    assert_eq!(three.former, former(two.epoch, false, true));
    bus.age_lease(SHORT).await;
    sleep(2 * SHORT).await;
    let four = grant(&*first, &claim()).await;
    assert_eq!(four.former, former(three.epoch, false, false));
}

pub(super) async fn lease_that_another_has_had_is_not_taken_again(bus: &dyn TestBus) {
    let (first, second) = (server(bus).await, server(bus).await);
    let since = |before| LeaseClaim {
        before: Some(before),
        ..claim()
    };
    let before = granted(&*first).await;
    bus.age_lease(SHORT).await;
    sleep(2 * SHORT).await;
    let again = grant(&*first, &since(before)).await.epoch;
    assert_eq!(first.give_up(again).await, Ok(true));
    let other = granted(&*second).await;
    second.release(other).await.unwrap();
    let lost = first.acquire(&since(again)).await;
    assert_eq!(lost, Ok(Acquired::Lost));
    // The same if the reply to an attempt was lost that came between.
    let unheard = granted(&*first).await;
    let lost = first.acquire(&since(again)).await;
    assert_eq!(lost, Ok(Acquired::Lost));
    assert_eq!(first.renew(unheard, LEASE).await, Ok(None));
    assert!(granted(&*second).await > unheard);
}

pub(super) async fn own_lease_is_taken_over(bus: &dyn TestBus) {
    let (first, second) = (server(bus).await, server(bus).await);
    let held = LeaseClaim {
        serves: false,
        ..claim()
    };
    // The reply to the first attempt, or to a renewal, was lost.
    let before = grant(&*first, &held).await.epoch;
    assert_eq!(first.open(before, &claim()).await, Ok(true));
    let after = grant(&*first, &claim()).await;
    assert!(after.epoch > before);
    assert!(after.former.is_some_and(|former| former.is_own));
    assert_eq!(first.renew(before, LEASE).await, Ok(None));
    let other = second.acquire(&claim()).await.unwrap();
    assert_eq!(other, held_by(lease(after.epoch), ""));
}

pub(super) async fn lease_expires_and_epochs_rise(bus: &dyn TestBus) {
    let (first, second) = (server(bus).await, server(bus).await);
    let before = granted(&*first).await;
    bus.age_lease(SHORT).await;
    sleep(2 * SHORT).await;
    let after = granted(&*second).await;
    assert!(after > before);
    assert_eq!(first.renew(before, LEASE).await.unwrap(), None);
    assert!(second.renew(after, LEASE).await.unwrap().is_some());

    // Faster than the clock.
    let mut last = after;
    for _ in 0..20 {
        second.release(last).await.unwrap();
        let next = granted(&*second).await;
        assert!(next > last);
        last = next;
    }
}

pub(super) async fn renewal_prolongs_the_lease(bus: &dyn TestBus) {
    let (first, second) = (server(bus).await, server(bus).await);
    let epoch = granted(&*first).await;
    bus.age_lease(4 * SHORT).await;
    assert!(is_near(first.renew(epoch, LEASE).await.unwrap().unwrap()));
    sleep(6 * SHORT).await;
    assert!(matches!(
        second.acquire(&claim()).await.unwrap(),
        Acquired::Held(_)
    ));
    for _ in 0..3 {
        assert!(first.renew(epoch, LEASE).await.unwrap().is_some());
        bus.age_lease(4 * SHORT).await;
    }
    assert!(first.renew(epoch, LEASE).await.unwrap().is_some());
}

pub(super) async fn only_the_holder_renews_and_releases(bus: &dyn TestBus) {
    let (first, second) = (server(bus).await, server(bus).await);
    let epoch = granted(&*first).await;
    for stranger in [Epoch(epoch.0 - 1), Epoch(epoch.0 + 1), Epoch(1), Epoch(0)] {
        assert_eq!(second.renew(stranger, LEASE).await.unwrap(), None);
        assert_eq!(close(&*second, stranger, "wake").await, Ok(false));
        assert_eq!(second.release(stranger).await, Ok(false));
    }
    assert!(first.renew(epoch, LEASE).await.unwrap().is_some());
    assert!(pop(&*first, epoch, 1).await.is_empty());

    assert_eq!(first.release(epoch).await, Ok(true));
    assert_eq!(first.renew(epoch, LEASE).await.unwrap(), None);
    assert_eq!(first.release(epoch).await, Ok(false));
    assert_eq!(close(&*first, epoch, "wake").await, Ok(false));
    assert!(pop(&*first, epoch, 9).await.is_empty());
}

pub(super) async fn former_inbox_lives_until_the_first_renewal(bus: &dyn TestBus) {
    let server = server(bus).await;
    let (client, _replies) = client(bus).await;
    let before = granted(&*server).await;
    client.enqueue(before, frames(&["left"])).await.unwrap();
    bus.age_lease(SHORT).await;
    sleep(2 * SHORT).await;
    let after = granted(&*server).await;
    // The former owner may be answering the requests that are left.
    assert_eq!(pop(&*server, before, 9).await, batch(&["left"]));

    // A client that does not know the new epoch yet.
    let late = client.enqueue(before, frames(&["late"])).await.unwrap();
    assert_eq!(late.lease.unwrap().epoch, after);
    server.renew(after, LEASE).await.unwrap();
    assert!(pop(&*server, before, 9).await.is_empty());
    assert!(pop(&*server, after, 9).await.is_empty());
}

pub(super) async fn pop_returns_the_owner_of_the_lease(bus: &dyn TestBus) {
    let server = server(bus).await;
    let (client, _replies) = client(bus).await;
    let epoch = granted(&*server).await;
    client.enqueue(epoch, frames(&["a"])).await.unwrap();
    let frames = batch(&["a"]);
    let owner = Ok(Some(epoch));
    let popped = server.pop(epoch, Lists::All, 9, LONG).await;
    assert_eq!(
        popped,
        Ok(Popped {
            frames,
            ..Popped::nothing(owner)
        })
    );
    close(&*server, epoch, "wake").await.unwrap();
    let (frames, owner) = (batch(&["wake"]), Ok(None));
    let popped = server.pop(epoch, Lists::All, 9, LONG).await;
    assert_eq!(
        popped,
        Ok(Popped {
            frames,
            ..Popped::nothing(owner)
        })
    );
    server.release(epoch).await.unwrap();
    let next = granted(&*server).await;
    let (frames, owner) = (Vec::new(), Ok(Some(next)));
    let popped = server.pop(epoch, Lists::All, 9, Duration::ZERO).await;
    assert_eq!(
        popped,
        Ok(Popped {
            frames,
            ..Popped::nothing(owner)
        })
    );
}

pub(super) async fn close_wakes_a_blocked_pop(bus: &dyn TestBus) {
    let server = server(bus).await;
    let epoch = granted(&*server).await;
    let closed = async {
        sleep(SHORT).await;
        close(&*server, epoch, "wake").await.unwrap();
    };
    let start = Instant::now();
    let (popped, ()) = tokio::join!(pop_within(&*server, epoch, 9, LONG), closed);
    assert_eq!(popped.unwrap(), batch(&["wake"]));
    assert!(start.elapsed() < LONG / 2);

    // A request that was sent before the client saw the close is still there to be answered.
    let (client, _replies) = client(bus).await;
    let late = client.enqueue(epoch, frames(&["late"])).await.unwrap();
    assert_eq!(late.lease, None);
    assert_eq!(pop(&*server, epoch, 9).await, batch(&["late"]));
}

pub(super) async fn namespaces_and_nodes_are_separate(bus: &dyn TestBus) {
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
            .enqueue(*epoch, vec![Bytes::from(number.to_string()).into()])
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
