//! A service whose mistake is to fail on bad requests.

use conclib::prelude::*;

/// Asks for the number in a text.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone)]
#[message(response = u32)]
pub struct Parse(pub String);

/// Fails on each text that is no number.
#[derive(Actor, Debug)]
#[actor(urn = "desk")]
pub struct Desk;

#[handlers]
impl Desk {
    #[handler]
    fn parse(&mut self, Parse(text): Parse) -> Result<u32, Failure> {
        Ok(text.parse()?)
    }
}
