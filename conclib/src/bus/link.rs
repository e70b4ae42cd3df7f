//! Parts that both ends of a connection to the bus are made of: clocks, windows, estimates, health and logs.

pub(crate) mod concurrency;
pub(crate) mod ewma;
pub(crate) mod health;
pub(crate) mod log_once;
pub(crate) mod ordered;
pub(crate) mod outage;
pub(crate) mod server_clock;
