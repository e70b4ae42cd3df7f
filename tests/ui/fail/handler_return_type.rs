use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
struct ExampleActor;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = u32)]
struct Double(u32);

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = u32)]
struct Half;

#[handlers]
impl ExampleActor {
    #[handler]
    fn beat(&mut self, _: Beat) -> u32 {
        1
    }

    #[handler]
    async fn double(&mut self, message: Double) -> Result<u32, String> {
        Ok(message.0 * 2)
    }

    #[handler]
    async fn nothing(&mut self, _: Half) {}
}

fn main() {}
