//! The process that replies: `bus respond <peer> <port>`.
//!
//! It prints `ready` when it can be asked, and ends when its standard input does, so that none is left
//! behind by a parent that was killed.

use std::io::{Read, Write};

use clap::Args;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::Problem;
use crate::children::READY;
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
        Peer::Conclib => Runtime::new()?.block_on(async {
            let (sender, stop) = oneshot::channel::<()>();
            when_input_ends(move || drop(sender));
            let stop = async { drop(stop.await) };
            conclib::respond(port, say_ready, stop).await
        }),
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

fn say_ready() {
    println!("{READY}");
    // A parent that is gone shows at the input.
    let _ = std::io::stdout().flush();
}

/// Calls `then` from a thread of its own.
pub(crate) fn when_input_ends(then: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        // Every result of the read is an end.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        then();
    });
}
