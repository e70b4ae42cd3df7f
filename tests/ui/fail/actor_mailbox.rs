use conclib::prelude::*;

#[derive(Actor)]
#[actor(mailbox = 0)]
struct Zero;

#[derive(Actor)]
#[actor(mailbox = "many")]
struct Text;

#[derive(Actor)]
#[actor(mailbox = 64u8)]
struct Suffix;

#[derive(Actor)]
#[actor(mailbox = 99999999999999999999)]
struct TooMany;

#[handlers]
impl Zero {}
#[handlers]
impl Text {}
#[handlers]
impl Suffix {}
#[handlers]
impl TooMany {}

fn main() {}
