//! Replies of Redis, decoded from the bytes of a connection (RESP2). No I/O.
//!
//! The format is that of <https://redis.io/docs/latest/develop/reference/protocol-spec/>. Texts stay
//! bytes: an error line repeats the arguments of its command, which need not be UTF-8.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

use crate::bus::redis::resp::read_buffer::ReadBuffer;
use crate::bus::transport::TransportError;

/// The longest line, such as an error.
const MAX_LINE: usize = 64 * 1024;

/// Number of bytes that are kept of a string that is cut: enough for the head of a request.
const KEPT_OF_CUT_STRING: usize = 4096;

/// The deepest nesting of arrays.
const MAX_DEPTH: usize = 8;

/// Memory that an element takes beside its bytes, at most.
const ELEMENT_SIZE: usize = 128;

/// Elements for which memory is taken on the word of an array's length.
const MAX_TRUSTED_LENGTH: usize = 1024;

/// A reply to a command.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::bus::redis) enum RedisReply {
    Status(Bytes),
    Error(Bytes),
    Integer(i64),
    Bulk(Bytes),
    /// A string of which only the beginning was kept, since the reply was too large.
    Cut {
        head: Bytes,
        length: usize,
    },
    Null,
    Array(Vec<RedisReply>),
}

impl RedisReply {
    /// The reply; an error reply is an error: the command was not executed.
    pub(in crate::bus::redis) fn accepted(self) -> Result<Self, TransportError> {
        match self {
            Self::Error(line) => {
                let text = String::from_utf8_lossy(&line).into_owned();
                Err(TransportError::refused(text))
            }
            reply => Ok(reply),
        }
    }

    pub(in crate::bus::redis) fn into_array(self) -> Option<Vec<Self>> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }

    pub(in crate::bus::redis) fn into_bytes(self) -> Option<Bytes> {
        match self {
            Self::Bulk(bytes) | Self::Status(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(in crate::bus::redis) fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Integer(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }
}

impl fmt::Debug for RedisReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Contents stay out of logs.
        match self {
            Self::Status(line) => write!(f, "+{}", String::from_utf8_lossy(line)),
            Self::Error(line) => write!(f, "-{}", String::from_utf8_lossy(line)),
            Self::Integer(number) => write!(f, ":{number}"),
            Self::Bulk(bytes) => write!(f, "a string of {} bytes", bytes.len()),
            Self::Cut { length, .. } => write!(f, "a string of {length} bytes, cut"),
            Self::Null => f.write_str("null"),
            Self::Array(elements) => f.debug_list().entries(elements).finish(),
        }
    }
}

/// Bytes that no Redis sends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(in crate::bus::redis) struct Malformed(String);

/// A reply without its elements, or an element of one.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    Whole(RedisReply),
    /// An array of that many elements follows.
    Array(usize),
}

/// A string that is not kept whole.
struct CutString {
    head: BytesMut,
    length: usize,
    /// Number of bytes that are yet to come.
    left: usize,
}

/// Decodes the replies of one connection.
pub(in crate::bus::redis) struct Decoder {
    buffer: ReadBuffer,
    /// Arrays that have begun, the outermost first: elements so far, and the number of all.
    open: Vec<(Vec<RedisReply>, usize)>,
    /// The size of the strings of a reply, in bytes. Beyond it only their beginnings are kept.
    max_reply: usize,
    /// The size of the current reply, as it is kept.
    reply_len: usize,
    cut: Option<CutString>,
}

impl Decoder {
    pub(super) fn new(max_reply: usize) -> Self {
        Self {
            buffer: ReadBuffer::default(),
            open: Vec::new(),
            max_reply,
            reply_len: 0,
            cut: None,
        }
    }

    pub(super) fn buffer(&mut self) -> &mut ReadBuffer {
        &mut self.buffer
    }

    /// The next reply; `None` if its last bytes have not come in yet.
    pub(super) fn next(&mut self) -> Result<Option<RedisReply>, Malformed> {
        while let Some(token) = self.token()? {
            self.reply_len += ELEMENT_SIZE;
            if self.reply_len > 2 * self.max_reply {
                return Err(Malformed("a reply has too many elements".to_owned()));
            }
            let mut whole = match token {
                Token::Whole(reply) => reply,
                Token::Array(0) => RedisReply::Array(Vec::new()),
                Token::Array(length) => {
                    if self.open.len() == MAX_DEPTH {
                        return Err(Malformed(format!(
                            "a reply has more than {MAX_DEPTH} levels"
                        )));
                    }
                    let elements = Vec::with_capacity(length.min(MAX_TRUSTED_LENGTH));
                    self.open.push((elements, length));
                    continue;
                }
            };
            loop {
                let Some((elements, length)) = self.open.last_mut() else {
                    self.reply_len = 0;
                    return Ok(Some(whole));
                };
                elements.push(whole);
                if elements.len() < *length {
                    break;
                }
                whole = RedisReply::Array(std::mem::take(elements));
                self.open.pop();
            }
        }
        Ok(None)
    }

    fn token(&mut self) -> Result<Option<Token>, Malformed> {
        if let Some(cut) = self.cut.take() {
            return Ok(self.drop_rest(cut));
        }
        let Some(end) = self.line_end()? else {
            return Ok(None);
        };
        let kind = self.buffer[0];
        let line = &self.buffer[1..end];
        let token = match kind {
            b'$' => match length(line)? {
                Some(length) => return Ok(self.string(end + 2, length)),
                None => Token::Whole(RedisReply::Null),
            },
            b'*' => length(line)?.map_or(Token::Whole(RedisReply::Null), Token::Array),
            b':' => Token::Whole(RedisReply::Integer(number(line)?)),
            b'+' | b'-' => {
                let mut line = self.buffer.split_to(end + 2).freeze();
                line.truncate(end);
                line.advance(1);
                return Ok(Some(Token::Whole(if kind == b'+' {
                    RedisReply::Status(line)
                } else {
                    RedisReply::Error(line)
                })));
            }
            _ => return Err(self.foreign()),
        };
        self.buffer.advance(end + 2);
        Ok(Some(token))
    }

    /// The length of the first line, without its end.
    fn line_end(&self) -> Result<Option<usize>, Malformed> {
        let end = self.buffer.windows(2).position(|pair| pair == b"\r\n");
        match end {
            Some(0) => Err(self.foreign()),
            Some(end) => Ok(Some(end)),
            None if self.buffer.len() > MAX_LINE => Err(self.foreign()),
            None => {
                let is_reply = |kind| b"$*:+-".contains(kind);
                let begins = self.buffer.first().is_none_or(is_reply);
                begins.then_some(None).ok_or_else(|| self.foreign())
            }
        }
    }

    /// The string of that length behind its head, if all of it is here.
    fn string(&mut self, head: usize, length: usize) -> Option<Token> {
        let reply_len = self.reply_len.saturating_add(length);
        if length > KEPT_OF_CUT_STRING && reply_len > self.max_reply {
            self.buffer.advance(head);
            return self.drop_rest(CutString {
                head: BytesMut::with_capacity(KEPT_OF_CUT_STRING),
                length,
                left: length + 2,
            });
        }
        let whole = head + length + 2;
        if self.buffer.len() < whole {
            self.buffer.make_room(whole);
            return None;
        }
        self.reply_len = reply_len;
        let mut string = self.buffer.split_off(whole);
        string.truncate(head + length);
        string.advance(head);
        Some(Token::Whole(RedisReply::Bulk(string)))
    }

    /// Drops the bytes of a string that is cut as they come in, except for the first.
    fn drop_rest(&mut self, mut cut: CutString) -> Option<Token> {
        let here = cut.left.min(self.buffer.len());
        let kept = here.min(KEPT_OF_CUT_STRING - cut.head.len());
        cut.head.extend_from_slice(&self.buffer[..kept]);
        self.buffer.advance(here);
        cut.left -= here;
        if cut.left == 0 {
            self.reply_len += cut.head.len();
            return Some(Token::Whole(RedisReply::Cut {
                head: cut.head.freeze(),
                length: cut.length,
            }));
        }
        self.cut = Some(cut);
        None
    }

    /// The error for bytes that begin no reply, with the likely cause.
    fn foreign(&self) -> Malformed {
        let shown = &self.buffer[..self.buffer.len().min(32)];
        let problem = match shown {
            [0x15, 0x03, ..] => {
                "it speaks TLS: write `rediss://` (with conclib's feature `tls`)".to_owned()
            }
            _ => format!(
                "this is no Redis: it sent `{}`",
                String::from_utf8_lossy(shown).escape_debug()
            ),
        };
        Malformed(problem)
    }
}

/// A length; `None` for that of null.
fn length(digits: &[u8]) -> Result<Option<usize>, Malformed> {
    match number(digits)? {
        -1 => Ok(None),
        length => {
            let length = usize::try_from(length);
            let length = length.map_err(|_| Malformed("a length is negative".to_owned()));
            length.map(Some)
        }
    }
}

fn number(digits: &[u8]) -> Result<i64, Malformed> {
    let text = std::str::from_utf8(digits).ok();
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| Malformed("a number has other characters than digits".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_REPLY: usize = 5_500_000;

    /// Decodes bytes that come in as parts of that size.
    fn decode(bytes: &[u8], part: usize) -> Result<Vec<RedisReply>, Malformed> {
        let mut decoder = Decoder::new(MAX_REPLY);
        let mut replies = Vec::new();
        for part in bytes.chunks(part) {
            decoder.buffer().space().extend_from_slice(part);
            decoder.buffer().note_read(part.len());
            while let Some(reply) = decoder.next()? {
                replies.push(reply);
            }
        }
        Ok(replies)
    }

    fn bulk(text: &'static str) -> RedisReply {
        RedisReply::Bulk(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn replies_are_the_same_however_they_come_in() {
        let bytes = b"+OK\r\n-ERR no `\xff\xfe\x00'\r\n:-17\r\n$5\r\na\r\nb\x00\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n\
            *2\r\n$3\r\nkey\r\n*2\r\n$1\r\na\r\n*1\r\n:4\r\n+PONG\r\n";
        let expected = [
            RedisReply::Status(Bytes::from_static(b"OK")),
            RedisReply::Error(Bytes::from_static(b"ERR no `\xff\xfe\x00'")),
            RedisReply::Integer(-17),
            bulk("a\r\nb\0"),
            bulk(""),
            RedisReply::Null,
            RedisReply::Null,
            RedisReply::Array(Vec::new()),
            RedisReply::Array(vec![
                bulk("key"),
                RedisReply::Array(vec![
                    bulk("a"),
                    RedisReply::Array(vec![RedisReply::Integer(4)]),
                ]),
            ]),
            RedisReply::Status(Bytes::from_static(b"PONG")),
        ];
        for part in 1..=bytes.len() {
            assert_eq!(decode(bytes, part).unwrap(), expected, "in parts of {part}");
        }
    }

    crate::fuzz::target!(
        malformed_replies_of_redis,
        vec![
            b"+OK\r\n-ERR no\r\n:-17\r\n$3\r\nabc\r\n$-1\r\n*-1\r\n*0\r\n".to_vec(),
            b"*2\r\n$3\r\nkey\r\n*2\r\n$1\r\na\r\n*1\r\n:4\r\n".to_vec(),
            b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$10\r\n0123456789\r\n".to_vec(),
        ],
        |bytes: Vec<u8>| {
            // However the bytes come in, the replies are the same, up to where they are malformed.
            let whole = decode(&bytes, bytes.len().max(1));
            for part in [1 + bytes.len() / 200, 7 + bytes.len() / 200] {
                assert_eq!(decode(&bytes, part).is_ok(), whole.is_ok());
                if let Ok(replies) = &whole {
                    assert_eq!(&decode(&bytes, part).unwrap(), replies);
                }
            }
        }
    );

    #[test]
    fn foreign_bytes_are_an_error_that_names_their_kind() {
        for (bytes, hint) in [
            (
                &b"HTTP/1.1 400 Bad Request\r\n"[..],
                "this is no Redis: it sent `HTTP/1.1 400",
            ),
            (b"\x15\x03\x03\x00\x02\x02\x16", "it speaks TLS"),
            (b"\r\n", "this is no Redis"),
            (b":1x\r\n", "other characters than digits"),
            (b"$-2\r\n", "negative"),
            (b"*99999999999999999999\r\n", "other characters than digits"),
            (b"%1\r\n", "this is no Redis"),
        ] {
            let error = decode(bytes, bytes.len()).unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
        let deep = b"*1\r\n".repeat(MAX_DEPTH + 1);
        assert!(decode(&deep, 7).is_err());
        let endless = vec![b'+'; 2 * MAX_LINE];
        assert!(decode(&endless, 1000).is_err());
    }

    #[test]
    fn reply_without_end_is_an_error() {
        let mut decoder = Decoder::new(MAX_REPLY);
        decoder
            .buffer()
            .space()
            .extend_from_slice(b"*2147483647\r\n");
        let element = b"$3\r\nabc\r\n".repeat(1000);
        let fails = (0..1000).any(|_| {
            decoder.buffer().space().extend_from_slice(&element);
            decoder.next().is_err()
        });
        assert!(fails);
    }

    #[test]
    fn nothing_is_allocated_on_the_word_of_a_length() {
        let mut decoder = Decoder::new(MAX_REPLY);
        decoder
            .buffer()
            .space()
            .extend_from_slice(b"*2147483647\r\n:1\r\n");
        assert_eq!(decoder.next(), Ok(None));
        assert_eq!(decoder.open[0].0.capacity(), MAX_TRUSTED_LENGTH);
    }

    #[test]
    fn strings_beyond_the_size_of_a_reply_are_cut() {
        let mut decoder = Decoder::new(MAX_REPLY);
        let length = 1_000_000;
        let mut sent = b"*12\r\n$4\r\ntiny\r\n".to_vec();
        for _ in 0..10 {
            sent.extend_from_slice(format!("${length}\r\n").as_bytes());
            sent.resize(sent.len() + length, b'x');
            sent.extend_from_slice(b"\r\n");
        }
        sent.extend_from_slice(b"$3\r\nend\r\n");
        let mut reply = None;
        for part in sent.chunks(100_000) {
            assert_eq!(reply, None);
            decoder.buffer().space().extend_from_slice(part);
            reply = decoder.next().unwrap();
            assert!(decoder.buffer.capacity() < 4 * length);
        }
        let elements = reply.and_then(RedisReply::into_array).unwrap();
        let (whole, rest) = elements.split_at(1 + MAX_REPLY / length);
        assert!(
            whole[1..]
                .iter()
                .all(|e| matches!(e, RedisReply::Bulk(b) if b.len() == length))
        );
        let (end, cut) = rest.split_last().unwrap();
        assert_eq!(cut.len(), 10 - MAX_REPLY / length);
        for element in cut {
            let head = Bytes::from(vec![b'x'; KEPT_OF_CUT_STRING]);
            assert_eq!(*element, RedisReply::Cut { head, length });
        }
        assert_eq!(*end, bulk("end"));
        // The next reply has the whole size again.
        decoder.buffer().space().extend_from_slice(&sent);
        let again = decoder.next().unwrap().and_then(RedisReply::into_array);
        assert_eq!(again, Some(elements));
    }
}
