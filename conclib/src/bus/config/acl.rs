//! Redis access rules of each role.

use crate::bus::config::Config;
use crate::bus::keys::Keys;
use crate::bus::keys::Right;

/// The role that a Redis user is for: see [`Config::acl`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// The actor process: `start_proxy`.
    Proxy,
    /// A process that asks actors: `ProxyClient`.
    Client,
    /// A tool that shows the state of actor processes: [`Inspector`](crate::inspect::Inspector). It sees names and
    /// numbers, no contents of messages, and changes nothing.
    Observer,
    /// A tool that also acts on actor processes that [allow](Config::allow_admin) it, and reads, replays and deletes
    /// dead letters.
    Operator,
}

/// Rules of all roles. They first revoke earlier grants, so that applying them twice adds nothing; then
/// they allow what every connection needs: logging in, its name, and heartbeats.
const BASIC: &str = "-@all resetkeys resetchannels clearselectors \
                     +hello +ping +client|setname +client|id";

impl Config {
    /// The rules of a Redis user for this role, and for the namespace and the node of this config: the
    /// part after the name and the password in `ACL SETUSER`, or in a line of an ACL file.
    ///
    /// In a [fleet](Self::fleet) they are for all nodes of the namespace, since members come and go, and
    /// for the map of its members.
    ///
    /// They are for Redis 7 and Valkey. The page on [security](crate::docs::security) lists what each
    /// role can and cannot do with them, and the rules for Redis 6.2.
    ///
    /// ```
    /// use conclib::bus::Role;
    /// use conclib::Config;
    ///
    /// let config = Config::new("redis://localhost")?.namespace("shop");
    /// println!("user web on >secret {}", config.acl(Role::Client));
    /// println!("user actors on >another {}", config.acl(Role::Proxy));
    /// # assert!(config.acl(Role::Client).contains("~shop:{n:main}:inbox:*"));
    /// # Ok::<(), conclib::bus::ConfigError>(())
    /// ```
    pub fn acl(&self, role: Role) -> String {
        let keys = self.keys();
        let rules = match (role, self.is_in_fleet()) {
            (Role::Proxy, false) => proxy(&keys),
            (Role::Client, false) => client(&keys),
            (Role::Proxy, true) => member(&keys),
            (Role::Client, true) => fleet_client(&keys),
            (Role::Observer, false) => observer(&keys),
            (Role::Observer, true) => format!("{} {}", observer(&keys.of("*")), map_reader(&keys)),
            (Role::Operator, false) => operator(&keys),
            (Role::Operator, true) => format!("{} {}", operator(&keys.of("*")), map_reader(&keys)),
        };
        let database = if self.database() == 0 { "" } else { " +select" };
        format!("{BASIC}{database} {rules}")
    }
}

/// A client reads the lease, appends to inboxes, removes frames from them that it can repeat byte for
/// byte (its own requests), and receives replies on its own channel, whose name cannot be guessed.
/// Rules are in parentheses, so that each holds for its own keys only: a client that may append to a
/// list at the key of the durable messages could make that key unusable.
fn client(keys: &Keys) -> String {
    let (lease, inboxes) = (keys.lease(), keys.inboxes());
    let durable = keys.durable();
    let replies = keys.replies();
    format!(
        "+time +subscribe +unsubscribe &{replies} (+get %R~{lease}) (+rpush +lrem %W~{inboxes}) \
         (+xadd +xlen %W~{durable})"
    )
}

/// An observer appends to the lists of inspections, receives answers on its own channel, and reads the lease and the
/// lengths of lists and streams: no command reads the contents of a message.
fn observer(keys: &Keys) -> String {
    let (lease, replies) = (keys.lease(), keys.replies());
    let lists = keys.operator_lists(Right::Inspect);
    let (inboxes, delayed) = (keys.inboxes(), keys.delayed());
    let (durable, dead) = (keys.durable(), keys.dead_letters());
    format!(
        "+time +info +subscribe +unsubscribe &{replies} (+get %R~{lease}) \
         (+rpush +pexpire %W~{lists}) (+llen %R~{inboxes}) (+xlen %R~{durable} %R~{dead}) \
         (+zcard %R~{delayed})"
    )
}

/// An operator also appends to the lists of actions, sees durable messages, and replays and deletes dead letters.
fn operator(keys: &Keys) -> String {
    let lists = keys.operator_lists(Right::Admin);
    let (durable, dead) = (keys.durable(), keys.dead_letters());
    format!(
        "{} (+rpush +pexpire %W~{lists}) (+xrange +xpending +xinfo|consumers %R~{durable}) \
         (+xadd %W~{durable}) (+xrange +xdel ~{dead})",
        observer(keys)
    )
}

/// The part of the map of a fleet that says which members there are.
fn map_reader(keys: &Keys) -> String {
    format!("(+hget +hgetall %R~{})", keys.fleet())
}

/// A proxy owns the keys of its node, and publishes on every client's channel.
fn proxy(keys: &Keys) -> String {
    let patterns = [
        keys.lease(),
        keys.last_epoch(),
        keys.inboxes(),
        keys.operator_lists(Right::Inspect),
        keys.operator_lists(Right::Admin),
        keys.durable(),
        keys.delayed(),
        keys.dead_letters(),
        keys.of_node("done:*"),
    ];
    let patterns = patterns.map(|key| format!("~{key}")).join(" ");
    let replies = keys.replies();
    format!(
        "+time +info +eval +get +mget +set +del +unlink +pexpire +rpush +lpop +llen +blpop +blmpop +publish \
         +xadd +xlen +xrange +xdel +xtrim +xgroup|create +xgroup|delconsumer +xreadgroup +xack \
         +xclaim +xpending +xinfo|consumers +zadd +zcard +zrange +zrem {patterns} &{replies}"
    )
}

/// A member of a fleet deletes the inboxes of members that are gone, and keeps the map with scripts.
fn member(keys: &Keys) -> String {
    let nodes = proxy(&keys.of("*"));
    let (fleet, heartbeats) = (keys.fleet(), keys.heartbeats());
    let (urns, changes) = (keys.all_urns(), keys.map_changes());
    format!(
        "{nodes} +hget +hset +hsetnx +hdel +hexists +hkeys +hmget +hgetall +hscan \
         ~{fleet} ~{heartbeats} ~{urns} &{changes}"
    )
}

/// A client of a fleet has the rights of a client for the inboxes of all members, and reads the map. It sends
/// no durable messages.
fn fleet_client(keys: &Keys) -> String {
    let nodes = keys.of("*");
    let (lease, inboxes) = (nodes.lease(), nodes.inboxes());
    let (fleet, urns, changes) = (keys.fleet(), keys.all_urns(), keys.map_changes());
    let replies = keys.replies();
    format!(
        "+time +subscribe +unsubscribe &{replies} &{changes} (+get %R~{lease}) \
         (+rpush +lrem %W~{inboxes}) (+hget +hmget +hgetall %R~{fleet} %R~{urns})"
    )
}

#[cfg(all(test, feature = "redis"))]
mod tests {
    use super::*;

    const ALL: [Role; 4] = [Role::Proxy, Role::Client, Role::Observer, Role::Operator];

    /// The patterns of keys and channels.
    fn patterns(rules: &str) -> Vec<&str> {
        let rules = rules.split([' ', '(', ')']);
        let patterns = rules.filter_map(|rule| rule.split_once(['~', '&']));
        patterns.map(|(_, pattern)| pattern).collect()
    }

    #[test]
    fn rules_are_for_one_node_of_one_namespace() {
        let config = Config::new("redis://localhost").unwrap();
        let config = config.namespace("a.b:c-d_e").node("eu:1");
        for role in ALL {
            let rules = config.acl(role);
            assert!(!rules.contains("+select"));
            for pattern in patterns(&rules) {
                assert!(
                    pattern.starts_with("a.b:c-d_e:{n:eu:1}:")
                        || pattern == "a.b:c-d_e:{c:*}:reply",
                    "{pattern}"
                );
                // Nothing but the star at the end is special in a pattern of Redis.
                assert!(!pattern.contains(['?', '[', ']', '\\', '^']), "{pattern}");
            }
            assert_eq!(config.clone().fleet().acl(role), rules, "it is no member");
        }
        let other = Config::new("redis://localhost/3").unwrap();
        assert!(other.acl(Role::Client).contains("+select"));
    }

    #[test]
    fn rules_of_a_fleet_are_for_all_nodes_of_one_namespace() {
        let config = Config::new("redis://localhost").unwrap();
        let config = config.namespace("a.b:c-d_e");
        for role in ALL {
            let (alone, rules) = (config.acl(role), config.clone().fleet().acl(role));
            let alone = patterns(&alone);
            for pattern in patterns(&rules) {
                let of_main = pattern.replace("{n:*}", "{n:main}");
                let is_of_map = pattern.starts_with("a.b:c-d_e:{map}:");
                assert!(
                    alone.contains(&&*of_main) || is_of_map || pattern == "a.b:c-d_e:map",
                    "{pattern}"
                );
            }
        }
        let client = config.fleet().acl(Role::Client);
        for refused in [
            "publish",
            "eval",
            "hset",
            "hdel",
            "xadd",
            "durable",
            "%W~a.b:c-d_e:{map}",
        ] {
            assert!(!client.contains(refused), "{refused}");
        }
    }
}
