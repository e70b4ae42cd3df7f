//! Runtimes that end before their actors do, runtimes without timers, and runtimes within a handler.

mod ends;
mod nested;
mod without_timers;
