//! Replies: the answers to requests, encoded and decoded.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde::de::IgnoredAny;

use crate::bus::protocol::frame_writer::FrameWriter;
use crate::bus::protocol::limits::{BoundedVec, MAX_REQUESTS};
use crate::bus::protocol::{Prefix, Problem, VERSION, cut, pack, unpack};
use crate::bus::transport::{Epoch, Frame};
use crate::envelope::Attributes;
use crate::error::{AskError, Delivered, FailureCause};
use crate::reply::remote::Outcome;
use crate::urn::Urn;

/// The fate of a request, as its answer marks it beside the outcome. Older clients ignore the mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// The outcome tells all.
    None,
    /// A handler has begun the request, whatever the error says.
    Begun,
    /// The only process that takes requests of the epoch has executed no copy of the request, and will not.
    Unexecuted,
}

impl Mark {
    /// Third element of the answer.
    fn text(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Begun => "begun",
            Self::Unexecuted => "unexecuted",
        }
    }

    fn read(text: &str) -> Self {
        let known = [Self::Begun, Self::Unexecuted].into_iter();
        let mut known = known.filter(|mark| mark.text() == text);
        known.next().unwrap_or(Self::None)
    }
}

/// Number of actors of a cycle that are sent: a longer chain is cut.
const MAX_CHAIN: usize = 64;

/// Element behind the URN of an actor that is absent because it failed.
const HAS_FAILED: bool = true;

/// Element behind the reason of a refused request whose idempotency key was used before; its key follows.
const KEY_REUSED: u8 = 1;

/// The outcome of one ask, as it is encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) id: u64,
    status: AnswerStatus,
    mark: Mark,
    /// The encoded response, or the details of the error.
    contents: Vec<u8>,
}

impl Answer {
    pub(crate) fn new(id: u64, outcome: Outcome) -> Self {
        let (status, contents) = match outcome {
            Ok(contents) => (AnswerStatus::Done, contents),
            Err(error) => AnswerStatus::of_error(&error),
        };
        Self {
            id,
            status,
            mark: Mark::None,
            contents,
        }
    }

    /// Says that a handler has begun the request: its error does not mean that it was not executed.
    pub(crate) fn begun(mut self) -> Self {
        self.mark = Mark::Begun;
        self
    }

    /// The refusal of a request of which the only process that takes requests of the epoch has executed no copy, and
    /// will not.
    pub(crate) fn unexecuted(id: u64) -> Self {
        Self {
            mark: Mark::Unexecuted,
            ..Self::new(id, Err(AskError::NoResponder))
        }
    }

    /// A received answer, to be sent on.
    #[cfg(feature = "test-util")]
    pub(crate) fn again(received: ReceivedAnswer) -> Self {
        Self {
            mark: received.mark,
            ..Self::new(received.id, received.outcome.map(Vec::from))
        }
    }

    /// Estimated size in a frame, in bytes.
    pub(crate) fn size(&self) -> usize {
        32 + self.contents.len()
    }
}

/// Encodes answers for one client.
pub(crate) fn encode_reply(epoch: Epoch, answers: Vec<Answer>) -> Frame {
    let (mut buffer, nothing) = (BytesMut::new(), Attributes::new());
    let size = answers.iter().map(Answer::size).sum::<usize>();
    let mut frame = FrameWriter::new(&mut buffer, 32 + size);
    frame.array(3);
    frame.value(&VERSION);
    frame.value(&epoch.0);
    frame.array(answers.len());
    for answer in answers {
        frame.array(5);
        frame.value(&answer.id);
        frame.value(&(answer.status as u8));
        frame.value(answer.mark.text());
        frame.value(&nothing);
        frame.contents(answer.contents);
    }
    frame.finish()
}

/// Encodes the result of a durable message, with the fingerprint of the message.
pub(crate) fn encode_result(response: &[u8], fingerprint: &[u8]) -> Bytes {
    let contents = serde_bytes::Bytes::new(response);
    let fingerprint = serde_bytes::Bytes::new(fingerprint);
    pack(&(AnswerStatus::Done as u8, contents, fingerprint))
}

/// Decodes a cached result: the response, and the fingerprint of the message if there is one.
pub(crate) fn decode_result(record: &Bytes) -> Result<(Bytes, Option<Bytes>), Problem> {
    type All<'a> = (u8, &'a serde_bytes::Bytes, &'a serde_bytes::Bytes);
    let (status, contents, fingerprint) = if let Ok(all) = unpack::<All<'_>>(record) {
        (all.0, all.1, Some(all.2))
    } else {
        let (status, contents) = unpack::<(u8, &serde_bytes::Bytes)>(record)?;
        (status, contents, None)
    };
    match AnswerStatus::from_number(status) {
        Some(AnswerStatus::Done) => {
            let fingerprint = fingerprint.map(|bytes| record.slice_ref(bytes));
            Ok((record.slice_ref(contents), fingerprint))
        }
        _ => Err(Problem::Malformed(format!("a record of status {status}"))),
    }
}

/// A decoded answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ReceivedAnswer {
    pub(crate) id: u64,
    /// The encoded response, or the error.
    pub(crate) outcome: Result<Bytes, AskError>,
    mark: Mark,
}

/// The error of a request that no handler has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReceivedRefusal<'a> {
    pub(crate) error: &'a AskError,
    /// No other copy of the request in the same inbox was executed either, nor will be.
    pub(crate) is_of_all_copies: bool,
}

impl ReceivedAnswer {
    /// The error, if no handler has begun the request.
    pub(crate) fn refusal(&self) -> Option<ReceivedRefusal<'_>> {
        let error = self.outcome.as_ref().err()?;
        (self.mark != Mark::Begun).then_some(ReceivedRefusal {
            error,
            is_of_all_copies: self.mark == Mark::Unexecuted,
        })
    }
}

/// Decodes answers, and the epoch that they come from. Their contents share the frame's bytes. There
/// are at most as many as a client can have pending requests.
pub(crate) fn decode_reply(frame: &Bytes) -> Result<(Epoch, Vec<ReceivedAnswer>), Problem> {
    // The attributes of a response are not used.
    type One<'a> = Prefix<(u64, u8, &'a str, IgnoredAny, &'a serde_bytes::Bytes)>;
    type All<'a> = BoundedVec<MAX_REQUESTS, One<'a>>;
    let (epoch, answers) = match unpack::<(u8, u64, All<'_>)>(frame) {
        Ok((VERSION, epoch, BoundedVec(answers))) => (epoch, answers),
        other => {
            // The elements behind another version's number need not be readable.
            let (version, _) = unpack::<(u8, u64)>(frame)?;
            return Err(match other {
                Err(problem) if version == VERSION => problem,
                _ => Problem::Version(version),
            });
        }
    };
    let read = |Prefix((id, status, mark, _, contents)): One<'_>| {
        let outcome = match AnswerStatus::from_number(status) {
            Some(AnswerStatus::Done) => Ok(frame.slice_ref(contents)),
            Some(status) => Err(status.into_error(contents)),
            None => Err(AskError::BadResponse {
                reason: format!("unknown status {status}"),
            }),
        };
        ReceivedAnswer {
            id,
            outcome,
            mark: Mark::read(mark),
        }
    };
    Ok((Epoch(epoch), answers.into_iter().map(read).collect()))
}

/// The outcome of an ask, as a number.
///
/// An error that is new goes behind the details of the error that older clients are to read instead: they
/// ignore further elements, and cannot know of an unknown number whether the request was executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum AnswerStatus {
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

impl AnswerStatus {
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
            AskError::ActorNotFound { urn } | AskError::ActorUnavailable { urn, .. } => {
                (Self::ActorNotFound, pack(&(cut(urn.as_str()),)))
            }
            // Clients that do not know the mark read that there is no such actor, which is true as well.
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
                let kept = chain.iter().take(MAX_CHAIN);
                let chain: Vec<_> = kept.map(|urn| cut(urn.as_str())).collect();
                (Self::AskCycle, pack(&(chain,)))
            }
            AskError::BadRequest { reason } => (Self::BadRequest, pack(&(cut(reason),))),
            AskError::KeyReused { key } => {
                let reason = error.to_string();
                (
                    Self::BadRequest,
                    pack(&(cut(&reason), KEY_REUSED, cut(key))),
                )
            }
            AskError::BadResponse { reason } => (Self::BadResponse, pack(&(cut(reason),))),
            AskError::TooLarge { size, limit } => (Self::TooLarge, pack(&(size, limit))),
            AskError::Incompatible { reason } => (Self::Incompatible, pack(&(cut(reason),))),
            // Errors that only an asker can detect; an actor system does not send them.
            AskError::InvalidUrn { .. } | AskError::InvalidKey { .. } => {
                (Self::BadRequest, pack(&(cut(&error.to_string()),)))
            }
            AskError::NoReply
            | AskError::Unavailable { .. }
            | AskError::Disconnected { .. }
            | AskError::Closed => (Self::NoReply, Bytes::new()),
        };
        (status, details.into())
    }

    /// The error of a status. Details that cannot be decoded are left empty: the error itself is
    /// certain.
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
                let chain = unpack::<(BoundedVec<MAX_CHAIN, &str>,)>(details);
                let chain = chain.map_or_else(|_| Vec::new(), |(BoundedVec(chain),)| chain);
                AskError::AskCycle {
                    chain: chain.iter().map(|urn| Urn::unchecked(cut(urn))).collect(),
                }
            }
            Self::BadRequest => match unpack::<(&str, u8, &str)>(details) {
                Ok((_, KEY_REUSED, key)) => AskError::KeyReused {
                    key: cut(key).to_owned(),
                },
                _ => AskError::BadRequest { reason: owned() },
            },
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

    type Outcomes = Vec<(u64, Result<Bytes, AskError>)>;

    /// The answers in a frame, by their ids.
    fn read_answers(frame: &Bytes) -> (Epoch, Outcomes) {
        let (epoch, answers) = decode_reply(frame).unwrap();
        let answers = answers.into_iter().map(|read| (read.id, read.outcome));
        (epoch, answers.collect())
    }

    #[test]
    fn error_of_a_request_that_a_handler_has_begun_is_no_refusal() {
        let refused = Answer::new(1, Err(AskError::NoResponder));
        let answers = vec![
            refused.clone(),
            Answer::unexecuted(1),
            refused.clone().begun(),
        ];
        let (_, read) = decode_reply(&encode_reply(Epoch(1), answers).into_bytes()).unwrap();
        let refusals: Vec<_> = read.iter().map(ReceivedAnswer::refusal).collect();
        let refusal = |is_of_all_copies| ReceivedRefusal {
            error: &AskError::NoResponder,
            is_of_all_copies,
        };
        assert_eq!(refusals, [Some(refusal(false)), Some(refusal(true)), None]);
        let outcomes = read.iter().map(|answer| &answer.outcome);
        assert!(outcomes.eq([&Err(AskError::NoResponder); 3]));
    }

    #[test]
    fn answers_survive_encoding() {
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
            Err(AskError::KeyReused {
                key: "k".to_owned(),
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
        let (epoch, read) = read_answers(&encode_reply(Epoch(1), answers).into_bytes());
        let expected: Vec<_> = (0..)
            .zip(outcomes)
            .map(|(id, outcome)| (id, outcome.map(Bytes::from)))
            .collect();
        assert_eq!((epoch, read), (Epoch(1), expected));
    }

    #[test]
    fn long_text_is_cut() {
        let reason = "x".to_owned() + &"ä".repeat(1_000_000);
        let answer = Answer::new(1, Err(AskError::BadRequest { reason }));
        assert!(answer.size() < 2 * MAX_TEXT);
        let (_, read) = read_answers(&encode_reply(Epoch(1), vec![answer]).into_bytes());
        let [(1, Err(AskError::BadRequest { reason }))] = &read[..] else {
            panic!("{read:?}")
        };
        assert_eq!(reason.len(), MAX_TEXT - 1); // not within a character
    }

    #[test]
    fn unknown_status_is_an_error() {
        let answer = (
            1_u64,
            200_u8,
            "",
            Attributes::new(),
            serde_bytes::Bytes::new(&[]),
            5_u8,
        );
        let (_, read) = read_answers(&pack(&(VERSION, 1_u64, [answer], "more")));
        assert!(matches!(read[..], [(1, Err(AskError::BadResponse { .. }))]));
    }

    #[test]
    fn older_client_reads_failed_actor_as_missing() {
        let urn = Urn::new("a").unwrap();
        let (status, details) = AnswerStatus::of_error(&AskError::ActorFailed { urn });
        assert_eq!(status as u8, 2);
        assert_eq!(unpack::<(&str,)>(&details).unwrap(), ("a",));
    }

    #[test]
    fn older_client_reads_used_key_as_bad_request() {
        let key = "order-17".to_owned();
        let (status, details) = AnswerStatus::of_error(&AskError::KeyReused { key });
        assert_eq!(status as u8, 10);
        let (reason,) = unpack::<(&str,)>(&details).unwrap();
        assert!(reason.contains("`order-17` was used before"), "{reason}");
    }

    #[test]
    fn marks_of_a_newer_peer_leave_the_error_that_is_known() {
        let details = pack(&("why", 200_u8, "more"));
        let read = AnswerStatus::BadRequest.into_error(&details);
        let reason = "why".to_owned();
        assert_eq!(read, AskError::BadRequest { reason });
    }

    #[test]
    fn long_cycle_is_cut() {
        let chain = vec![Urn::new("x".repeat(255)).unwrap(); 10_000];
        let answer = Answer::new(1, Err(AskError::AskCycle { chain }));
        let (_, read) = read_answers(&encode_reply(Epoch(1), vec![answer]).into_bytes());
        let [(1, Err(AskError::AskCycle { chain }))] = &read[..] else {
            panic!("{read:?}")
        };
        assert_eq!(chain.len(), MAX_CHAIN);
    }

    #[test]
    fn small_frame_cannot_cause_large_allocations() {
        // A cycle of a million actors without names.
        let chain = (vec![""; 1_000_000],);
        let details = serde_bytes::ByteBuf::from(pack(&chain).to_vec());
        let nothing = Attributes::new();
        let answer = (1_u64, AnswerStatus::AskCycle as u8, "", &nothing, &details);
        let (_, read) = read_answers(&pack(&(VERSION, 1_u64, [answer])));
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
        for (number, status) in (0..).zip(AnswerStatus::ALL) {
            assert_eq!(status as u8, number);
        }
    }
}
