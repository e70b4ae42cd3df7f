//! Values that cross the bus: some arrive as they were sent, others do not, as the
//! documentation of `RemoteMessage` says.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use conclib::prelude::*;
use conclib::test::{RoundTripError, round_trips};
use serde::Deserializer;
use serde::Serializer;
use serde::de::DeserializeOwned;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Serialized as text in a human-readable format and as 16 bytes in any other, as UUIDs are.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Id(u128);

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(&format_args!("{:032x}", self.0))
        } else {
            serializer.serialize_bytes(&self.0.to_be_bytes())
        }
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            u128::from_str_radix(&text, 16)
                .map(Self)
                .map_err(Error::custom)
        } else {
            let bytes = serde_bytes::ByteArray::<16>::deserialize(deserializer)?;
            Ok(Self(u128::from_be_bytes(*bytes)))
        }
    }
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
struct Peer {
    ip: IpAddr,
    id: Id,
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
struct Flat {
    name: String,
    #[serde(flatten)]
    peer: Peer,
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(tag = "kind")]
enum Tagged {
    Joined(Peer),
    Left { peer: IpAddr },
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(tag = "kind", content = "of")]
enum Adjacent {
    Joined(Peer),
    At(SocketAddr),
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(untagged)]
enum Untagged {
    One(Peer),
    Many(Vec<IpAddr>),
}

#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[message(response = Values)]
struct Values {
    flat: Flat,
    tagged: Vec<Tagged>,
    adjacent: Vec<Adjacent>,
    untagged: Vec<Untagged>,
    by_peer: BTreeMap<IpAddr, u32>,
    wide: (i128, u128),
}

fn values() -> Values {
    let peer = Peer {
        ip: LOCALHOST,
        id: Id(7),
    };
    Values {
        flat: Flat {
            name: "a".to_owned(),
            peer: peer.clone(),
        },
        tagged: vec![
            Tagged::Joined(peer.clone()),
            Tagged::Left { peer: LOCALHOST },
        ],
        adjacent: vec![
            Adjacent::Joined(peer.clone()),
            Adjacent::At((LOCALHOST, 80).into()),
        ],
        untagged: vec![Untagged::One(peer), Untagged::Many(vec![LOCALHOST])],
        by_peer: BTreeMap::from([(LOCALHOST, 1)]),
        wide: (i128::MIN, u128::MAX),
    }
}

#[derive(Actor)]
#[actor(urn = "echo")]
struct Echo {
    seen: u32,
}

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = u32)]
struct Seen;

#[handlers]
impl Echo {
    #[handler]
    fn values(&mut self, message: Values) -> Values {
        self.seen += 1;
        message
    }

    #[handler]
    fn seen(&mut self, _: Seen) -> u32 {
        self.seen
    }
}

#[tokio::test]
async fn types_with_a_text_of_their_own_survive_flatten_and_tagged_enums() {
    let system = ActorSystem::new();
    let config = Config::memory();
    start_proxy(&system, &config).await.unwrap();
    let local = system.spawn(Echo { seen: 0 }).await.unwrap();
    let client = ProxyClient::connect(&config).await.unwrap();
    assert_eq!(local.ask(values()).await, Ok(values()));
    assert_eq!(client.ask("echo", values()).await, Ok(values()));
    assert_eq!(client.ask("echo", Seen).await, Ok(2));
}

#[test]
fn round_trips_accepts_values_that_the_bus_carries() {
    assert_eq!(round_trips(&values()), Ok(()));
}

#[track_caller]
fn changes<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let trip = round_trips(value);
    assert!(
        matches!(trip, Err(RoundTripError::Changed { .. })),
        "{trip:?}"
    );
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
#[serde(untagged)]
enum Alike {
    Number(f64),
    Whole(u32),
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
#[serde(untagged)]
enum WideOrBytes {
    Number(u128),
    Bytes(serde_bytes::ByteBuf),
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Skipped {
    #[serde(skip)]
    secret: u32,
}

/// The table at `RemoteMessage`, line by line.
#[test]
fn documented_values_change_on_the_bus() {
    changes(&Some(None::<u32>));
    changes(&Some(()));
    changes(&Alike::Whole(1));
    changes(&WideOrBytes::Number(1));
    changes(&Skipped { secret: 1 });
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Wide {
    number: u128,
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct FlatWide {
    #[serde(flatten)]
    wide: Wide,
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
#[serde(tag = "kind")]
enum TaggedWide {
    Wide { number: i128 },
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct LeftOut {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    list: Vec<u32>,
}

#[track_caller]
fn cannot_be_read<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let trip = round_trips(value);
    assert!(
        matches!(trip, Err(RoundTripError::Unreadable(_))),
        "{trip:?}"
    );
}

/// The sentence below that table.
#[test]
fn documented_values_fail_on_the_bus() {
    let wide = Wide { number: u128::MAX };
    cannot_be_read(&FlatWide { wide });
    cannot_be_read(&TaggedWide::Wide { number: 1 });
    cannot_be_read(&LeftOut { list: Vec::new() });
    let deep = (0..200).fold(serde_json::Value::Null, |inner, _| {
        serde_json::Value::Array(vec![inner])
    });
    cannot_be_read(&deep);
}
