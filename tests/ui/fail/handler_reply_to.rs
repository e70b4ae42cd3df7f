use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = u32)]
struct Double(u32);

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = u64)]
struct Half;

#[derive(Actor)]
struct ExampleActor;

#[handlers]
impl ExampleActor {
    #[handler]
    fn other_message(&mut self, _: Half, reply: ReplyTo<Double>) {
        reply.send(1);
    }

    #[handler]
    fn reply_first(&mut self, reply: ReplyTo<Double>, _: Double) {
        reply.send(1);
    }
}

fn main() {}
