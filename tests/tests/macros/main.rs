//! Expansions of the macros, on a real system.

use std::collections::HashMap;
use std::error::Error;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use conclib::SpawnError;
use conclib::actor::{Handler, Handlers};
use conclib::prelude::*;
use conclib::schedule::{First, Missed};
use conclib::system::LookupError;

type TestResult = Result<(), Box<dyn Error>>;

mod forms;
mod generics;
mod hooks;
mod hygiene;
mod periodic;
mod raw;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = usize)]
struct Len;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[message(response = u32)]
struct Double {
    n: u32,
}

#[derive(ActorMessage, Serialize, Deserialize, Debug)]
struct Note(String);

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = Vec<String>, name = "log.Notes")]
struct Notes;

#[derive(ActorMessage)]
#[message(local, response = std::thread::ThreadId)]
struct Where;

#[test]
fn message_has_a_name_and_a_codec() -> TestResult {
    assert_eq!(Double::NAME, "Double");
    assert_eq!(Notes::NAME, "log.Notes");
    assert!(Where::WIRE.is_none());

    let codec = Double::WIRE.ok_or("no codec")?;
    let written = codec.encode(&Double { n: 7 })?;
    assert_eq!(codec.decode(&written)?, Double { n: 7 });
    let response = codec.encode_response(&14)?;
    assert_eq!(codec.decode_response(&response)?, 14);
    Ok(())
}

#[derive(ActorMessage, Serialize, Deserialize)]
enum r#Move {
    Left,
    Right(u8),
}

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = Option<T>)]
struct Batch<T, const N: usize = 2>
where
    T: Default,
{
    items: Vec<T>,
}

#[derive(ActorMessage)]
#[message(local)]
struct Run<F: FnOnce() + Send + 'static>(F);

#[test]
fn enums_and_generic_types_are_messages() {
    fn is_local<M: ActorMessage>(_: &M) -> bool {
        M::WIRE.is_none()
    }

    assert_eq!(r#Move::NAME, "Move");
    assert_eq!(Batch::<u8>::NAME, "Batch");
    assert!(Batch::<String, 3>::WIRE.is_some());
    assert!(is_local(&Run(|| {})));
    drop((
        r#Move::Left,
        r#Move::Right(1),
        Batch::<u8> { items: vec![] }.items,
    ));
}
