//! Names of Redis keys and channels.

use std::fmt::Write;

use crate::reply::remote::ClientId;

/// A lease term of a node: greater than every term before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Epoch(pub(crate) u64);

/// A right that clients do not have. The bus lets only users with that right write into its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// Sees the state of a process, and changes nothing.
    Inspect,
    /// Acts on a process.
    Admin,
}

/// The key and channel names of one node in its namespace; the braces keep a node's keys in one
/// cluster slot.
#[derive(Debug, Clone)]
#[cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "a bus in memory needs few of them")
)]
pub(crate) struct Keys {
    namespace: String,
    node: String,
}

#[cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "a bus in memory needs few of them")
)]
impl Keys {
    pub(crate) fn new(namespace: &str, node: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            node: node.to_owned(),
        }
    }

    /// True for the name of a namespace, node or instance: 1 to 64 letters, digits, `_`, `-`, `.` or `:`.
    /// None of these is special in a key, a channel, or a pattern of keys.
    pub(crate) fn is_name(name: &str) -> bool {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_-.:".contains(c);
        (1..=64).contains(&name.len()) && name.chars().all(is_allowed)
    }

    /// The names of another node of the namespace; of `*`, patterns for all nodes, for access rules.
    pub(crate) fn of(&self, node: &str) -> Self {
        Self::new(&self.namespace, node)
    }

    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// A key of the node.
    pub(crate) fn of_node(&self, name: &str) -> String {
        format!("{}:{{n:{}}}:{name}", self.namespace, self.node)
    }

    pub(crate) fn lease(&self) -> String {
        self.of_node("lease")
    }

    /// The last epochs that were given out, so that the next is greater and finds their inboxes.
    pub(crate) fn last_epoch(&self) -> String {
        self.of_node("epoch")
    }

    pub(crate) fn inbox(&self, epoch: Epoch) -> String {
        format!("{}:{{n:{}}}:inbox:{}", self.namespace, self.node, epoch.0)
    }

    /// The pattern of every inbox, for access rules.
    pub(crate) fn inboxes(&self) -> String {
        self.of_node("inbox:*")
    }

    /// The list beside the inbox for requests with a right. No pattern of a client's rules matches it.
    pub(crate) fn operator_list(&self, right: Right, epoch: Epoch) -> String {
        let name = list_name(right);
        format!("{}:{{n:{}}}:{name}:{}", self.namespace, self.node, epoch.0)
    }

    /// The pattern of all these lists of a right, for access rules.
    pub(crate) fn operator_lists(&self, right: Right) -> String {
        self.of_node(&format!("{}:*", list_name(right)))
    }

    /// The inbox of an epoch, and the lists beside it.
    pub(crate) fn lists(&self, epoch: Epoch) -> [String; 3] {
        let [admin, inspect] =
            [Right::Admin, Right::Inspect].map(|right| self.operator_list(right, epoch));
        [self.inbox(epoch), admin, inspect]
    }

    /// The stream of durable messages.
    pub(crate) fn durable(&self) -> String {
        self.of_node("durable")
    }

    /// The sorted set of messages that wait for their due times.
    pub(crate) fn delayed(&self) -> String {
        self.of_node("delayed")
    }

    /// The stream of dead letters.
    pub(crate) fn dead_letters(&self) -> String {
        self.of_node("dead")
    }

    /// The cached result of an acknowledged durable message.
    pub(crate) fn result_cache(&self, dedup_key: &str) -> String {
        format!("{}:{{n:{}}}:done:{dedup_key}", self.namespace, self.node)
    }

    /// The hash of a fleet's members, and of the counters of its map. All keys of the map are in one cluster
    /// slot.
    pub(crate) fn fleet(&self) -> String {
        format!("{}:{{map}}:fleet", self.namespace)
    }

    /// The hash of the heartbeats of a fleet's members.
    pub(crate) fn heartbeats(&self) -> String {
        format!("{}:{{map}}:heartbeats", self.namespace)
    }

    /// The hash of the listed names of a shard, and their members.
    pub(crate) fn urns(&self, shard: u8) -> String {
        format!("{}:{{map}}:urns:{shard}", self.namespace)
    }

    /// The pattern of the hashes of all shards, for access rules.
    pub(crate) fn all_urns(&self) -> String {
        format!("{}:{{map}}:urns:*", self.namespace)
    }

    /// The channel on which changes of the map are announced.
    pub(crate) fn map_changes(&self) -> String {
        format!("{}:map", self.namespace)
    }

    /// A client's reply channel.
    pub(crate) fn reply(&self, client: ClientId) -> String {
        let mut hex = String::with_capacity(32);
        for byte in client.0 {
            let _ = write!(hex, "{byte:02x}"); // writing to a String cannot fail
        }
        format!("{}:{{c:{hex}}}:reply", self.namespace)
    }

    /// The pattern of every client's reply channel, for access rules.
    pub(crate) fn replies(&self) -> String {
        format!("{}:{{c:*}}:reply", self.namespace)
    }
}

fn list_name(right: Right) -> &'static str {
    match right {
        Right::Inspect => "inspect",
        Right::Admin => "admin",
    }
}
