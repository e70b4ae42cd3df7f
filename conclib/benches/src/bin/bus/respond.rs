//! The process that replies: `bus respond <peer> <port>`.
//!
//! It prints `ready` when it can be asked, and ends when its standard input does, so that none is left
//! behind by a parent that was killed.

use clap::Args;
use conclib_benches::Problem;
use conclib_benches::children::{READY, say, when_input_ends};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::peers::traces::Traces;
use crate::peers::{Peer, conclib, naive, nats, raw};

/// The task of a responding process.
#[derive(Debug, Args)]
pub(crate) struct Order {
    /// The way in which requests are carried.
    peer: Peer,
    /// Leads to the server.
    port: u16,
}

pub(crate) fn main(&Order { peer, port }: &Order) -> Result<(), Problem> {
    match peer {
        Peer::Conclib => respond_by_conclib(port, Traces::Off),
        Peer::ConclibTraced => respond_by_conclib(port, Traces::Sampled),
        Peer::Nats => {
            when_input_ends(|| std::process::exit(0));
            Runtime::new()?.block_on(nats::respond(port, say_ready))
        }
        Peer::NaiveLoop => {
            when_input_ends(|| std::process::exit(0));
            Runtime::new()?.block_on(naive::respond(port, say_ready))
        }
        Peer::RawSockets => {
            when_input_ends(|| std::process::exit(0));
            raw::respond(port, say_ready)
        }
    }
}

fn respond_by_conclib(port: u16, traces: Traces) -> Result<(), Problem> {
    Runtime::new()?.block_on(async {
        let (sender, stop) = oneshot::channel::<()>();
        when_input_ends(move || drop(sender));
        let stop = async { drop(stop.await) };
        conclib::respond(port, traces, say_ready, stop).await
    })
}

fn say_ready() {
    say(READY);
}
