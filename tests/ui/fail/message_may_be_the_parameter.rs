use conclib::prelude::*;

#[derive(ActorMessage)]
#[message(local)]
struct Flush;

#[derive(Actor)]
struct Batcher<M>(Vec<M>);

#[handlers]
impl<M: ActorMessage<Response = ()>> Batcher<M> {
    #[handler]
    fn any(&mut self, message: M) {
        self.0.push(message);
    }

    #[handler]
    fn flush(&mut self, _: Flush) {
        self.0.clear();
    }
}

fn main() {}
