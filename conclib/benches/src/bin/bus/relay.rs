//! A longer way to a server: `bus relay <port> <nanoseconds>`.
//!
//! It prints its own port. Bytes that arrive at one side leave at the other that much later, in order
//! and at any rate: bytes on their way do not hold up later ones. It ends when its
//! standard input does.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use clap::Args;
use conclib_benches::children::when_input_ends;

use crate::Problem;

/// The most bytes of one read.
const CHUNK: usize = 256 * 1024;

/// The task of a relaying process.
#[derive(Debug, Args)]
pub(crate) struct Order {
    /// The port of the server.
    port: u16,
    /// The delay in each direction.
    nanoseconds: u64,
}

/// Bytes on their way.
struct Chunk {
    bytes: Vec<u8>,
    /// The time at which they leave.
    due: Instant,
}

pub(crate) fn main(order: &Order) -> Result<(), Problem> {
    sleep_exactly();
    come_first();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?.port());
    when_input_ends(|| std::process::exit(0));
    serve(
        &listener,
        order.port,
        Duration::from_nanos(order.nanoseconds),
    )
}

/// Linux lets a thread sleep 50 µs longer than it asked for, unless it is told not to; threads
/// inherit it. Where that is not supported, the delay is a little longer.
fn sleep_exactly() {
    let _ = std::fs::write("/proc/self/timerslack_ns", "1000");
}

/// Raises the priority, so that busy processors do not make the delay longer. Only root may do this; for
/// other users the delay is less exact.
#[cfg(unix)]
fn come_first() {
    let _ = rustix::process::setpriority_process(None, -10);
}

#[cfg(not(unix))]
fn come_first() {}

fn serve(listener: &TcpListener, target: u16, delay: Duration) -> Result<(), Problem> {
    loop {
        let (near, _) = listener.accept()?;
        let far = TcpStream::connect((Ipv4Addr::LOCALHOST, target))?;
        lead(near.try_clone()?, far.try_clone()?, delay)?;
        lead(far, near, delay)?;
    }
}

/// One direction of a connection, on two threads, so that reading never waits for bytes on their way.
fn lead(from: TcpStream, to: TcpStream, delay: Duration) -> Result<(), Problem> {
    to.set_nodelay(true)?;
    let (sender, chunks) = channel();
    thread::spawn(move || take(from, &sender, delay));
    thread::spawn(move || give(&chunks, to));
    Ok(())
}

fn take(mut from: TcpStream, chunks: &Sender<Chunk>, delay: Duration) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let due = Instant::now() + delay;
        let bytes = buffer[..length].to_vec();
        if chunks.send(Chunk { bytes, due }).is_err() {
            return;
        }
    }
}

fn give(chunks: &Receiver<Chunk>, mut to: TcpStream) {
    for chunk in chunks {
        sleep(chunk.due.saturating_duration_since(Instant::now()));
        if to.write_all(&chunk.bytes).is_err() {
            break;
        }
    }
    // One end has closed: close the other end, too.
    let _ = to.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_later_and_in_order() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let target = server.local_addr().expect("its address").port();
        let relay = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let own = relay.local_addr().expect("its address").port();
        let delay = Duration::from_millis(20);
        thread::spawn(move || serve(&relay, target, delay));

        let mut near = TcpStream::connect((Ipv4Addr::LOCALHOST, own)).expect("the relay");
        let (mut far, _) = server.accept().expect("the other side of the relay");
        let began = Instant::now();
        for byte in 0..100 {
            near.write_all(&[byte]).expect("to be written");
        }
        let mut bytes = [0; 100];
        far.read_exact(&mut bytes).expect("to be read");
        let took = began.elapsed();
        assert!(took >= delay, "{took:?}");
        assert!(bytes.iter().copied().eq(0..100));

        drop(near);
        assert_eq!(
            far.read(&mut bytes).expect("to be read"),
            0,
            "the end is relayed"
        );
    }
}
