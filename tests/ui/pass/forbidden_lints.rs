//! A crate that forbids what expansions of macros often allow themselves. (Those of serde do: its
//! traits are implemented by hand here.)
#![forbid(
    ambiguous_associated_items,
    dead_code,
    deprecated,
    elided_lifetimes_in_paths,
    explicit_outlives_requirements,
    missing_copy_implementations,
    missing_debug_implementations,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    private_bounds,
    private_interfaces,
    redundant_lifetimes,
    single_use_lifetimes,
    trivial_casts,
    trivial_numeric_casts,
    unit_bindings,
    unnameable_types,
    unreachable_code,
    unreachable_pub,
    unsafe_code,
    unused_imports,
    unused_lifetimes,
    unused_qualifications,
    unused_results,
    unused_variables,
    variant_size_differences
)]
#![forbid(rust_2018_idioms, unused, warnings)]

use conclib::{Actor, ActorMessage, Context, Failure, Reply, RequestEnvelope, StopReason};
use conclib::{handler, handlers};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A message.
#[derive(ActorMessage, Debug, Clone, Copy)]
#[message(response = u32)]
pub struct Double {
    /// To be doubled.
    pub n: u32,
}

/// A message without contents.
#[derive(ActorMessage, Debug, Clone, Copy)]
pub struct Beat(pub ());

/// A message that stays here.
#[derive(ActorMessage, Debug, Clone, Copy)]
#[message(local, response = Result<T, std::fmt::Error>)]
pub struct Put<T>(pub T);

/// A message that says of what it is.
#[derive(ActorMessage, Debug, Clone, Copy)]
#[message(name = "Set<{T},{N}>")]
pub struct Set<T, const N: usize>(pub T);

/// Writes and reads a message that has one field.
macro_rules! serde_as_number {
    ($($message:ty: $field:tt as $number:ty = $make:expr,)*) => {
        $(
            impl Serialize for $message {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    self.$field.serialize(serializer)
                }
            }

            impl<'de> Deserialize<'de> for $message {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    <$number>::deserialize(deserializer).map($make)
                }
            }
        )*
    };
}

serde_as_number! {
    Double: n as u32 = |n| Self { n },
    Beat: 0 as () = Self,
    Set<u8, 3>: 0 as u8 = Self,
}

/// An actor that others see.
#[derive(Actor, Debug, Clone, Copy)]
#[actor(urn = "public", mailbox = 2, private)]
#[periodic(tick = Beat(()), every = "1s")]
pub struct Public;

#[handlers]
impl Public {
    async fn on_start(&mut self, _ctx: &mut Context<Self>) -> Result<(), Failure> {
        Ok(())
    }

    async fn on_stop(&mut self, _ctx: &mut Context<Self>, _reason: &StopReason) {}

    fn on_failure(&mut self, _failure: &Failure) {}

    /// A handler that others call.
    #[handler]
    pub async fn double(&mut self, message: Double) -> u32 {
        message.n * 2
    }

    #[handler]
    fn beat(&mut self, _: Beat) {}

    #[handler]
    fn set(&mut self, _: Set<u8, 3>) {}

    #[handler]
    async fn raw(&mut self, envelope: RequestEnvelope) {
        drop(envelope);
    }
}

/// A generic one.
#[derive(Actor, Debug, Clone, Copy)]
pub struct Generic<T> {
    value: T,
}

#[handlers]
impl<T: Copy + Send + 'static> Generic<T> {
    #[handler]
    async fn put(&mut self, Put(value): Put<T>) -> Result<T, std::fmt::Error> {
        self.value = value;
        Ok(self.value)
    }

    #[handler]
    fn double(&mut self, message: Double, reply: Reply<u32>) {
        reply.send(message.n);
    }
}

/// A private actor.
#[derive(Actor, Debug, Clone, Copy)]
struct Private;

#[handlers]
impl Private {
    #[handler]
    fn beat(&mut self, _: Beat) {}
}

fn main() {
    let system = conclib::ActorSystem::new();
    drop(system.spawn(Private));
    drop(system.spawn(Generic { value: 1 }));
}
