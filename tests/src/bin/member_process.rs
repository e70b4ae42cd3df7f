//! A member of a fleet: `member_process <log> [alone] [kind:urn]...` has these actors, and serves until
//! SIGTERM. Its settings come from the environment. It prints `ready` when it has made its actors, and
//! `refused` with the error if it is `alone` and another process serves its node: it does not stand by then.
//!
//! | kind | actor |
//! |---|---|
//! | `shared` | one that the members share |
//! | `listed` | one that a member lists |
//! | `private` | one that no other process reaches, named `private` |
//! | `parent` | a listed one with a child, `<urn>-child` |
//! | `pool` | a listed pool of two workers |

use std::fs::{File, OpenOptions};
use std::process::{ExitCode, Termination};
use std::sync::Arc;
use std::time::Duration;

use conclib::pool::Pool;
use conclib::prelude::*;
use conclib_tests::fleet::{Visit, record_execution};
use tokio::time::sleep;

/// The part of every actor here that executes requests.
#[derive(Clone)]
struct Executor {
    member: String,
    /// Shared by all members.
    log: Arc<File>,
}

impl Executor {
    async fn execute(&self, visit: Visit) -> Result<String, Failure> {
        record_execution(&self.log, visit, &self.member)?;
        if visit.nap > 0 {
            sleep(Duration::from_millis(visit.nap)).await;
        }
        Ok(self.member.clone())
    }
}

/// An actor with a URN of the test's choice.
#[derive(Actor)]
#[actor(mailbox = 1024)]
struct Desk(Executor);

#[handlers]
impl Desk {
    #[handler]
    async fn visit(&mut self, visit: Visit) -> Result<String, Failure> {
        self.0.execute(visit).await
    }
}

#[derive(Actor)]
#[actor(urn = "private", private)]
struct Private(Executor);

#[handlers]
impl Private {
    #[handler]
    async fn visit(&mut self, visit: Visit) -> Result<String, Failure> {
        self.0.execute(visit).await
    }
}

/// An actor with a child.
#[derive(Actor)]
struct Parent {
    executor: Executor,
    child: String,
}

#[handlers]
impl Parent {
    async fn on_start(&mut self, ctx: &mut Context<Self>) -> Result<(), Failure> {
        let child = Desk(self.executor.clone());
        ctx.spawn(child).urn(&*self.child).await?;
        Ok(())
    }

    #[handler]
    async fn visit(&mut self, visit: Visit) -> Result<String, Failure> {
        self.executor.execute(visit).await
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    serve().await.unwrap_or_else(|failure| {
        println!("refused {failure}");
        ExitCode::FAILURE
    })
}

async fn serve() -> Result<ExitCode, Failure> {
    let mut arguments = std::env::args().skip(1).peekable();
    let log = arguments.next().unwrap_or_default();
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    let executor = Executor {
        member: std::env::var("CONCLIB_INSTANCE").unwrap_or_default(),
        log: Arc::new(log),
    };
    let config = Config::from_env()?.instance(&executor.member);
    if arguments.next_if_eq("alone").is_some() {
        return serve_alone(&config).await;
    }
    let names: Vec<_> = arguments.collect();
    let make = async move |system: ActorSystem| {
        for name in &names {
            spawn(&system, &executor, name).await?;
        }
        println!("ready");
        Ok(())
    };
    Ok(run(config, make).await.report())
}

/// Serves without actors, unless another process serves the node.
async fn serve_alone(config: &Config) -> Result<ExitCode, Failure> {
    let system = ActorSystem::new();
    let proxy = start_proxy(&system, config).await?;
    println!("ready");
    proxy.stopped().await;
    Ok(ExitCode::SUCCESS)
}

/// Makes the actor that an argument names.
async fn spawn(system: &ActorSystem, executor: &Executor, name: &str) -> Result<(), Failure> {
    let executor = executor.clone();
    let Some((kind, urn)) = name.split_once(':') else {
        return Err(Failure::msg(format!("`{name}` is no kind and URN")));
    };
    let urn = urn.to_owned();
    match kind {
        "shared" => drop(system.spawn(Desk(executor)).urn(urn).shared().await?),
        "listed" => drop(system.spawn(Desk(executor)).urn(urn).await?),
        "private" => drop(system.spawn(Private(executor)).await?),
        "parent" => {
            let child = format!("{urn}-child");
            drop(system.spawn(Parent { executor, child }).urn(urn).await?);
        }
        "pool" => {
            let worker = move || {
                let executor = executor.clone();
                async move { Desk(executor) }
            };
            drop(system.spawn(Pool::new(2, worker)).urn(urn).await?);
        }
        _ => return Err(Failure::msg(format!("`{kind}` is no kind"))),
    }
    Ok(())
}
