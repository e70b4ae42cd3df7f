//! Inspection and operation of actor processes.
//!
//! - [`message`]: queries, answers and actions; [`order`]: filters and orders (pure)
//! - [`member`]: answers them in the process that is inspected, beside its actors
//! - [`inspector`]: the asking end, in another process

mod inspector;
pub(crate) mod member;
pub(crate) mod message;
mod order;
#[cfg(test)]
mod tests;

pub use inspector::{
    ActorOf, Audit, FleetActors, FromMember, InspectError, Inspector, MemberAddress, MemberStage,
};
