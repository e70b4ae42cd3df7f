//! A fleet: three actor processes of one program, a web process, and a load that sees what becomes of its
//! requests while members restart and one is killed.
//!
//! `cargo run -p fleet` runs all of it, and prints a table.

pub mod load;
pub mod messages;
pub mod process;
