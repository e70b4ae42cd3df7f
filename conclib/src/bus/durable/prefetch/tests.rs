use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::bus::durable::result_cache::Fingerprint;
use crate::reply::remote::Origin;

fn message(number: u64, urn: &str) -> ReceivedMessage {
    ReceivedMessage {
        id: EntryId(number, 0),
        key: number.to_string(),
        frame: Bytes::from_static(&[0; 100]),
        attempts: Attempts::new(1),
        urn: urn.to_owned(),
        dedup_key: format!("{urn} {number}"),
        fingerprint: Fingerprint::of(b""),
        caller: None,
    }
}

fn ticket(admitted: Admission) -> u64 {
    match admitted {
        Admission::ActorQueue(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

/// Admits from the stream until something is parked; how many were not.
fn fill(prefetch: &mut Prefetch, urn: &str, first: u64, now: Instant) -> usize {
    (first..first + 1000)
        .position(|number| {
            prefetch.admit(message(number, urn), EntrySource::Stream, now) == Admission::Deferred
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
    let (mut prefetch, now) = (Prefetch::default(), Instant::now());
    assert_eq!(fill(&mut prefetch, "a", 0, now), MESSAGES / 2);
    assert_eq!(fill(&mut prefetch, "b", 1000, now), MESSAGES / 4);
    // However many are stuck, the next has its message in hand.
    for number in 0..2 * MESSAGES as u64 {
        let urn = format!("c{number}");
        let place = prefetch.admit(message(10_000 + number, &urn), EntrySource::Stream, now);
        assert!(matches!(place, Admission::ActorQueue(_)));
    }
    for number in 0.. {
        let urn = format!("d{number}");
        if prefetch.admit(message(20_000 + number, &urn), EntrySource::Stream, now)
            == Admission::Deferred
        {
            break;
        }
    }
    assert_eq!(prefetch.deliveries.len(), PRESSED * MESSAGES);
}

#[test]
fn large_messages_count_by_their_bytes() {
    let (mut prefetch, now) = (Prefetch::default(), Instant::now());
    let large = |number, urn: &str| ReceivedMessage {
        frame: vec![0; BYTES / 8].into(),
        ..message(number, urn)
    };
    let in_hand = (0..100).position(|number| {
        prefetch.admit(large(number, "a"), EntrySource::Stream, now) == Admission::Deferred
    });
    assert_eq!(in_hand, Some(4));
    assert_eq!(fill(&mut prefetch, "b", 1000, now), (MESSAGES - 4) / 2);
}

#[test]
fn a_lane_keeps_its_order_through_parking() {
    let (mut prefetch, now) = (Prefetch::default(), Instant::now());
    let count = fill(&mut prefetch, "a", 0, now) as u64;
    // There would be room for a smaller one, but it has to wait for its turn.
    prefetch.admit(message(count + 1, "a"), EntrySource::Stream, now);
    assert_eq!(prefetch.deferred(), 2);
    assert!(prefetch.knows(EntryId(count, 0)));
    assert!(prefetch.resumable().is_empty());
    for number in 0..count {
        let (ticket, delivery) = prefetch.first("a").unwrap();
        assert_eq!(delivery.message.id, EntryId(number, 0));
        prefetch.delivered("a");
        let delivery = prefetch.settle(ticket).unwrap();
        assert!(prefetch.knows(delivery.message.id));
        prefetch.release(&delivery.ids());
        assert!(!prefetch.knows(delivery.message.id));
    }
    assert_eq!(resumable(&mut prefetch), [count, count + 1]);
    prefetch.admit(message(count, "a"), EntrySource::Deferred, now);
    prefetch.admit(message(count + 1, "a"), EntrySource::Deferred, now);
    assert_eq!(prefetch.first("a").unwrap().1.message.id, EntryId(count, 0));
    assert!(prefetch.resumable().is_empty());
}

#[test]
fn a_message_without_a_parked_copy_leaves_no_lane_behind() {
    let (mut prefetch, now) = (Prefetch::default(), Instant::now());
    let count = fill(&mut prefetch, "a", 0, now) as u64;
    for ticket in 1..=count {
        prefetch.settle(ticket).unwrap();
    }
    // The bus does not have it any more.
    assert_eq!(resumable(&mut prefetch), [count]);
    assert!(prefetch.resumable().is_empty());
    assert!(
        prefetch.queues.is_empty() && prefetch.rotation.is_empty() && prefetch.waiting.is_empty()
    );
    assert!(prefetch.is_empty() && prefetch.deferred() == 0 && prefetch.bytes == 0);
}

#[test]
fn lanes_take_turns_when_there_is_room_again() {
    let (mut prefetch, now) = (Prefetch::default(), Instant::now());
    let a = fill(&mut prefetch, "a", 0, now) as u64;
    let b = fill(&mut prefetch, "b", 1000, now) as u64;
    for ticket in 1..=a + b {
        prefetch.settle(ticket).unwrap();
    }
    assert_eq!(resumable(&mut prefetch), [a, 1000 + b]);
}

#[test]
fn the_same_message_is_in_hand_once() {
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
    let number = ticket(prefetch.admit(first.clone(), EntrySource::Stream, now));
    assert_eq!(
        prefetch.admit(again, EntrySource::Stream, now),
        Admission::Duplicate
    );
    assert!(prefetch.knows(EntryId(2, 0)));
    let delivery = prefetch.settle(number).unwrap();
    assert_eq!(delivery.ids(), [EntryId(1, 0), EntryId(2, 0)]);
    let callers = delivery
        .callers()
        .into_iter()
        .map(|caller| caller.origin.id);
    assert_eq!(callers.collect::<Vec<_>>(), [1, 2]);
    // It is over: the next is a new one.
    assert!(matches!(
        prefetch.admit(first, EntrySource::Stream, now),
        Admission::ActorQueue(_)
    ));
}

#[test]
fn an_actor_that_takes_nothing_is_offered_it_more_and_more_rarely() {
    let (mut prefetch, now) = (Prefetch::default(), Instant::now());
    prefetch.admit(message(1, "a"), EntrySource::Stream, now);
    prefetch.admit(message(2, "a"), EntrySource::Stream, now);
    assert_eq!(prefetch.due(now), ["a"]);
    prefetch.refused("a", now);
    let first = prefetch.next_due(now).unwrap();
    assert!(first > now && prefetch.due(now).is_empty() && prefetch.due(first) == ["a"]);
    prefetch.refused("a", first);
    let second = prefetch.next_due(first).unwrap();
    assert!(second - first > first - now);
    prefetch.delivered("a");
    assert_eq!(prefetch.next_due(second), Some(second));
    prefetch.delivered("a");
    assert_eq!(prefetch.next_due(second), None);
    assert!(prefetch.due(second + Duration::from_secs(1)).is_empty());
}

#[test]
fn an_actor_that_has_handled_one_is_offered_the_next_at_once() {
    let (mut prefetch, now) = (Prefetch::default(), Instant::now());
    let first = ticket(prefetch.admit(message(1, "a"), EntrySource::Stream, now));
    prefetch.admit(message(2, "a"), EntrySource::Stream, now);
    prefetch.delivered("a");
    prefetch.refused("a", now);
    assert!(prefetch.due(now).is_empty());
    prefetch.settle(first).unwrap();
    assert_eq!(prefetch.due(now), ["a"]);
}

#[test]
fn what_no_actor_has_is_given_back_uncounted() {
    let (mut prefetch, now) = (Prefetch::default(), Instant::now());
    let count = fill(&mut prefetch, "a", 0, now) as u64;
    prefetch.delivered("a");
    prefetch.delivered("a");
    let mut back = prefetch.give_back();
    back.sort();
    let expected = (2..=count).map(|number| (EntryId(number, 0), Attempts::default()));
    let expected: Vec<_> = expected.collect();
    assert_eq!(back, expected);
    assert!(!prefetch.is_empty() && prefetch.deferred() == 0);
    let mut in_progress = prefetch.abandon();
    in_progress.sort();
    let once = Attempts::new(1);
    assert_eq!(in_progress, [(EntryId(0, 0), once), (EntryId(1, 0), once)]);
    assert!(prefetch.is_empty() && prefetch.held().is_empty());
}

#[test]
fn what_waits_is_parked_in_front() {
    let (mut prefetch, now) = (Prefetch::default(), Instant::now());
    let count = fill(&mut prefetch, "a", 0, now) as u64;
    prefetch.delivered("a");
    prefetch.defer_all_waiting();
    assert!(prefetch.waiting.is_empty() && prefetch.deliveries.len() == 1);
    assert_eq!(prefetch.deferred() as u64, count);
    let asked_for = resumable(&mut prefetch);
    assert_eq!(asked_for, (1..count).collect::<Vec<_>>());
}

#[test]
fn what_cannot_be_asked_for_stays_in_front() {
    let (mut prefetch, now) = (Prefetch::default(), Instant::now());
    let count = fill(&mut prefetch, "a", 0, now) as u64;
    for number in count + 1..count + 4 {
        prefetch.admit(message(number, "a"), EntrySource::Stream, now);
    }
    (1..=count).for_each(|ticket| drop(prefetch.settle(ticket)));
    let asked = |prefetch: &mut Prefetch| prefetch.resumable();
    let first = asked(&mut prefetch);
    assert_eq!(first.len(), 4);
    // Nothing has come of it: what comes now lies behind.
    let later = message(count + 4, "a");
    assert_eq!(
        prefetch.admit(later, EntrySource::Stream, now),
        Admission::Deferred
    );
    assert_eq!(asked(&mut prefetch)[..4], first);
    // The bus has given two of them out.
    for one in &first[..2] {
        prefetch.resumed(one);
        prefetch.admit(message(one.id.0, "a"), EntrySource::Deferred, now);
    }
    let rest: Vec<_> = asked(&mut prefetch).iter().map(|one| one.id.0).collect();
    assert_eq!(rest, [count + 2, count + 3, count + 4]);
    assert_eq!(prefetch.deferred(), 3);
}

#[test]
fn what_no_actor_was_offered_was_not_delivered() {
    let (mut prefetch, now) = (Prefetch::default(), Instant::now());
    prefetch.admit(message(1, "a"), EntrySource::Stream, now);
    for _ in 0..5 {
        prefetch.defer_all_waiting();
        let one = prefetch.resumable().remove(0);
        assert_eq!(one.attempts, Attempts::default());
        prefetch.resumed(&one);
        let again = ReceivedMessage {
            attempts: one.attempts.next(),
            ..message(1, "a")
        };
        prefetch.admit(again, EntrySource::Deferred, now);
    }
    assert_eq!(prefetch.give_back(), [(EntryId(1, 0), Attempts::default())]);
}

#[test]
fn what_rests_is_known_by_its_number_until_it_is_taken() {
    let (mut prefetch, now) = (Prefetch::default(), Instant::now());
    let number = ticket(prefetch.admit(message(1, "a"), EntrySource::Stream, now));
    let again = ReceivedMessage {
        id: EntryId(2, 0),
        ..message(1, "a")
    };
    prefetch.admit(again, EntrySource::Stream, now);
    // The repetition is not parked with the first.
    prefetch.defer_again(&[number]);
    assert!(!prefetch.knows(EntryId(2, 0)));
    assert_eq!(
        prefetch.redelivery(EntryId(2, 0)),
        Some(Attempts::default())
    );
    assert_eq!((prefetch.known(), prefetch.resting()), (1, 1));
    let again = message(2, "a");
    prefetch.admit(again, EntrySource::Stream, now);
    assert_eq!(prefetch.redelivery(EntryId(2, 0)), None);
}

#[test]
fn what_is_delivered_alone_waits_in_no_lane() {
    let (mut prefetch, now) = (Prefetch::default(), Instant::now());
    let first = ticket(prefetch.admit(message(1, "a"), EntrySource::Stream, now));
    let alone = ticket(prefetch.admit(message(2, "a"), EntrySource::Alone, now));
    assert_eq!(prefetch.in_progress(), HashSet::from([alone]));
    assert!(prefetch.has_waiting() && prefetch.has("a 2") && !prefetch.has("a 3"));
    assert_eq!(prefetch.first("a").map(|(ticket, _)| ticket), Some(first));
    prefetch.delivered("a");
    assert_eq!(prefetch.in_progress(), HashSet::from([first, alone]));
    assert!(!prefetch.has_waiting());
    assert_eq!(prefetch.settle(alone).unwrap().message.id, EntryId(2, 0));
    assert!(prefetch.delivery(alone).is_none() && prefetch.delivery(first).is_some());
}

#[test]
fn message_with_other_contents_does_not_join() {
    let (mut prefetch, now) = (Prefetch::default(), Instant::now());
    let number = ticket(prefetch.admit(message(1, "a"), EntrySource::Stream, now));
    let other = ReceivedMessage {
        id: EntryId(2, 0),
        fingerprint: Fingerprint::of(b"other"),
        ..message(1, "a")
    };
    let conflicts = prefetch.admit(other.clone(), EntrySource::Stream, now);
    assert_eq!(conflicts, Admission::Conflicts(Box::new(other)));
    // It is not to be taken again before it is removed.
    assert!(prefetch.knows(EntryId(2, 0)));
    assert!(prefetch.settle(number).unwrap().duplicates.is_empty());
}
