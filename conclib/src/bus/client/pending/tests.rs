use std::iter;

use super::*;
use crate::bus::protocol::ReceivedRefusal;

const EPOCH: Epoch = Epoch(7);

/// A batch of those requests, with their ids as frames, behind a cancel.
fn batch(ids: &[u64]) -> Batch {
    let frame = |id: &u64| Frame::from(Bytes::copy_from_slice(&id.to_be_bytes()));
    let frames = iter::once(Frame::default()).chain(ids.iter().map(frame));
    Batch {
        ids: ids.to_vec(),
        frames: frames.collect(),
    }
}

#[test]
fn ended_requests_are_not_sent() {
    let mut pending = PendingRequests::new(0);
    for _ in 0..4 {
        let id = pending.reserve_id(1).unwrap();
        drop(pending.insert(id, None, (Frame::default(), 1), Kind::Ask));
    }
    let mut given = batch(&[0, 1, 2, 3]);
    pending.give(&mut given, EPOCH, 0);
    assert_eq!(given.frames, batch(&[0, 1, 2, 3]).frames);
    drop(pending.end_all(&[1, 3]));
    pending.give(&mut given, EPOCH, 0);
    assert_eq!(given.ids, [0, 2]);
    assert_eq!(given.frames, batch(&[0, 2]).frames);
}

#[tokio::test]
async fn tell_ends_when_accepted_and_ask_when_replied() {
    let mut pending = PendingRequests::new(u64::MAX); // ids wrap around
    let (ask, tell) = (
        pending.reserve_id(1).unwrap(),
        pending.reserve_id(1).unwrap(),
    );
    let asked = pending.insert(ask, None, (Frame::default(), 1), Kind::Ask);
    let told = pending.insert(tell, None, (Frame::default(), 1), Kind::Tell);
    pending.give(&mut batch(&[ask, tell]), EPOCH, 0);
    for reply in pending.accepted(&[ask, tell]) {
        reply.send(Bytes::new());
    }
    assert_eq!(told.await, Ok(Bytes::new()));
    assert_eq!(pending.len(), 1);
    assert!(
        pending
            .answered(vec![(ask, ())], Epoch(6), 0, |()| None)
            .ended
            .is_empty()
    );
    let answers = vec![(ask, Bytes::from_static(b"x")), (tell, Bytes::new())];
    let mut answered = pending.answered(answers, EPOCH, 0, |_| None).ended;
    let Answered { reply, answer, .. } = answered.pop().unwrap();
    assert!(answered.is_empty());
    reply.send(answer);
    assert_eq!(asked.await, Ok(Bytes::from_static(b"x")));
    assert!(pending.end(ask).is_none());
}

#[test]
fn progress_of_a_request_is_known() {
    let mut pending = PendingRequests::new(0);
    let enter = |pending: &mut PendingRequests| {
        let id = pending.reserve_id(1).unwrap();
        drop(pending.insert(id, None, (Frame::default(), 1), Kind::Ask));
        id
    };
    let (a, b, c) = (
        enter(&mut pending),
        enter(&mut pending),
        enter(&mut pending),
    );
    pending.give(&mut batch(&[b, c]), EPOCH, 0);
    assert!(pending.accepted(&[c]).is_empty());
    assert_eq!(pending.give_up(a), Some(Delivered::No));
    assert_eq!(pending.give_up(b), Some(Delivered::Unknown));
    assert_eq!(pending.give_up(c), Some(Delivered::Accepted));
    assert_eq!(pending.give_up(c), None);
    let d = pending.reserve_id(1).unwrap();
    drop(pending.insert_durable(d, (Frame::default(), 1), Kind::Ask));
    pending.durable_sent(&[d]);
    assert!(!pending.is_stored(d) && pending.accepted(&[d]).is_empty());
    assert!(pending.is_stored(d));
    assert_eq!(pending.give_up(d), Some(Delivered::Stored));
}

#[tokio::test]
async fn durable_request_is_answered_in_any_epoch() {
    let mut pending = PendingRequests::new(0);
    let id = pending.reserve_id(1).unwrap();
    let asked = pending.insert_durable(id, (Bytes::from_static(b"f").into(), 1), Kind::Ask);
    pending.durable_sent(&[id]);
    pending.durable_not_stored(&[id]);
    pending.durable_sent(&[id]);
    assert!(pending.frame(id).is_some());
    assert!(pending.accepted(&[id]).is_empty());
    let answers = vec![(id, Bytes::from_static(b"x"))];
    let answered = pending
        .answered(answers, EPOCH, 0, |_| None)
        .ended
        .pop()
        .unwrap();
    answered.reply.send(answered.answer);
    assert_eq!(asked.await, Ok(Bytes::from_static(b"x")));

    let id = pending.reserve_id(1).unwrap();
    drop(pending.insert_durable(id, (Frame::default(), 1), Kind::Ask));
    pending.durable_sent(&[id]);
    pending.durable_not_stored(&[id]);
    assert_eq!(pending.give_up(id), Some(Delivered::No));
}

#[test]
fn copies_of_a_request_are_known() {
    /// The outcome of a refusal.
    #[derive(Debug, PartialEq, Eq)]
    enum Ended {
        Certain,
        MayBeCopy,
        /// It is looked at again.
        Pending,
    }
    use Ended::{Certain, MayBeCopy, Pending};
    let gives = [
        (vec![(7, 0)], 0, [Pending, Certain]),
        (vec![(7, 0)], 1, [MayBeCopy, Certain]), // the bus may have been set back
        (vec![(7, 0), (7, 1)], 1, [MayBeCopy, MayBeCopy]),
        (vec![(6, 0), (7, 1)], 1, [Pending, Certain]), // the first one went to an inbox that is read no more
        (vec![(7, 2)], 2, [Pending, Certain]),
    ];
    let gives = gives
        .into_iter()
        .flat_map(|(given, losses, [alone, of_all])| {
            let cases = [(false, alone), (true, of_all)].into_iter();
            cases.map(move |(is_of_all_copies, expected)| {
                (given.clone(), losses, is_of_all_copies, expected)
            })
        });
    for (given, losses, is_of_all_copies, expected) in gives {
        let mut pending = PendingRequests::new(0);
        let id = pending.reserve_id(1).unwrap();
        drop(pending.insert(id, None, (Frame::default(), 1), Kind::Ask));
        for &(epoch, losses) in &given {
            pending.give(&mut batch(&[id]), Epoch(epoch), losses);
        }
        assert!(pending.accepted(&[id]).is_empty());
        let answers = pending.answered(vec![(id, ())], Epoch(7), losses, |()| {
            Some(ReceivedRefusal {
                error: &AskError::NoResponder,
                is_of_all_copies,
            })
        });
        let ended = match &answers.ended[..] {
            [Answered { may_be_copy, .. }] if *may_be_copy => MayBeCopy,
            [_] => Certain,
            _ => Pending,
        };
        assert_eq!(ended, expected, "{given:?}");
        assert_eq!(answers.refused.len(), usize::from(ended == Pending));
    }
}

#[test]
fn number_and_size_are_bounded() {
    let mut pending = PendingRequests::new(0);
    let id = pending.reserve_id(MAX_BYTES).unwrap();
    drop(pending.insert(id, None, (Frame::default(), MAX_BYTES), Kind::Ask));
    assert!(matches!(
        pending.reserve_id(1),
        Err(AskError::Overloaded { .. })
    ));
    pending.give_up(id);
    // A single request may be larger than the limit.
    assert!(pending.reserve_id(MAX_BYTES + 1).is_ok());
    for _ in 0..MAX_REQUESTS {
        let id = pending.reserve_id(1).unwrap();
        drop(pending.insert(id, None, (Frame::default(), 1), Kind::Ask));
    }
    assert!(matches!(
        pending.reserve_id(1),
        Err(AskError::Overloaded { .. })
    ));
    assert_eq!(pending.close().len(), MAX_REQUESTS);
    assert_eq!(pending.reserve_id(1), Err(AskError::Closed));
}
