//! Many members in one process: `fleet crowd <port> <systems> <names>`.
//!
//! It prints `ready` when all names are listed, and ends when its input does.

use clap::Args;
use conclib::prelude::*;
use conclib::{Config, Proxy};
use conclib_benches::children::{READY, say, when_input_ends};
use tokio::runtime::Runtime;

use crate::Problem;
use crate::actors::{Customer, config};
use crate::member::{spawn_customers, until_listed};

/// The task of a process with many members.
#[derive(Debug, Args)]
pub(crate) struct Order {
    /// Leads to Redis.
    port: u16,
    /// The number of actor systems.
    systems: u64,
    /// The number of listed names of each.
    names: u64,
    /// Each system serves a node of its own instead.
    #[arg(long)]
    plain: bool,
}

/// An actor system, and what it has.
struct Served {
    _system: ActorSystem,
    _proxy: Proxy,
    actors: Vec<ActorRef<Customer>>,
}

pub(crate) fn main(order: &Order) -> Result<(), Problem> {
    when_input_ends(|| std::process::exit(0));
    Runtime::new()?.block_on(async {
        let config = config(order.port, order.plain)?;
        let mut all = Vec::new();
        for number in 0..order.systems {
            all.push(serve(number, order, &config).await?);
        }
        if !order.plain {
            for served in &all {
                until_listed(&served.actors).await;
            }
        }
        say(READY);
        std::future::pending().await
    })
}

async fn serve(number: u64, order: &Order, config: &Config) -> Result<Served, Problem> {
    let name = format!("member-{number}");
    let config = if order.plain {
        config.clone().node(name)
    } else {
        config.clone().instance(name)
    };
    let system = ActorSystem::new();
    let proxy = start_proxy(&system, &config).await?;
    let first = number * order.names;
    let actors = spawn_customers(&system, first..first + order.names).await;
    Ok(Served {
        _system: system,
        _proxy: proxy,
        actors,
    })
}
