use conclib::prelude::*;

#[derive(Actor)]
#[actor(urn = "")]
struct Empty;

#[derive(Actor)]
#[actor(urn = "two words")]
struct TwoWords;

#[derive(Actor)]
#[actor(urn = "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu")]
struct TooLong;

#[handlers]
impl Empty {}
#[handlers]
impl TwoWords {}
#[handlers]
impl TooLong {}

fn main() {}
