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
    fn answers_twice(&mut self, _: Double, reply: Reply<u32>) -> u32 {
        reply.send(1);
        1
    }

    #[handler]
    fn other_type(&mut self, _: Half, reply: Reply<u64>) {
        reply.send(1);
    }
}

fn main() {}
