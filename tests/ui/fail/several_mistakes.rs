use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
struct ExampleActor;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = u32)]
struct Double(u32);

#[handlers]
impl ExampleActor {
    async fn on_strat(&mut self) {}

    #[handler]
    fn by_value(self, _: Beat) {}

    #[handler]
    fn nothing(&mut self) {}

    #[handler]
    fn double(&mut self, message: Double) -> u32 {
        message.0 * 2
    }
}

fn main() {
    // Correct handlers are still generated.
    let _ = ExampleActor.double(Double(1));
    let system = ActorSystem::new();
    let _ = system.ask("example", Double(1));
    let _ = async { system.spawn(ExampleActor).await.unwrap().tell(Double(1)).await };
}
