use super::env::format_duration;
use super::*;
use crate::time::duration::parse_duration;

fn from(variables: &[(&str, &str)]) -> Config {
    Config::from_variables(|name| {
        variables
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).into())
    })
}

fn address(config: &Config) -> &RedisAddress {
    match &config.bus {
        Bus::Redis(address) => address,
        Bus::Local(_) => panic!("a memory bus"),
    }
}

#[test]
fn default_is_the_local_redis() {
    let config = from(&[]);
    assert!(config.check().is_ok());
    assert_eq!(*address(&config), RedisAddress::local());
    assert_eq!(config.timeout, Duration::from_secs(5));
}

#[cfg(feature = "redis")]
#[test]
fn variables_are_read() {
    let config = from(&[
        ("CONCLIB_REDIS_URL", "redis://u:p%40ss+1@10.0.0.1:7000/3"),
        ("CONCLIB_NAMESPACE", "shop"),
        ("CONCLIB_NODE", "eu-1"),
        ("CONCLIB_TIMEOUT", "250ms"),
    ]);
    assert!(config.check().is_ok());
    let address = address(&config);
    let node = address.node().unwrap();
    assert_eq!((&*node.host, node.port), ("10.0.0.1", 7000));
    assert_eq!(address.username.as_deref(), Some("u"));
    assert_eq!(address.password.as_deref(), Some("p@ss+1"));
    assert_eq!(address.database, 3);
    assert_eq!((&*config.namespace, &*config.node), ("shop", "eu-1"));
    assert_eq!(config.timeout, Duration::from_millis(250));
}

#[cfg(feature = "redis")]
#[test]
fn variables_reproduce_the_config_in_another_process() {
    for url in [
        "redis://localhost:6379",
        "redis://u%3A:p%40ss%20+%2F1@10.0.0.1:7000/3",
        "redis://:secret@[::1]:1/0",
        "redis://x%26y:a%26b@host",
        "redis://user@host.internal",
        "redis://localhost/4000000000",
        "unix://me:p%40%2F@/run/a%20b@c/redis.sock?db=3",
        "redis-sentinel://me:secret@a:1,[::1]:2,c/my%2Fmain/3?sentinel=you:%26",
    ] {
        let config = Config::new(url).unwrap();
        let config = match url {
            "redis://user@host.internal" => config.password_file("/run/secrets/redis"),
            _ => config,
        };
        let config = config
            .namespace("shop")
            .node("eu-1")
            .timeout(Duration::from_millis(1250));
        let variables = config.variables();
        let read = Config::from_variables(|name| {
            let variable = variables.iter().find(|(key, _)| *key == name)?;
            Some(variable.1.clone().into())
        });
        assert!(read.check().is_ok());
        assert_eq!(*address(&read), *address(&config));
        assert_eq!((read.namespace, read.node), (config.namespace, config.node));
        assert_eq!(read.timeout, config.timeout);
        assert_eq!(read.access, config.access);
    }
    assert!(Config::memory().variables().is_empty());
}

#[cfg(feature = "redis")]
#[test]
fn fleet_and_its_lack_of_a_node_are_passed_on() {
    // The child inherits the variables of its parent.
    let inherited = [("CONCLIB_NODE", "eu-1"), ("CONCLIB_FLEET", "true")];
    let child_of = |config: &Config| {
        let variables = config.variables();
        Config::from_variables(|name| {
            let set = variables.iter().find(|(key, _)| *key == name);
            let inherited = inherited.iter().find(|(key, _)| *key == name);
            let value = set.map(|(_, value)| &**value);
            value.or(inherited.map(|(_, value)| *value)).map(Into::into)
        })
    };
    let config = Config::new("redis://host").unwrap();
    for (config, is_in_fleet) in [
        (config.clone(), false),
        (config.clone().fleet(), true),
        (config.clone().fleet().node("main"), false),
    ] {
        let child = child_of(&config);
        assert!(child.check().is_ok());
        assert_eq!((child.is_in_fleet(), &*child.node), (is_in_fleet, "main"));
    }
    let child = child_of(&config).fleet();
    assert!(child.is_in_fleet(), "its node is not chosen");
}

#[test]
fn fleet_is_read() {
    for (value, is_in_fleet) in [
        ("1", true),
        ("true", true),
        ("0", false),
        ("false", false),
        ("", false),
    ] {
        let config = from(&[("CONCLIB_FLEET", value)]);
        assert!(config.check().is_ok());
        assert_eq!(config.is_in_fleet(), is_in_fleet, "{value}");
        assert!(format!("{config:?}").contains(&format!("fleet: {is_in_fleet}")));
        let of_node = from(&[("CONCLIB_FLEET", value), ("CONCLIB_NODE", "main")]);
        assert!(!of_node.is_in_fleet());
    }
}

#[test]
fn permission_of_operators_is_read_and_not_passed_on() {
    assert!(!Config::memory().operators.allows_admin);
    for (value, allows) in [("1", true), ("true", true), ("0", false), ("", false)] {
        let config = from(&[("CONCLIB_ADMIN", value)]);
        assert!(config.check().is_ok());
        assert_eq!(config.operators.allows_admin, allows, "{value}");
        let mut variables = config.variables().into_iter();
        assert!(variables.all(|(name, _)| name != "CONCLIB_ADMIN"));
    }
}

#[test]
fn member_has_a_node_of_its_own() {
    let node = |config: &Config| config.as_member().node;
    let config = Config::memory();
    assert_eq!(node(&config), "main");
    assert_eq!(node(&config.clone().fleet().node("eu-1")), "eu-1");
    let config = config.fleet();
    let (one, other) = (config.as_member(), config.as_member());
    assert!(one.is_in_fleet() && one.check().is_ok());
    assert_ne!(one.node, other.node);
    assert_eq!(node(&one), one.node);
    for member in [one, other] {
        let digits = member.node.strip_prefix("m-").unwrap();
        assert_eq!(digits.len(), 12, "{digits}");
    }
    assert_eq!(node(&config.instance("worker-0")), "worker-0");
}

#[cfg(feature = "tls")]
#[test]
fn rediss_url_enables_tls() {
    let config = Config::new("rediss://u:p@host/1").unwrap();
    let config = config
        .ca_file("ca.pem")
        .client_certificate("c.pem", "k.pem");
    let variables = config.variables();
    let read = Config::from_variables(|name| {
        let variable = variables.iter().find(|(key, _)| *key == name)?;
        Some(variable.1.clone().into())
    });
    assert!(read.check().is_ok());
    assert!(address(&read).tls);
    assert_eq!(*address(&read), *address(&config));
    // The other process may run elsewhere.
    assert!(read.access.ca.unwrap().is_absolute());
    assert!(format!("{config:?}").contains("rediss://"));
}

#[cfg(unix)]
#[test]
fn variable_that_is_not_utf8_is_an_error() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    for wrong in [
        "CONCLIB_REDIS_URL",
        "CONCLIB_NAMESPACE",
        "CONCLIB_REDIS_PASSWORD_FILE",
    ] {
        let latin = || OsString::from_vec(b"/etc/caf\xe9".to_vec());
        let read = Config::from_variables(|name| (name == wrong).then(latin));
        let error = read.check().unwrap_err().to_string();
        assert!(error.ends_with("must be valid UTF-8"), "{error}");
    }
}

#[cfg(all(feature = "redis", not(feature = "tls")))]
#[test]
fn tls_needs_its_feature() {
    let error = Config::new("rediss://host").unwrap_err().to_string();
    assert!(error.contains("feature `tls`"), "{error}");
}

#[cfg(feature = "redis")]
#[test]
fn parts_of_a_url_without_a_meaning_are_refused() {
    for (url, hint) in [
        ("redis://host?db=3", "write the database as `/3`"),
        ("redis://host/3?ssl=true", "TLS as `rediss://`"),
        ("redis://host#3", "write the database as `/3`"),
        ("redis://:pass#word@host", "`%23`"),
        ("redis://host/x", "the database must be a number"),
        ("redis://host/+3", "the database must be a number"),
        ("redis://host/4294967296", "the database must be a number"),
        ("redis://%ff:secret@host", "the user must be valid UTF-8"),
        ("redis://me:%ff@host", "the password must be valid UTF-8"),
        ("unix://run/redis.sock", "with a path from the root"),
        ("unix:///run/redis.sock?password=x", "`?db=3`"),
        ("redis-sentinel://a:26379", "names no service"),
        (
            "redis-sentinel://a:26379/main?sentinel=web",
            "the Sentinels' user has no password",
        ),
        (
            "redis-sentinel://a:26379/main?db=3",
            "the Sentinels' own user",
        ),
        ("redis-sentinel://a:x/main", "invalid port number"),
        ("redis-cluster://a:7000", "a single Redis"),
    ] {
        let error = Config::new(url).unwrap_err().to_string();
        assert!(error.contains(hint), "{url}: {error}");
    }
    let named = Config::new("redis://web@host").unwrap().check();
    let error = named.unwrap_err().to_string();
    assert!(error.contains("`default`"), "{error}");
}

#[cfg(feature = "redis")]
#[test]
fn user_and_password_are_read_whole() {
    let config = Config::new("valkey://x&y:a&b=c;d@host").unwrap();
    let address = address(&config);
    assert_eq!(address.username.as_deref(), Some("x&y"));
    assert_eq!(address.password.as_deref(), Some("a&b=c;d"));
}

#[cfg(feature = "redis")]
#[test]
fn sentinels_are_read() {
    let url = "redis-sentinel://web:secret@a,[::1]:7,c:26380/main?sentinel=:other";
    let config = Config::new(url).unwrap();
    let address = address(&config);
    let ServerLocation::Sentinels(sentinels) = &address.location else {
        panic!("{address:?}");
    };
    let nodes: Vec<_> = sentinels.nodes.iter().map(ToString::to_string).collect();
    assert_eq!(nodes, ["a:26379", "[::1]:7", "c:26380"]);
    assert_eq!(sentinels.service, "main");
    assert_eq!(sentinels.username, None);
    assert_eq!(sentinels.password.as_deref(), Some("other"));
    assert_eq!(address.username.as_deref(), Some("web"));
    assert_eq!(address.password.as_deref(), Some("secret"));
    let shown = format!("{config:?}");
    assert!(
        !shown.contains("secret") && !shown.contains("other"),
        "{shown}"
    );
}

#[cfg(feature = "redis")]
#[test]
fn ipv6_address_is_shown_in_brackets() {
    let config = Config::new("redis://:secret@[::1]:7000/1").unwrap();
    assert_eq!(address(&config).location.to_string(), "[::1]:7000");
    let shown = format!("{:?}", address(&config));
    assert_eq!(shown, "redis://***@[::1]:7000/1");
}

#[test]
fn error_names_the_wrong_variable() {
    for (name, value) in [
        ("CONCLIB_REDIS_URL", "http://localhost"),
        ("CONCLIB_REDIS_URL", "redis://localhost/x"),
        ("CONCLIB_REDIS_URL", "redis://"),
        ("CONCLIB_NAMESPACE", "with space"),
        ("CONCLIB_NODE", "{braces}"),
        ("CONCLIB_FLEET", "yes"),
        ("CONCLIB_ADMIN", "yes"),
        ("CONCLIB_TIMEOUT", "soon"),
        ("CONCLIB_TIMEOUT", "0s"),
    ] {
        let error = from(&[(name, value)]).check().unwrap_err();
        assert!(error.to_string().starts_with(name), "{error}");
    }
}

#[test]
fn bounds_of_durable_messages_are_checked() {
    let config = Config::memory;
    for wrong in [
        config().visibility_timeout(Duration::from_millis(99)),
        config().visibility_timeout(25 * HOUR),
        config().retry_backoff(Backoff::from_secs(1).up_to(25 * HOUR)),
        config().missing_timeout(Duration::from_millis(99)),
        config().missing_timeout(721 * HOUR),
        config().max_deliveries(0),
        config().result_ttl(Duration::from_millis(999)),
        config().result_ttl(31 * 24 * HOUR),
        config().max_stream_len(0),
    ] {
        assert!(wrong.check().is_err(), "{wrong:?}");
    }
    let right = config()
        .visibility_timeout(Duration::from_millis(100))
        .retry_backoff(Backoff::from_secs(1).up_to(24 * HOUR))
        .missing_timeout(720 * HOUR)
        .max_deliveries(1)
        .result_ttl(Duration::from_secs(1))
        .max_stream_len(1);
    assert!(right.check().is_ok());
}

#[cfg(not(feature = "redis"))]
#[test]
fn redis_needs_its_feature() {
    for url in ["redis://localhost:6379", "redis://me:hunter2@host"] {
        let expected = "the URL is wrong: conclib was built without its feature `redis`";
        assert_eq!(Config::new(url).unwrap_err().to_string(), expected);
        let error = from(&[("CONCLIB_REDIS_URL", url)]).check().unwrap_err();
        let expected = "CONCLIB_REDIS_URL is wrong: conclib was built without its feature `redis`";
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn durations_are_written_as_they_are_read() {
    for (duration, text) in [
        (Duration::ZERO, "0s"),
        (Duration::from_secs(5), "5s"),
        (Duration::from_millis(1250), "1s 250ms"),
        (Duration::new(0, 1_002_003), "1ms 2us 3ns"),
        (Duration::MAX, "18446744073709551615s 999ms 999us 999ns"),
    ] {
        assert_eq!(format_duration(duration), text);
        assert_eq!(parse_duration(text), Ok(duration));
    }
}

#[cfg(feature = "redis")]
#[test]
fn secrets_are_never_printed() {
    let config = Config::new("redis://me:hunter2@localhost:1").unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    for url in [
        "redis://me:hunter2@localhost:port",
        "hunter2:me@localhost",
        "me:hunter2@localhost",
    ] {
        let error = Config::new(url).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
