//! Answers: how asks ended, and how that is written.

use std::time::Duration;

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::{Serialize, Serializer};

use crate::bus::client::pending::MAX_REQUESTS;
use crate::bus::protocol::limits::AtMost;
use crate::bus::protocol::{Prefix, Problem, VERSION, cut, pack, pack_into, unpack};
use crate::bus::transport::Epoch;
use crate::envelope::Attributes;
use crate::error::{AskError, Delivered, FailureCause};
use crate::reply::remote::Outcome;
use crate::urn::Urn;

/// How much of a circle is told: a longer one is cut.
const MAX_CHAIN: usize = 64;

/// Follows the URN of an actor that is not there because it failed.
const HAS_FAILED: bool = true;

/// The end of one ask, as it crosses the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) id: u64,
    status: Status,
    /// The encoded response, or the details of the error.
    contents: Vec<u8>,
}

impl Answer {
    pub(crate) fn new(id: u64, outcome: Outcome) -> Self {
        let (status, contents) = match outcome {
            Ok(contents) => (Status::Done, contents),
            Err(error) => Status::of_error(&error),
        };
        Self {
            id,
            status,
            contents,
        }
    }

    /// About how many bytes it takes in a frame.
    pub(crate) fn size(&self) -> usize {
        32 + self.contents.len()
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nothing = Attributes::new();
        let contents = serde_bytes::Bytes::new(&self.contents);
        (self.id, self.status as u8, "", &nothing, contents).serialize(serializer)
    }
}

/// Writes answers for one client.
pub(crate) fn encode_reply(epoch: Epoch, answers: &[Answer]) -> Bytes {
    let size = answers.iter().map(Answer::size).sum::<usize>();
    pack_into(Vec::with_capacity(32 + size), &(VERSION, epoch.0, answers))
}

/// What is remembered of a durable message that ended with this response.
pub(crate) fn encode_record(response: &[u8], fingerprint: &[u8]) -> Bytes {
    let contents = serde_bytes::Bytes::new(response);
    let fingerprint = serde_bytes::Bytes::new(fingerprint);
    pack(&(Status::Done as u8, contents, fingerprint))
}

/// The response that is remembered, and the fingerprint of the message if there is one. Nothing else
/// is remembered.
pub(crate) fn decode_record(record: &Bytes) -> Result<(Bytes, Option<Bytes>), Problem> {
    type All<'a> = (u8, &'a serde_bytes::Bytes, &'a serde_bytes::Bytes);
    let (status, contents, fingerprint) = if let Ok(all) = unpack::<All<'_>>(record) {
        (all.0, all.1, Some(all.2))
    } else {
        let (status, contents) = unpack::<(u8, &serde_bytes::Bytes)>(record)?;
        (status, contents, None)
    };
    match Status::from_number(status) {
        Some(Status::Done) => {
            let fingerprint = fingerprint.map(|bytes| record.slice_ref(bytes));
            Ok((record.slice_ref(contents), fingerprint))
        }
        _ => Err(Problem::Malformed(format!("a record of status {status}"))),
    }
}

/// An answer, as it came: its id, and the encoded response or the error.
pub(crate) type Heard = (u64, Result<Bytes, AskError>);

/// Reads answers, and in which epoch they were given. The contents share the frame's bytes. There
/// are not more of them than a client has asks under way.
pub(crate) fn decode_reply(frame: &Bytes) -> Result<(Epoch, Vec<Heard>), Problem> {
    // Nobody looks at a response's attributes.
    type One<'a> = Prefix<(u64, u8, &'a str, IgnoredAny, &'a serde_bytes::Bytes)>;
    type All<'a> = AtMost<MAX_REQUESTS, One<'a>>;
    let (epoch, answers) = match unpack::<(u8, u64, All<'_>)>(frame) {
        Ok((VERSION, epoch, AtMost(answers))) => (epoch, answers),
        other => {
            // What another version writes behind its number need not be readable.
            let (version, _) = unpack::<(u8, u64)>(frame)?;
            return Err(match other {
                Err(problem) if version == VERSION => problem,
                _ => Problem::Version(version),
            });
        }
    };
    let read = |Prefix((id, status, _, _, contents)): One<'_>| {
        let outcome = match Status::from_number(status) {
            Some(Status::Done) => Ok(frame.slice_ref(contents)),
            Some(status) => Err(status.into_error(contents)),
            None => Err(AskError::BadResponse {
                reason: format!("unknown status {status}"),
            }),
        };
        (id, outcome)
    };
    Ok((Epoch(epoch), answers.into_iter().map(read).collect()))
}

/// How an ask ended, as a number. New ones go to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Status {
    Done = 0,
    NoResponder = 1,
    ActorNotFound = 2,
    Unhandled = 3,
    Overloaded = 4,
    /// The request came after its deadline.
    Expired = 5,
    Failed = 6,
    ActorStopped = 7,
    NoReply = 8,
    AskCycle = 9,
    BadRequest = 10,
    BadResponse = 11,
    TooLarge = 12,
    Incompatible = 13,
}

impl Status {
    const ALL: [Self; 14] = [
        Self::Done,
        Self::NoResponder,
        Self::ActorNotFound,
        Self::Unhandled,
        Self::Overloaded,
        Self::Expired,
        Self::Failed,
        Self::ActorStopped,
        Self::NoReply,
        Self::AskCycle,
        Self::BadRequest,
        Self::BadResponse,
        Self::TooLarge,
        Self::Incompatible,
    ];

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The status of an error, and its details.
    fn of_error(error: &AskError) -> (Self, Vec<u8>) {
        let (status, details) = match error {
            AskError::NoResponder => (Self::NoResponder, Bytes::new()),
            AskError::ActorNotFound { urn } => (Self::ActorNotFound, pack(&(cut(urn.as_str()),))),
            // A client that knows no more hears that there is no such actor, which is true as well.
            AskError::ActorFailed { urn } => {
                (Self::ActorNotFound, pack(&(cut(urn.as_str()), HAS_FAILED)))
            }
            AskError::Unhandled { urn, message } => {
                (Self::Unhandled, pack(&(cut(urn.as_str()), cut(message))))
            }
            AskError::Overloaded { retry_after } => {
                let millis = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
                (Self::Overloaded, pack(&(millis,)))
            }
            AskError::Timeout { .. } => (Self::Expired, Bytes::new()),
            AskError::Failed { cause: None } => (Self::Failed, Bytes::new()),
            AskError::Failed { cause: Some(cause) } => {
                let (urn, text) = (cut(cause.urn().as_str()), cut(cause.text()));
                (Self::Failed, pack(&(urn, text)))
            }
            AskError::ActorStopped => (Self::ActorStopped, Bytes::new()),
            AskError::AskCycle { chain } => {
                let told = chain.iter().take(MAX_CHAIN);
                let chain: Vec<_> = told.map(|urn| cut(urn.as_str())).collect();
                (Self::AskCycle, pack(&(chain,)))
            }
            AskError::BadRequest { reason } => (Self::BadRequest, pack(&(cut(reason),))),
            AskError::BadResponse { reason } => (Self::BadResponse, pack(&(cut(reason),))),
            AskError::TooLarge { size, limit } => (Self::TooLarge, pack(&(size, limit))),
            AskError::Incompatible { reason } => (Self::Incompatible, pack(&(cut(reason),))),
            // What only an asker can find out; an actor system has no business to send it.
            AskError::NoReply
            | AskError::Unavailable { .. }
            | AskError::Disconnected { .. }
            | AskError::Closed => (Self::NoReply, Bytes::new()),
        };
        (status, details.into())
    }

    /// The error of a status. Details that do not read leave their places empty: that something
    /// went wrong is certain, and counts.
    fn into_error(self, details: &[u8]) -> AskError {
        let text = || unpack::<(&str,)>(details).map_or_else(|_| "", |(text,)| cut(text));
        let owned = || text().to_owned();
        match self {
            Self::NoResponder => AskError::NoResponder,
            Self::ActorNotFound => {
                let urn = Urn::unchecked(text());
                match unpack::<(IgnoredAny, bool)>(details) {
                    Ok((_, HAS_FAILED)) => AskError::ActorFailed { urn },
                    _ => AskError::ActorNotFound { urn },
                }
            }
            Self::Unhandled => {
                let (urn, message) = unpack::<(&str, &str)>(details).unwrap_or_default();
                AskError::Unhandled {
                    urn: Urn::unchecked(cut(urn)),
                    message: cut(message).to_owned(),
                }
            }
            Self::Overloaded => {
                let (millis,) = unpack::<(u64,)>(details).unwrap_or_default();
                AskError::Overloaded {
                    retry_after: Duration::from_millis(millis),
                }
            }
            Self::Expired => AskError::Timeout {
                delivered: Delivered::No,
            },
            Self::Failed => {
                let details = unpack::<(&str, &str)>(details).ok();
                let cause = details
                    .map(|(urn, text)| FailureCause::new(Urn::unchecked(cut(urn)), cut(text)));
                AskError::Failed { cause }
            }
            Self::ActorStopped => AskError::ActorStopped,
            Self::NoReply => AskError::NoReply,
            Self::AskCycle => {
                let chain = unpack::<(AtMost<MAX_CHAIN, &str>,)>(details);
                let chain = chain.map_or_else(|_| Vec::new(), |(AtMost(chain),)| chain);
                AskError::AskCycle {
                    chain: chain.iter().map(|urn| Urn::unchecked(cut(urn))).collect(),
                }
            }
            Self::BadRequest => AskError::BadRequest { reason: owned() },
            Self::Done | Self::BadResponse => AskError::BadResponse { reason: owned() },
            Self::TooLarge => {
                let (size, limit) = unpack::<(usize, usize)>(details).unwrap_or_default();
                AskError::TooLarge { size, limit }
            }
            Self::Incompatible => AskError::Incompatible { reason: owned() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::protocol::MAX_TEXT;

    #[test]
    fn answers_survive_the_way() {
        let urn = Urn::new("a").unwrap();
        let outcomes: Vec<Outcome> = vec![
            Ok(vec![1, 2, 3]),
            Err(AskError::NoResponder),
            Err(AskError::ActorNotFound { urn: urn.clone() }),
            Err(AskError::ActorFailed { urn: urn.clone() }),
            Err(AskError::Unhandled {
                urn: urn.clone(),
                message: "M".to_owned(),
            }),
            Err(AskError::Overloaded {
                retry_after: Duration::from_millis(50),
            }),
            Err(AskError::Timeout {
                delivered: Delivered::No,
            }),
            Err(AskError::Failed { cause: None }),
            Err(AskError::Failed {
                cause: Some(FailureCause::new(urn.clone(), "on purpose")),
            }),
            Err(AskError::ActorStopped),
            Err(AskError::NoReply),
            Err(AskError::AskCycle {
                chain: vec![urn.clone(), urn],
            }),
            Err(AskError::BadRequest {
                reason: "r".to_owned(),
            }),
            Err(AskError::BadResponse {
                reason: "r".to_owned(),
            }),
            Err(AskError::TooLarge { size: 5, limit: 4 }),
            Err(AskError::Incompatible {
                reason: "r".to_owned(),
            }),
        ];
        let answers: Vec<_> = (0..)
            .zip(&outcomes)
            .map(|(id, outcome)| Answer::new(id, outcome.clone()))
            .collect();
        let (epoch, read) = decode_reply(&encode_reply(Epoch(1), &answers)).unwrap();
        let expected: Vec<_> = (0..)
            .zip(outcomes)
            .map(|(id, outcome)| (id, outcome.map(Bytes::from)))
            .collect();
        assert_eq!((epoch, read), (Epoch(1), expected));
    }

    #[test]
    fn a_text_is_cut() {
        let reason = "x".to_owned() + &"ä".repeat(1_000_000);
        let answer = Answer::new(1, Err(AskError::BadRequest { reason }));
        assert!(answer.size() < 2 * MAX_TEXT);
        let (_, read) = decode_reply(&encode_reply(Epoch(1), &[answer])).unwrap();
        let [(1, Err(AskError::BadRequest { reason }))] = &read[..] else {
            panic!("{read:?}")
        };
        assert_eq!(reason.len(), MAX_TEXT - 1); // not through a letter
    }

    #[test]
    fn a_status_from_the_future_is_an_error() {
        let answer = (
            1_u64,
            200_u8,
            "",
            Attributes::new(),
            serde_bytes::Bytes::new(&[]),
            5_u8,
        );
        let (_, read) = decode_reply(&pack(&(VERSION, 1_u64, [answer], "more"))).unwrap();
        assert!(matches!(read[..], [(1, Err(AskError::BadResponse { .. }))]));
    }

    #[test]
    fn a_client_that_knows_no_failed_actors_hears_that_there_is_none() {
        let urn = Urn::new("a").unwrap();
        let (status, details) = Status::of_error(&AskError::ActorFailed { urn });
        assert_eq!(status as u8, 2);
        assert_eq!(unpack::<(&str,)>(&details).unwrap(), ("a",));
    }

    #[test]
    fn a_circle_is_cut() {
        let chain = vec![Urn::new("x".repeat(255)).unwrap(); 10_000];
        let answer = Answer::new(1, Err(AskError::AskCycle { chain }));
        let (_, read) = decode_reply(&encode_reply(Epoch(1), &[answer])).unwrap();
        let [(1, Err(AskError::AskCycle { chain }))] = &read[..] else {
            panic!("{read:?}")
        };
        assert_eq!(chain.len(), MAX_CHAIN);
    }

    #[test]
    fn a_peer_cannot_have_much_kept_by_saying_little() {
        // A circle of a million actors without names.
        let chain = (vec![""; 1_000_000],);
        let details = serde_bytes::ByteBuf::from(pack(&chain).to_vec());
        let nothing = Attributes::new();
        let answer = (1_u64, Status::AskCycle as u8, "", &nothing, &details);
        let (_, read) = decode_reply(&pack(&(VERSION, 1_u64, [answer]))).unwrap();
        assert_eq!(read, [(1, Err(AskError::AskCycle { chain: Vec::new() }))]);

        let answers = |count: u64| {
            let nothing = serde_bytes::Bytes::new(&[]);
            let one = |id| (id, 0_u8, "", Attributes::new(), nothing);
            let all: Vec<_> = (0..count).map(one).collect();
            pack(&(VERSION, 1_u64, all))
        };
        let most = MAX_REQUESTS as u64;
        assert_eq!(decode_reply(&answers(most)).unwrap().1.len(), MAX_REQUESTS);
        let problem = decode_reply(&answers(most + 1)).unwrap_err();
        assert!(problem.to_string().contains("16385"), "{problem}");
    }

    #[test]
    fn every_status_has_its_number() {
        for (number, status) in (0..).zip(Status::ALL) {
            assert_eq!(status as u8, number);
        }
    }
}
