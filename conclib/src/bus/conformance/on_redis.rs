//! Failures that only a real Redis has.

use super::*;
use crate::bus::config::Role;
use crate::bus::keys::Right;

/// Time within which a failure must be known.
const PROMPT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn out_of_memory_is_not_done() {
    let redis = OnRedis(TestRedis::start(&[]));
    let server = server(&redis).await;
    let (client, _replies) = client(&redis).await;
    let epoch = granted(&*server).await;
    redis.0.command(&["CONFIG", "SET", "maxmemory", "1"]);
    match client.enqueue(epoch, frames(&["a"])).await {
        Err(TransportError::NotDone(why)) => assert!(why.starts_with("OOM"), "{why}"),
        other => panic!("{other:?}"),
    }
    // An actor system can renew, close and release its lease even so.
    assert!(server.renew(epoch, LEASE).await.unwrap().is_some());
    assert!(close(&*server, epoch, "wake").await.unwrap());
    assert_eq!(pop(&*server, epoch, 9).await, batch(&["wake"]));
    assert!(server.release(epoch).await.unwrap());
    // Another system can take the lease; otherwise the frames that fill Redis would never be taken.
    let epoch = granted(&*server).await;
    assert!(server.open(epoch, &claim()).await.unwrap());

    redis.0.command(&["CONFIG", "SET", "maxmemory", "0"]);
    client.enqueue(epoch, frames(&["a"])).await.unwrap();
}

#[tokio::test]
async fn existing_group_needs_no_memory() {
    let redis = OnRedis(TestRedis::start(&[]));
    let consumer = server(&redis).await.consumer("").await.unwrap();
    redis.0.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let prepared = consumer.create_group().await;
    assert!(matches!(prepared, Err(TransportError::NotDone(why)) if why.starts_with("OOM")));
    redis.0.command(&["CONFIG", "SET", "maxmemory", "0"]);
    consumer.create_group().await.unwrap();
    redis.0.command(&["CONFIG", "SET", "maxmemory", "1"]);
    consumer.create_group().await.unwrap();
}

#[tokio::test]
async fn lease_taken_without_a_reply_is_taken_again() {
    let redis = OnRedis(TestRedis::start(&[]));
    let (first, second) = (server(&redis).await, server(&redis).await);
    let unheard = granted(&*first).await;
    let held = second.acquire(&claim()).await.unwrap();
    assert!(matches!(held, Acquired::Held(holder) if holder.lease.epoch == unheard));
    let epoch = granted(&*first).await;
    assert!(epoch > unheard);
    assert_eq!(first.renew(unheard, LEASE).await.unwrap(), None);
    assert!(first.renew(epoch, LEASE).await.unwrap().is_some());
    let held = second.acquire(&claim()).await.unwrap();
    assert!(matches!(held, Acquired::Held(holder) if holder.lease.epoch == epoch));
}

#[tokio::test]
async fn inbox_of_an_epoch_that_redis_lost_is_deleted() {
    let redis = OnRedis(TestRedis::start(&[]));
    let server = server(&redis).await;
    let (client, _replies) = client(&redis).await;
    let mut epoch = granted(&*server).await;
    for _ in 0..3 {
        redis.0.command(&["FLUSHALL"]);
        client.enqueue(epoch, frames(&["late"])).await.unwrap();
        epoch = granted(&*server).await;
    }
    server.renew(epoch, LEASE).await.unwrap();
    let left = redis.0.command(&["KEYS", "*inbox*"]);
    assert!(!left.contains("inbox"), "{left}");
}

#[tokio::test]
async fn inbox_of_another_owner_that_redis_lost_is_deleted() {
    let redis = OnRedis(TestRedis::start(&[]));
    let (first, second) = (server(&redis).await, server(&redis).await);
    let (client, _replies) = client(&redis).await;
    let before = granted(&*second).await;
    let held = first.acquire(&claim()).await.unwrap();
    assert!(matches!(held, Acquired::Held(_)));
    redis.0.command(&["FLUSHALL"]);
    client.enqueue(before, frames(&["late"])).await.unwrap();
    let epoch = granted(&*first).await;
    first.renew(epoch, LEASE).await.unwrap();
    let left = redis.0.command(&["KEYS", "*inbox*"]);
    assert!(!left.contains("inbox"), "{left}");
}

#[tokio::test]
async fn wake_that_no_pop_takes_expires() {
    let redis = OnRedis(TestRedis::start(&[]));
    let server = server(&redis).await;
    let epoch = granted(&*server).await;
    redis.0.command(&["FLUSHALL"]);
    server
        .wake(epoch, Bytes::from_static(b"wake"))
        .await
        .unwrap();
    let inbox = redis.config().keys().inbox(epoch);
    let left = redis.0.command(&["PTTL", &inbox]);
    let left: i64 = left.trim_start_matches(':').parse().unwrap();
    assert!((1..=60_000).contains(&left), "{left}");
}

#[tokio::test]
async fn only_the_given_frames_are_taken_back() {
    let redis = OnRedis(TestRedis::start(&[]));
    let (client, _replies) = client(&redis).await;
    let epoch = Epoch(5);
    client
        .enqueue(epoch, frames(&["a", "b", "c", "a"]))
        .await
        .unwrap();
    client.take_back(epoch, frames(&["c", "a"])).await;
    let inbox = redis.config().keys().inbox(epoch);
    assert_eq!(redis.0.command(&["LLEN", &inbox]), ":1");
    client.take_back(epoch, frames(&["b"])).await;
    assert_eq!(redis.0.command(&["EXISTS", &inbox]), ":0");
}

#[tokio::test]
async fn redis_without_blmpop_is_supported() {
    let redis = OnRedis(TestRedis::start(&["--rename-command", "BLMPOP", ""]));
    for case in 0..2 {
        requests::pop_waits_for_the_first(&redis).await;
        redis.0.command(&["FLUSHALL"]);
        match case {
            0 => requests::pop_takes_no_more_than_its_count(&redis).await,
            _ => requests::pops_take_turns(&redis).await,
        }
        redis.0.command(&["FLUSHALL"]);
    }
    requests::pop_times_out_empty(&redis).await;
}

#[tokio::test]
async fn redis_without_blmpop_is_supported_for_operators() {
    let redis = OnRedis(TestRedis::start(&["--rename-command", "BLMPOP", ""]));
    operators::waiting_pop_hears_of_an_operator(&redis).await;
    redis.0.command(&["FLUSHALL"]);
    operators::rest_of_a_list_is_popped_along_with_the_inbox(&redis).await;
}

#[tokio::test]
async fn lists_of_operators_are_deleted_with_their_inbox_or_expire() {
    let redis = OnRedis(TestRedis::start(&[]));
    let server = server(&redis).await;
    let epoch = granted(&*server).await;
    let keys = redis.config().keys();
    let (sender, _answers) = channel(8);
    let operator = open::open_operator(&redis.config(), id(9), Arc::new(sender)).await;
    let operator = operator.unwrap();
    let lists = [Right::Inspect, Right::Admin].map(|right| keys.operator_list(right, epoch));
    for (right, list) in [Right::Inspect, Right::Admin].into_iter().zip(&lists) {
        let sent = operator.send(&keys, epoch, right, frames(&["late"]));
        sent.await.unwrap();
        let left = redis.0.command(&["PTTL", list]);
        let left: i64 = left.trim_start_matches(':').parse().unwrap();
        assert!((1..=60_000).contains(&left), "{left}");
    }
    let next = granted(&*server).await;
    server.renew(next, LEASE).await.unwrap();
    for list in &lists {
        assert_eq!(redis.0.command(&["EXISTS", list]), ":0");
    }
}

#[tokio::test]
async fn rules_of_an_earlier_version_suffice_to_serve() {
    let redis = OnRedis(TestRedis::start(&[]));
    let rules = redis.config().acl(Role::Proxy);
    let before = rules
        .split(' ')
        .filter(|rule| !rule.contains(":inspect:") && !rule.contains(":admin:"));
    let set = ["ACL", "SETUSER", "actors", "on", ">pw"];
    let set: Vec<_> = set.into_iter().chain(before).collect();
    assert_eq!(redis.0.command(&set), "+OK");
    let config = redis.0.config_as("actors:pw@");
    let server = open_server(&config, &Arc::default()).await.unwrap();
    let (client, _replies) = client(&redis).await;
    let mut epoch = granted(&*server).await;
    for _ in 0..2 {
        client.enqueue(epoch, frames(&["a"])).await.unwrap();
        let popped = pop_within(&*server, epoch, 9, LONG).await.unwrap();
        assert_eq!(popped, batch(&["a"]));
        // Also what was left is deleted.
        client.enqueue(epoch, frames(&["late"])).await.unwrap();
        let inbox = redis.config().keys().inbox(epoch);
        epoch = granted(&*server).await;
        server.renew(epoch, LEASE).await.unwrap();
        assert_eq!(redis.0.command(&["EXISTS", &inbox]), ":0");
    }
}

#[tokio::test]
async fn scripts_may_be_forgotten() {
    let redis = OnRedis(TestRedis::start(&[]));
    let server = server(&redis).await;
    let mut epoch = granted(&*server).await;
    for _ in 0..2 {
        redis.0.command(&["SCRIPT", "FLUSH"]);
        assert!(server.renew(epoch, LEASE).await.unwrap().is_some());
        redis.0.command(&["SCRIPT", "FLUSH"]);
        assert!(close(&*server, epoch, "wake").await.unwrap());
        redis.0.command(&["SCRIPT", "FLUSH"]);
        assert!(server.release(epoch).await.unwrap());
        redis.0.command(&["SCRIPT", "FLUSH"]);
        epoch = granted(&*server).await;
    }
}

#[tokio::test]
async fn refused_connection_is_known_at_once() {
    let mut redis = TestRedis::start(&[]);
    redis.kill();
    let start = Instant::now();
    let errors = [
        open_server(&redis.config(), &Arc::default()).await.err(),
        open_client(&redis.config(), id(1), 8).await.err(),
    ];
    assert!(start.elapsed() < PROMPT);
    for error in errors {
        let text = error.unwrap().to_string();
        assert!(
            text.starts_with("cannot reach Redis at 127.0.0.1:"),
            "{text}"
        );
        assert!(text.ends_with(": Connection refused"), "{text}");
    }
}

#[tokio::test]
async fn wrong_password_is_reported_and_not_shown() {
    let redis = TestRedis::start(&["--requirepass", "right-one"]);
    open_server(&redis.config_as(":right-one@"), &Arc::default())
        .await
        .unwrap();
    for user in [":wrong-one@", "user:wrong-one@", ""] {
        let Err(error) = open_client(&redis.config_as(user), id(1), 8).await else {
            panic!("the connection was accepted");
        };
        assert!(matches!(error, ConnectError::Unreachable { .. }));
        let text = format!("{error} {error:?}");
        assert!(
            text.contains("WRONGPASS") || text.contains("NOAUTH"),
            "{text}"
        );
        assert!(!text.contains("wrong-one"), "{text}");
    }
}

#[tokio::test]
async fn client_needs_few_permissions() {
    let redis = OnRedis(TestRedis::start(&[]));
    let keys = redis.config().keys();
    let (lease, inbox) = (keys.lease(), keys.inbox(Epoch(0)));
    let inbox = inbox.trim_end_matches('0');
    let grant = |user: &str, rights: &str| {
        let rights = rights.split_whitespace();
        let rule: Vec<_> = ["ACL", "SETUSER", user, "on", ">pw", "-@all"]
            .into_iter()
            .chain(rights)
            .collect();
        assert_eq!(redis.0.command(&rule), "+OK");
    };
    let basic = "+hello +ping +client|setname +client|id +time +subscribe +unsubscribe";
    grant(
        "web",
        &format!("{basic} +get %R~{lease} +rpush %W~{inbox}* &conclib:{{c:*}}:reply"),
    );
    grant(
        "mute",
        &format!("{basic} +get %R~{lease} &conclib:{{c:*}}:reply"),
    );
    grant(
        "deaf",
        &format!("{basic} +get %R~{lease} +rpush %W~{inbox}*"),
    );

    let server = server(&redis).await;
    let epoch = granted(&*server).await;
    let (web, mut replies) = open_client(&redis.0.config_as("web:pw@"), id(1), 8)
        .await
        .unwrap();
    let enqueued = web.enqueue(epoch, frames(&["a"])).await.unwrap();
    assert_eq!(enqueued.lease.unwrap().epoch, epoch);
    server
        .publish(id(1), Bytes::from_static(b"b").into())
        .await
        .unwrap();
    assert_eq!(reply(&mut replies).await, Some(Bytes::from_static(b"b")));

    let (mute, _replies) = open_client(&redis.0.config_as("mute:pw@"), id(2), 8)
        .await
        .unwrap();
    match mute.enqueue(epoch, frames(&["a"])).await {
        Err(TransportError::NotPermitted(why)) => assert!(why.starts_with("NOPERM"), "{why}"),
        other => panic!("{other:?}"),
    }
    let deaf = open_client(&redis.0.config_as("deaf:pw@"), id(3), 8)
        .await
        .err()
        .unwrap();
    assert!(deaf.to_string().contains("NOPERM"), "{deaf}");
}

#[tokio::test]
async fn connections_have_names() {
    let redis = OnRedis(TestRedis::start(&[]));
    let _server = server(&redis).await;
    let _client = client(&redis).await;
    let list = redis.0.command(&["CLIENT", "LIST"]);
    for (role, count) in [("pops", 1), ("publish", 1), ("commands", 2), ("replies", 1)] {
        let name = format!(" name=conclib:conclib:main:{role} ");
        assert_eq!(list.matches(&name).count(), count, "{list}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_redis_is_known_at_once_and_found_again() {
    let mut redis = OnRedis(TestRedis::start(&[]));
    let server = server(&redis).await;
    let (client, mut replies) = client(&redis).await;
    for _ in 0..3 {
        let epoch = granted(&*server).await;
        client.enqueue(epoch, frames(&["a"])).await.unwrap();
        assert_eq!(pop(&*server, epoch, 9).await, batch(&["a"]));

        let blocked = tokio::spawn({
            let server = server.clone();
            async move { pop_within(&*server, epoch, 9, LONG).await }
        });
        sleep(SHORT).await;
        redis.0.kill();
        for _ in 0..20 {
            let start = Instant::now();
            client.enqueue(epoch, frames(&["b"])).await.unwrap_err();
            server
                .publish(id(1), Bytes::new().into())
                .await
                .unwrap_err();
            assert!(start.elapsed() < PROMPT);
        }
        let start = Instant::now();
        blocked.await.unwrap().unwrap_err();
        assert!(start.elapsed() < PROMPT);
        sleep(SHORT).await;
        for refused in [
            client.enqueue(epoch, frames(&["b"])).await.map(|_| ()),
            server.renew(epoch, LEASE).await.map(|_| ()),
        ] {
            assert!(
                matches!(refused, Err(TransportError::NotDone(_))),
                "{refused:?}"
            );
        }

        redis.0.start_again();
        found_again(&*server, &client).await;
        assert_eq!(
            server
                .publish(id(1), Bytes::from_static(b"c").into())
                .await
                .unwrap(),
            Some(1)
        );
        assert_eq!(reply(&mut replies).await, Some(Bytes::from_static(b"c")));
        // No call that failed was executed later.
        assert!(pop(&*server, epoch, 9).await.is_empty());
    }
}

/// Waits until both ends are connected again.
async fn found_again(server: &dyn ServerTransport, client: &NodeClient) {
    let start = Instant::now();
    while start.elapsed() < LONG {
        let there = [
            server.renew(Epoch(1), LEASE).await.is_ok(),
            pop_within(server, Epoch(1), 1, Duration::ZERO)
                .await
                .is_ok(),
            client.enqueue(Epoch(1), frames(&["probe"])).await.is_ok(),
            server.publish(id(9), Bytes::new().into()).await.is_ok(),
        ];
        if there == [true; 4] {
            return;
        }
        sleep(SHORT / 5).await;
    }
    panic!("not connected again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connection_comes_back_subscribed() {
    let redis = OnRedis(TestRedis::start(&[]));
    let server = server(&redis).await;
    let (client, mut replies) = client(&redis).await;
    for number in 0..5 {
        redis.0.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        redis.0.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        found_again(&*server, &client).await;
        let frame = Bytes::from(vec![number]);
        assert_eq!(
            server.publish(id(1), frame.clone().into()).await.unwrap(),
            Some(1)
        );
        assert_eq!(reply(&mut replies).await, Some(frame));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_does_not_wait_for_a_blocked_pop() {
    let redis = OnRedis(TestRedis::start(&[]));
    let server = server(&redis).await;
    let epoch = granted(&*server).await;
    let blocked = tokio::spawn({
        let server = server.clone();
        async move { pop_within(&*server, epoch, 9, LONG).await }
    });
    sleep(SHORT).await;
    let start = Instant::now();
    server.close().await;
    assert!(blocked.await.unwrap().is_err());
    assert!(start.elapsed() < PROMPT);
    // Redis loses both connections.
    let gone = async {
        while redis.0.command(&["CLIENT", "LIST"]).contains("conclib:") {
            sleep(SHORT / 5).await;
        }
    };
    timeout(PROMPT, gone).await.unwrap();
}
