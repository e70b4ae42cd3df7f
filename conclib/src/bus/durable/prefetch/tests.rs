use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::bus::durable::result_cache::Fingerprint;
use crate::reply::remote::Origin;

fn message(number: u64, urn: &str) -> Taken {
    Taken {
        id: EntryId(number, 0),
        key: number.to_string(),
        frame: Bytes::from_static(&[0; 100]),
        attempts: Attempts::new(1),
        urn: urn.to_owned(),
        scope: format!("{urn} {number}"),
        fingerprint: Fingerprint::of(b""),
        asker: None,
    }
}

fn ticket(admitted: Admitted) -> u64 {
    match admitted {
        Admitted::Lane(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

/// Admits from the stream until something is parked; how many were not.
fn fill(hand: &mut Hand, urn: &str, first: u64, now: Instant) -> usize {
    (first..first + 1000)
        .position(|number| {
            hand.admit(message(number, urn), Source::Stream, now) == Admitted::Parked
        })
        .unwrap()
}

fn wanted(hand: &mut Hand) -> Vec<u64> {
    let wanted = hand.wanted();
    for one in &wanted {
        hand.unparked(one);
    }
    wanted.iter().map(|one| one.id.0).collect()
}

#[test]
fn slow_actors_leave_room_for_others() {
    let (mut hand, now) = (Hand::default(), Instant::now());
    assert_eq!(fill(&mut hand, "a", 0, now), MESSAGES / 2);
    assert_eq!(fill(&mut hand, "b", 1000, now), MESSAGES / 4);
    // However many are stuck, the next has its message in hand.
    for number in 0..2 * MESSAGES as u64 {
        let urn = format!("c{number}");
        let place = hand.admit(message(10_000 + number, &urn), Source::Stream, now);
        assert!(matches!(place, Admitted::Lane(_)));
    }
    for number in 0.. {
        let urn = format!("d{number}");
        if hand.admit(message(20_000 + number, &urn), Source::Stream, now) == Admitted::Parked {
            break;
        }
    }
    assert_eq!(hand.cards.len(), PRESSED * MESSAGES);
}

#[test]
fn large_messages_count_by_their_bytes() {
    let (mut hand, now) = (Hand::default(), Instant::now());
    let large = |number, urn: &str| Taken {
        frame: vec![0; BYTES / 8].into(),
        ..message(number, urn)
    };
    let in_hand = (0..100)
        .position(|number| hand.admit(large(number, "a"), Source::Stream, now) == Admitted::Parked);
    assert_eq!(in_hand, Some(4));
    assert_eq!(fill(&mut hand, "b", 1000, now), (MESSAGES - 4) / 2);
}

#[test]
fn a_lane_keeps_its_order_through_parking() {
    let (mut hand, now) = (Hand::default(), Instant::now());
    let count = fill(&mut hand, "a", 0, now) as u64;
    // There would be room for a smaller one, but it has to wait for its turn.
    hand.admit(message(count + 1, "a"), Source::Stream, now);
    assert_eq!(hand.parked(), 2);
    assert!(hand.knows(EntryId(count, 0)));
    assert!(hand.wanted().is_empty());
    for number in 0..count {
        let (ticket, card) = hand.first("a").unwrap();
        assert_eq!(card.message.id, EntryId(number, 0));
        hand.delivered("a");
        let card = hand.settle(ticket).unwrap();
        assert!(hand.knows(card.message.id));
        hand.release(&card.ids());
        assert!(!hand.knows(card.message.id));
    }
    assert_eq!(wanted(&mut hand), [count, count + 1]);
    hand.admit(message(count, "a"), Source::Parked, now);
    hand.admit(message(count + 1, "a"), Source::Parked, now);
    assert_eq!(hand.first("a").unwrap().1.message.id, EntryId(count, 0));
    assert!(hand.wanted().is_empty());
}

#[test]
fn a_message_without_a_parked_copy_leaves_no_lane_behind() {
    let (mut hand, now) = (Hand::default(), Instant::now());
    let count = fill(&mut hand, "a", 0, now) as u64;
    for ticket in 1..=count {
        hand.settle(ticket).unwrap();
    }
    // The bus does not have it any more.
    assert_eq!(wanted(&mut hand), [count]);
    assert!(hand.wanted().is_empty());
    assert!(hand.lanes.is_empty() && hand.parking.is_empty() && hand.waiting.is_empty());
    assert!(hand.is_empty() && hand.parked() == 0 && hand.bytes == 0);
}

#[test]
fn lanes_take_turns_when_there_is_room_again() {
    let (mut hand, now) = (Hand::default(), Instant::now());
    let a = fill(&mut hand, "a", 0, now) as u64;
    let b = fill(&mut hand, "b", 1000, now) as u64;
    for ticket in 1..=a + b {
        hand.settle(ticket).unwrap();
    }
    assert_eq!(wanted(&mut hand), [a, 1000 + b]);
}

#[test]
fn the_same_message_is_in_hand_once() {
    let (mut hand, now) = (Hand::default(), Instant::now());
    let asker = |id| {
        Some(Asker {
            origin: Origin {
                id,
                ..Origin::default()
            },
            deadline: now,
        })
    };
    let first = Taken {
        asker: asker(1),
        ..message(1, "a")
    };
    let again = Taken {
        id: EntryId(2, 0),
        asker: asker(2),
        ..first.clone()
    };
    let number = ticket(hand.admit(first.clone(), Source::Stream, now));
    assert_eq!(hand.admit(again, Source::Stream, now), Admitted::Joined);
    assert!(hand.knows(EntryId(2, 0)));
    let card = hand.settle(number).unwrap();
    assert_eq!(card.ids(), [EntryId(1, 0), EntryId(2, 0)]);
    let askers = card.askers().into_iter().map(|asker| asker.origin.id);
    assert_eq!(askers.collect::<Vec<_>>(), [1, 2]);
    // It is over: the next is a new one.
    assert!(matches!(
        hand.admit(first, Source::Stream, now),
        Admitted::Lane(_)
    ));
}

#[test]
fn an_actor_that_takes_nothing_is_offered_it_more_and_more_rarely() {
    let (mut hand, now) = (Hand::default(), Instant::now());
    hand.admit(message(1, "a"), Source::Stream, now);
    hand.admit(message(2, "a"), Source::Stream, now);
    assert_eq!(hand.due(now), ["a"]);
    hand.refused("a", now);
    let first = hand.next_due(now).unwrap();
    assert!(first > now && hand.due(now).is_empty() && hand.due(first) == ["a"]);
    hand.refused("a", first);
    let second = hand.next_due(first).unwrap();
    assert!(second - first > first - now);
    hand.delivered("a");
    assert_eq!(hand.next_due(second), Some(second));
    hand.delivered("a");
    assert_eq!(hand.next_due(second), None);
    assert!(hand.due(second + Duration::from_secs(1)).is_empty());
}

#[test]
fn an_actor_that_has_handled_one_is_offered_the_next_at_once() {
    let (mut hand, now) = (Hand::default(), Instant::now());
    let first = ticket(hand.admit(message(1, "a"), Source::Stream, now));
    hand.admit(message(2, "a"), Source::Stream, now);
    hand.delivered("a");
    hand.refused("a", now);
    assert!(hand.due(now).is_empty());
    hand.settle(first).unwrap();
    assert_eq!(hand.due(now), ["a"]);
}

#[test]
fn what_no_actor_has_is_given_back_uncounted() {
    let (mut hand, now) = (Hand::default(), Instant::now());
    let count = fill(&mut hand, "a", 0, now) as u64;
    hand.delivered("a");
    hand.delivered("a");
    let mut back = hand.give_back();
    back.sort();
    let expected = (2..=count).map(|number| (EntryId(number, 0), Attempts::default()));
    let expected: Vec<_> = expected.collect();
    assert_eq!(back, expected);
    assert!(!hand.is_empty() && hand.parked() == 0);
    let mut with_actors = hand.abandon();
    with_actors.sort();
    let once = Attempts::new(1);
    assert_eq!(with_actors, [(EntryId(0, 0), once), (EntryId(1, 0), once)]);
    assert!(hand.is_empty() && hand.held().is_empty());
}

#[test]
fn what_waits_is_parked_in_front() {
    let (mut hand, now) = (Hand::default(), Instant::now());
    let count = fill(&mut hand, "a", 0, now) as u64;
    hand.delivered("a");
    hand.park_all_that_waits();
    assert!(hand.waiting.is_empty() && hand.cards.len() == 1);
    assert_eq!(hand.parked() as u64, count);
    let asked_for = wanted(&mut hand);
    assert_eq!(asked_for, (1..count).collect::<Vec<_>>());
}

#[test]
fn what_cannot_be_asked_for_stays_in_front() {
    let (mut hand, now) = (Hand::default(), Instant::now());
    let count = fill(&mut hand, "a", 0, now) as u64;
    for number in count + 1..count + 4 {
        hand.admit(message(number, "a"), Source::Stream, now);
    }
    (1..=count).for_each(|ticket| drop(hand.settle(ticket)));
    let asked = |hand: &mut Hand| hand.wanted();
    let first = asked(&mut hand);
    assert_eq!(first.len(), 4);
    // Nothing has come of it: what comes now lies behind.
    let later = message(count + 4, "a");
    assert_eq!(hand.admit(later, Source::Stream, now), Admitted::Parked);
    assert_eq!(asked(&mut hand)[..4], first);
    // The bus has given two of them out.
    for one in &first[..2] {
        hand.unparked(one);
        hand.admit(message(one.id.0, "a"), Source::Parked, now);
    }
    let rest: Vec<_> = asked(&mut hand).iter().map(|one| one.id.0).collect();
    assert_eq!(rest, [count + 2, count + 3, count + 4]);
    assert_eq!(hand.parked(), 3);
}

#[test]
fn what_no_actor_was_offered_was_not_delivered() {
    let (mut hand, now) = (Hand::default(), Instant::now());
    hand.admit(message(1, "a"), Source::Stream, now);
    for _ in 0..5 {
        hand.park_all_that_waits();
        let one = hand.wanted().remove(0);
        assert_eq!(one.attempts, Attempts::default());
        hand.unparked(&one);
        let again = Taken {
            attempts: one.attempts.next(),
            ..message(1, "a")
        };
        hand.admit(again, Source::Parked, now);
    }
    assert_eq!(hand.give_back(), [(EntryId(1, 0), Attempts::default())]);
}

#[test]
fn what_rests_is_known_by_its_number_until_it_is_taken() {
    let (mut hand, now) = (Hand::default(), Instant::now());
    let number = ticket(hand.admit(message(1, "a"), Source::Stream, now));
    let again = Taken {
        id: EntryId(2, 0),
        ..message(1, "a")
    };
    hand.admit(again, Source::Stream, now);
    // The repetition is not parked with the first.
    hand.park_again(&[number]);
    assert!(!hand.knows(EntryId(2, 0)));
    assert_eq!(hand.rested(EntryId(2, 0)), Some(Attempts::default()));
    assert_eq!((hand.known(), hand.resting()), (1, 1));
    let again = message(2, "a");
    hand.admit(again, Source::Stream, now);
    assert_eq!(hand.rested(EntryId(2, 0)), None);
}

#[test]
fn what_is_delivered_alone_waits_in_no_lane() {
    let (mut hand, now) = (Hand::default(), Instant::now());
    let first = ticket(hand.admit(message(1, "a"), Source::Stream, now));
    let alone = ticket(hand.admit(message(2, "a"), Source::Alone, now));
    assert_eq!(hand.with_actors(), HashSet::from([alone]));
    assert!(hand.has_waiting() && hand.has("a 2") && !hand.has("a 3"));
    assert_eq!(hand.first("a").map(|(ticket, _)| ticket), Some(first));
    hand.delivered("a");
    assert_eq!(hand.with_actors(), HashSet::from([first, alone]));
    assert!(!hand.has_waiting());
    assert_eq!(hand.settle(alone).unwrap().message.id, EntryId(2, 0));
    assert!(hand.card(alone).is_none() && hand.card(first).is_some());
}

#[test]
fn message_with_other_contents_does_not_join() {
    let (mut hand, now) = (Hand::default(), Instant::now());
    let number = ticket(hand.admit(message(1, "a"), Source::Stream, now));
    let other = Taken {
        id: EntryId(2, 0),
        fingerprint: Fingerprint::of(b"other"),
        ..message(1, "a")
    };
    let conflicts = hand.admit(other.clone(), Source::Stream, now);
    assert_eq!(conflicts, Admitted::Conflicts(Box::new(other)));
    // It is not to be taken again before it is removed.
    assert!(hand.knows(EntryId(2, 0)));
    assert!(hand.settle(number).unwrap().joined.is_empty());
}
