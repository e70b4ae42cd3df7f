use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
struct ExampleActor;

#[handlers]
impl ExampleActor {
    fn on_start(&mut self) -> Result<(), String> {
        Ok(())
    }

    async fn on_stop(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn on_failure(&mut self) -> bool {
        true
    }
}

fn main() {}
