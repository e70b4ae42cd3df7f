//! Peers of other versions, and floods.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::inspector::Inspector;
use super::message::{ActorPage, MemberStatus, Named, Need, Query, Refusal, StatusQuery};
use super::*;
use crate::bus::open::open_operator;
use crate::bus::protocol::{Kind, Request, decode_reply};
use crate::bus::transport::{Frame, OperatorTransport, ReplySink, Right};
use crate::error::AskErrorKind;
use crate::message::{decode, encode};
use crate::prelude::*;
use crate::reply::remote::{ClientId, Origin};

/// A query of a peer of another version.
macro_rules! strange {
    ($query:ident $name:literal $need:ident -> $answer:ty) => {
        impl Named for $query {
            const NAME: &'static str = $name;
            const NEEDS: Need = Need::$need;
        }

        impl Query for $query {
            type Answer = $answer;
        }
    };
}

#[derive(Serialize, Deserialize)]
struct NewQuery {}
strange!(NewQuery "strange" INSPECT -> ());

#[derive(Serialize, Deserialize)]
struct NewStatus {
    new_field: u32,
}
strange!(NewStatus "status" INSPECT -> MemberStatus);

#[derive(Serialize, Deserialize)]
struct OldActors {}
strange!(OldActors "actors" INSPECT -> ActorPage);

#[derive(Serialize, Deserialize)]
struct WrongActors {
    limit: String,
}
strange!(WrongActors "actors" INSPECT -> ActorPage);

#[derive(Serialize, Deserialize)]
struct NewAction {
    action: String,
    operator: String,
    reason: String,
}
strange!(NewAction "action" ADMIN -> ());

/// An action in the list of inspections.
#[derive(Serialize, Deserialize)]
struct SmuggledAction {}
strange!(SmuggledAction "action" INSPECT -> ());

async fn inspected() -> (ActorSystem, Config, Inspector) {
    let config = Config::memory().allow_admin();
    let system = ActorSystem::new();
    start_proxy(&system, &config).await.unwrap();
    let inspector = Inspector::connect(&config).await.unwrap();
    (system, config, inspector)
}

fn refusal<T: std::fmt::Debug>(answered: Result<T, InspectError>) -> Refusal {
    match answered {
        Err(InspectError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_requests_are_answered() {
    let (_system, _, inspector) = inspected().await;
    let name = "strange".to_owned();
    let unknown = inspector.ask("main", &NewQuery {}).await;
    assert_eq!(refusal(unknown), Refusal::UnknownRequest { name });
    let action = NewAction {
        action: "explode".to_owned(),
        operator: "ann".to_owned(),
        reason: "why".to_owned(),
    };
    let unknown = refusal(inspector.ask("main", &action).await);
    let text = unknown.to_string();
    assert!(
        matches!(unknown, Refusal::Unreadable { .. }) && text.contains("explode"),
        "{text}"
    );
    let limit = "many".to_owned();
    let wrong = inspector.ask("main", &WrongActors { limit }).await;
    assert!(matches!(refusal(wrong), Refusal::Unreadable { .. }));
}

#[tokio::test(start_paused = true)]
async fn unknown_version_is_answered() {
    let (_system, _, inspector) = inspected().await;
    let unknown = inspector.ask_as(99, "main", &StatusQuery::default()).await;
    let (version, known) = (99, message::VERSION);
    let expected = Refusal::UnknownVersion { version, known };
    assert_eq!(refusal(unknown), expected);
}

#[tokio::test(start_paused = true)]
async fn fields_of_other_versions_are_ignored_or_have_defaults() {
    let (_system, _, inspector) = inspected().await;
    let status = inspector.ask("main", &NewStatus { new_field: 7 }).await;
    assert_eq!(status.unwrap().node, "main");
    let page = inspector.ask("main", &OldActors {}).await;
    assert_eq!(page.unwrap().total, 0);
}

#[tokio::test(start_paused = true)]
async fn action_has_the_right_of_its_list() {
    let (_system, _, inspector) = inspected().await;
    let refused = refusal(inspector.ask("main", &SmuggledAction {}).await);
    assert!(matches!(refused, Refusal::NotAllowed { .. }), "{refused}");
}

#[test]
fn refusal_of_a_newer_member_is_some_refusal() {
    let newer = encode(&"too_hot").unwrap();
    assert_eq!(decode::<Refusal>(&newer).unwrap(), Refusal::Other);
}

/// The frames of answers.
struct Frames(UnboundedSender<Bytes>);

impl ReplySink for Frames {
    fn receive(&self, frame: Bytes) {
        drop(self.0.send(frame));
    }
}

async fn raw(config: &Config) -> (Arc<dyn OperatorTransport>, UnboundedReceiver<Bytes>) {
    let (sender, frames) = unbounded_channel();
    let opened = open_operator(config, ClientId([7; 16]), Arc::new(Frames(sender))).await;
    (opened.unwrap(), frames)
}

#[derive(Actor)]
#[actor(urn = "worker")]
struct Worker;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = u32)]
struct Double(u32);

#[handlers]
impl Worker {
    #[handler]
    fn double(&mut self, Double(n): Double) -> u32 {
        n * 2
    }
}

#[tokio::test(start_paused = true)]
async fn each_request_of_a_flood_is_answered_and_asks_go_on() {
    let (system, config, _) = inspected().await;
    system.spawn(Worker).await.unwrap();
    let (operator, mut frames) = raw(&config).await;
    let keys = config.keys();
    let (lease, now) = operator.lease(&keys).await.unwrap();
    let epoch = lease.unwrap().epoch;
    let contents = encode(&message::Versioned {
        version: message::VERSION,
        query: &StatusQuery::default(),
    });
    let contents = contents.unwrap();
    let flood = (0..200).map(|id| {
        let request = Request {
            kind: Kind::Ask,
            origin: Origin {
                client: ClientId([7; 16]),
                id,
            },
            urn: "",
            message: "status",
            deadline: crate::bus::transport::ServerTime(now.0 + 5_000),
            attributes: &crate::envelope::Attributes::new(),
            is_direct: false,
            is_left_out: false,
        };
        Frame::from(request.encode(contents.clone()))
    });
    let sent = operator.send(&keys, epoch, Right::Inspect, flood.collect());
    sent.await.unwrap();
    let client = ProxyClient::connect(&config).await.unwrap();
    assert_eq!(client.ask("worker", Double(4)).await, Ok(8));
    let (mut answered, mut refused) = (0, 0);
    while answered + refused < 200 {
        let (_, answers) = decode_reply(&frames.recv().await.unwrap()).unwrap();
        for answer in answers {
            match answer.outcome {
                Ok(_) => answered += 1,
                Err(error) => {
                    assert_eq!(error.kind(), AskErrorKind::Overloaded);
                    refused += 1;
                }
            }
        }
    }
    assert_eq!((answered, refused), (16, 184));
}
