//! Programs that must compile, in the edition of this crate. They say `conclib`, and for that name
//! one line is enough.

#![allow(
    clippy::all,
    clippy::pedantic,
    missing_debug_implementations,
    unreachable_pub,
    reason = "they are about names, bounds and attributes"
)]

extern crate cl as conclib;

#[path = "../../ui/pass/attributes.rs"]
mod attributes;
#[path = "../../ui/pass/bounds.rs"]
mod bounds;
#[path = "../../ui/pass/generic_over_messages.rs"]
mod generic_over_messages;
#[path = "../../ui/pass/macros.rs"]
mod macros;
#[path = "../../ui/pass/names.rs"]
mod names;

#[test]
fn names_are_put_together() {
    names::main();
    macros::main();
}
