use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Stop;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Flush;

#[derive(Actor)]
struct ExampleActor;

#[handlers]
impl ExampleActor {
    #[handler]
    fn no_message_left(&mut self, #[cfg(any())] _: Beat) {}

    #[cfg_attr(all(), handler)]
    fn by_value(self, _: Stop) {}

    #[cfg_attr(any(), handler)]
    fn no_handler(self, _: Stop) {}

    #[handler]
    fn too_many(&mut self, _: Flush, #[cfg(all())] _more: &u8, #[cfg(any())] _less: &u8) {}
}

fn main() {}
