//! The frameworks, each as its own documentation recommends to use it.

mod actix;
mod conclib;
mod crossfire;
mod kameo;
mod ractor;
mod tokio_actors;
mod tokio_mpsc;
mod xtra;

pub(crate) use actix::Actix;
pub(crate) use conclib::{Conclib, Registered};
pub(crate) use crossfire::Crossfire;
pub(crate) use kameo::Kameo;
pub(crate) use ractor::Ractor;
pub(crate) use tokio_actors::TokioActors;
pub(crate) use tokio_mpsc::TokioMpsc;
pub(crate) use xtra::Xtra;
