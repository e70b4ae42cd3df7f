//! A ticker that tells an actor the time every 200 ms. A ticker calls any closure; for an actor
//! that only needs regular messages, `periodic` is simpler.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct PrintTime {
    since_1970: Duration,
}

#[derive(Actor)]
#[actor(urn = "print_time_actor")]
struct PrintTimeActor;

#[handlers]
impl PrintTimeActor {
    #[handler]
    fn print_time(&mut self, message: PrintTime) {
        println!("{:.1} s since 1970", message.since_1970.as_secs_f64());
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let system = ActorSystem::new();
    let actor = system.spawn(PrintTimeActor).await?;

    let ticker = Ticker::every(Duration::from_millis(200))
        .name("clock")
        .start(move || {
            let actor = actor.clone();
            async move {
                let since_1970 = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                if let Err(error) = actor.tell(PrintTime { since_1970 }).await {
                    eprintln!("{error}: {}", error.reason());
                }
            }
        });

    tokio::time::sleep(Duration::from_secs(1)).await;
    ticker.shutdown().await; // dropping it would do as well
    system.shutdown().await;
    Ok(())
}
