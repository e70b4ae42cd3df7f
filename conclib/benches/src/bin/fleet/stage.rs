//! Redis, members and callers, as processes of their own.

use std::thread::sleep;
use std::time::Duration;

use conclib_benches::children::{READY, Running, myself};
use conclib_benches::servers::{Kind, Server};

use crate::Problem;
use crate::call::Sample;

/// The longest orderly stop of a member.
pub(crate) const STOP: Duration = Duration::from_secs(30);

/// A Redis, and the members on it.
#[derive(Debug)]
pub(crate) struct Stage {
    /// First, so that they end first: without Redis they would not end in good order.
    pub(crate) members: Vec<Running>,
    pub(crate) redis: Server,
}

/// The kind of the members and the callers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Setting {
    /// Milliseconds that a request takes.
    pub(crate) pause: u64,
    /// Bytes of a reply beside its numbers.
    pub(crate) reply: usize,
    /// Without a fleet.
    pub(crate) is_plain: bool,
}

impl Stage {
    /// Starts a Redis, which has no members yet.
    pub(crate) fn new() -> Result<Self, Problem> {
        let redis = Server::start(Kind::Redis)?;
        Ok(Self {
            redis: redis.ok_or("redis-server is not installed")?,
            members: Vec::new(),
        })
    }

    /// Starts members until there are so many.
    pub(crate) fn grow(&mut self, members: usize, setting: Setting) -> Result<(), Problem> {
        for number in self.members.len()..members {
            let member = self.member(number, &format!("member-{number}"), setting)?;
            self.members.push(member);
        }
        Ok(())
    }

    /// Starts a member, and waits until its worker can be asked.
    pub(crate) fn member(
        &self,
        number: usize,
        instance: &str,
        setting: Setting,
    ) -> Result<Running, Problem> {
        let words = [
            "--instance",
            instance,
            "--pause",
            &setting.pause.to_string(),
        ]
        .map(str::to_owned);
        let mut words = words.to_vec();
        if setting.is_plain {
            words.push("--plain".to_owned());
        }
        self.start("member", &[number.to_string()], &words)
    }

    /// Starts a process, and waits until it is ready.
    pub(crate) fn start(
        &self,
        kind: &str,
        arguments: &[String],
        options: &[String],
    ) -> Result<Running, Problem> {
        let port = self.redis.port.to_string();
        let mut words = vec![kind, &port];
        words.extend(arguments.iter().chain(options).map(String::as_str));
        let mut running = Running::start(&mut myself(&words)?)?;
        match running.line()?.as_str() {
            READY => Ok(running),
            _ => Err(format!("a process did not start: {words:?}").into()),
        }
    }

    /// Starts callers, and returns when their measured time has begun.
    pub(crate) fn callers(&self, callers: usize, setting: Setting) -> Result<Calling, Problem> {
        let mut words: Vec<_> = self.members.iter().map(watch).collect();
        words.push(format!("--watch={}", self.redis.pid));
        words.push(format!("--reply={}", setting.reply));
        if setting.is_plain {
            words.push("--plain".to_owned());
        }
        let arguments = [callers, self.members.len()].map(|number| number.to_string());
        self.start("call", &arguments, &words).map(Calling)
    }

    /// Measures for a while. A measurement with a failed request does not count; one without a
    /// reply is a figure, too.
    pub(crate) fn measure(
        &self,
        callers: usize,
        setting: Setting,
        time: Duration,
    ) -> Result<Sample, Problem> {
        let calling = self.callers(callers, setting)?;
        sleep(time);
        let sample = calling.end()?;
        if sample.failed() > 0 {
            return Err(format!("requests have failed: {:?}", sample.errors).into());
        }
        Ok(sample)
    }
}

fn watch(member: &Running) -> String {
    format!("--watch={}", member.pid())
}

/// A process that asks.
#[derive(Debug)]
pub(crate) struct Calling(Running);

impl Calling {
    /// Ends the measured time.
    pub(crate) fn end(mut self) -> Result<Sample, Problem> {
        let rest = self.0.rest()?;
        let sample = serde_json::from_str(&rest);
        sample.map_err(|error| format!("the callers printed no sample: {error}: {rest}").into())
    }
}
