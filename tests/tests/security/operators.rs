//! The rules of observers and operators suffice for them, and permit nothing else.

use conclib::bus::Role;
use conclib::durable::DeadLetters;
use conclib::inspect::{
    Action, ActorsQuery, Audit, FailuresQuery, InspectError, Inspector, MetricsQuery, Refusal,
    StatusQuery,
};
use conclib::prelude::*;
use conclib::{ConnectError, Urn};
use conclib_tests::actors::Worker;
use conclib_tests::messages::Double;

use crate::acl::{Locked, config_of};
use crate::raw::User;

/// A Redis with users for those who inspect and operate, beside the others.
async fn locked() -> (Locked, User, User) {
    let locked = Locked::start().await;
    let user = |name, password| User {
        name,
        password,
        ..locked.admin
    };
    let (watch, ops) = (user("watch", "tower"), user("ops", "lever"));
    for (user, role) in [(watch, Role::Observer), (ops, Role::Operator)] {
        let rules = config_of(user).acl(role);
        let set = format!("ACL SETUSER {} on >{} {rules}", user.name, user.password);
        assert_eq!(locked.admin.says(&set).await, "+OK");
    }
    (locked, watch, ops)
}

async fn serve(locked: &Locked) -> ActorSystem {
    let system = ActorSystem::new();
    system.spawn(Worker::default()).await.unwrap();
    let config = config_of(locked.actors).allow_admin();
    start_proxy(&system, &config).await.unwrap();
    system
}

async fn epoch(locked: &Locked) -> String {
    let epochs = locked.admin.says("GET shop:{n:till}:epoch").await;
    let last = epochs.lines().last().unwrap();
    last.split(':').next().unwrap().to_owned()
}

fn stop() -> Action {
    let urn = Urn::new("worker").unwrap();
    Action::Stop { urn }
}

async fn are_refused(user: User, commands: impl IntoIterator<Item = String>) {
    for command in commands {
        let reply = user.says(&command).await;
        assert!(
            reply.starts_with("-NOPERM"),
            "{}: {command}: {reply}",
            user.name
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn observer_sees_and_cannot_act() {
    let (locked, watch, _) = locked().await;
    let system = serve(&locked).await;
    let inspector = Inspector::connect(&config_of(watch)).await.unwrap();
    let page = inspector.ask("till", &ActorsQuery::new()).await.unwrap();
    assert_eq!(page.actors[0].urn, "worker");
    assert!(
        inspector
            .ask("till", &StatusQuery::default())
            .await
            .unwrap()
            .is_serving
    );
    inspector
        .ask("till", &MetricsQuery::default())
        .await
        .unwrap();
    inspector.ask("till", &FailuresQuery::new()).await.unwrap();
    locked.saw_no_refusal().await;
    for command in [
        "LLEN shop:{n:till}:inbox:1",
        "XLEN shop:{n:till}:durable",
        "XLEN shop:{n:till}:dead",
        "ZCARD shop:{n:till}:delayed",
    ] {
        assert_eq!(watch.says(command).await, ":0", "{command}");
    }

    let audit = Audit::new("ann", "a test");
    let refused = inspector.act("till", stop(), &audit).await.unwrap_err();
    let InspectError::Unavailable { reason, .. } = &refused else {
        panic!("{refused:?}")
    };
    assert!(
        reason.starts_with("NOPERM") && refused.is_not_executed(),
        "{refused:?}"
    );
    // A frame of an action in the list of inspections has no more right than that list.
    let key = |name: &str| format!("shop:{{n:till}}:{name}");
    let epoch = epoch(&locked).await;
    let (inbox, admin) = (
        key(&format!("inbox:{epoch}")),
        key(&format!("admin:{epoch}")),
    );
    let (inspect, lease) = (key(&format!("inspect:{epoch}")), key("lease"));
    let (durable, dead, delayed) = (key("durable"), key("dead"), key("delayed"));
    are_refused(
        watch,
        [
            format!("RPUSH {admin} x"),
            format!("PEXPIRE {admin} 1"),
            format!("RPUSH {inbox} x"),
            format!("LREM {inbox} 0 x"),
            format!("LRANGE {inbox} 0 -1"),
            format!("LRANGE {inspect} 0 -1"),
            format!("LPOP {inspect}"),
            format!("DEL {inspect}"),
            format!("RPUSH {lease} x"),
            format!("SET {lease} x"),
            format!("PEXPIRE {lease} 1"),
            format!("PEXPIRE {inbox} 1"),
            format!("XRANGE {durable} - +"),
            format!("XRANGE {dead} - +"),
            format!("XDEL {dead} 1-1"),
            format!("XADD {durable} * a b"),
            format!("GET {durable}"),
            format!("ZRANGE {delayed} 0 -1"),
            "GET shop:{n:till}:done:1".to_owned(),
            "PUBLISH shop:{c:00000000000000000000000000000000}:reply x".to_owned(),
            "PSUBSCRIBE *".to_owned(),
            "RPUSH shop:{n:main}:inspect:1 x".to_owned(),
            "EVAL \"return 1\" 0".to_owned(),
            "CLIENT LIST".to_owned(),
            "CONFIG GET *".to_owned(),
            "KEYS *".to_owned(),
        ],
    )
    .await;
    let client = ProxyClient::connect(&config_of(locked.web)).await.unwrap();
    assert_eq!(client.ask("worker", Double { n: 3 }).await, Ok(6));
    assert!(system.shutdown().await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operator_acts_and_cannot_ask() {
    let (locked, _, ops) = locked().await;
    let system = serve(&locked).await;
    let config = config_of(ops);
    let inspector = Inspector::connect(&config).await.unwrap();
    let audit = Audit::new("ann", "a test");
    let outcome = inspector.act("till", stop(), &audit).await.unwrap();
    assert!(outcome.is_accepted(), "{outcome}");
    let gone = inspector.act("till", stop(), &audit).await;
    let is_gone = matches!(
        gone,
        Err(InspectError::Refused(Refusal::NoSuchActor { .. }))
    );
    assert!(is_gone, "{gone:?}");
    // Dead letters are read, replayed and deleted.
    let dead = "shop:{n:till}:dead";
    let added = locked.admin.says(&format!("XADD {dead} 1-1 frame x")).await;
    assert!(added.ends_with("1-1"), "{added}");
    assert!(
        ops.says(&format!("XRANGE {dead} - +"))
            .await
            .contains("frame")
    );
    let letters = DeadLetters::connect(&config).await.unwrap();
    drop(letters.list().await);
    assert_eq!(ops.says(&format!("XDEL {dead} 1-1")).await, ":1");
    assert!(
        !ops.says("XADD shop:{n:till}:durable 1-1 frame x")
            .await
            .starts_with('-')
    );
    locked.saw_no_refusal().await;
    let epoch = epoch(&locked).await;
    are_refused(
        ops,
        [
            format!("RPUSH shop:{{n:till}}:inbox:{epoch} x"),
            format!("LPOP shop:{{n:till}}:admin:{epoch}"),
            "SET shop:{n:till}:lease x".to_owned(),
            "DEL shop:{n:till}:durable".to_owned(),
            "XTRIM shop:{n:till}:durable MAXLEN 0".to_owned(),
            "XDEL shop:{n:till}:durable 1-1".to_owned(),
            "XADD shop:{n:till}:dead * a b".to_owned(),
            "PUBLISH shop:{c:00000000000000000000000000000000}:reply x".to_owned(),
            "RPUSH shop:{n:main}:admin:1 x".to_owned(),
            "EVAL \"return 1\" 0".to_owned(),
        ],
    )
    .await;
    assert!(system.shutdown().await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_can_neither_inspect_nor_act() {
    let (locked, ..) = locked().await;
    let system = serve(&locked).await;
    let refused = Inspector::connect(&config_of(locked.web))
        .await
        .unwrap_err();
    let ConnectError::Unreachable { reason, .. } = &refused else {
        panic!("{refused:?}")
    };
    let mends = config_of(locked.web).acl(Role::Observer);
    assert!(
        reason.contains("NOPERM") && reason.contains(&mends),
        "{reason}"
    );
    let epoch = epoch(&locked).await;
    let lists = ["inspect", "admin"].map(|list| format!("shop:{{n:till}}:{list}:{epoch}"));
    let commands = lists.iter().flat_map(|list| {
        ["RPUSH", "LPUSH", "LREM", "LRANGE", "LPOP", "DEL", "PEXPIRE"].map(
            |command| match command {
                "LREM" => format!("LREM {list} 0 x"),
                "LRANGE" => format!("LRANGE {list} 0 -1"),
                "LPOP" | "DEL" => format!("{command} {list}"),
                _ => format!("{command} {list} 1"),
            },
        )
    });
    are_refused(locked.web, commands).await;
    assert!(system.shutdown().await.is_clean());
}
