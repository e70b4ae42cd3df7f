//! The state of a bus as a tool sees it.

use super::durable::{consumer, messages};
use super::*;
use crate::bus::open::open_view;
use crate::bus::transport::monitor::{BusView, DeadFacts, EntryFacts, StreamFacts};
use crate::bus::transport::stream::{DeadLetterEntry, EntryId, EntryOptions, NewEntry};

async fn view(bus: &dyn TestBus) -> Arc<dyn BusView> {
    open_view(&bus.config()).await.unwrap()
}

pub(super) async fn view_has_the_lease_and_the_inbox(bus: &dyn TestBus) {
    let (view, keys) = (view(bus).await, bus.config().keys());
    assert!(is_near(view.time().await.unwrap()));
    assert_eq!(view.lease(&keys).await, Ok(None));
    let (server, (client, _replies)) = (server(bus).await, client(bus).await);
    let claim = LeaseClaim {
        instance: "worker-0".to_owned(),
        age: Some(Epoch(1)),
        ..claim()
    };
    let epoch = grant(&*server, &claim).await.epoch;
    let seen = view.lease(&keys).await.unwrap().unwrap();
    assert_eq!((seen.lease.epoch, &*seen.instance), (epoch, "worker-0"));
    let remaining = seen.remaining.unwrap();
    assert!(remaining <= LEASE && remaining > LEASE / 2, "{remaining:?}");

    assert_eq!(view.inbox_len(&keys, epoch).await, Ok(0));
    client.enqueue(epoch, frames(&["a", "b"])).await.unwrap();
    assert_eq!(view.inbox_len(&keys, epoch).await, Ok(2));
    assert_eq!(view.inbox_len(&keys, Epoch(1)).await, Ok(0));
    assert_eq!(view.lease(&keys.of("other")).await, Ok(None));
}

pub(super) async fn view_has_a_lease_before_it_is_served(bus: &dyn TestBus) {
    let (view, server) = (view(bus).await, server(bus).await);
    let claim = LeaseClaim {
        serves: false,
        ..claim()
    };
    grant(&*server, &claim).await;
    let seen = view.lease(&bus.config().keys()).await.unwrap().unwrap();
    assert!(!seen.lease.serves);
}

pub(super) async fn view_counts_durable_messages(bus: &dyn TestBus) {
    let (view, keys) = (view(bus).await, bus.config().keys());
    // Neither is there a stream, nor a group.
    let nothing = StreamFacts {
        entries: Some(EntryFacts::default()),
        ..StreamFacts::default()
    };
    assert_eq!(view.stream(&keys).await, Ok(nothing));
    let none = DeadFacts {
        is_readable: true,
        ..DeadFacts::default()
    };
    assert_eq!(view.dead_letters(&keys).await, Ok(none));
    let (client, _replies) = client(bus).await;
    client.append(messages(&["a", "b", "c"])).await.unwrap();
    let due = Some(ServerTime(4_000_000_000_000));
    let options = EntryOptions {
        due,
        ..EntryOptions::default()
    };
    let late = NewEntry {
        options,
        ..messages(&["late"]).remove(0)
    };
    client.append(vec![late]).await.unwrap();
    let consumer = consumer(bus).await;
    let mut entries = consumer.read(9, Duration::ZERO).await.unwrap();
    let late = entries.split_off(3);
    consumer.delay(late, 9).await.unwrap();
    client.append(messages(&["d"])).await.unwrap();
    let expected = StreamFacts {
        stored: 4,
        delayed: 1,
        entries: Some(EntryFacts {
            oldest: Some(entries[0].id),
            claimed: 3,
        }),
    };
    assert_eq!(view.stream(&keys).await, Ok(expected));

    // Page by page, claimed or not.
    let first = view.entries(&keys, EntryId::default(), 2).await.unwrap();
    assert_eq!(first, entries[..2]);
    let rest = view.entries(&keys, first[1].id, 9).await.unwrap();
    let keys_of_rest: Vec<_> = rest.iter().map(|entry| &*entry.key).collect();
    assert_eq!(keys_of_rest, ["key of c", "key of d"]);

    let letter = DeadLetterEntry {
        id: entries[0].id,
        key: String::new(),
        frame: Bytes::from_static(b"a"),
        retry: None,
        deliveries: 1,
        reason: "no reason".to_owned(),
    };
    consumer.dead_letter(vec![letter]).await.unwrap();
    let dead = view.dead_letters(&keys).await.unwrap();
    assert!(dead.stored == 1 && is_near(ServerTime(dead.oldest.unwrap().0)));
    assert_eq!(view.stream(&keys).await.unwrap().stored, 3);
}

pub(super) async fn view_has_the_members(bus: &dyn TestBus) {
    let view = view(bus).await;
    assert_eq!(view.members().await, Ok(Vec::new()));
    let map = super::fleet::map(bus).await;
    let id = super::fleet::joined(&*map, "eu-1").await;
    let members = view.members().await.unwrap();
    assert_eq!((members.len(), members[0].id), (1, id));
    assert_eq!(members[0].profile.node, "eu-1");
    assert!(is_near(ServerTime(id.0)));
}
