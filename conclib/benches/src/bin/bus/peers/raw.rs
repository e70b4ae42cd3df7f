//! The cost of Redis and the sockets alone: blocking, without a runtime, for one caller.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::Problem;

const REQUESTS: &[u8] = b"raw:requests";
const REPLIES: &[u8] = b"raw:replies";

/// The timeout of a reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that speaks as much of Redis' protocol as is needed here.
struct Connection {
    stream: BufReader<TcpStream>,
    /// The command that is being written.
    command: Vec<u8>,
}

impl Connection {
    fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
            command: Vec::new(),
        })
    }

    /// Puts a command behind those that wait to be sent.
    fn add(&mut self, words: &[&[u8]]) -> io::Result<()> {
        write!(self.command, "*{}\r\n", words.len())?;
        for word in words {
            write!(self.command, "${}\r\n", word.len())?;
            self.command.extend_from_slice(word);
            self.command.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    /// Sends waiting commands, in one write.
    fn send(&mut self) -> io::Result<()> {
        self.stream.get_mut().write_all(&self.command)?;
        self.command.clear();
        Ok(())
    }

    /// One line of the protocol, and the number in it: a length or an integer.
    fn number(&mut self) -> io::Result<usize> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let number = line.get(1..).and_then(|rest| rest.trim_end().parse().ok());
        number.ok_or_else(|| io::Error::other(format!("Redis said {line:?}")))
    }

    /// An array: its last element, if that is a string; an integer is passed over.
    fn last_of_array(&mut self) -> io::Result<Vec<u8>> {
        let mut last = Vec::new();
        for _ in 0..self.number()? {
            if self.stream.fill_buf()?.first() == Some(&b':') {
                self.number()?;
                continue;
            }
            last.resize(self.number()?, 0);
            self.stream.read_exact(&mut last)?;
            self.stream.read_exact(&mut [0; 2])?;
        }
        Ok(last)
    }
}

/// Serves as long as the server does: the next pop is sent together with the reply.
pub(crate) fn respond(port: u16, ready: impl FnOnce()) -> Result<(), Problem> {
    let mut redis = Connection::open(port)?;
    redis.add(&[b"BLPOP", REQUESTS, b"0"])?;
    redis.send()?;
    ready();
    loop {
        let request = redis.last_of_array()?;
        redis.add(&[b"PUBLISH", REPLIES, &request])?;
        redis.add(&[b"BLPOP", REQUESTS, b"0"])?;
        redis.send()?;
        redis.number()?;
    }
}

/// The asking end.
pub(crate) struct Caller {
    requests: Connection,
    replies: Connection,
}

impl Caller {
    pub(crate) fn connect(port: u16) -> Result<Self, Problem> {
        let requests = Connection::open(port)?;
        let mut replies = Connection::open(port)?;
        replies.add(&[b"SUBSCRIBE", REPLIES])?;
        replies.send()?;
        replies.last_of_array()?;
        replies
            .stream
            .get_ref()
            .set_read_timeout(Some(REPLY_TIMEOUT))?;
        Ok(Self { requests, replies })
    }

    pub(crate) fn ask(&mut self, payload: &[u8]) -> Result<Vec<u8>, Problem> {
        self.requests.add(&[b"RPUSH", REQUESTS, payload])?;
        self.requests.send()?;
        let reply = self.replies.last_of_array()?;
        // The length of the list has long come.
        self.requests.number()?;
        Ok(reply)
    }
}
