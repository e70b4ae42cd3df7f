//! What each role may do in Redis.

use crate::bus::config::Config;
use crate::bus::transport::Names;

/// Who a Redis user is for: see [`Config::acl`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// The actor process: `start_proxy`.
    Proxy,
    /// A process that asks: `ProxyClient`.
    Client,
}

/// First what was granted before is taken away, so that granting again doubles nothing. Then what
/// every connection needs: to log in, to name itself, to show that it lives.
const BASIC: &str = "-@all resetkeys resetchannels clearselectors \
                     +hello +ping +client|setname +client|id";

impl Config {
    /// The rules of a Redis user for this role, and for the namespace and the node of this config:
    /// what follows the name and the password in `ACL SETUSER`, or in a line of an ACL file.
    ///
    /// They are for Redis 7 and Valkey. `docs/security.md` says what each role can and cannot do
    /// with them, and what to write for Redis 6.2.
    ///
    /// ```
    /// use conclib::{Config, Role};
    ///
    /// let config = Config::new("redis://localhost")?.namespace("shop");
    /// println!("user web on >secret {}", config.acl(Role::Client));
    /// println!("user actors on >another {}", config.acl(Role::Proxy));
    /// # assert!(config.acl(Role::Client).contains("~shop:{n:main}:inbox:*"));
    /// # Ok::<(), conclib::ConfigError>(())
    /// ```
    pub fn acl(&self, role: Role) -> String {
        let names = Names::new(self);
        let rules = match role {
            Role::Proxy => proxy(&names),
            Role::Client => client(&names),
        };
        let database = if self.database() == 0 { "" } else { " +select" };
        format!("{BASIC}{database} {rules}")
    }
}

/// Reads the lease, appends to inboxes, takes out of them what it can write down byte for byte (its own
/// requests), and hears its own channel, whose name nobody guesses. In
/// parentheses, so that what is good for one key is not for another: who may append to a list at
/// the key of the durable messages could bar them.
fn client(names: &Names) -> String {
    let (lease, inboxes) = (names.lease(), names.inboxes());
    let durable = names.of_node("durable");
    let replies = names.replies();
    format!(
        "+time +subscribe +unsubscribe &{replies} (+get %R~{lease}) (+rpush +lrem %W~{inboxes}) \
         (+xadd +xlen %W~{durable})"
    )
}

/// Owns the keys of its node, and answers on every client's channel.
fn proxy(names: &Names) -> String {
    let keys = [
        names.lease(),
        names.last_epoch(),
        names.inboxes(),
        names.of_node("durable"),
        names.of_node("dead"),
        names.of_node("done:*"),
    ];
    let keys = keys.map(|key| format!("~{key}")).join(" ");
    let replies = names.replies();
    format!(
        "+time +eval +get +mget +set +del +unlink +pexpire +rpush +lpop +blpop +blmpop +publish \
         +xadd +xlen +xrange +xdel +xtrim +xgroup|create +xgroup|delconsumer +xreadgroup +xack \
         +xclaim +xpending +xinfo|consumers {keys} &{replies}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_for_one_node_of_one_namespace() {
        let config = Config::new("redis://localhost").unwrap();
        let config = config.namespace("a.b:c-d_e").node("eu:1");
        for role in [Role::Proxy, Role::Client] {
            let rules = config.acl(role);
            assert!(!rules.contains("+select"));
            let patterns = rules
                .split([' ', '(', ')'])
                .filter_map(|rule| rule.split_once(['~', '&']));
            for (_, pattern) in patterns {
                assert!(
                    pattern.starts_with("a.b:c-d_e:{n:eu:1}:")
                        || pattern == "a.b:c-d_e:{c:*}:reply",
                    "{pattern}"
                );
                // Nothing but the star at the end is special in a pattern of Redis.
                assert!(!pattern.contains(['?', '[', ']', '\\', '^']), "{pattern}");
            }
        }
        let other = Config::new("redis://localhost/3").unwrap();
        assert!(other.acl(Role::Client).contains("+select"));
    }
}
