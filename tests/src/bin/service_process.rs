//! A service: `service_process <redis url> [instance=NAME] [stand-by] [slow] [fails] [mortal]
//! [closure=MILLISECONDS] [blocks]`. It prints `turn <token>` when it makes its actors, and `made` when it
//! has. With `slow` it makes them once a line comes in, with `fails` it cannot, with `mortal` its actor ends
//! the service. With `closure` a closure of an actor takes so long from the signal on, and prints `closure
//! ended`; with `blocks` a handler blocks a thread of the runtime for ever. Its log goes to the standard
//! output too: lines that begin with their text.

use std::time::Duration;

use conclib::prelude::*;
use conclib::service::Service;
use conclib_tests::actors::{GatedActor, Worker};
use conclib_tests::messages::Explode;
use tracing_subscriber::filter::LevelFilter;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> RunEnd {
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .with_ansi(false)
        .with_level(false)
        .with_target(false)
        .without_time()
        .init();
    let mut arguments = std::env::args().skip(1);
    let config = Config::new(&arguments.next().unwrap_or_default());
    let options: Vec<_> = arguments.collect();
    let has = |option: &str| options.iter().any(|given| given == option);
    let instance = options
        .iter()
        .find_map(|given| given.strip_prefix("instance="));
    let config = config.map(|config| match instance {
        Some(instance) => config.instance(instance),
        None => config,
    });
    let mut service = Service::new(config).shutdown_timeout(Duration::from_secs(2));
    if has("stand-by") {
        service = service.stand_by_again();
    }
    let (slow, fails, mortal) = (has("slow"), has("fails"), has("mortal"));
    let closure = options
        .iter()
        .find_map(|given| given.strip_prefix("closure=")?.parse().ok());
    let blocks = has("blocks");
    service
        .run(async |system| {
            if closure.is_some() || blocks {
                let closure = closure.map(Duration::from_millis);
                system.spawn(Busy { closure }).await?;
            }
            make_actors(system, slow, fails, mortal).await
        })
        .await
}

/// An actor with work that cannot be interrupted: a closure that takes this long once the actor stops, or
/// a handler that does not end.
#[derive(Actor)]
#[actor(urn = "busy")]
struct Busy {
    closure: Option<Duration>,
}

#[handlers]
impl Busy {
    async fn on_start(&mut self, ctx: &mut Context<Self>) {
        let Some(time) = self.closure else {
            return ctx.actor_ref().try_tell(Block).expect("it has room");
        };
        let (begins, begun) = tokio::sync::oneshot::channel();
        let closure = ctx.spawn_blocking(move |cancel| {
            let _ = begins.send(());
            while !cancel.is_cancelled() {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(time);
            println!("closure ended");
        });
        tokio::spawn(closure);
        begun.await.expect("it begins");
    }

    #[handler]
    fn block(&mut self, _: Block) {
        loop {
            std::thread::park();
        }
    }
}

#[derive(ActorMessage)]
#[message(local)]
struct Block;

async fn make_actors(
    system: ActorSystem,
    slow: bool,
    fails: bool,
    mortal: bool,
) -> Result<(), Failure> {
    println!("turn {}", system.token().unwrap_or(0));
    if slow {
        line_came_in().await?;
    }
    if fails {
        return Err(Failure::msg("there is no disk"));
    }
    system.spawn(GatedActor::closed().0).await?;
    let worker = system.spawn(Worker::default()).escalate().await?;
    if mortal {
        worker.tell(Explode).await?;
    }
    println!("made");
    Ok(())
}

/// Waits for a line, on a thread for which the end of the process does not wait.
async fn line_came_in() -> Result<(), Failure> {
    let (sender, came_in) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        drop(std::io::stdin().read_line(&mut String::new()));
        sender.send(())
    });
    Ok(came_in.await?)
}
