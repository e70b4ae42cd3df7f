use conclib::prelude::*;

#[derive(ActorMessage)]
#[message(local)]
struct Socket;

fn over_the_bus<M: conclib::message::RemoteMessage>(_: M) {}

fn main() {
    over_the_bus(Socket);
}
