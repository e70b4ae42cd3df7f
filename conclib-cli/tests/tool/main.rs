//! The tool as a process, against actors in another one (that of the tests), over a real Redis.
#![cfg(unix)]

mod actions;
mod asks;
mod dead_letters;
mod inspections;
mod looks;
mod measured;
mod refusals;
mod roles;
mod schemas;
mod support;
mod top;
