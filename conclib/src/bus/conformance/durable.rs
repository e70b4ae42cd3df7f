//! Messages that are kept until they are handled.

use super::*;
use crate::bus::transport::stream::{
    Attempts, DeadLetterEntry, EntryAck, EntryId, ForeignPage, NewEntry, PendingEntry,
    StreamConsumer, StreamEntry,
};

/// Long enough for a slow machine to do something else meanwhile.
const IDLE: Duration = Duration::from_millis(200);

fn messages(texts: &[&str]) -> Vec<NewEntry> {
    let message = |text: &&str| NewEntry {
        key: format!("key of {text}"),
        frame: Bytes::copy_from_slice(text.as_bytes()),
    };
    texts.iter().map(message).collect()
}

fn texts(kept: &[StreamEntry]) -> Vec<String> {
    let text = |kept: &StreamEntry| {
        let text = String::from_utf8(kept.frame.to_vec()).unwrap();
        assert_eq!(kept.key, format!("key of {text}"));
        text
    };
    kept.iter().map(text).collect()
}

fn ids(kept: &[StreamEntry]) -> Vec<EntryId> {
    kept.iter().map(|kept| kept.id).collect()
}

fn done(ids: &[EntryId]) -> Vec<EntryAck> {
    let finished = |id: &EntryId| EntryAck {
        id: *id,
        record: None,
    };
    ids.iter().map(finished).collect()
}

async fn consumer(bus: &dyn TestBus) -> Arc<dyn StreamConsumer> {
    let consumer = server(bus).await.consumer().await.unwrap();
    consumer.create_group().await.unwrap();
    consumer
}

async fn read(consumer: &dyn StreamConsumer, count: u32) -> Vec<StreamEntry> {
    consumer.read(count, Duration::ZERO).await.unwrap()
}

/// All that was given out and not touched for so long.
async fn due(consumer: &dyn StreamConsumer, idle: Duration) -> Vec<PendingEntry> {
    consumer.due(EntryId::default(), idle, 100).await.unwrap()
}

pub(super) async fn messages_wait_for_a_consumer_in_their_order(bus: &dyn TestBus) {
    let (client, _replies) = client(bus).await;
    assert_eq!(client.len().await.unwrap(), 0);
    assert_eq!(client.append(messages(&["a", "b"])).await.unwrap(), 2);
    assert_eq!(client.append(messages(&["c"])).await.unwrap(), 3);
    let consumer = consumer(bus).await;
    // It may be prepared as often as one likes.
    consumer.create_group().await.unwrap();
    let first = read(&*consumer, 2).await;
    assert_eq!(texts(&first), ["a", "b"]);
    assert!(first[0].id < first[1].id);
    assert_eq!(texts(&read(&*consumer, 2).await), ["c"]);
    assert!(read(&*consumer, 2).await.is_empty());
    // What was given out is still there.
    assert_eq!(client.len().await.unwrap(), 3);
}

pub(super) async fn a_read_waits_for_the_first(bus: &dyn TestBus) {
    let (client, _replies) = client(bus).await;
    let consumer = consumer(bus).await;
    let start = Instant::now();
    let nothing = consumer.read(9, 3 * SHORT).await.unwrap();
    assert!(nothing.is_empty() && start.elapsed() >= 3 * SHORT);
    let keep = async {
        sleep(SHORT).await;
        client.append(messages(&["a", "b"])).await.unwrap();
    };
    let start = Instant::now();
    let (kept, ()) = tokio::join!(consumer.read(9, LONG), keep);
    assert!(start.elapsed() < LONG / 2);
    let mut kept = kept.unwrap();
    kept.extend(read(&*consumer, 9).await); // it may have come between the two
    assert_eq!(texts(&kept), ["a", "b"]);
}

pub(super) async fn what_a_consumer_does_not_end_is_due(bus: &dyn TestBus) {
    let (client, _replies) = client(bus).await;
    client.append(messages(&["a", "b", "c"])).await.unwrap();
    let dead = consumer(bus).await;
    let given = ids(&read(&*dead, 9).await);
    let next = consumer(bus).await;
    assert!(due(&*next, LONG).await.is_empty());
    sleep(2 * IDLE).await;
    dead.extend_claims(&given[1..2]).await.unwrap();
    let expected: Vec<_> = [given[0], given[2]]
        .map(|id| PendingEntry {
            id,
            attempts: Attempts::new(1),
            is_own: false,
        })
        .to_vec();
    assert_eq!(due(&*next, IDLE).await, expected);
    // Page by page.
    let page = next.due(given[0], IDLE, 1).await.unwrap();
    assert_eq!(page, expected[1..]);

    // Nothing is the next one's own before it has taken it.
    assert!(
        next.own_claims(EntryId::default(), 9)
            .await
            .unwrap()
            .is_empty()
    );
    // One that was touched is not taken.
    let taken = next.claim(&given, Attempts::new(2), IDLE).await.unwrap();
    assert_eq!(texts(&taken), ["a", "c"]);
    let own = next.own_claims(given[0], 9).await.unwrap();
    let id = given[2];
    let expected = PendingEntry {
        id,
        attempts: Attempts::new(2),
        is_own: true,
    };
    assert_eq!(own, [expected]);
    assert!(due(&*next, IDLE).await.is_empty());
    sleep(2 * IDLE).await;
    let deliveries = due(&*next, IDLE).await;
    let deliveries = deliveries.iter().map(|due| due.attempts.deliveries);
    assert_eq!(deliveries.collect::<Vec<_>>(), [2, 1, 2]);
    assert!(
        next.claim(&[], Attempts::new(1), IDLE)
            .await
            .unwrap()
            .is_empty()
    );
}

pub(super) async fn what_others_have_is_seen_and_left_to_them(bus: &dyn TestBus) {
    let (client, _replies) = client(bus).await;
    client
        .append(messages(&["a", "b", "c", "d"]))
        .await
        .unwrap();
    let (other, own) = (consumer(bus).await, consumer(bus).await);
    let given = ids(&read(&*other, 3).await);
    read(&*own, 1).await;
    other
        .release(&given[1..2], Attempts::default(), LONG)
        .await
        .unwrap();
    let page = own
        .foreign_claims(EntryId::default(), LONG, 3)
        .await
        .unwrap();
    let theirs = page
        .pending
        .iter()
        .map(|one| (one.id, one.attempts.deliveries));
    assert_eq!(
        theirs.collect::<Vec<_>>(),
        [(given[0], 1), (given[2], 1)],
        "neither one's own nor what was given back"
    );
    assert_eq!(page.next, Some(given[2]));
    let rest = own.foreign_claims(given[2], LONG, 3).await.unwrap();
    assert_eq!(rest, ForeignPage::default());
    assert_eq!(
        texts(&own.read_entries(&given).await.unwrap()),
        ["a", "b", "c"]
    );
    // Looking is no sign of life, nor is it a delivery.
    let still = own.still_foreign(&given, LONG).await.unwrap();
    assert_eq!(still, [given[0], given[2]]);
    sleep(2 * IDLE).await;
    other.extend_claims(&given[..1]).await.unwrap();
    let still = own.still_foreign(&given, IDLE).await.unwrap();
    assert_eq!(still, given[..1]);
    other.acknowledge(done(&given[..1]), LONG).await.unwrap();
    assert!(own.still_foreign(&given, IDLE).await.unwrap().is_empty());
    assert_eq!(texts(&own.read_entries(&given[..2]).await.unwrap()), ["b"]);
    assert!(own.read_entries(&[]).await.unwrap().is_empty());
}

pub(super) async fn what_is_taken_counts_as_told(bus: &dyn TestBus) {
    let (client, _replies) = client(bus).await;
    client.append(messages(&["a", "b"])).await.unwrap();
    let consumer = consumer(bus).await;
    let given = ids(&read(&*consumer, 9).await);
    let failed = Attempts {
        deliveries: 3,
        failures: 2,
    };
    for attempts in [Attempts::new(7), Attempts::new(7), failed] {
        let taken = consumer.claim(&given[..1], attempts, Duration::ZERO);
        assert_eq!(texts(&taken.await.unwrap()), ["a"]);
        let counted = due(&*consumer, Duration::ZERO).await;
        assert_eq!(counted[0].attempts, attempts);
        assert_eq!(counted[1].attempts, Attempts::new(1));
        // A sign of life changes nothing.
        consumer.extend_claims(&given).await.unwrap();
    }
}

pub(super) async fn what_is_laid_aside_counts_as_told(bus: &dyn TestBus) {
    let (client, _replies) = client(bus).await;
    client.append(messages(&["a", "b"])).await.unwrap();
    let consumer = consumer(bus).await;
    let given = ids(&read(&*consumer, 9).await);
    let failed = Attempts {
        deliveries: 1,
        failures: 1,
    };
    consumer.release(&given[..1], failed, LONG).await.unwrap();
    consumer.release(&[], failed, LONG).await.unwrap();
    let expected = PendingEntry {
        id: given[0],
        attempts: failed,
        is_own: true,
    };
    assert_eq!(due(&*consumer, LONG).await, [expected]);
    let taken = consumer.claim(&given, failed.next(), LONG).await.unwrap();
    assert_eq!(texts(&taken), ["a"]);
    let deliveries = due(&*consumer, Duration::ZERO).await;
    assert_eq!(deliveries[0].attempts, failed.next());
}

pub(super) async fn what_is_finished_is_gone_and_remembered(bus: &dyn TestBus) {
    let (client, _replies) = client(bus).await;
    client.append(messages(&["a", "b", "c"])).await.unwrap();
    let consumer = consumer(bus).await;
    let given = ids(&read(&*consumer, 9).await);
    let record = Some(("of a {n:x}".to_owned(), Bytes::from_static(b"\x00answer")));
    let mut finished = done(&given[..2]);
    finished[0].record = record.clone();
    assert_eq!(
        consumer.acknowledge(finished.clone(), LONG).await.unwrap(),
        0
    );
    assert_eq!(client.len().await.unwrap(), 1);
    let left = due(&*consumer, Duration::ZERO).await;
    assert_eq!(left.len(), 1);
    // Who has died meanwhile finds nothing to take, nor does it bring anything back.
    assert!(
        consumer
            .claim(&given[..2], Attempts::new(1), Duration::ZERO)
            .await
            .unwrap()
            .is_empty()
    );
    consumer.extend_claims(&given).await.unwrap();
    consumer
        .release(&given[..2], Attempts::new(1), LONG)
        .await
        .unwrap();
    assert_eq!(due(&*consumer, Duration::ZERO).await.len(), 1);

    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let records = consumer
        .cached_results(names(&["of b", "of a {n:x}"]))
        .await
        .unwrap();
    assert_eq!(records, [None, record.map(|(_, bytes)| bytes)]);
    assert!(
        consumer
            .cached_results(Vec::new())
            .await
            .unwrap()
            .is_empty()
    );
    // It may be done again, and does not last for ever.
    consumer.acknowledge(finished, SHORT).await.unwrap();
    sleep(2 * SHORT).await;
    let records = consumer
        .cached_results(names(&["of a {n:x}"]))
        .await
        .unwrap();
    assert_eq!(records, [None]);
}

pub(super) async fn the_dead_are_listed_replayed_and_deleted(bus: &dyn TestBus) {
    let (client, _replies) = client(bus).await;
    client.append(messages(&["a", "b", "c"])).await.unwrap();
    let server = server(bus).await;
    let consumer = consumer(bus).await;
    for StreamEntry { id, key, frame } in read(&*consumer, 9).await {
        let dead = DeadLetterEntry {
            id,
            key,
            frame,
            deliveries: 3,
            reason: "no reason".to_owned(),
        };
        assert_eq!(consumer.dead_letter(dead).await.unwrap(), 0);
    }
    assert_eq!(client.len().await.unwrap(), 0);
    assert!(due(&*consumer, Duration::ZERO).await.is_empty());

    let letters = server.dead_letters();
    let all = letters.list(EntryId::default(), 9).await.unwrap();
    let frames: Vec<_> = all.iter().map(|dead| dead.frame.clone()).collect();
    assert_eq!(frames, batch(&["a", "b", "c"]));
    assert!(all.iter().all(|dead| is_near(BusTime(dead.id.0))));
    let facts = (&*all[0].key, all[0].deliveries, &*all[0].reason);
    assert_eq!(facts, ("key of a", 3, "no reason"));
    let page = letters.list(all[0].id, 1).await.unwrap();
    assert_eq!(page, all[1..2]);

    assert!(letters.delete(all[0].id).await.unwrap());
    assert!(!letters.delete(all[0].id).await.unwrap());
    assert!(!letters.replay(all[0].id).await.unwrap());
    assert!(letters.replay(all[1].id).await.unwrap());
    assert!(!letters.replay(all[1].id).await.unwrap());
    assert_eq!(letters.list(EntryId::default(), 9).await.unwrap(), all[2..]);
    assert_eq!(texts(&read(&*consumer, 9).await), ["b"]);
    assert_eq!(
        due(&*consumer, Duration::ZERO).await[0].attempts,
        Attempts::new(1)
    );
}

pub(super) async fn nodes_keep_their_own(bus: &dyn TestBus) {
    let (client, _replies) = client(bus).await;
    client.append(messages(&["a"])).await.unwrap();
    for other in [bus.config().node("other"), bus.config().namespace("other")] {
        let server = open_server(&other, &Arc::default()).await.unwrap();
        let consumer = server.consumer().await.unwrap();
        consumer.create_group().await.unwrap();
        assert!(read(&*consumer, 9).await.is_empty());
    }
    assert_eq!(texts(&read(&*consumer(bus).await, 9).await), ["a"]);
}

pub(super) async fn who_stops_reading_can_still_end_what_was_read(bus: &dyn TestBus) {
    let (client, _replies) = client(bus).await;
    let server = server(bus).await;
    client.append(messages(&["a"])).await.unwrap();
    let consumer = server.consumer().await.unwrap();
    consumer.create_group().await.unwrap();
    let kept = read(&*consumer, 9).await;
    let start = Instant::now();
    let stop = async {
        sleep(SHORT).await;
        consumer.stop_reading().await;
    };
    let (read, ()) = tokio::join!(consumer.read(9, LONG), stop);
    assert!(read.is_err() && start.elapsed() < LONG / 2, "{read:?}");
    let read = consumer.read(9, LONG).await;
    assert!(matches!(read, Err(TransportError::NotDone(_))), "{read:?}");
    consumer.acknowledge(done(&ids(&kept)), LONG).await.unwrap();
    assert_eq!(client.len().await.unwrap(), 0);
}
