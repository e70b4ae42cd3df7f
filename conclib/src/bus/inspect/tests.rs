//! Peers of other versions, and floods.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::inspector::Inspector;
use super::message::{
    Action, ActorPage, FailuresQuery, LogQuery, MemberStatus, MetricsQuery, Named, Need, Query,
    Refusal, StatusQuery, TypesQuery, WaitsQuery,
};
use super::*;
use crate::bus::config::LogControl;
use crate::bus::keys::{Keys, Right};
use crate::bus::open::open_operator;
use crate::bus::protocol::{Kind, Request, decode_reply};
use crate::bus::proxy::Proxy;
use crate::bus::transport::{Epoch, Frame, OperatorTransport, ReplySink, ServerTime};
use crate::envelope::Attributes;
use crate::error::AskErrorKind;
use crate::message::{decode, encode};
use crate::prelude::*;
use crate::reply::remote::{ClientId, Origin};
use crate::urn::Urn;

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

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = usize)]
struct Weigh(Vec<u8>);

#[handlers]
impl Worker {
    #[handler]
    fn double(&mut self, Double(n): Double) -> u32 {
        n * 2
    }

    #[handler]
    fn weigh(&mut self, Weigh(contents): Weigh) -> usize {
        contents.len()
    }
}

#[tokio::test(start_paused = true)]
async fn each_request_of_a_flood_is_answered_and_asks_go_on() {
    let (system, config, _) = inspected().await;
    system.spawn(Worker).await.unwrap();
    let (operator, mut frames) = raw(&config).await;
    let keys = config.keys();
    send_flood(&*operator, &keys, 200).await;
    let client = ProxyClient::connect(&config).await.unwrap();
    assert_eq!(client.ask("worker", Double(4)).await, Ok(8));
    let answered = end_of_flood(&mut frames, 200).await;
    assert_eq!(answered, 16);
}

#[tokio::test(start_paused = true)]
async fn flood_ends_soon_also_where_requests_are_large() {
    let (system, config, _) = inspected().await;
    system.spawn(Worker).await.unwrap();
    let client = ProxyClient::connect(&config).await.unwrap();
    // Pops take one frame each.
    let weigh = || client.ask("worker", Weigh(vec![1; 1 << 20]));
    for _ in 0..20 {
        assert_eq!(weigh().await, Ok(1 << 20));
    }
    let (operator, mut frames) = raw(&config).await;
    send_flood(&*operator, &config.keys(), 200).await;
    let start = Instant::now();
    assert_eq!(weigh().await, Ok(1 << 20));
    assert!(start.elapsed() <= Duration::from_millis(5));
    end_of_flood(&mut frames, 200).await;
    assert!(start.elapsed() < Duration::from_secs(1));
}

/// Sends that many queries to the only node at once.
async fn send_flood(operator: &dyn OperatorTransport, keys: &Keys, count: u64) {
    let contents = versioned(&StatusQuery::default());
    let (epoch, frame) = framed(operator, keys, "status", contents).await;
    let flood = (0..count).map(frame).collect();
    let sent = operator.send(keys, epoch, Right::Inspect, flood);
    sent.await.unwrap();
}

fn versioned<Q: Serialize>(query: &Q) -> Vec<u8> {
    let version = message::VERSION;
    encode(&message::Versioned { version, query }).unwrap()
}

/// The epoch of the only node, and the frames of a request to it by their numbers.
async fn framed(
    operator: &dyn OperatorTransport,
    keys: &Keys,
    name: &'static str,
    contents: Vec<u8>,
) -> (Epoch, impl Fn(u64) -> Frame) {
    let (lease, now) = operator.lease(keys).await.unwrap();
    let frame = move |id| {
        let request = Request {
            kind: Kind::Ask,
            origin: Origin {
                client: ClientId([7; 16]),
                id,
            },
            urn: "",
            message: name,
            deadline: ServerTime(now.0 + 20_000),
            attributes: &Attributes::new(),
            is_direct: false,
            is_left_out: false,
        };
        Frame::from(request.encode(contents.clone()))
    };
    (lease.unwrap().epoch, frame)
}

/// Awaits the ends of all queries of a flood; returns the number of those that were answered, and not refused.
async fn end_of_flood(frames: &mut UnboundedReceiver<Bytes>, count: usize) -> usize {
    let (mut answered, mut refused) = (0, 0);
    while answered + refused < count {
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
    answered
}

#[derive(Actor)]
struct Stuck;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Hang;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Fail;

#[handlers]
impl Stuck {
    #[handler]
    async fn hang(&mut self, _: Hang) {
        std::future::pending::<()>().await;
    }

    #[handler]
    fn fail(&mut self, _: Fail) {
        panic!("{}", "x".repeat(400));
    }
}

#[derive(Actor)]
struct Waiting(ActorRef<Stuck>);

#[derive(ActorMessage, Serialize, Deserialize)]
struct Wait;

#[handlers]
impl Waiting {
    #[handler]
    async fn wait(&mut self, _: Wait) {
        drop(self.0.ask(Hang).await);
    }
}

#[tokio::test(start_paused = true)]
async fn each_list_is_cut_by_bytes_and_says_so() {
    let config = Config::memory().max_message_size(1_200); // pages have half of it
    let system = ActorSystem::new();
    start_proxy(&system, &config).await.unwrap();
    let stuck = system.spawn(Stuck).urn("stuck").await.unwrap();
    system.spawn(Worker).await.unwrap();
    for number in 0..10 {
        let urn = format!("{number}/{}", "long".repeat(50));
        let waiting = system.spawn(Waiting(stuck.clone())).urn(urn).await.unwrap();
        waiting.tell(Wait).await.unwrap();
        let failing = system.spawn(Stuck).await.unwrap();
        failing.ask(Fail).await.unwrap_err();
        failing.stopped().await;
    }
    let inspector = Inspector::connect(&config).await.unwrap();
    let waits = inspector.ask("main", &WaitsQuery::new()).await.unwrap();
    assert!((1..5).contains(&waits.edges.len()), "{waits:?}");
    assert_eq!(waits.edges.len() + waits.omitted, 10);
    let types = inspector.ask("main", &TypesQuery::new()).await.unwrap();
    assert!((1..3).contains(&types.types.len()), "{types:?}");
    assert_eq!(types.types.len() + types.omitted, 3);
    let metrics = inspector.ask("main", &MetricsQuery::default()).await;
    let metrics = metrics.unwrap();
    assert!((1..3).contains(&metrics.system.types.len()), "{metrics:?}");
    assert_eq!(metrics.system.types.len() + metrics.omitted_types, 3);
    let mut numbers = Vec::new();
    let mut query = FailuresQuery::new();
    loop {
        let page = inspector.ask("main", &query).await.unwrap();
        assert!(page.failures.len() < 3, "{page:?}");
        if page.failures.is_empty() {
            break;
        }
        numbers.extend(page.failures.iter().map(|failure| failure.number));
        query = query.since(page.next);
    }
    assert!(numbers.into_iter().eq(0..10));
}

#[tokio::test(start_paused = true)]
async fn action_whose_frame_comes_again_is_executed_once() {
    let config = Config::memory().allow_admin();
    let system = ActorSystem::new();
    let proxy = start_proxy(&system, &config).await.unwrap();
    let (operator, mut answers) = raw(&config).await;
    let keys = config.keys();
    let contents = versioned(&message::ActionRequest {
        action: Action::ResetLogFilter,
        operator: "ann".to_owned(),
        reason: "a test".to_owned(),
    });
    let (epoch, frame) = framed(&*operator, &keys, "action", contents).await;
    for id in [5, 4, 5, 4] {
        let sent = operator.send(&keys, epoch, Right::Admin, vec![frame(id)]);
        sent.await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut answered = Vec::new();
    while let Ok(frame) = answers.try_recv() {
        let (_, all) = decode_reply(&frame).unwrap();
        answered.extend(all.into_iter().map(|answer| answer.id));
    }
    assert_eq!(answered, [5, 4]);
    let stats = proxy.stats().operators;
    assert_eq!(stats.actions + stats.refused, 2);
}

/// A control of the log that keeps the answers of its process until it is released.
struct Gate {
    entered: Sender<()>,
    released: Mutex<Receiver<()>>,
}

impl LogControl for Gate {
    fn filter(&self) -> Option<String> {
        let _ = self.entered.send(());
        // Other tasks go on.
        let _ = tokio::task::block_in_place(|| self.released.lock().recv());
        None
    }

    fn set_filter(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
}

/// Has an inspection and the kill of an actor wait while another inspection is answered, until `end` has come; returns
/// the outcomes of both.
async fn waiting_requests(end: impl AsyncFn(&Proxy)) -> (bool, Result<(), InspectError>) {
    let (entered, has_entered) = channel();
    let (release, released) = channel();
    let control = Gate {
        entered,
        released: Mutex::new(released),
    };
    let config = Config::memory().allow_admin().log_control(control);
    let system = ActorSystem::new();
    let worker = system.spawn(Worker).await.unwrap();
    let proxy = start_proxy(&system, &config).await.unwrap();
    let inspector = Inspector::connect(&config).await.unwrap();
    let asker = inspector.clone();
    let first = tokio::spawn(async move { asker.ask("main", &LogQuery::default()).await });
    tokio::task::block_in_place(|| has_entered.recv()).unwrap();
    let asker = inspector.clone();
    let status = tokio::spawn(async move { asker.ask("main", &StatusQuery::default()).await });
    let kill = tokio::spawn(async move {
        let urn = Urn::new("worker").unwrap();
        let (kill, audit) = (Action::Kill { urn }, Audit::new("ann", "a test"));
        inspector.act("main", kill, &audit).await.map(drop)
    });
    while proxy.shared().operators.len() < 2 {
        tokio::task::yield_now().await;
    }
    end(&proxy).await;
    drop(release);
    drop(first.await.unwrap());
    let killed = kill.await.unwrap();
    assert_eq!(killed.is_ok(), worker.is_stopped());
    (status.await.unwrap().is_ok(), killed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn action_is_not_executed_after_the_lease_is_lost() {
    let (_, killed) = waiting_requests(async |proxy| {
        let shared = proxy.shared();
        shared.lose_lease(shared.epoch().unwrap(), "on purpose");
    })
    .await;
    assert!(killed.is_err_and(|error| error.is_not_executed()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn stop_does_not_wait_for_the_answers_to_waiting_inspections() {
    let (has_status, killed) = waiting_requests(async |proxy| {
        proxy.shared().stop.cancel();
    })
    .await;
    assert!(!has_status && killed.is_err_and(|error| error.is_not_executed()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn waiting_requests_are_executed_otherwise() {
    let (has_status, killed) = waiting_requests(async |_| {}).await;
    assert!(has_status && killed.is_ok());
}
