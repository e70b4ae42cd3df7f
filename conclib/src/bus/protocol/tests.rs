use std::time::Duration;

use super::*;
use crate::bus::transport::{Epoch, LeaseHolder, LeaseRecord};

fn request(attributes: &Attributes) -> Request<'_> {
    Request {
        kind: Kind::Ask,
        origin: Origin {
            client: ClientId([7; 16]),
            id: u64::MAX,
        },
        urn: "user/42",
        message: "Double",
        deadline: ServerTime(1_900_000_000_000),
        attributes,
        is_direct: false,
        is_left_out: false,
    }
}

#[test]
fn request_survives_encoding() {
    let attributes = Attributes::from([("trace".to_owned(), "abc".to_owned())]);
    let frame = request(&attributes).encode(vec![0, 255, 1]);
    let received = Received::decode(&frame).unwrap();
    assert_eq!(received.kind, Kind::Ask);
    assert_eq!(
        received.origin,
        Origin {
            client: ClientId([7; 16]),
            id: u64::MAX
        }
    );
    assert_eq!((received.urn, received.message), ("user/42", "Double"));
    assert_eq!(received.deadline, ServerTime(1_900_000_000_000));
    assert_eq!(received.attributes, attributes);
    assert_eq!(&*received.contents, [0, 255, 1]);
}

#[test]
fn only_the_deadline_of_a_frame_is_replaced() {
    let attributes = Attributes::from([("trace".to_owned(), "abc".to_owned())]);
    let dated = Request::with_deadline(request(&attributes).encode(vec![1, 2]), ServerTime(7));
    let expected = Request {
        deadline: ServerTime(7),
        ..request(&attributes)
    };
    assert_eq!(dated, expected.encode(vec![1, 2]));
    let unreadable = Bytes::from_static(b"no request");
    assert_eq!(
        Request::with_deadline(unreadable.clone(), ServerTime(7)),
        unreadable
    );
}

#[test]
fn frames_in_shared_memory_are_equal() {
    let attributes = Attributes::new();
    let mut shared = BytesMut::new();
    let sizes = [1, 40, 900, 1024, 2048, 24 * 1024];
    let written: Vec<_> = (0..20)
        .flat_map(|_| sizes)
        .map(|size| {
            let contents = vec![7; size];
            let frame = request(&attributes);
            let in_shared = frame.encode_into(contents.clone(), &mut shared);
            (in_shared.into_bytes(), frame.encode(contents))
        })
        .collect();
    assert!(written.iter().all(|(in_shared, alone)| in_shared == alone));
}

#[test]
fn additional_elements_are_ignored() {
    let longer = pack(&((VERSION, 0_u8, 1_u64), "not this one"));
    assert!(Received::decode(&longer).is_err());
    let longer = pack(&(
        VERSION,
        1_u8,
        9_u64,
        serde_bytes::Bytes::new(&[1; 16]),
        "urn",
        "Message",
        5_u64,
        Attributes::new(),
        serde_bytes::Bytes::new(&[1, 2]),
        "from the future",
        vec![Some(1), None],
    ));
    let received = Received::decode(&longer).unwrap();
    assert_eq!((received.kind, received.origin.id), (Kind::Tell, 9));
    assert_eq!(&*received.contents, [1, 2]);
}

#[test]
fn request_says_whether_it_is_for_one_node_and_left_out_of_traces() {
    let attributes = Attributes::new();
    let request = request(&attributes);
    let of = |[is_direct, is_left_out]: [bool; 2]| {
        let frame = Request {
            is_direct,
            is_left_out,
            ..request.clone()
        };
        frame.encode(vec![0xc3; 5_000])
    };
    let shortest = of([false, false]).len();
    for (flags, more) in [
        ([false, false], 0),
        ([true, false], 1),
        ([false, true], 2),
        ([true, true], 2),
    ] {
        let frame = of(flags);
        assert_eq!(frame.len(), shortest + more);
        let again = Request::with_id(frame.clone().into(), 7).into_bytes();
        let later = Request::with_deadline(frame.clone(), ServerTime(9));
        for frame in [frame, again, later] {
            let read = Received::decode(&frame).unwrap();
            assert_eq!(read.contents.len(), 5_000);
            assert_eq!([read.is_direct, read.is_left_out], flags);
        }
    }
}

#[test]
fn sender_of_an_unreadable_request_is_known_from_its_head() {
    let head = |version: u8, kind: u8| {
        pack(&(
            version,
            kind,
            3_u64,
            serde_bytes::Bytes::new(&[5; 16]),
            "urn",
            17_u8,
        ))
    };
    let origin = Some(Origin {
        client: ClientId([5; 16]),
        id: 3,
    });
    let future = Received::decode(&head(9, 0)).unwrap_err();
    assert_eq!(
        future,
        Unreadable {
            origin,
            problem: Problem::Version(9)
        }
    );
    assert!(matches!(
        future.as_ask_error(),
        AskError::Incompatible { .. }
    ));
    let unknown = Received::decode(&head(VERSION, 77)).unwrap_err();
    assert_eq!(
        unknown,
        Unreadable {
            origin,
            problem: Problem::Kind(77)
        }
    );
    let malformed = Received::decode(&head(VERSION, 0)).unwrap_err();
    assert_eq!(malformed.origin, origin);
    assert!(matches!(malformed.problem, Problem::Malformed(_)));
}

#[test]
fn no_frame_can_panic_a_reader() {
    let whole = request(&Attributes::new()).encode(vec![1; 40]);
    for cut in 0..whole.len() {
        let unreadable = Received::decode(&whole.slice(..cut)).unwrap_err();
        // Array, version, kind, id and client.
        let head = 1 + 1 + 1 + 9 + 18;
        assert_eq!(unreadable.origin.is_some(), cut >= head, "{cut}");
    }
    for seed in 0..20_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut frame = whole.to_vec();
        for _ in 0..random.usize(1..6) {
            let place = random.usize(..frame.len());
            frame[place] = random.u8(..);
        }
        let frame = Bytes::from(frame);
        drop(Received::decode(&frame));
        drop(decode_reply(&frame));
        drop(LeaseRecord::decode(&frame));
    }
}

#[test]
fn deep_nesting_is_malformed() {
    let whole = request(&Attributes::new()).encode(vec![1; 40]);
    let deep = [0x91; 10_000];
    for beginning in [&[][..], &[0x9a], &whole] {
        let frame = Bytes::from([beginning, &deep].concat());
        drop(Received::decode(&frame));
        drop(decode_reply(&frame));
        drop(LeaseRecord::decode(&frame));
    }
    let ten = Bytes::from([&[0x9a], &whole[1..], &deep[..]].concat());
    let unreadable = Received::decode(&ten).unwrap_err();
    assert!(matches!(unreadable.problem, Problem::Malformed(_)));
}

#[test]
fn lease_may_have_more_elements_but_not_fewer() {
    let lease = LeaseRecord {
        epoch: Epoch(1 << 50),
        versions: (1, 3),
        max_frame: 1000,
        length: Duration::from_secs(6),
        serves: true,
    };
    let more = pack(&(
        lease.epoch.0,
        (1, 3, "x"),
        (1000, 5),
        6000,
        true,
        [1, 2],
        "y",
    ));
    assert_eq!(LeaseRecord::decode(&more), Ok(lease.clone()));
    let other = pack(&(lease.epoch.0, (1, 3), (1000,), "x"));
    assert_eq!(LeaseRecord::decode(&other), Ok(lease.clone()));
    assert!(lease.check_version().is_ok());
    let future = LeaseRecord {
        versions: (2, 3),
        ..lease
    };
    assert!(future.check_version().is_err());
    for less in [
        &pack(&(1, (1, 2)))[..],
        &pack(&(1, (1, 256), (1,), 6000, true)),
        b"",
        b"text",
        &[0x93],
    ] {
        assert!(LeaseRecord::decode(less).is_err(), "{less:?}");
    }
}

#[test]
fn holder_without_an_instance_has_an_empty_one() {
    let holder = |frame: &[u8]| LeaseHolder::decode(frame).map(|(_, instance)| instance);
    let named = pack(&(7, (1, 1), (1000,), 6000, true, "worker-0"));
    assert_eq!(holder(&named).as_deref(), Ok("worker-0"));
    let early = pack(&(7, (1, 1), (1000,)));
    let serving = pack(&(7, (1, 1), (1000,), 6000, true));
    let other = pack(&(7, (1, 1), (1000,), 6000, true, 5));
    for frame in [early, serving, other] {
        assert_eq!(holder(&frame).as_deref(), Ok(""), "{frame:?}");
    }
    assert!(holder(b"text").is_err());
}

#[test]
fn requests_beyond_the_limits_are_refused() {
    let refusal = |urn: &str, message: &str, attributes: &Attributes| {
        let nothing = Attributes::new();
        let frame = Request {
            urn,
            message,
            attributes,
            ..request(&nothing)
        };
        let frame = frame.encode(vec![1]);
        let received = Received::decode(&frame).map(|received| received.attributes);
        // Both ends check the same limits, apart from the URN, which a client checks earlier.
        if urn.len() <= 255 {
            let sent = check_limits(message, attributes);
            assert_eq!(
                sent.err(),
                received.as_ref().err().map(Unreadable::as_ask_error)
            );
        }
        match received {
            Ok(kept) => {
                assert_eq!(kept, *attributes);
                None
            }
            Err(unreadable) => {
                assert!(unreadable.origin.is_some());
                Some(unreadable.as_ask_error().to_string())
            }
        }
    };
    let some = |count: usize, bytes: usize| -> Attributes {
        let name = |number| (format!("{number:04}"), "x".repeat(bytes - 4));
        (0..count).map(name).collect()
    };
    let text = |length: usize| "x".repeat(length);
    let none = Attributes::new();
    assert_eq!(refusal(&text(255), &text(255), &some(64, 256)), None);
    for (refused, why) in [
        (refusal(&text(256), "m", &none), "the URN has 256 bytes"),
        (
            refusal("urn", &text(256), &none),
            "the name of the message has 256 bytes",
        ),
        (
            refusal("urn", "m", &some(65, 5)),
            "65 attributes are more than 64",
        ),
        (refusal("urn", "m", &some(100_000, 5)), "100000 attributes"),
        (
            refusal("urn", "m", &some(64, 257)),
            "16448 bytes are more than the limit of 16384",
        ),
        (
            refusal("urn", "m", &some(1, 4_000_000)),
            "4000000 bytes are more",
        ),
    ] {
        let text = refused.expect(why);
        assert!(text.contains(why), "{text}");
    }
}
