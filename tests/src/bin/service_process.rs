//! A service: `service_process <redis url> [instance=NAME] [stand-by] [slow] [fails] [mortal]`. It
//! prints `turn <token>` when it makes its actors, and `made` when it has. With `slow` it makes them
//! once a line comes in, with `fails` it cannot, with `mortal` its actor ends the service.

use std::time::Duration;

use conclib::prelude::*;
use conclib::service::Service;
use conclib_tests::actors::{GatedActor, Worker};
use conclib_tests::messages::Explode;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> RunEnd {
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
    service
        .run(|system| make_actors(system, slow, fails, mortal))
        .await
}

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
