//! Commands for Redis, encoded (RESP2), on their way to a socket.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use crate::bus::transport::Frame;

/// A part of an argument of at least this length is written from its own memory. A shorter one is
/// copied.
const SHARED_LEN: usize = 4 * 1024;

/// Number of parts that are written at a time.
const MAX_PARTS: usize = 64;

/// Memory that is kept for the next commands.
const KEPT_MEMORY: usize = 16 * 1024;

/// Encoded commands that wait to be written.
#[derive(Default)]
pub(super) struct CommandBuffer {
    /// Parts to be written before `tail`.
    parts: VecDeque<Bytes>,
    tail: BytesMut,
}

/// Encodes commands, each by [`begin`](Self::begin) and as many arguments as that has said.
pub(in crate::bus::redis) struct Commands<'a> {
    output: &'a mut CommandBuffer,
    /// Number of commands.
    count: usize,
    /// Number of arguments that are still to come.
    missing: usize,
}

impl<'a> Commands<'a> {
    pub(super) fn new(output: &'a mut CommandBuffer) -> Self {
        Self {
            output,
            count: 0,
            missing: 0,
        }
    }

    /// The number of commands that were encoded.
    pub(super) fn count(&self) -> usize {
        debug_assert_eq!(self.missing, 0, "a command lacks arguments");
        self.count
    }

    /// Begins a command with that number of arguments.
    pub(in crate::bus::redis) fn begin(&mut self, name: &str, arguments: usize) -> &mut Self {
        debug_assert_eq!(self.missing, 0, "the command before lacks arguments");
        self.count += 1;
        self.missing = arguments + 1;
        self.output.length(b'*', arguments + 1);
        self.bytes(name.as_bytes())
    }

    /// An argument that is copied.
    pub(in crate::bus::redis) fn bytes(&mut self, argument: &[u8]) -> &mut Self {
        self.missing -= 1;
        self.output.length(b'$', argument.len());
        self.output.tail.reserve(argument.len() + 2);
        self.output.tail.put_slice(argument);
        self.output.tail.put_slice(b"\r\n");
        self
    }

    pub(in crate::bus::redis) fn text(&mut self, argument: &str) -> &mut Self {
        self.bytes(argument.as_bytes())
    }

    pub(in crate::bus::redis) fn number(&mut self, argument: u64) -> &mut Self {
        let mut digits = [0; 20];
        let digits = write_digits(argument, &mut digits);
        self.bytes(digits)
    }

    /// An argument whose large parts are not copied.
    pub(in crate::bus::redis) fn frame(&mut self, argument: &Frame) -> &mut Self {
        self.missing -= 1;
        self.output.length(b'$', argument.len());
        for part in argument.parts() {
            if part.len() < SHARED_LEN {
                self.output.tail.extend_from_slice(part);
            } else {
                let before = self.output.tail.split().freeze();
                self.output.parts.extend([before, part.clone()]);
            }
        }
        self.output.tail.extend_from_slice(b"\r\n");
        self
    }
}

impl CommandBuffer {
    fn length(&mut self, kind: u8, length: usize) {
        let mut digits = [0; 20];
        let digits = write_digits(length as u64, &mut digits);
        self.tail.reserve(digits.len() + 3);
        self.tail.put_u8(kind);
        self.tail.put_slice(digits);
        self.tail.put_slice(b"\r\n");
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.tail.is_empty()
    }

    /// Writes as much as the socket takes; ready when all is written.
    pub(super) fn poll_write(
        &mut self,
        mut socket: Pin<&mut (dyn AsyncWrite + Send + Unpin)>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let written = if self.parts.is_empty() {
                ready!(socket.as_mut().poll_write(cx, &self.tail))?
            } else {
                let mut slices = [IoSlice::new(&[]); MAX_PARTS];
                let parts = self.parts.iter().map(|part| &part[..]);
                let mut used = 0;
                for (slice, part) in slices.iter_mut().zip(parts.chain([&self.tail[..]])) {
                    *slice = IoSlice::new(part);
                    used += 1;
                }
                ready!(socket.as_mut().poll_write_vectored(cx, &slices[..used]))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        if self.tail.capacity() > KEPT_MEMORY {
            self.tail = BytesMut::new();
        }
        socket.poll_flush(cx)
    }

    /// Removes bytes that were written.
    fn advance(&mut self, mut written: usize) {
        while let Some(part) = self.parts.front_mut() {
            if written < part.len() {
                return part.advance(written);
            }
            written -= part.len();
            self.parts.pop_front();
        }
        if written == self.tail.len() {
            self.tail.clear(); // keeps its memory
        } else {
            self.tail.advance(written);
        }
    }
}

fn write_digits(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::bus::transport::Parts;

    #[tokio::test]
    async fn commands_arrive_whole_through_a_narrow_socket() {
        let large = Bytes::from(vec![b'x'; 3 * SHARED_LEN]);
        let mut output = CommandBuffer::default();
        let mut commands = Commands::new(&mut output);
        commands.begin("PING", 0);
        commands.begin("RPUSH", 4).text("inbox");
        let parts = [
            Bytes::from_static(b"<"),
            large.clone(),
            Bytes::from_static(b">"),
        ];
        commands
            .frame(&Parts::from_iter(parts).into())
            .frame(&Bytes::from_static(b"\r\n").into());
        commands.number(u64::MAX);
        commands.begin("BLPOP", 2).text("ä").number(0);
        assert_eq!(commands.count(), 3);
        let mut expected =
            b"*1\r\n$4\r\nPING\r\n*5\r\n$5\r\nRPUSH\r\n$5\r\ninbox\r\n$12290\r\n<".to_vec();
        expected.extend_from_slice(&large);
        expected.extend_from_slice(b">\r\n$2\r\n\r\n\r\n$20\r\n18446744073709551615\r\n");
        expected.extend_from_slice("*3\r\n$5\r\nBLPOP\r\n$2\r\nä\r\n$1\r\n0\r\n".as_bytes());

        let (mut here, mut there) = tokio::io::duplex(100);
        let write = poll_fn(|cx| output.poll_write(Pin::new(&mut here), cx));
        let mut arrived = vec![0; expected.len()];
        let (written, read) = tokio::join!(write, there.read_exact(&mut arrived));
        written.unwrap();
        read.unwrap();
        assert_eq!(arrived, expected);
        assert!(output.is_empty());
    }
}
