//! The parts of an actor system that its actors know: their registry, and the failures of its roots.

pub(crate) mod escalations;
pub(crate) mod registry;
