//! Conformance of the stream of durable messages.

use super::*;
use crate::bus::transport::stream::{
    AliveWithin, Attempts, DeadLetterEntry, EntryAck, EntryId, EntryOptions, ForeignPage, NewEntry,
    PendingEntry, StreamConsumer, StreamEntry,
};
use crate::time::backoff::Backoff;

/// Other consumers are alive, and earlier ones of the same instance are not.
const FOREIGN_ALIVE: AliveWithin = AliveWithin {
    foreign: LONG,
    predecessors: Duration::ZERO,
};

/// Long enough for a pause on a slow machine.
const IDLE: Duration = Duration::from_millis(200);

pub(super) fn messages(texts: &[&str]) -> Vec<NewEntry> {
    let message = |text: &&str| NewEntry {
        key: format!("key of {text}"),
        frame: Bytes::copy_from_slice(text.as_bytes()),
        options: EntryOptions::default(),
    };
    texts.iter().map(message).collect()
}

fn texts(entries: &[StreamEntry]) -> Vec<String> {
    let text = |entry: &StreamEntry| {
        let text = String::from_utf8(entry.frame.to_vec()).unwrap();
        assert_eq!(entry.key, format!("key of {text}"));
        text
    };
    entries.iter().map(text).collect()
}

fn ids(entries: &[StreamEntry]) -> Vec<EntryId> {
    entries.iter().map(|entry| entry.id).collect()
}

fn acks(ids: &[EntryId]) -> Vec<EntryAck> {
    let ack = |id: &EntryId| EntryAck {
        id: *id,
        result: None,
    };
    ids.iter().map(ack).collect()
}

pub(super) async fn consumer(bus: &dyn TestBus) -> Arc<dyn StreamConsumer> {
    let consumer = server(bus).await.consumer("").await.unwrap();
    consumer.create_group().await.unwrap();
    consumer
}

async fn read(consumer: &dyn StreamConsumer, count: u32) -> Vec<StreamEntry> {
    consumer.read(count, Duration::ZERO).await.unwrap()
}

/// All claimed entries without a heartbeat for `idle`.
async fn due(consumer: &dyn StreamConsumer, idle: Duration) -> Vec<PendingEntry> {
    consumer.due(EntryId::default(), idle, 100).await.unwrap()
}

pub(super) async fn entries_wait_for_a_consumer_in_their_order(bus: &dyn TestBus) {
    let (client, _replies) = client(bus).await;
    assert_eq!(client.len().await.unwrap(), 0);
    assert_eq!(client.append(messages(&["a", "b"])).await.unwrap(), 2);
    assert_eq!(client.append(messages(&["c"])).await.unwrap(), 3);
    let consumer = consumer(bus).await;
    // Creating the group again changes nothing.
    consumer.create_group().await.unwrap();
    let first = read(&*consumer, 2).await;
    assert_eq!(texts(&first), ["a", "b"]);
    assert!(first[0].id < first[1].id);
    assert_eq!(texts(&read(&*consumer, 2).await), ["c"]);
    assert!(read(&*consumer, 2).await.is_empty());
    // Claimed entries are still in the stream.
    assert_eq!(client.len().await.unwrap(), 3);
}

pub(super) async fn read_waits_for_the_first_entry(bus: &dyn TestBus) {
    let (client, _replies) = client(bus).await;
    let consumer = consumer(bus).await;
    let start = Instant::now();
    let nothing = consumer.read(9, 3 * SHORT).await.unwrap();
    assert!(nothing.is_empty() && start.elapsed() >= 3 * SHORT);
    let append = async {
        sleep(SHORT).await;
        client.append(messages(&["a", "b"])).await.unwrap();
    };
    let start = Instant::now();
    let (entries, ()) = tokio::join!(consumer.read(9, LONG), append);
    assert!(start.elapsed() < LONG / 2);
    let mut entries = entries.unwrap();
    entries.extend(read(&*consumer, 9).await); // the second may have come later
    assert_eq!(texts(&entries), ["a", "b"]);
}

pub(super) async fn unacknowledged_entries_are_due(bus: &dyn TestBus) {
    let (client, _replies) = client(bus).await;
    client.append(messages(&["a", "b", "c"])).await.unwrap();
    let ended = consumer(bus).await;
    let claimed = ids(&read(&*ended, 9).await);
    let next = consumer(bus).await;
    assert!(due(&*next, LONG).await.is_empty());
    sleep(2 * IDLE).await;
    ended.extend_claims(&claimed[1..2]).await.unwrap();
    let expected: Vec<_> = [claimed[0], claimed[2]]
        .map(|id| PendingEntry {
            id,
            attempts: Attempts::new(1),
            is_own: false,
        })
        .to_vec();
    assert_eq!(due(&*next, IDLE).await, expected);
    // Page by page.
    let page = next.due(claimed[0], IDLE, 1).await.unwrap();
    assert_eq!(page, expected[1..]);

    // The next consumer has claimed nothing yet.
    assert!(
        next.own_claims(EntryId::default(), 9)
            .await
            .unwrap()
            .is_empty()
    );
    // An entry with a heartbeat is not claimed.
    let again = next.claim(&claimed, Attempts::new(2), IDLE).await.unwrap();
    assert_eq!(texts(&again), ["a", "c"]);
    let own = next.own_claims(claimed[0], 9).await.unwrap();
    let id = claimed[2];
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

pub(super) async fn foreign_claims_are_listed_and_left_alone(bus: &dyn TestBus) {
    let (client, _replies) = client(bus).await;
    client
        .append(messages(&["a", "b", "c", "d"]))
        .await
        .unwrap();
    let (other, own) = (consumer(bus).await, consumer(bus).await);
    let claimed = ids(&read(&*other, 3).await);
    read(&*own, 1).await;
    other
        .release(&claimed[1..2], Attempts::default(), LONG)
        .await
        .unwrap();
    let page = own
        .foreign_claims(EntryId::default(), FOREIGN_ALIVE, 3)
        .await
        .unwrap();
    let foreign = page
        .pending
        .iter()
        .map(|one| (one.id, one.attempts.deliveries));
    assert_eq!(
        foreign.collect::<Vec<_>>(),
        [(claimed[0], 1), (claimed[2], 1)],
        "neither own entries nor released ones"
    );
    assert_eq!(page.next, Some(claimed[2]));
    let rest = own
        .foreign_claims(claimed[2], FOREIGN_ALIVE, 3)
        .await
        .unwrap();
    assert_eq!(rest, ForeignPage::default());
    assert_eq!(
        texts(&own.read_entries(&claimed).await.unwrap()),
        ["a", "b", "c"]
    );
    // Reading an entry is neither a heartbeat nor a delivery.
    let still = own.still_foreign(&claimed, FOREIGN_ALIVE).await.unwrap();
    assert_eq!(still, [claimed[0], claimed[2]]);
    sleep(2 * IDLE).await;
    other.extend_claims(&claimed[..1]).await.unwrap();
    let alive = AliveWithin {
        foreign: IDLE,
        predecessors: IDLE,
    };
    let still = own.still_foreign(&claimed, alive).await.unwrap();
    assert_eq!(still, claimed[..1]);
    other.acknowledge(acks(&claimed[..1]), LONG).await.unwrap();
    assert!(own.still_foreign(&claimed, alive).await.unwrap().is_empty());
    assert_eq!(
        texts(&own.read_entries(&claimed[..2]).await.unwrap()),
        ["b"]
    );
    assert!(own.read_entries(&[]).await.unwrap().is_empty());
}

pub(super) async fn claims_of_the_same_instance_are_its_successors(bus: &dyn TestBus) {
    let (client, _replies) = client(bus).await;
    let told = messages(&["a", "b", "c", "d"]);
    client.append(told).await.unwrap();
    let server = server(bus).await;
    let mut consumers = Vec::new();
    // The last name begins with that of the instance, and is another one.
    for instance in ["shop-1", "shop-1", "", "shop-10"] {
        let consumer = server.consumer(instance).await.unwrap();
        consumer.create_group().await.unwrap();
        let read = ids(&read(&*consumer, 1).await);
        consumers.push((consumer, read));
    }
    let (second, inherited) = (&consumers[1].0, &consumers[0].1);
    let claims = |after, idle, count| second.predecessor_claims(after, idle, count);
    let listed = claims(EntryId::default(), Duration::ZERO, 100).await;
    let listed = listed.unwrap();
    let listed_ids: Vec<_> = listed.pending.iter().map(|one| one.id).collect();
    assert_eq!((&listed_ids, listed.next), (inherited, None));
    // They are claimed now, so that no duplicate waits for them.
    let foreign = second
        .foreign_claims(EntryId::default(), FOREIGN_ALIVE, 100)
        .await;
    let foreign = foreign.unwrap().pending.into_iter().map(|one| one.id);
    assert_eq!(
        foreign.collect::<Vec<_>>(),
        [consumers[2].1[0], consumers[3].1[0]]
    );
    let page = claims(EntryId::default(), Duration::ZERO, 1).await;
    let next = page.unwrap().next.unwrap();
    let rest = claims(next, Duration::ZERO, 100).await.unwrap();
    assert_eq!(rest, ForeignPage::default());
    let nameless = &consumers[2].0;
    let nameless = nameless.predecessor_claims(EntryId::default(), Duration::ZERO, 100);
    assert_eq!(nameless.await.unwrap(), ForeignPage::default());
    // One that stops in good order keeps its entries while it sends heartbeats.
    let alive = claims(EntryId::default(), LONG, 100).await.unwrap();
    assert!(alive.pending.is_empty() && alive.has_alive);
    let alive = AliveWithin {
        foreign: Duration::ZERO,
        predecessors: LONG,
    };
    let foreign = second.foreign_claims(EntryId::default(), alive, 100).await;
    let foreign = foreign.unwrap().pending.into_iter().map(|one| one.id);
    assert_eq!(&foreign.collect::<Vec<_>>(), inherited);
    let still = second.still_foreign(inherited, alive).await;
    assert_eq!(&still.unwrap(), inherited);
}

pub(super) async fn claims_set_the_attempts(bus: &dyn TestBus) {
    let (client, _replies) = client(bus).await;
    client.append(messages(&["a", "b"])).await.unwrap();
    let consumer = consumer(bus).await;
    let claimed = ids(&read(&*consumer, 9).await);
    let failed = Attempts {
        deliveries: 3,
        failures: 2,
    };
    for attempts in [Attempts::new(7), Attempts::new(7), failed] {
        let again = consumer.claim(&claimed[..1], attempts, Duration::ZERO);
        assert_eq!(texts(&again.await.unwrap()), ["a"]);
        let counted = due(&*consumer, Duration::ZERO).await;
        assert_eq!(counted[0].attempts, attempts);
        assert_eq!(counted[1].attempts, Attempts::new(1));
        // A heartbeat changes no attempts.
        consumer.extend_claims(&claimed).await.unwrap();
    }
}

pub(super) async fn releases_set_the_attempts(bus: &dyn TestBus) {
    let (client, _replies) = client(bus).await;
    client.append(messages(&["a", "b"])).await.unwrap();
    let consumer = consumer(bus).await;
    let claimed = ids(&read(&*consumer, 9).await);
    let failed = Attempts {
        deliveries: 1,
        failures: 1,
    };
    consumer.release(&claimed[..1], failed, LONG).await.unwrap();
    consumer.release(&[], failed, LONG).await.unwrap();
    let expected = PendingEntry {
        id: claimed[0],
        attempts: failed,
        is_own: true,
    };
    assert_eq!(due(&*consumer, LONG).await, [expected]);
    let again = consumer.claim(&claimed, failed.next(), LONG).await.unwrap();
    assert_eq!(texts(&again), ["a"]);
    let deliveries = due(&*consumer, Duration::ZERO).await;
    assert_eq!(deliveries[0].attempts, failed.next());
}

pub(super) async fn acknowledged_entries_are_removed_and_their_results_cached(bus: &dyn TestBus) {
    let (client, _replies) = client(bus).await;
    client.append(messages(&["a", "b", "c"])).await.unwrap();
    let consumer = consumer(bus).await;
    let claimed = ids(&read(&*consumer, 9).await);
    let result = Some(("of a {n:x}".to_owned(), Bytes::from_static(b"\x00answer")));
    let mut acknowledged = acks(&claimed[..2]);
    acknowledged[0].result = result.clone();
    assert_eq!(
        consumer
            .acknowledge(acknowledged.clone(), LONG)
            .await
            .unwrap(),
        0
    );
    assert_eq!(client.len().await.unwrap(), 1);
    let left = due(&*consumer, Duration::ZERO).await;
    assert_eq!(left.len(), 1);
    // A consumer that does not know of the acknowledgement claims nothing, and restores nothing.
    assert!(
        consumer
            .claim(&claimed[..2], Attempts::new(1), Duration::ZERO)
            .await
            .unwrap()
            .is_empty()
    );
    consumer.extend_claims(&claimed).await.unwrap();
    consumer
        .release(&claimed[..2], Attempts::new(1), LONG)
        .await
        .unwrap();
    assert_eq!(due(&*consumer, Duration::ZERO).await.len(), 1);

    let keys = |keys: &[&str]| keys.iter().map(|&key| key.to_owned()).collect();
    let results = consumer
        .cached_results(keys(&["of b", "of a {n:x}"]))
        .await
        .unwrap();
    assert_eq!(results, [None, result.map(|(_, bytes)| bytes)]);
    assert!(
        consumer
            .cached_results(Vec::new())
            .await
            .unwrap()
            .is_empty()
    );
    // An acknowledgement may be repeated, and a result expires.
    consumer.acknowledge(acknowledged, SHORT).await.unwrap();
    sleep(2 * SHORT).await;
    let results = consumer
        .cached_results(keys(&["of a {n:x}"]))
        .await
        .unwrap();
    assert_eq!(results, [None]);
}

pub(super) async fn backlog_is_counted(bus: &dyn TestBus) {
    let server = server(bus).await;
    let epoch = granted(&*server).await;
    let empty = Backlog {
        inbox: Some(0),
        stored: Some(0),
        oldest: None,
        delayed: Some(0),
        dead_letters: Some(0),
    };
    assert_eq!(server.backlog(epoch).await, Ok(empty));
    let (client, _replies) = client(bus).await;
    client.enqueue(epoch, frames(&["a", "b"])).await.unwrap();
    client.append(messages(&["c", "d", "e"])).await.unwrap();
    let consumer = consumer(bus).await;
    let claimed = read(&*consumer, 1).await;
    let backlog = server.backlog(epoch).await.unwrap();
    let first = claimed[0].id;
    assert_eq!(
        backlog,
        Backlog {
            inbox: Some(2),
            stored: Some(3),
            oldest: Some(first),
            ..empty
        }
    );
    let letter = DeadLetterEntry {
        id: first,
        key: String::new(),
        frame: Bytes::from_static(b"c"),
        retry: None,
        deliveries: 1,
        reason: "test".to_owned(),
    };
    consumer.dead_letter(vec![letter]).await.unwrap();
    let backlog = server.backlog(epoch).await.unwrap();
    assert_eq!((backlog.stored, backlog.dead_letters), (Some(2), Some(1)));
    assert!(backlog.oldest > Some(first));
    let late = server.backlog(Epoch(epoch.0 + 1)).await.unwrap();
    assert_eq!(late.inbox, Some(0));
}

pub(super) async fn dead_letters_are_listed_replayed_and_deleted(bus: &dyn TestBus) {
    let (client, _replies) = client(bus).await;
    client.append(messages(&["a", "b", "c"])).await.unwrap();
    let server = server(bus).await;
    let consumer = consumer(bus).await;
    let mut letters = read(&*consumer, 9)
        .await
        .into_iter()
        .map(|entry| DeadLetterEntry {
            id: entry.id,
            key: entry.key,
            frame: entry.frame,
            retry: entry.options.retry,
            deliveries: 3,
            reason: "no reason".to_owned(),
        });
    let first = letters.by_ref().take(1).collect();
    assert_eq!(consumer.dead_letter(first).await, Ok(0));
    assert_eq!(consumer.dead_letter(letters.collect()).await, Ok(0));
    assert_eq!(client.len().await.unwrap(), 0);
    assert!(due(&*consumer, Duration::ZERO).await.is_empty());

    let letters = server.dead_letters();
    let all = letters.list(EntryId::default(), 9).await.unwrap();
    let frames: Vec<_> = all.iter().map(|letter| letter.frame.clone()).collect();
    assert_eq!(frames, batch(&["a", "b", "c"]));
    assert!(all.iter().all(|letter| is_near(ServerTime(letter.id.0))));
    let facts = (&*all[0].key, all[0].deliveries, &*all[0].reason);
    assert_eq!(facts, ("key of a", 3, "no reason"));
    let page = letters.list(all[0].id, 1).await.unwrap();
    assert_eq!(page, all[1..2]);
    let one = letters.get(all[1].id).await.unwrap();
    assert_eq!(one.as_ref(), Some(&all[1]));
    assert_eq!(letters.get(EntryId(1, 1)).await, Ok(None));

    assert!(letters.delete(all[0].id).await.unwrap());
    assert!(!letters.delete(all[0].id).await.unwrap());
    assert_eq!(letters.replay(all[0].id).await, Ok(None));
    let replayed = letters.replay(all[1].id).await.unwrap();
    assert_eq!(letters.replay(all[1].id).await, Ok(None));
    assert_eq!(letters.list(EntryId::default(), 9).await.unwrap(), all[2..]);
    let read = read(&*consumer, 9).await;
    assert_eq!(texts(&read), ["b"]);
    assert_eq!(replayed, Some(read[0].id));
    assert_eq!(
        due(&*consumer, Duration::ZERO).await[0].attempts,
        Attempts::new(1)
    );
}

pub(super) async fn options_stay_with_an_entry(bus: &dyn TestBus) {
    let (client, _replies) = client(bus).await;
    let options = EntryOptions {
        retry: Some(Backoff::from_secs(1).up_to(60 * LONG)),
        due: None,
        is_repetition: true,
    };
    let mut messages = messages(&["a", "b"]);
    messages[0].options = options;
    client.append(messages).await.unwrap();
    let server = server(bus).await;
    let consumer = consumer(bus).await;
    let all = |entries: &[StreamEntry]| entries.iter().map(|one| one.options).collect::<Vec<_>>();
    let read = read(&*consumer, 9).await;
    let expected = [options, EntryOptions::default()];
    assert_eq!(all(&read), expected);
    let claimed = ids(&read);
    let claimed = consumer
        .claim(&claimed, Attempts::new(2), Duration::ZERO)
        .await;
    assert_eq!(all(&claimed.unwrap()), expected);
    // A dead letter keeps them for its replay.
    let letter = DeadLetterEntry {
        id: read[0].id,
        key: read[0].key.clone(),
        frame: read[0].frame.clone(),
        retry: options.retry,
        deliveries: 3,
        reason: "no reason".to_owned(),
    };
    consumer.dead_letter(vec![letter]).await.unwrap();
    let letters = server.dead_letters();
    let letter = letters.list(EntryId::default(), 9).await.unwrap().remove(0);
    assert_eq!(letter.retry, options.retry);
    assert!(letters.replay(letter.id).await.unwrap().is_some());
    let replayed = consumer.read(9, Duration::ZERO).await.unwrap();
    let replay = EntryOptions {
        is_repetition: false,
        ..options
    };
    assert_eq!(all(&replayed), [replay]);
}

pub(super) async fn delayed_entries_leave_the_stream_until_they_are_due(bus: &dyn TestBus) {
    let (client, _replies) = client(bus).await;
    let retry = Some(Backoff::from_secs(1));
    let at = |millis| Some(ServerTime(millis));
    let mut delayed = messages(&["late", "early", "early too"]);
    for (message, due) in delayed.iter_mut().zip([at(2_000), at(1_000), at(1_000)]) {
        message.options = EntryOptions {
            retry,
            due,
            ..EntryOptions::default()
        };
    }
    client.append(delayed).await.unwrap();
    client.append(messages(&["now"])).await.unwrap();
    let consumer = consumer(bus).await;
    assert_eq!(consumer.next_delayed().await, Ok(None));
    let mut entries = read(&*consumer, 9).await;
    let now = entries.pop().unwrap();
    let again = entries.clone();
    assert_eq!(consumer.delay(entries, 9).await, Ok(true));
    // A move that was interrupted is repeated without a second copy.
    assert_eq!(consumer.delay(again, 9).await, Ok(true));
    assert_eq!(consumer.delay(Vec::new(), 9).await, Ok(true));
    assert_eq!(client.len().await, Ok(1));
    let left = due(&*consumer, Duration::ZERO).await;
    assert_eq!(left.iter().map(|one| one.id).collect::<Vec<_>>(), [now.id]);
    // There is no room for another one, which stays in the stream.
    assert_eq!(consumer.delay(vec![now], 3).await, Ok(false));
    assert_eq!(client.len().await, Ok(1));

    assert_eq!(consumer.next_delayed().await, Ok(at(1_000)));
    assert_eq!(
        consumer.due_delayed(ServerTime(999), 9).await,
        Ok(Vec::new())
    );
    let come = consumer.due_delayed(ServerTime(1_999), 9).await.unwrap();
    assert_eq!(texts(&come), ["early", "early too"]);
    let first = consumer.due_delayed(ServerTime(5_000), 1).await.unwrap();
    assert_eq!(texts(&first), ["early"]);
    consumer.resume_delayed(come).await.unwrap();
    consumer.resume_delayed(Vec::new()).await.unwrap();
    assert_eq!(consumer.next_delayed().await, Ok(at(2_000)));
    let back = read(&*consumer, 9).await;
    assert_eq!(texts(&back), ["early", "early too"]);
    let expected = EntryOptions {
        retry,
        ..EntryOptions::default()
    };
    assert!(back.iter().all(|entry| entry.options == expected));
    assert_eq!(due(&*consumer, Duration::ZERO).await.len(), 3);
    // Another consumer finds the rest.
    let next = self::consumer(bus).await;
    let rest = next.due_delayed(ServerTime(2_000), 9).await.unwrap();
    assert_eq!(texts(&rest), ["late"]);
}

pub(super) async fn nodes_have_separate_streams(bus: &dyn TestBus) {
    let (client, _replies) = client(bus).await;
    client.append(messages(&["a"])).await.unwrap();
    for other in [bus.config().node("other"), bus.config().namespace("other")] {
        let server = open_server(&other, &Arc::default()).await.unwrap();
        let consumer = server.consumer("").await.unwrap();
        consumer.create_group().await.unwrap();
        assert!(read(&*consumer, 9).await.is_empty());
    }
    assert_eq!(texts(&read(&*consumer(bus).await, 9).await), ["a"]);
}

pub(super) async fn entries_are_acknowledged_after_reading_has_stopped(bus: &dyn TestBus) {
    let (client, _replies) = client(bus).await;
    let server = server(bus).await;
    client.append(messages(&["a"])).await.unwrap();
    let consumer = server.consumer("").await.unwrap();
    consumer.create_group().await.unwrap();
    let entries = read(&*consumer, 9).await;
    let start = Instant::now();
    let stop = async {
        sleep(SHORT).await;
        consumer.stop_reading().await;
    };
    let (read, ()) = tokio::join!(consumer.read(9, LONG), stop);
    assert!(read.is_err() && start.elapsed() < LONG / 2, "{read:?}");
    let read = consumer.read(9, LONG).await;
    assert!(matches!(read, Err(TransportError::NotDone(_))), "{read:?}");
    consumer
        .acknowledge(acks(&ids(&entries)), LONG)
        .await
        .unwrap();
    assert_eq!(client.len().await.unwrap(), 0);
}
