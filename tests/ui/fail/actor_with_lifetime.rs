use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

#[derive(Actor)]
struct Named<'a>(&'a str);

#[handlers]
impl<'a> Named<'a> {
    #[handler]
    fn beat(&mut self, _: Beat) {}
}

#[derive(Actor)]
struct Elided<'a>(&'a str);

#[handlers]
impl Elided<'_> {
    #[handler]
    fn beat(&mut self, _: Beat) {}
}

fn main() {}
