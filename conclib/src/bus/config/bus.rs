//! The buses that a configuration can name.

use std::fmt;
use std::sync::Arc;

use crate::bus::config::RedisAddress;
use crate::bus::keys::Keys;
use crate::bus::transport::monitor::BusView;
use crate::bus::transport::stream::DeadLetterStore;
use crate::bus::transport::{ClientTransport, OperatorTransport, ReplySink, ServerTransport};
use crate::reply::remote::ClientId;

/// A configured bus.
#[derive(Clone)]
pub(crate) enum Bus {
    Redis(RedisAddress),
    /// A bus within this process; every clone of the config leads to the same one.
    Local(Arc<dyn LocalBus>),
}

/// A bus within this process. A trait, so that a configuration names no implementation.
pub(crate) trait LocalBus: Send + Sync {
    /// Opens the actor system's end of a node.
    fn server(self: Arc<Self>, keys: Keys) -> Arc<dyn ServerTransport>;

    /// Opens a client's end; its replies go to `replies` until it is closed, and so do notices of changes of
    /// the map if there is a channel for these.
    fn client(
        self: Arc<Self>,
        keys: Keys,
        client: ClientId,
        map_changes: Option<String>,
        replies: Arc<dyn ReplySink>,
    ) -> Arc<dyn ClientTransport>;

    /// Opens an operator's end; the answers go to `answers` until it is closed.
    fn operator(
        self: Arc<Self>,
        keys: Keys,
        client: ClientId,
        answers: Arc<dyn ReplySink>,
    ) -> Arc<dyn OperatorTransport>;

    /// The dead letters of a node.
    fn dead_letters(self: Arc<Self>, keys: Keys) -> Arc<dyn DeadLetterStore>;

    /// The bus as a tool sees it; the keys are those of a namespace.
    fn view(self: Arc<Self>, keys: Keys) -> Arc<dyn BusView>;
}

/// Wraps both ends of a local bus, as fault injection does.
#[cfg_attr(
    not(feature = "test-util"),
    allow(dead_code, reason = "fault injection is the only layer")
)]
pub(crate) trait TransportLayer: fmt::Debug + Send + Sync {
    fn server(&self, inner: Arc<dyn ServerTransport>) -> Arc<dyn ServerTransport>;

    /// `open` opens the inner end, with a sink of the layer.
    fn client(
        &self,
        client: ClientId,
        replies: Arc<dyn ReplySink>,
        open: &dyn Fn(Arc<dyn ReplySink>) -> Arc<dyn ClientTransport>,
    ) -> Arc<dyn ClientTransport>;

    fn operator(&self, inner: Arc<dyn OperatorTransport>) -> Arc<dyn OperatorTransport>;
}
