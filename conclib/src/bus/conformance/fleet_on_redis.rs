//! The map of a fleet on a real Redis: lost data, foreign data, memory, permissions.

use super::fleet::{fleet_client, heard, hearing, in_state, joined, map, profile, removed, urn};
use super::names::sweep;
use super::*;
use crate::bus::config::Role;
use crate::bus::transport::fleet::{
    Heartbeats, ListOutcome, MAX_NAMES, MapVersion, MemberId, MemberState, ServerIdentity, shard_of,
};
use crate::urn::Urn;

const FLEET: &str = "conclib:{map}:fleet";
const HEARTBEATS: &str = "conclib:{map}:heartbeats";

fn redis() -> OnRedis {
    OnRedis(TestRedis::start(&[]))
}

#[tokio::test]
async fn members_of_lost_data_join_anew() {
    let redis = redis();
    let map = map(&redis).await;
    let (client, _replies) = fleet_client(&redis).await;
    let before = joined(&*map, "a").await;
    let version = client.version().await.unwrap();
    map.list(before, &[urn("ledger")]).await.unwrap();
    redis.0.command(&["FLUSHALL"]);
    assert_eq!(map.heartbeat(before).await, Ok(None));
    assert_eq!(map.announce(before, &profile("a")).await, Ok(false));
    assert_eq!(map.list(before, &[urn("ledger")]).await, Ok(None));
    assert_eq!(map.remove(before, Heartbeats(1)).await, Ok(false));
    assert_eq!(map.unlist(before, &[urn("ledger")]).await, Ok(()));
    assert_eq!(client.version().await, Ok(MapVersion(0)));
    sweep(&*map).await;
    map.swept(MapVersion(1)).await.unwrap();
    map.forget_node("a").await.unwrap();

    let after = joined(&*map, "a").await;
    assert!(after > before);
    assert!(client.version().await.unwrap() > version);
    let listed = map.list(after, &[urn("ledger")]).await;
    assert_eq!(listed, Ok(Some(vec![ListOutcome::Here])));
    assert!(map.heartbeat(after).await.unwrap().is_some());
}

/// A server that is set back has requests that were taken back.
#[tokio::test]
async fn frames_of_a_server_that_was_set_back_have_another_number() {
    let mut redis = redis();
    let (config, health) = (redis.config().fleet(), Arc::default());
    let member = open_server(&config, &health).await.unwrap();
    let (client, _replies) = fleet_client(&redis).await;
    let LeaseGrant { epoch, server, .. } = grant(&*member, &claim()).await;
    client.enqueue(epoch, frames(&["a"])).await.unwrap();
    redis.0.command(&["SAVE"]);
    client.take_back(epoch, frames(&["a"])).await;

    let popped = member
        .pop(epoch, Lists::Inbox, 9, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!((popped.frames, popped.server), (Vec::new(), server));
    redis.0.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    let popped = popped_again(&*member, epoch).await;
    assert_eq!((popped.frames, popped.server), (Vec::new(), server));

    redis.0.kill();
    redis.0.start_again();
    let popped = popped_again(&*member, epoch).await;
    assert_eq!(popped.frames, batch(&["a"]));
    assert_eq!(popped.owner, Ok(Some(epoch)), "it has the lease again, too");
    assert_ne!(popped.server, server);
}

/// Pops once the connection is there again.
async fn popped_again(member: &dyn ServerTransport, epoch: Epoch) -> Popped {
    loop {
        match member.pop(epoch, Lists::Inbox, 9, Duration::ZERO).await {
            Ok(popped) => return popped,
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

#[tokio::test]
async fn heartbeats_need_no_memory() {
    let redis = redis();
    let map = map(&redis).await;
    let id = joined(&*map, "a").await;
    let names = [urn("ledger")];
    map.list(id, &names).await.unwrap();
    redis.0.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(map.heartbeat(id).await.unwrap().is_some());
    let draining = in_state("a", MemberState::Draining);
    assert_eq!(map.announce(id, &draining).await, Ok(true));
    match map.list(id, &[urn("till")]).await {
        Err(TransportError::NotDone(why)) => assert!(why.contains("OOM"), "{why}"),
        other => panic!("{other:?}"),
    }
    map.unlist(id, &names).await.unwrap();
    let other = joined(&*map, "b").await;
    removed(&*map, other).await;
    let unswept = map.counters().await.unwrap().unswept_since;
    map.swept(unswept).await.unwrap();
    sweep(&*map).await;
    let again = joined(&*map, "a").await;
    assert!(again > other);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listed_names_take_little_memory() {
    const NAMES: usize = 100_000;
    let redis = redis();
    let map = map(&redis).await;
    let id = joined(&*map, "a").await;
    let used = || -> usize {
        let info = redis.0.command(&["INFO", "memory"]);
        let used = info
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"));
        used.unwrap().trim().parse().unwrap()
    };
    let before = used();
    let names: Vec<Urn> = (0..NAMES)
        .map(|n| urn(&format!("customer/{n:011}")))
        .collect();
    assert_eq!(names[0].as_str().len(), 20);
    for batch in names.chunks(MAX_NAMES) {
        map.list(id, batch).await.unwrap().unwrap();
    }
    let each = (used() - before) / NAMES;
    println!("{each} bytes for each listed name");
    assert!(each <= 150, "{each} bytes for each listed name");
}

#[tokio::test]
async fn foreign_counters_count_as_none() {
    let redis = redis();
    let map = map(&redis).await;
    let (client, _replies) = fleet_client(&redis).await;
    for counter in ["version", "freed", "unswept", "last"] {
        for wrong in ["", "x", "-5", "1e300", "nan", "inf", "281474976710656"] {
            redis.0.command(&["HSET", FLEET, counter, wrong]);
            let counters = map.counters().await.unwrap();
            assert_eq!(
                (counters.freed, counters.unswept_since),
                (0, MapVersion(0)),
                "{wrong}"
            );
            assert_eq!(client.version().await, Ok(counters.version));
        }
    }
    let id = joined(&*map, "a").await;
    assert!(is_near(ServerTime(id.0)));
    let version = client.version().await.unwrap();
    assert!(is_near(ServerTime(version.0)));
}

#[tokio::test]
async fn leftovers_of_members_are_removed_as_members_are() {
    let redis = redis();
    let map = map(&redis).await;
    let (client, _replies) = fleet_client(&redis).await;
    let (one, other) = (joined(&*map, "a").await, joined(&*map, "b").await);
    let set = |key: &str, field: &str, value: &str| {
        redis.0.command(&["HSET", key, field, value]);
    };
    for field in ["m:", "m:x", "s:x", "m:281474976710656", "", "m", "s:"] {
        set(FLEET, field, "\u{94}\u{dd}ä");
        set(HEARTBEATS, field, "1");
    }
    set(FLEET, "m:5", "x");
    set(FLEET, "s:7", "9\u{ff}");
    set(HEARTBEATS, "6", "many");
    set(HEARTBEATS, "8", "-3");
    set(HEARTBEATS, &other.0.to_string(), "x");
    let members = client.members().await.unwrap();
    let ids: Vec<_> = members.all.iter().map(|member| member.id).collect();
    assert_eq!(ids, [one, other]);
    assert_eq!(map.members().await, Ok(members));

    let third = joined(&*map, "c").await;
    let counters = map.heartbeat(one).await.unwrap().unwrap();
    for leftover in [5, 6, 7, 8].map(MemberId) {
        assert!(counters.heartbeats.contains(&(leftover, Heartbeats(0))));
        assert_eq!(map.remove(leftover, Heartbeats(0)).await, Ok(true));
    }
    assert!(counters.heartbeats.contains(&(other, Heartbeats(0))));
    redis.0.command(&["DEL", HEARTBEATS]);
    assert!(map.heartbeat(other).await.unwrap().is_some());
    let fourth = joined(&*map, "d").await;
    let mut counted = map.counters().await.unwrap().heartbeats;
    counted.sort_unstable();
    let expected = [(one, 0), (other, 1), (third, 0), (fourth, 1)];
    assert_eq!(counted, expected.map(|(id, count)| (id, Heartbeats(count))));
}

#[tokio::test]
async fn foreign_values_of_names_are_of_no_member() {
    let redis = redis();
    let map = map(&redis).await;
    let (client, _replies) = fleet_client(&redis).await;
    let id = joined(&*map, "a").await;
    for (number, value) in ["", "x", "123456", "\0\0\0\0\0\u{5}+++"]
        .into_iter()
        .enumerate()
    {
        let names = [urn(&format!("n{number}"))];
        let key = redis.config().keys().urns(shard_of(&names[0]));
        let write = || redis.0.command(&["HSET", &key, names[0].as_str(), value]);
        write();
        client.look_up(&names).await.unwrap();
        let listed = map.list(id, &names).await;
        assert_eq!(listed, Ok(Some(vec![ListOutcome::Here])));
        assert_eq!(client.look_up(&names).await.unwrap().owners, [Some(id)]);
        write();
        sweep(&*map).await;
        sweep(&*map).await;
        assert_eq!(redis.0.command(&["EXISTS", &key]), ":0");
    }
}

#[tokio::test]
async fn map_of_another_type_is_an_error() {
    let redis = redis();
    let map = map(&redis).await;
    let (client, _replies) = fleet_client(&redis).await;
    redis.0.command(&["SET", FLEET, "no hash"]);
    let errors = [
        map.heartbeat(MemberId(1)).await.err(),
        map.counters().await.err(),
        map.join(&profile("a")).await.err(),
        map.members().await.err(),
        client.members().await.err(),
        client.version().await.err(),
    ];
    for error in errors {
        let text = error.unwrap().to_string();
        assert!(text.contains("WRONGTYPE"), "{text}");
    }
}

#[tokio::test]
async fn forgotten_node_leaves_no_keys() {
    let redis = redis();
    let map = map(&redis).await;
    let config = redis.config().node("gone");
    let server = open_server(&config, &Arc::default()).await.unwrap();
    let (client, _replies) = open_client(&config, id(1), 8).await.unwrap();
    let keys = || {
        redis
            .0
            .command(&["EVAL", "return #redis.call('KEYS', '*{n:gone}*')", "0"])
    };
    for _ in 0..3 {
        let epoch = granted(&*server).await;
        client.enqueue(epoch, frames(&["a"])).await.unwrap();
        server.release(epoch).await.unwrap();
        client.enqueue(epoch, frames(&["late"])).await.unwrap();
    }
    assert_ne!(keys(), ":0");
    map.forget_node("gone").await.unwrap();
    assert_eq!(keys(), ":0");
    // A list that another program has written.
    let last = config.keys().last_epoch();
    for list in ["", " ", "x", "-1:a :: 7:b", "99999999999999999999:a"] {
        redis.0.command(&["SET", &last, list]);
        map.forget_node("gone").await.unwrap();
        assert_eq!(keys(), ":0");
    }
}

#[tokio::test]
async fn server_without_its_data_has_another_term() {
    let mut redis = redis();
    let map = map(&redis).await;
    let before = map.counters().await.unwrap().server;
    assert_eq!(before.0.len(), 81, "{before:?}");
    assert_eq!(map.counters().await.unwrap().server, before);
    redis.0.kill();
    redis.0.start_again();
    let after = timeout(LONG, async {
        loop {
            match map.counters().await {
                Ok(counters) => break counters.server,
                Err(_) => sleep(SHORT).await,
            }
        }
    });
    assert_ne!(after.await.unwrap(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscription_that_is_made_again_is_a_notice() {
    let redis = redis();
    let map = map(&redis).await;
    let (_client, mut changes) = hearing(&redis.config().fleet(), id(1)).await;
    for _ in 0..3 {
        assert_eq!(redis.0.command(&["CLIENT", "KILL", "TYPE", "pubsub"]), ":1");
        heard(&mut changes, 1).await;
        let id = joined(&*map, "a").await;
        heard(&mut changes, 1).await;
        removed(&*map, id).await;
        heard(&mut changes, 1).await;
    }
}

#[tokio::test]
async fn no_channel_is_subscribed_without_a_fleet() {
    let redis = redis();
    let _client = client(&redis).await;
    let channel = redis.config().keys().map_changes();
    let receivers = || redis.0.command(&["PUBLISH", &channel, "1"]);
    assert_eq!(receivers(), ":0");
    let of_node = redis.config().fleet().node("main");
    let _client = open_client(&of_node, id(2), 8).await.unwrap();
    assert_eq!(receivers(), ":0");
    let _client = fleet_client(&redis).await;
    assert_eq!(receivers(), ":1");
}

/// Gives a user the rules of a role, and returns its config.
fn user(redis: &OnRedis, role: Role) -> Config {
    let name = format!("{role:?}").to_lowercase();
    let config = redis.0.config_as(&format!("{name}:pw@")).fleet();
    let rules = config.acl(role);
    let mut words = vec!["ACL", "SETUSER", &name, "on", ">pw"];
    words.extend(rules.split(' '));
    assert_eq!(redis.0.command(&words), "+OK");
    config
}

#[tokio::test]
async fn rules_of_a_fleet_suffice() {
    let redis = redis();
    let member = user(&redis, Role::Proxy).as_member();
    let server = open_server(&member, &Arc::default()).await.unwrap();
    let map = server.fleet();
    let config = user(&redis, Role::Client);
    let (client, mut changes) = hearing(&config, id(1)).await;
    let one = joined(&*map, &member.node).await;
    heard(&mut changes, 1).await;
    map.announce(one, &profile(&member.node)).await.unwrap();
    let counters = map.heartbeat(one).await.unwrap().unwrap();
    assert_ne!(counters.server, ServerIdentity::default());
    let names = [urn("ledger"), urn("till")];
    map.list(one, &names).await.unwrap();
    let found = client.look_up(&names).await;
    assert_eq!(found.unwrap().owners, [Some(one); 2]);
    assert_eq!(client.members().await.unwrap().all.len(), 1);
    assert_eq!(
        client.version().await,
        Ok(map.counters().await.unwrap().version)
    );
    map.unlist(one, &names[..1]).await.unwrap();
    assert_eq!(map.members().await.unwrap().all.len(), 1);

    // The node of another member, which ends.
    let other = user(&redis, Role::Proxy).as_member();
    let ended = open_server(&other, &Arc::default()).await.unwrap();
    let (sender, _replies) = open_client(&config.clone().node(&other.node), id(2), 8)
        .await
        .unwrap();
    let epoch = granted(&*ended).await;
    let sent = sender.enqueue(epoch, frames(&["a", "b"])).await.unwrap();
    assert_eq!(sent.lease.map(|lease| lease.epoch), Some(epoch));
    sender.take_back(epoch, frames(&["a"])).await;
    assert_eq!(pop(&*ended, epoch, 9).await, batch(&["b"]));
    assert!(ended.renew(epoch, LEASE).await.unwrap().is_some());
    sender.enqueue(epoch, frames(&["left"])).await.unwrap();
    ended.release(epoch).await.unwrap();
    map.forget_node(&other.node).await.unwrap();
    assert!(pop(&*ended, epoch, 9).await.is_empty());

    removed(&*map, one).await;
    sweep(&*map).await;
    let unswept = map.counters().await.unwrap().unswept_since;
    map.swept(unswept).await.unwrap();
    assert_eq!(map.counters().await.unwrap().unswept_since, MapVersion(0));
    assert_eq!(
        redis.0.command(&["ACL", "LOG"]),
        "*0",
        "nothing was refused"
    );
}

#[tokio::test]
async fn client_of_a_fleet_cannot_write_its_map() {
    let redis = redis();
    let config = user(&redis, Role::Client);
    let (client, _replies) = open_client(&config, id(1), 8).await.unwrap();
    client.members().await.unwrap();
    // As a server its user may do nothing.
    let refused = open_server(&config.as_member(), &Arc::default()).await;
    let refused = refused.err().unwrap().to_string();
    assert!(
        refused.contains("NOPERM") && refused.contains("~conclib:{map}:fleet"),
        "{refused}"
    );
    let names = redis.config().keys().urns(0);
    for forbidden in [
        vec!["HSET", FLEET, "version", "1"],
        vec!["HDEL", FLEET, "version"],
        vec!["HINCRBY", FLEET, "version", "1"],
        vec!["DEL", FLEET],
        vec!["HSET", HEARTBEATS, "1", "1"],
        vec!["RPUSH", FLEET, "x"],
        vec!["HSET", &names, "ledger", "x"],
        vec!["UNLINK", &names],
        vec!["LREM", &names, "0", "x"],
        vec!["HSCAN", &names, "0"],
        vec!["HKEYS", &names],
        vec!["EVAL", "return 1", "0"],
        vec!["PUBLISH", "conclib:map", "1"],
        vec!["PSUBSCRIBE", "conclib:*"],
        vec!["SUBSCRIBE", "other:map"],
        vec!["HGETALL", "other:{map}:fleet"],
        vec!["GET", "conclib:{n:a}:epoch"],
        vec!["SET", "conclib:{n:a}:lease", "x"],
        vec!["XADD", "conclib:{n:a}:durable", "*", "a", "b"],
    ] {
        let reply = redis.0.command_as("client", "pw", &forbidden);
        assert!(reply.starts_with("-NOPERM"), "{forbidden:?}: {reply}");
    }
}

#[tokio::test]
async fn term_that_the_server_hides_is_empty() {
    let redis = redis();
    let config = user(&redis, Role::Proxy);
    redis.0.command(&["ACL", "SETUSER", "proxy", "-info"]);
    let server = open_server(&config, &Arc::default()).await.unwrap();
    let map = server.fleet();
    let id = joined(&*map, "a").await;
    let counters = map.heartbeat(id).await.unwrap().unwrap();
    assert_eq!(counters.server, ServerIdentity::default());
    assert_eq!(counters.heartbeats, [(id, Heartbeats(2))]);
}
