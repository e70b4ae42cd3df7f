use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
struct ExampleActor;

#[derive(Actor)]
struct Other;

#[handlers]
impl Other {}

#[handlers]
impl ExampleActor {
    #[handler]
    fn beat(&mut self, _: Beat, ctx: &mut Context<Other>) {
        ctx.stop();
    }
}

fn main() {}
