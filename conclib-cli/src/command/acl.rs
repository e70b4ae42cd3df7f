//! `acl`: the rules of Redis users.

use clap::{Args, ValueEnum};
use conclib::Config;
use conclib::bus::Role;
use serde::Serialize;

use crate::exit::Failure;
use crate::output::Output;

/// Print the rules of a Redis user for a role
///
/// They are for the namespace and node of the options, or for a fleet. Without --user, the part behind the
/// password: `redis-cli ACL SETUSER web on '>secret' $(conclib acl client)`.
#[derive(Debug, Args)]
pub(crate) struct Acl {
    /// Role of the user
    #[arg(value_enum)]
    role: RoleName,
    /// Print a line of an ACL file for a user of this name, whose password is yet to be set
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

/// A role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleName {
    /// The actor process
    Proxy,
    /// A process that asks actors
    Client,
    /// A tool that shows actor processes, and no contents
    Observer,
    /// A tool that also acts on them, and on dead letters
    Operator,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Proxy => Self::Proxy,
            RoleName::Client => Self::Client,
            RoleName::Observer => Self::Observer,
            RoleName::Operator => Self::Operator,
        }
    }
}

/// The rules as JSON.
#[derive(Serialize)]
struct Rules {
    rules: String,
}

impl Acl {
    pub(crate) fn run(self, config: &Config, output: Output) -> Result<(), Failure> {
        let rules = config.acl(self.role.into());
        if output.json {
            return output.json(&Rules { rules });
        }
        match self.user {
            None => output.line(&rules),
            // A user without a password that is on would let in everyone.
            Some(user) => output.line(&format!("user {user} off resetpass {rules}")),
        }
    }
}
