use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::bus::durable::result_cache::Fingerprint;
use crate::envelope::Attributes;
use crate::reply::remote::Origin;

fn message(number: u64, urn: &str) -> ReceivedMessage {
    ReceivedMessage {
        id: EntryId(number, 0),
        key: number.to_string(),
        frame: Bytes::from_static(&[0; 100]),
        retry: None,
        is_repetition: false,
        attempts: Attempts::new(1),
        urn: urn.to_owned(),
        name: String::new(),
        contents: Bytes::new(),
        attributes: Attributes::new(),
        is_left_out: false,
        origin: crate::reply::remote::Origin::default(),
        dedup_key: format!("{urn} {number}"),
        fingerprint: Fingerprint::of(b""),
        caller: None,
    }
}

fn ticket(admission: Admission) -> DeliveryTicket {
    match admission {
        Admission::Prefetched(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

/// Admits messages from the stream until one is deferred, and returns the number of the others.
fn fill(prefetch: &mut Prefetch, urn: &str, first: u64) -> usize {
    (first..first + 1000)
        .position(|number| {
            prefetch.admit(message(number, urn), EntrySource::Stream) == Admission::Deferred
        })
        .unwrap()
}

fn resumable(prefetch: &mut Prefetch) -> Vec<u64> {
    let resumable = prefetch.resumable();
    for one in &resumable {
        prefetch.resumed(one);
    }
    resumable.iter().map(|one| one.id.0).collect()
}

#[test]
fn slow_actors_leave_room_for_others() {
    let mut prefetch = Prefetch::default();
    assert_eq!(fill(&mut prefetch, "a", 0), MAX_MESSAGES / 2);
    assert_eq!(fill(&mut prefetch, "b", 1000), MAX_MESSAGES / 4);
    // However many actors are stuck, the next one has a prefetched message.
    for number in 0..2 * MAX_MESSAGES as u64 {
        let urn = format!("c{number}");
        let place = prefetch.admit(message(10_000 + number, &urn), EntrySource::Stream);
        assert!(matches!(place, Admission::Prefetched(_)));
    }
    for number in 0.. {
        let urn = format!("d{number}");
        if prefetch.admit(message(20_000 + number, &urn), EntrySource::Stream)
            == Admission::Deferred
        {
            break;
        }
    }
    assert_eq!(
        prefetch.deliveries.by_ticket.len(),
        MAX_OVERSHOOT * MAX_MESSAGES
    );
}

#[test]
fn large_messages_count_by_their_bytes() {
    let mut prefetch = Prefetch::default();
    let large = |number, urn: &str| ReceivedMessage {
        frame: vec![0; MAX_BYTES / 8].into(),
        ..message(number, urn)
    };
    let prefetched = (0..100).position(|number| {
        prefetch.admit(large(number, "a"), EntrySource::Stream) == Admission::Deferred
    });
    assert_eq!(prefetched, Some(4));
    assert_eq!(fill(&mut prefetch, "b", 1000), (MAX_MESSAGES - 4) / 2);
}

#[test]
fn queue_keeps_its_order_through_deferral() {
    let mut prefetch = Prefetch::default();
    let count = fill(&mut prefetch, "a", 0) as u64;
    // There would be room for a smaller one, but it has to wait for its turn.
    prefetch.admit(message(count + 1, "a"), EntrySource::Stream);
    assert_eq!(prefetch.deferred_count(), 2);
    assert!(prefetch.knows(EntryId(count, 0)));
    assert!(prefetch.resumable().is_empty());
    for number in 0..count {
        let (ticket, delivery) = prefetch.front("a").unwrap();
        assert_eq!(delivery.message.id, EntryId(number, 0));
        prefetch.accepted("a");
        let delivery = prefetch.remove(ticket).unwrap();
        assert!(!prefetch.knows(delivery.message.id));
    }
    assert_eq!(resumable(&mut prefetch), [count, count + 1]);
    prefetch.admit(message(count, "a"), EntrySource::Deferred);
    prefetch.admit(message(count + 1, "a"), EntrySource::Deferred);
    assert_eq!(prefetch.front("a").unwrap().1.message.id, EntryId(count, 0));
    assert!(prefetch.resumable().is_empty());
}

#[test]
fn removed_entry_of_a_deferred_message_leaves_no_queue_behind() {
    let mut prefetch = Prefetch::default();
    let count = fill(&mut prefetch, "a", 0) as u64;
    for ticket in 1..=count {
        prefetch.remove(DeliveryTicket(ticket)).unwrap();
    }
    // The entry is no longer in the stream.
    assert_eq!(resumable(&mut prefetch), [count]);
    assert!(prefetch.resumable().is_empty());
    assert!(
        prefetch.queues.by_urn.is_empty()
            && prefetch.queues.rotation.is_empty()
            && prefetch.queues.waiting.is_empty()
    );
    assert!(
        prefetch.is_empty() && prefetch.deferred_count() == 0 && prefetch.deliveries.bytes == 0
    );
}

#[test]
fn queues_take_turns_when_there_is_room_again() {
    let mut prefetch = Prefetch::default();
    let a = fill(&mut prefetch, "a", 0) as u64;
    let b = fill(&mut prefetch, "b", 1000) as u64;
    for ticket in 1..=a + b {
        prefetch.remove(DeliveryTicket(ticket)).unwrap();
    }
    assert_eq!(resumable(&mut prefetch), [a, 1000 + b]);
}

#[test]
fn duplicate_joins_the_prefetched_message() {
    let (mut prefetch, now) = (Prefetch::default(), Instant::now());
    let caller = |id| {
        Some(Caller {
            origin: Origin {
                id,
                ..Origin::default()
            },
            deadline: now,
        })
    };
    let first = ReceivedMessage {
        caller: caller(1),
        ..message(1, "a")
    };
    let again = ReceivedMessage {
        id: EntryId(2, 0),
        caller: caller(2),
        ..first.clone()
    };
    let first_ticket = ticket(prefetch.admit(first.clone(), EntrySource::Stream));
    assert_eq!(
        prefetch.admit(again, EntrySource::Stream),
        Admission::Duplicate
    );
    assert!(prefetch.knows(EntryId(2, 0)));
    let delivery = prefetch.remove(first_ticket).unwrap();
    assert_eq!(delivery.ids(), [EntryId(1, 0), EntryId(2, 0)]);
    let callers = delivery
        .callers()
        .into_iter()
        .map(|caller| caller.origin.id);
    assert_eq!(callers.collect::<Vec<_>>(), [1, 2]);
    // After the message is removed, its duplicates are admitted.
    assert!(matches!(
        prefetch.admit(first, EntrySource::Stream),
        Admission::Prefetched(_)
    ));
}

#[test]
fn offers_to_a_busy_actor_become_rarer() {
    let (mut prefetch, now) = (Prefetch::default(), Instant::now());
    prefetch.admit(message(1, "a"), EntrySource::Stream);
    prefetch.admit(message(2, "a"), EntrySource::Stream);
    assert_eq!(prefetch.due(now), ["a"]);
    prefetch.refused("a", now);
    let first = prefetch.next_due(now).unwrap();
    assert!(first > now && prefetch.due(now).is_empty() && prefetch.due(first) == ["a"]);
    prefetch.refused("a", first);
    let second = prefetch.next_due(first).unwrap();
    assert!(second - first > first - now);
    prefetch.accepted("a");
    assert_eq!(prefetch.next_due(second), Some(second));
    prefetch.accepted("a");
    assert_eq!(prefetch.next_due(second), None);
    assert!(prefetch.due(second + Duration::from_secs(1)).is_empty());
}

#[test]
fn next_message_is_offered_once_the_actor_has_handled_one() {
    let (mut prefetch, now) = (Prefetch::default(), Instant::now());
    let first = ticket(prefetch.admit(message(1, "a"), EntrySource::Stream));
    prefetch.admit(message(2, "a"), EntrySource::Stream);
    prefetch.accepted("a");
    prefetch.refused("a", now);
    assert!(prefetch.due(now).is_empty());
    prefetch.remove(first).unwrap();
    assert_eq!(prefetch.due(now), ["a"]);
}

#[test]
fn undelivered_messages_are_taken_without_counting_a_delivery() {
    let mut prefetch = Prefetch::default();
    let count = fill(&mut prefetch, "a", 0) as u64;
    prefetch.accepted("a");
    prefetch.accepted("a");
    let mut undelivered = prefetch.take_undelivered();
    undelivered.sort();
    let expected = (2..=count).map(|number| (EntryId(number, 0), Attempts::default()));
    let expected: Vec<_> = expected.collect();
    assert_eq!(undelivered, expected);
    assert!(!prefetch.is_empty() && prefetch.deferred_count() == 0);
    let mut abandoned = prefetch.abandon();
    abandoned.sort();
    let once = Attempts::new(1);
    assert_eq!(abandoned, [(EntryId(0, 0), once), (EntryId(1, 0), once)]);
    assert!(prefetch.is_empty() && prefetch.claimed().next().is_none());
}

#[test]
fn waiting_messages_are_deferred_in_front() {
    let mut prefetch = Prefetch::default();
    let count = fill(&mut prefetch, "a", 0) as u64;
    prefetch.accepted("a");
    prefetch.defer_all_waiting();
    assert!(prefetch.queues.waiting.is_empty() && prefetch.deliveries.by_ticket.len() == 1);
    assert_eq!(prefetch.deferred_count() as u64, count);
    let resumed = resumable(&mut prefetch);
    assert_eq!(resumed, (1..count).collect::<Vec<_>>());
}

#[test]
fn messages_that_cannot_be_claimed_stay_in_front() {
    let mut prefetch = Prefetch::default();
    let count = fill(&mut prefetch, "a", 0) as u64;
    for number in count + 1..count + 4 {
        prefetch.admit(message(number, "a"), EntrySource::Stream);
    }
    (1..=count).for_each(|ticket| drop(prefetch.remove(DeliveryTicket(ticket))));
    let first = prefetch.resumable();
    assert_eq!(first.len(), 4);
    // The claim has failed: messages that come now are deferred behind.
    let later = message(count + 4, "a");
    assert_eq!(
        prefetch.admit(later, EntrySource::Stream),
        Admission::Deferred
    );
    assert_eq!(prefetch.resumable()[..4], first);
    // Two of them were claimed.
    for one in &first[..2] {
        prefetch.resumed(one);
        prefetch.admit(message(one.id.0, "a"), EntrySource::Deferred);
    }
    let rest: Vec<_> = prefetch.resumable().iter().map(|one| one.id.0).collect();
    assert_eq!(rest, [count + 2, count + 3, count + 4]);
    assert_eq!(prefetch.deferred_count(), 3);
}

#[test]
fn deferral_does_not_count_as_a_delivery() {
    let mut prefetch = Prefetch::default();
    prefetch.admit(message(1, "a"), EntrySource::Stream);
    for _ in 0..5 {
        prefetch.defer_all_waiting();
        let one = prefetch.resumable().remove(0);
        assert_eq!(one.attempts, Attempts::default());
        prefetch.resumed(&one);
        let again = ReceivedMessage {
            attempts: one.attempts.next(),
            ..message(1, "a")
        };
        prefetch.admit(again, EntrySource::Deferred);
    }
    assert_eq!(
        prefetch.take_undelivered(),
        [(EntryId(1, 0), Attempts::default())]
    );
}

#[test]
fn deferred_duplicate_awaits_its_redelivery() {
    let mut prefetch = Prefetch::default();
    let first_ticket = ticket(prefetch.admit(message(1, "a"), EntrySource::Stream));
    let again = ReceivedMessage {
        id: EntryId(2, 0),
        ..message(1, "a")
    };
    prefetch.admit(again, EntrySource::Stream);
    // The duplicate is not deferred with the first.
    prefetch.defer_again(&[first_ticket]);
    assert!(!prefetch.knows(EntryId(2, 0)));
    assert_eq!(
        prefetch.redeliveries.attempts(EntryId(2, 0)),
        Some(Attempts::default())
    );
    assert_eq!(
        (prefetch.known_count(), prefetch.redeliveries.len()),
        (1, 1)
    );
    let again = message(2, "a");
    prefetch.admit(again, EntrySource::Stream);
    assert_eq!(prefetch.redeliveries.attempts(EntryId(2, 0)), None);
}

#[test]
fn isolated_message_waits_in_no_queue() {
    let mut prefetch = Prefetch::default();
    let first = ticket(prefetch.admit(message(1, "a"), EntrySource::Stream));
    let isolated = ticket(prefetch.admit(message(2, "a"), EntrySource::Isolated));
    assert_eq!(prefetch.with_actors(), HashSet::from([isolated]));
    assert!(prefetch.has_waiting() && prefetch.has_key("a 2") && !prefetch.has_key("a 3"));
    assert_eq!(prefetch.front("a").map(|(ticket, _)| ticket), Some(first));
    prefetch.accepted("a");
    assert_eq!(prefetch.with_actors(), HashSet::from([first, isolated]));
    assert!(!prefetch.has_waiting());
    assert_eq!(prefetch.remove(isolated).unwrap().message.id, EntryId(2, 0));
    assert!(prefetch.get(isolated).is_none() && prefetch.get(first).is_some());
}

#[test]
fn message_with_other_contents_conflicts() {
    let mut prefetch = Prefetch::default();
    let first_ticket = ticket(prefetch.admit(message(1, "a"), EntrySource::Stream));
    let other = ReceivedMessage {
        id: EntryId(2, 0),
        fingerprint: Fingerprint::of(b"other"),
        ..message(1, "a")
    };
    let admission = prefetch.admit(other.clone(), EntrySource::Stream);
    assert_eq!(admission, Admission::Conflict(Box::new(other)));
    assert!(!prefetch.knows(EntryId(2, 0)));
    assert!(prefetch.remove(first_ticket).unwrap().duplicates.is_empty());
}
