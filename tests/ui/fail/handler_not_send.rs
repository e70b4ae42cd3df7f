use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
struct ExampleActor;

#[handlers]
impl ExampleActor {
    #[handler]
    async fn beat(&mut self, _: Beat) {
        let shared = std::rc::Rc::new(1);
        tokio::task::yield_now().await;
        drop(shared);
    }
}

fn main() {}
