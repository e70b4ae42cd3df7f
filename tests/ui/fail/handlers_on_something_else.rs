use conclib::prelude::*;

#[handlers]
struct ExampleActor;

#[handlers]
fn beat() {}

#[handlers]
trait Beating {}

fn main() {}
