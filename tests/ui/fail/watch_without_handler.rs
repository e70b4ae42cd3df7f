use conclib::prelude::*;

#[derive(Actor)]
struct Worker;

#[handlers]
impl Worker {}

#[derive(Actor)]
struct Manager {
    worker: ActorRef<Worker>,
}

#[handlers]
impl Manager {
    fn on_start(&mut self, ctx: &mut Context<Self>) {
        ctx.watch(&self.worker);
    }
}

fn main() {}
