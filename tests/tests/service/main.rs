//! The life of an actor process: its turn, its actors, and its end.

mod ends;
mod held;
mod instances;
mod logs;
mod runs;
mod ticks;
mod turns;
