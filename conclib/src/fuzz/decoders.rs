//! Fuzz targets for frames and messages.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::bus::inspect::message::{
    self as inspect, Action, ActionRequest, ActorPage, ActorsQuery, Cursor, Refusal, SchemaPage,
    SchemasQuery, TreeQuery, VERSION, Versioned, read_query,
};
use crate::bus::keys::Keys;
use crate::bus::protocol::{Answer, Kind, Received, Request, decode_reply, encode_reply};
use crate::bus::transport::fleet::{MAX_SHARED, MemberProfile, MemberState};
use crate::bus::transport::{Epoch, LeaseRecord, ServerTime};
use crate::envelope::Attributes;
use crate::error::AskError;
use crate::fuzz::target;
use crate::message::{decode, encode, read};
use crate::reply::remote::{ClientId, Origin};
use crate::urn::Urn;

/// Requests of every kind, small and large.
pub(super) fn requests() -> Vec<Vec<u8>> {
    let many = (0..Attributes::MAX_LEN).map(|n| (n.to_string(), "x".repeat(200)));
    let few = [("trace".to_owned(), "ä".to_owned())];
    let contents = encode(&Rich::example()).unwrap_or_default();
    let mut frames = Vec::new();
    for attributes in [Attributes::new(), few.into(), many.collect()] {
        for kind in [Kind::Ask, Kind::Tell, Kind::Cancel, Kind::Wake] {
            let request = Request {
                kind,
                origin: Origin {
                    client: ClientId([7; 16]),
                    id: 1 << 40,
                },
                urn: "rich",
                message: "Rich",
                deadline: ServerTime(u64::MAX),
                attributes: &attributes,
                is_direct: kind == Kind::Ask,
                is_left_out: kind == Kind::Tell,
            };
            frames.push(request.encode(contents.clone()).to_vec());
        }
    }
    frames
}

/// Replies with every kind of answer.
pub(super) fn replies() -> Vec<Vec<u8>> {
    let urn = Urn::unchecked("rich");
    let errors = [
        AskError::NoResponder,
        AskError::ActorNotFound { urn: urn.clone() },
        AskError::ActorFailed { urn: urn.clone() },
        AskError::Unhandled {
            urn: urn.clone(),
            message: "Rich".to_owned(),
        },
        AskError::Overloaded {
            retry_after: Duration::from_millis(50),
        },
        AskError::AskCycle {
            chain: vec![urn.clone(), urn],
        },
        AskError::BadRequest {
            reason: "why".to_owned(),
        },
        AskError::KeyReused {
            key: "key".to_owned(),
        },
        AskError::TooLarge { size: 5, limit: 4 },
    ];
    let mut answers = vec![Answer::new(1 << 40, Ok(vec![7; 40]))];
    answers.extend(
        (1..)
            .zip(errors)
            .map(|(id, error)| Answer::new(id, Err(error))),
    );
    let one_by_one = answers
        .iter()
        .cloned()
        .map(|one| encode_reply(Epoch(3), vec![one]));
    let mut frames: Vec<_> = one_by_one.collect();
    frames.push(encode_reply(Epoch(u64::MAX), answers));
    frames
        .into_iter()
        .map(|frame| frame.into_bytes().to_vec())
        .collect()
}

/// A message with values of every kind.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub(super) struct Rich {
    pub(super) number: u32,
    signed: i64,
    real: f64,
    text: String,
    bytes: serde_bytes::ByteBuf,
    maybe: Option<Box<Rich>>,
    list: Vec<Rich>,
    map: BTreeMap<String, Vec<u64>>,
    choice: Vec<Choice>,
    tuple: (u8, char, bool),
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
enum Choice {
    Nothing,
    One(i8),
    Named { x: u16, y: Option<u16> },
}

impl Rich {
    pub(super) fn example() -> Self {
        let leaf = Self {
            number: 21,
            signed: i64::MIN,
            real: 0.5,
            text: "grüße".to_owned(),
            bytes: vec![1; 300].into(),
            maybe: None,
            list: Vec::new(),
            map: BTreeMap::from([("a".to_owned(), vec![u64::MAX; 20])]),
            choice: vec![
                Choice::Nothing,
                Choice::One(-3),
                Choice::Named { x: 7, y: None },
            ],
            tuple: (1, 'ä', true),
        };
        Self {
            maybe: Some(Box::new(leaf.clone())),
            list: vec![leaf.clone(); 3],
            ..leaf
        }
    }
}

target!(malformed_requests, requests(), |bytes: Vec<u8>| {
    let frame = Bytes::from(bytes);
    match Received::decode(&frame) {
        Ok(request) => {
            assert!(request.urn.len() <= Urn::MAX_LEN && request.message.len() <= 255);
            assert!(request.attributes.len() <= Attributes::MAX_LEN);
            let texts = request.attributes.iter();
            let bytes: usize = texts.map(|(name, value)| name.len() + value.len()).sum();
            assert!(bytes <= Attributes::MAX_BYTES);
            assert!(request.contents.len() <= frame.len());
        }
        Err(unreadable) => assert!(unreadable.as_ask_error().to_string().len() < 1000),
    }
});

target!(malformed_replies, replies(), |bytes: Vec<u8>| {
    let frame = Bytes::from(bytes);
    match decode_reply(&frame) {
        Ok((_, answers)) => {
            assert!(answers.len() <= frame.len());
            for answer in answers {
                if let Err(error) = answer.outcome {
                    // A chain may have 64 texts of up to 512 bytes.
                    assert!(error.to_string().len() < 64 * 600);
                }
            }
        }
        Err(problem) => assert!(problem.to_string().len() < 1000),
    }
});

/// Inspections and actions of a version.
fn inspections() -> Vec<Vec<u8>> {
    let urn = Urn::unchecked("rich");
    let action = ActionRequest {
        action: Action::SetLogFilter {
            filter: "debug".to_owned(),
            duration: Duration::from_secs(5),
        },
        operator: "ann".to_owned(),
        reason: "why".to_owned(),
    };
    let filtered = ActorsQuery::new()
        .urn("a*b?")
        .min_age(Duration::from_millis(1_500))
        .after(Cursor {
            list: 7,
            offset: 1 << 40,
        });
    let version = VERSION;
    let encoded = [
        encode(&Versioned {
            version,
            query: &filtered,
        }),
        encode(&Versioned {
            version,
            query: &TreeQuery::new().root(urn.clone()),
        }),
        encode(&Versioned {
            version,
            query: &action,
        }),
        encode(&inspect::Inspected::<ActorPage>::Refused(
            Refusal::NoSuchActor { urn, failed: None },
        )),
        encode(&inspect::Inspected::Ok(ActorPage::default())),
        encode(&inspect::Inspected::Ok(SchemaPage::default())),
    ];
    encoded.into_iter().flatten().collect()
}

target!(malformed_inspections, inspections(), |bytes: Vec<u8>| {
    if let Ok(query) = read_query::<ActorsQuery>(&bytes) {
        assert!(encode(&query).is_ok());
        if query.filter.check().is_ok() {
            let _ = query.filter.selects_urn("rich/ä/aab");
        }
    }
    drop(read_query::<TreeQuery>(&bytes));
    drop(read_query::<ActionRequest>(&bytes));
    drop(read_query::<SchemasQuery>(&bytes));
    drop(decode::<inspect::Inspected<ActorPage>>(&bytes));
    drop(decode::<inspect::Inspected<SchemaPage>>(&bytes));
});

target!(
    malformed_leases,
    vec![
        rmp_serde::to_vec(&(1_u64 << 50, (1, 3), (4_u64 << 20,))).unwrap_or_default(),
        rmp_serde::to_vec(&(5_u64, (1, 3, "x"), (1000, 5), [1, 2], "y")).unwrap_or_default(),
    ],
    |bytes: Vec<u8>| {
        if let Ok(lease) = LeaseRecord::decode(&bytes) {
            drop(lease.check_version());
        }
    }
);

target!(
    malformed_members,
    [0, 1, 300]
        .map(|shared| {
            let names = (0..shared).map(|number| Urn::unchecked(&format!("user/{number}")));
            let profile = MemberProfile {
                node: "m-0123456789ab".to_owned(),
                process: [1, 2, 3, 253, 254, 255],
                state: MemberState::Serving,
                shared: names.collect(),
            };
            profile.encode().to_vec()
        })
        .to_vec(),
    |bytes: Vec<u8>| {
        match MemberProfile::decode(&bytes) {
            Ok(profile) => {
                assert!(Keys::is_name(&profile.node) && profile.shared.len() <= MAX_SHARED);
                assert_eq!(MemberProfile::decode(&profile.encode()), Ok(profile));
            }
            Err(problem) => assert!(problem.to_string().len() < 1000),
        }
    }
);

target!(
    malformed_messages,
    vec![
        encode(&Rich::example()).unwrap_or_default(),
        rmp_serde::to_vec(&Rich::example()).unwrap_or_default(),
        encode(&vec![vec![0_u32; 20]; 20]).unwrap_or_default(),
    ],
    |bytes: Vec<u8>| {
        if let Ok(message) = decode::<Rich>(&bytes) {
            let again = encode(&message).expect("what was read can be written");
            assert!(decode::<Rich>(&again).is_ok());
        }
        drop(decode::<Vec<Vec<u32>>>(&bytes));
        // The check of lengths refuses no valid input.
        if read::<IgnoredAny>(&bytes).is_ok() {
            assert!(decode::<IgnoredAny>(&bytes).is_ok(), "{bytes:02x?}");
        }
    }
);
