use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
#[periodic(tick = Beat, cron = "often")]
#[periodic(tick = Beat, cron = "0 61 * * * *")]
#[periodic(tick = Beat, cron = "0 0 0 30 2 *")]
#[periodic(tick = Beat, cron = 5)]
#[periodic(tick = Beat, cron = "0 */5 * * * *", first = "after")]
#[periodic(tick = Beat, every = "5m", cron = "0 */5 * * * *")]
#[periodic(tick = Beat, missed = "skip")]
struct ExampleActor;

#[handlers]
impl ExampleActor {
    #[handler]
    fn beat(&mut self, _: Beat) {}
}

fn main() {}
