//! The ACL rules of each role suffice for a whole run, and permit nothing else.

use std::time::Duration;

use conclib::bus::Role;
use conclib::daemon::RedisDaemon;
use conclib::prelude::*;
use conclib::{ConnectError, Proxy};
use conclib_tests::actors::Worker;
use conclib_tests::messages::{Double, Record, Recorded};
use conclib_tests::{ASK_TIMEOUT, eventually};

use crate::raw::User;

/// A Redis with three users only.
pub(crate) struct Locked {
    _redis: RedisDaemon,
    pub(crate) admin: User,
    pub(crate) actors: User,
    pub(crate) web: User,
}

impl Locked {
    pub(crate) async fn start() -> Self {
        let config = Config::new("redis://admin:top-secret@127.0.0.1:0").unwrap();
        let redis = start_redis(&config).await.unwrap();
        let port = redis.config().port().unwrap();
        let user = |name, password| User {
            port,
            name,
            password,
        };
        let locked = Self {
            _redis: redis,
            admin: user("admin", "top-secret"),
            actors: user("actors", "lights"),
            web: user("web", "browser"),
        };
        locked.grant().await;
        locked
    }

    /// Gives both users the rules of their roles.
    pub(crate) async fn grant(&self) {
        for (user, role) in [(self.actors, Role::Proxy), (self.web, Role::Client)] {
            let rules = config_of(user).acl(role);
            let User { name, password, .. } = user;
            let set = format!("ACL SETUSER {name} on >{password} {rules}");
            assert_eq!(self.admin.says(&set).await, "+OK");
        }
    }

    /// Adds rules to those of a user.
    pub(crate) async fn revoke(&self, user: &str, rules: &str) {
        let set = format!("ACL SETUSER {user} {rules}");
        assert_eq!(self.admin.says(&set).await, "+OK");
    }

    /// The remaining time of the lease.
    async fn lease(&self) -> Duration {
        let reply = self.admin.says("PTTL shop:{n:till}:lease").await;
        let millis = reply.trim_start_matches(':').parse();
        Duration::from_millis(millis.unwrap_or_default())
    }

    /// Checks that no command was refused but `INFO`, which the Redis library tries on each connection.
    pub(crate) async fn saw_no_refusal(&self) {
        let log = self.admin.says("ACL LOG 128").await;
        let after = |label: &str| -> Vec<String> {
            let mut lines = log.lines();
            let mut found = Vec::new();
            while lines.any(|line| line == label) {
                found.extend(lines.nth(1).map(str::to_owned)); // after its length
            }
            found
        };
        let refused = after("object");
        assert!(refused.iter().all(|what| what == "info"), "{refused:?}");
    }
}

pub(crate) fn config_of(user: User) -> Config {
    let User {
        port,
        name,
        password,
    } = user;
    let url = format!("redis://{name}:{password}@127.0.0.1:{port}");
    let config = Config::new(&url).unwrap().timeout(ASK_TIMEOUT);
    config.namespace("shop").node("till")
}

pub(crate) async fn serve(user: User) -> ActorSystem {
    serve_with_proxy(user).await.0
}

pub(crate) async fn serve_with_proxy(user: User) -> (ActorSystem, Proxy) {
    let system = ActorSystem::new();
    system.spawn(Worker::default()).await.unwrap();
    let proxy = start_proxy(&system, &config_of(user)).await.unwrap();
    (system, proxy)
}

pub(crate) async fn answers_again(client: &ProxyClient) {
    eventually("it is answered", async || {
        client.ask("worker", Double { n: 4 }).await == Ok(8)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_suffice_for_a_whole_run() {
    let locked = Locked::start().await;
    let system = serve(locked.actors).await;
    let client = ProxyClient::connect(&config_of(locked.web)).await.unwrap();
    assert_eq!(client.ask("worker", Double { n: 21 }).await, Ok(42));
    client.tell("worker", Record { n: 7 }).await.unwrap();
    assert_eq!(client.ask("worker", Recorded).await, Ok(vec![7]));

    let young = Duration::from_millis(5_200);
    eventually("the lease grows old", async || locked.lease().await < young).await;
    eventually("it is renewed", async || locked.lease().await > young).await;

    for kind in ["normal", "pubsub"] {
        let kill = format!("CLIENT KILL TYPE {kind}");
        assert_ne!(locked.admin.says(&kill).await, ":0", "{kind}");
        answers_again(&client).await;
    }

    // The next system takes over, and clears the leftovers of the one before.
    assert!(system.shutdown().await.is_clean());
    let asked = client.ask("worker", Double { n: 1 }).await;
    assert_eq!(asked, Err(AskError::NoResponder));
    let epochs = locked.admin.says("GET shop:{n:till}:epoch").await;
    let last = epochs.lines().last().unwrap();
    let epoch = last.split(':').next().unwrap(); // its owner follows
    let left = format!("shop:{{n:till}}:inbox:{epoch}");
    locked.admin.says(&format!("RPUSH {left} late")).await;
    let system = serve(locked.actors).await;
    answers_again(&client).await;
    let exists = format!("EXISTS {left}");
    eventually("what was left is gone", async || {
        locked.admin.says(&exists).await == ":0"
    })
    .await;
    client.shutdown().await;
    assert!(system.shutdown().await.is_clean());
    locked.saw_no_refusal().await;
}

/// The rules of `docs/security.md` for servers that do not understand the generated ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_rules_for_an_older_redis() {
    let page = include_str!("../../../docs/security.md");
    let line = page
        .lines()
        .find(|line| line.starts_with("user web on >secret "));
    let rules = line.unwrap().trim_start_matches("user web on >secret ");
    let locked = Locked::start().await;
    let rules = rules.replace("{n:main}", "{n:till}");
    let set = format!("ACL SETUSER web reset on >browser {rules}");
    assert_eq!(locked.admin.says(&set).await, "+OK");
    let system = serve(locked.actors).await;
    let client = ProxyClient::connect(&config_of(locked.web)).await.unwrap();
    assert_eq!(client.ask("worker", Double { n: 21 }).await, Ok(42));
    assert!(system.shutdown().await.is_clean());
    locked.saw_no_refusal().await;
}

/// The same for clients of a fleet: connecting reads the map and subscribes to its changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fleet_client_rules_for_an_older_redis() {
    let page = include_str!("../../../docs/security.md");
    let beginning = "user web on >another reset";
    let line = page.lines().find(|line| line.starts_with(beginning));
    let rules = line.unwrap().trim_start_matches("user web on >another ");
    let locked = Locked::start().await;
    let set = format!("ACL SETUSER web reset on >browser {rules}");
    assert_eq!(locked.admin.says(&set).await, "+OK");
    let User { port, .. } = locked.web;
    let config = Config::new(&format!("redis://web:browser@127.0.0.1:{port}")).unwrap();
    let config = config.namespace("shop").fleet();
    let client = ProxyClient::connect(&config).await.unwrap();
    client.shutdown().await;
    locked.saw_no_refusal().await;
}

/// The commands of durable messages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn durable_messages_under_the_rules() {
    let locked = Locked::start().await;
    for key in ["durable", "dead"] {
        let key = format!("shop:{{n:till}}:{key}");
        for command in [
            format!("XGROUP CREATE {key} actors 0 MKSTREAM"),
            format!("XADD {key} 1-1 frame one"),
            format!("XADD {key} 1-2 frame two"),
            format!("XLEN {key}"),
            format!("XREADGROUP GROUP actors one COUNT 9 STREAMS {key} >"),
            format!("XPENDING {key} actors - + 9"),
            format!("XCLAIM {key} actors two 0 1-1"),
            format!("XACK {key} actors 1-1"),
            format!("XRANGE {key} - +"),
            format!("XINFO CONSUMERS {key} actors"),
            format!("XGROUP DELCONSUMER {key} actors one"),
            format!("XDEL {key} 1-1"),
            format!("XTRIM {key} MAXLEN 1000"),
        ] {
            let reply = locked.actors.says(&command).await;
            assert!(!reply.starts_with('-'), "{command}: {reply}");
        }
    }
    let done = "shop:{n:till}:done:1";
    let delayed = "shop:{n:till}:delayed";
    for command in [
        format!("ZADD {delayed} 1000 member"),
        format!("ZCARD {delayed}"),
        format!("ZRANGE {delayed} 0 0"),
        format!("ZRANGE {delayed} -inf 2000 BYSCORE LIMIT 0 9"),
        format!("ZREM {delayed} member"),
        format!("SET {done} x PX 60000"),
        format!("GET {done}"),
        format!("MGET {done} {done}2"),
        "EVAL \"return redis.call('XLEN', KEYS[1])\" 1 shop:{n:till}:durable".to_owned(),
        format!("DEL {done}"),
    ] {
        let reply = locked.actors.says(&command).await;
        assert!(!reply.starts_with('-'), "{command}: {reply}");
    }
    let durable = "shop:{n:till}:durable";
    for (command, reply) in [
        (format!("XADD {durable} 2-1 frame three"), "$3\r\n2-1"),
        (format!("XLEN {durable}"), ":2"),
    ] {
        assert_eq!(locked.web.says(&command).await, reply);
    }
    locked.saw_no_refusal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_password_permits_asks_and_nothing_else() {
    let locked = Locked::start().await;
    let system = serve(locked.actors).await;
    let client = ProxyClient::connect(&config_of(locked.web)).await.unwrap();
    let epoch = locked.admin.says("GET shop:{n:till}:epoch").await;
    let epoch = epoch.lines().last().unwrap();
    let epoch = epoch.split(':').next().unwrap();
    let (lease, inbox) = (
        "shop:{n:till}:lease",
        format!("shop:{{n:till}}:inbox:{epoch}"),
    );
    let (durable, dead) = ("shop:{n:till}:durable", "shop:{n:till}:dead");
    let channel = "shop:{c:00000000000000000000000000000000}:reply";
    let forbidden = [
        // Requests of others.
        format!("BLMPOP 0.01 1 {inbox} LEFT"),
        format!("LMPOP 1 {inbox} LEFT"),
        format!("LPOP {inbox}"),
        format!("RPOP {inbox}"),
        format!("BLPOP {inbox} 0.01"),
        format!("LRANGE {inbox} 0 -1"),
        format!("LINDEX {inbox} 0"),
        format!("LLEN {inbox}"),
        format!("GET {inbox}"),
        format!("DEL {inbox}"),
        format!("UNLINK {inbox}"),
        format!("EXPIRE {inbox} 1"),
        format!("LPUSH {inbox} x"),
        format!("XADD {inbox} * a b"),
        format!("DUMP {inbox}"),
        format!("COPY {inbox} {inbox}2"),
        // The lease.
        format!("SET {lease} x"),
        format!("RPUSH {lease} x"),
        format!("DEL {lease}"),
        format!("PEXPIRE {lease} 1"),
        format!("RENAME {lease} {inbox}"),
        "GET shop:{n:till}:epoch".to_owned(),
        "SET shop:{n:till}:epoch 0".to_owned(),
        // Durable messages, their results, and dead letters.
        format!("XREAD STREAMS {durable} 0"),
        format!("XRANGE {durable} - +"),
        format!("XREADGROUP GROUP actors me STREAMS {durable} >"),
        format!("XTRIM {durable} MAXLEN 0"),
        format!("XDEL {durable} 1-1"),
        format!("XGROUP DESTROY {durable} actors"),
        format!("DEL {durable}"),
        format!("RPUSH {durable} x"),
        format!("GET {durable}"),
        format!("XADD {dead} * a b"),
        format!("XRANGE {dead} - +"),
        "SET shop:{n:till}:done:1 x".to_owned(),
        "GET shop:{n:till}:done:1".to_owned(),
        // Answers to others, and their channels.
        format!("PUBLISH {channel} forged"),
        format!("SPUBLISH {channel} forged"),
        "PSUBSCRIBE *".to_owned(),
        "PSUBSCRIBE shop:{c:*}:reply".to_owned(),
        "SUBSCRIBE __keyspace@0__:x".to_owned(),
        "SUBSCRIBE other:{c:00000000000000000000000000000000}:reply".to_owned(),
        "PUBSUB CHANNELS".to_owned(),
        "PUBSUB NUMSUB a".to_owned(),
        // Other namespaces and nodes.
        "GET conclib:{n:main}:lease".to_owned(),
        "GET shop:{n:main}:lease".to_owned(),
        "RPUSH conclib:{n:main}:inbox:1 x".to_owned(),
        "RPUSH shop:{n:main}:inbox:1 x".to_owned(),
        // The server.
        "EVAL \"return 1\" 0".to_owned(),
        "EVALSHA 0000000000000000000000000000000000000000 0".to_owned(),
        "FCALL f 0".to_owned(),
        "SCRIPT FLUSH".to_owned(),
        "CLIENT LIST".to_owned(),
        "CLIENT KILL TYPE normal".to_owned(),
        "CLIENT PAUSE 1000".to_owned(),
        "CLIENT NO-EVICT on".to_owned(),
        "CLIENT TRACKING on BCAST".to_owned(),
        "MONITOR".to_owned(),
        "KEYS *".to_owned(),
        "SCAN 0".to_owned(),
        "RANDOMKEY".to_owned(),
        "DBSIZE".to_owned(),
        "SELECT 1".to_owned(),
        "SWAPDB 0 1".to_owned(),
        "FLUSHALL".to_owned(),
        "INFO".to_owned(),
        "CONFIG GET *".to_owned(),
        "ACL WHOAMI".to_owned(),
        "ACL SETUSER web allcommands".to_owned(),
        "SHUTDOWN NOSAVE".to_owned(),
        "MULTI".to_owned(),
        "WAIT 1 1".to_owned(),
        "SLOWLOG GET".to_owned(),
    ];
    for command in forbidden {
        let reply = locked.web.says(&command).await;
        assert!(reply.starts_with("-NOPERM"), "{command}: {reply}");
    }
    assert_eq!(client.ask("worker", Double { n: 3 }).await, Ok(6));
    assert!(system.shutdown().await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_password_and_wrong_role_fail_at_once() {
    let locked = Locked::start().await;
    let stranger = User {
        password: "guessed",
        ..locked.web
    };
    let error = ProxyClient::connect(&config_of(stranger))
        .await
        .unwrap_err();
    let ConnectError::Unreachable { reason, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(reason.starts_with("WRONGPASS"), "{reason}");
    assert!(!format!("{error} {error:?}").contains("guessed"));
    let system = ActorSystem::new();
    let error = start_proxy(&system, &config_of(stranger))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("WRONGPASS"), "{error}");

    // A client may not serve.
    let error = start_proxy(&system, &config_of(locked.web))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("NOPERM"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_command_is_reported_as_not_executed() {
    let locked = Locked::start().await;
    let system = serve(locked.actors).await;
    let client = ProxyClient::connect(&config_of(locked.web)).await.unwrap();
    assert_eq!(client.ask("worker", Double { n: 3 }).await, Ok(6));
    let revoke = "ACL SETUSER web clearselectors";
    assert_eq!(locked.admin.says(revoke).await, "+OK");
    match client.ask("worker", Double { n: 3 }).await {
        Err(AskError::Unavailable { reason }) => {
            assert!(reason.starts_with("NOPERM"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    let told = client.tell("worker", Record { n: 3 }).await.unwrap_err();
    assert!(matches!(told, AskError::Unavailable { .. }));
    assert_eq!(client.in_flight(), 0);
    let rules = config_of(locked.web).acl(Role::Client);
    let grant = format!("ACL SETUSER web {rules}");
    assert_eq!(locked.admin.says(&grant).await, "+OK");
    answers_again(&client).await;
    assert_eq!(client.ask("worker", Recorded).await, Ok(vec![]));
    assert!(system.shutdown().await.is_clean());
}

/// A delayed message takes the same rights of its sender as any other durable one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delayed_message_under_the_rules() {
    let locked = Locked::start().await;
    let system = serve(locked.actors).await;
    let client = ProxyClient::connect(&config_of(locked.web)).await.unwrap();
    let told = client.tell("worker", Record { n: 7 });
    told.after(Duration::from_millis(300)).await.unwrap();
    assert_eq!(client.ask("worker", Recorded).await, Ok(Vec::new()));
    eventually("it waits in the set", async || {
        locked.admin.says("ZCARD shop:{n:till}:delayed").await == ":1"
    })
    .await;
    eventually("it is delivered", async || {
        client.ask("worker", Recorded).await == Ok(vec![7])
    })
    .await;
    let set = "ZCARD shop:{n:till}:delayed";
    assert_eq!(locked.admin.says(set).await, ":0");
    for command in [
        "ZADD shop:{n:till}:delayed 1 x",
        set,
        "ZREM shop:{n:till}:delayed x",
    ] {
        let reply = locked.web.says(command).await;
        assert!(reply.starts_with("-NOPERM"), "{command}: {reply}");
    }
    client.shutdown().await;
    assert!(system.shutdown().await.is_clean());
}
